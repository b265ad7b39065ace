"""A process that changes a library in a fixed way, for tests that kill it wherever they like.

It is started once, imports what is slow to import, and then forks for each request, so that a kill costs
milliseconds.  A request is a line of JSON on stdin: folder, how, and where to crash.  Two lines come back: the child's
process id, and its exit code when it has ended.

once      do all changes, and end
forever   do them again and again
replace   replace two media again and again, one by its key and one by its path
hold      take the lock, say so with a file, and keep it
look      search as somebody who may not write, and be refused when trying to
restore   put the library "backup" beside it back
upgrade   bring the library to the format that the newest migration makes
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from libraries import HEARD, SEEN, directions, entry, more

from retriever.errors import StoreUnavailable
from retriever.ports import Store
from retriever.stores import _ann, _format, local
from retriever.stores._lock import CommitLock, Work
from retriever.types import Entry, Metadata, Modality, Searched, Side, Space

NOBODY = 65534
_ann.FLAT_UP_TO = 8
"""So that these small libraries have indexes, too."""

NEXT_MIGRATION = "ALTER TABLE media ADD COLUMN rating INTEGER NOT NULL DEFAULT 0;\n"

Change = Callable[[Store], object]


def adds(key: str, seed: int, paths: tuple[str, ...] = ()) -> Change:
    return lambda store: store.add(entry(key, seed, paths=paths))


AGAIN = Space("again→words", Modality.VISION, 20, "again:1", "others:1", "1")
R1, R2 = Side("r1", "{}", frozenset({SEEN.id, HEARD.id})), Side("r2", "{}", frozenset({AGAIN.id, HEARD.id}))
LAST = (entry("a", 1), entry("d", 3, paths=("/3",)), entry("e", 2, spaces=[SEEN], segments=5))
"""What is there when a second recipe comes."""


def settled(store: Store) -> None:
    """One recipe, the first, wherever the process was killed before."""
    if store.catalog.reembedding():
        store.choose(Searched.OLD)
        store.drop(Searched.NEW)
    store.catalog.set_recipe("r1", "{}")


def extended(each: Entry) -> Change:
    return lambda store: store.extend(more(each, AGAIN))


def brought_back(each: Entry) -> Change:
    """The other way round: what was there at first comes again."""
    return lambda store: store.extend(each)


CHANGES: tuple[Change, ...] = (
    settled,
    adds("a", 0),
    adds("b", 0, ("/1", "/2")),
    lambda store: store.add(entry("c", 0, spaces=[HEARD])),
    lambda store: store.refresh(),
    adds("a", 1),
    lambda store: store.set_metadata({"b": Metadata(title="renamed")}),
    lambda store: store.set_paths({"b": ["/3"]}),
    adds("d", 0, ("/3",)),  # takes b's last path
    lambda store: store.delete(["c", "nobody"]),
    lambda store: store.compact(),
    lambda store: store.add(entry("e", 2, spaces=[SEEN], segments=5)),
    adds("d", 3, ("/3",)),
    lambda store: store.compact(),
    lambda store: store.begin(R1, R2),
    *map(extended, reversed(LAST)),
    lambda store: store.choose(Searched.BOTH),
    lambda store: store.refresh(),
    lambda store: store.choose(Searched.NEW),
    lambda store: store.drop(Searched.OLD),
    lambda store: store.begin(R2, R1),
    *map(brought_back, LAST),
    lambda store: store.choose(Searched.NEW),
    lambda store: store.drop(Searched.OLD),
)


def carry_out(store: Store) -> None:
    for change in CHANGES:
        change(store)


def with_another_migration() -> None:
    """As if a newer version were installed."""
    newest = (*_format.migrations(), (_format.current() + 1, NEXT_MIGRATION))
    _format.migrations = lambda: newest  # type: ignore[assignment]


def replaced_by_key(version: int) -> Entry:
    return entry("same", version)


def replaced_by_path(version: int) -> Entry:
    return entry(f"v{version}", version, paths=["/same"])


def look(folder: Path) -> None:
    if os.geteuid() == 0:
        os.setuid(NOBODY)
    store = local.build(folder, create=False)
    with store.snapshot() as snapshot:
        assert len(snapshot.nearest(directions(1, 0), SEEN.id, 10)[0]) == len(snapshot.numbers()) > 0
    for change in (partial(store.add, entry("z")), partial(store.catalog.set_recipe, "r", ""), store.compact):
        try:
            change()
        except StoreUnavailable:
            continue
        raise AssertionError(f"{change} changed a library that cannot be written")


def main(folder: str, how: str) -> None:
    if how == "hold":
        with CommitLock(Path(folder) / "lock").held(Work("holding", 1)):
            (Path(folder) / "held").touch()
            signal.pause()
    if how == "look":
        look(Path(folder))
        return
    if how == "upgrade":
        with_another_migration()
        _format.upgrade(Path(folder))
        return
    store = local.build(Path(folder))
    if how == "restore":
        store.restore(Path(folder).with_name("backup"))
        return
    if how == "replace":
        for version in count():
            store.add(replaced_by_key(version))
            store.add(replaced_by_path(version))
            if version % 10 == 9:
                store.compact()
    carry_out(store)
    while how == "forever":
        carry_out(store)
    store.close()


def serve() -> None:
    for line in sys.stdin:
        folder, how, crash_at = json.loads(line)
        child = os.fork()
        if not child:
            os.environ["REELSEEK_CRASH_AT"] = crash_at
            status = 1
            try:
                main(folder, how)
                status = 0
            finally:
                os._exit(status)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


class Scribe:
    """The other end: a process of this file, and the child that it forked last."""

    def __init__(self) -> None:
        tests = Path(__file__).parent
        places = os.pathsep.join([str(tests.parent), str(tests)])
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "PYTHONPATH": places},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, folder: Path, how: str = "once", crash_at: str = "") -> int:
        """Fork a child; returns its process id."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps([str(folder), how, crash_at]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def wait(self) -> int:
        """The exit code of the child."""
        return self._answer()

    def _answer(self) -> int:
        assert self.process.stdout
        return int(self.process.stdout.readline())

    def end(self) -> None:
        self.process.communicate(timeout=60)


if __name__ == "__main__":
    serve()
