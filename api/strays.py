"""Strays: files that were sent and that the library does not have, for their media was taken out without them, or their
job was cancelled.  They count for whoever sent them until they go.

    strays.drop(store, strays.of(store, "3fa9c0ffee12ab34"))
"""

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from api import marks
from api.coming import Landing, alone
from indexer import jobs, places
from indexer.jobs import Standing
from retriever.ports import Store
from retriever.types import Filter, RunState

_FOLDER = re.compile(r"([0-9a-f]{16})(?:-\d+)?")


def key_of(path: Path) -> str:
    """The id of a media that was sent and stays where it is (`api.arrivals`); empty: it lies otherwise."""
    found = _FOLDER.fullmatch(path.parent.name)
    return found[1] if found and path.parent.parent.name == "media" else ""


def of(store: Store, key: str, collection: str = "") -> list[str]:
    """Files that were sent, into this collection if one is named, and have the content of this id."""
    sent = store.catalog.quotas.deposits()
    return [one.path for one in sent if key_of(Path(one.path)) == key and collection in ("", one.collection)]


def into(store: Store, collection: str) -> list[str]:
    """Files that were sent into this collection."""
    return [one.path for one in store.catalog.quotas.deposits() if one.collection == collection]


def drop(store: Store, files: Sequence[str]) -> list[str]:
    """Away with those of these files that were sent and are strays; returns them."""
    paths = set(files)
    return away(store, [one.path for one in store.catalog.quotas.deposits() if one.path in paths])


def away(store: Store, sent: Sequence[str]) -> list[str]:
    """Away with those of these files, which were sent, that are strays; returns them."""
    gone, far = list[str](), marks.is_far(store)  # what is not here may lie on another machine
    homes: dict[Path, list[Path]] = {}
    for file in map(Path, sent):
        if key_of(file) and not (far and not file.exists()):
            homes.setdefault(file.parent.parent, []).append(file)
    for home, files in homes.items():
        if not home.is_dir():
            continue
        with alone(home):  # nobody sends the same meanwhile
            for file in _strays(store, files):
                _unlink(file)
                gone.append(str(file))
    if gone:
        store.catalog.quotas.gone(gone)
        store.catalog.forget(gone)
    return gone


def landed(store: Store, landings: Iterable[Landing]) -> None:
    """Away with media that got a place and no job, since their server was killed between the two: nobody was told that
    they are there.  They count no more; where what they were made of is there still, that does."""
    for one in landings:
        file, counted = Path(one.to), store.catalog.quotas
        if not (home := file.parent.parent).is_dir():
            continue
        with alone(home):  # nobody sends the same meanwhile
            asked = any(one.to in _paths(job) for job in jobs.standing(store))
            if asked or not _strays(store, [file]):
                continue
            if Path(one.counted).exists():
                counted.moved(one.to, one.counted)
            else:
                counted.withdraw(one.to)
            _unlink(file)


def left_by(store: Store, job: Standing) -> None:
    """Away with what was sent for a job, if that was cancelled and nobody else wants it."""
    if job.record.state is RunState.CANCELLED:
        drop(store, _paths(job))


def _paths(job: Standing) -> list[str]:
    found: list[str] = json.loads(job.record.asked).get("paths", [])  # also of a job of a newer version
    return found


def _strays(store: Store, files: Sequence[Path]) -> list[Path]:
    """Those of these files, of which there are some, that no job wants and no media is made of."""
    wanted = [  # first: what such a job has brought is in the library before it is over
        places.of(root)
        for one in jobs.standing(store)
        if not one.is_over and one.record.state is not RunState.FAILED
        for root in _paths(one)
    ]
    with store.snapshot() as snapshot:
        same = snapshot.media(Filter(media=frozenset(map(key_of, files))))
    used = {path for media in same for path in media.paths}
    free = [file for file in files if str(file) not in used]
    return [file for file in free if not any(places.is_below(str(file), root) for root in wanted)]


def _unlink(file: Path) -> None:
    file.unlink(missing_ok=True)
    with suppress(OSError):  # it was not there yet, or somebody put something beside it
        file.parent.rmdir()
