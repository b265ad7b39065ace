"""Make the small library of the current format that later versions must still be able to bring up to date.

python tests/retriever/stores/make_format.py      writes format<N>/library.tar.gz and format<N>/expected.json

Run once for each format, by the last commit that writes it; what it wrote is never made again.
"""

import json
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1])]

from libraries import NEW, OLD, SEEN_AGAIN, directions, entry, facts, more  # noqa: E402

from retriever.notices import Delivery, Hook, Kind  # noqa: E402
from retriever.quotas import Deposit, Quota, Whose  # noqa: E402
from retriever.stores import _format, local  # noqa: E402
from retriever.types import ApiKey, FileStat, Metadata, Quarantined, RunRecord, RunState, Wish  # noqa: E402

STAMP = 1_700_000_000
"""One time for all files in the archive, so that making it again gives the same but for the catalog."""
HOOK = Hook("h1", "https://a.example/hook", "whsec_AAAA", frozenset({Kind.MEDIA_INDEXED}), "home", created=7.0)


def fill(folder: Path) -> None:
    """A library with some of everything, dead rows too, half way to another recipe."""
    store = local.build(folder)
    store.catalog.set_recipe(OLD.digest, OLD.recipe)
    store.add(entry("a", 0, paths=["/clips/a.mp4", "/copies/a.mp4"]))
    store.add(entry("b", 0))
    store.add(entry("b", 1, metadata=Metadata("Holidays", ("sea",), "2026-08-01T12:00:00+02:00", "user", "home")))
    store.add(entry("gone", 2))
    store.delete(["gone"])
    store.catalog.remember("/clips/a.mp4", FileStat(1000, 17, 2**63 + 1, "a"))
    store.catalog.quarantine(Quarantined("/clips/bad.mp4", "it is empty", 5.0, 0, 18))
    store.catalog.quarantine(Quarantined("/clips/heavy.mp4", "its decoder died", 5.0, 7, 18, 2, 605.0))
    store.catalog.write_run(
        RunRecord("9f2c41aa", '{"paths": ["/clips"]}', 4.0, RunState.PAUSED, 4.5, 5.0, {"files": 3.0})
    )
    store.catalog.wish("9f2c41aa", Wish.CANCEL)
    store.catalog.write_key(ApiKey("k1", "reader", bytes(range(32)), frozenset({"search"}), "home", 2.5, 6.0))
    store.catalog.quotas.set(Quota(Whose.KEY, "k1", 1000, 2, 3.5))
    store.catalog.quotas.take(Deposit("d1", "k1", "home", "/sent/a.mp4", 600, 7.0))
    store.catalog.notices.write_hook(HOOK)
    store.catalog.notices.tell(None, [Delivery("msg_1", HOOK.id, Kind.PING, "{}", 8.0)])
    store.begin(OLD, NEW)
    for key in "ba":  # as they do not lie
        store.extend(more(entry(key, key == "b"), SEEN_AGAIN))
    store.add(entry("late"))
    store.delete(["late"])
    store.close()


def stamped(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mtime, info.uid, info.gid, info.uname, info.gname = STAMP, 0, 0, "", ""
    return info


def main() -> None:
    made = HERE / f"format{_format.current()}"
    made.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "library"
        fill(folder)
        with tarfile.open(made / "library.tar.gz", "w:gz") as archive:
            archive.add(folder, "library", filter=stamped)
        store = local.build(folder)
        with store.snapshot() as snapshot:
            page = facts(snapshot, directions(3, 11))
        store.close()
    (made / "expected.json").write_text(json.dumps(page, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
