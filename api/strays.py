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
    """Away with those of these files that are strays; returns them."""
    gone, paths, far = [], set(files), marks.is_far(store)  # what is not here may lie on another machine
    for one in store.catalog.quotas.deposits():
        file = Path(one.path)
        home = file.parent.parent
        if one.path not in paths or not key_of(file) or not home.is_dir() or (far and not file.exists()):
            continue
        with alone(home):  # nobody sends the same meanwhile
            if _is_stray(store, file):
                file.unlink(missing_ok=True)
                with suppress(OSError):  # somebody put something beside it
                    file.parent.rmdir()
                gone.append(one.path)
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
            if asked or not _is_stray(store, file):
                continue
            if Path(one.counted).exists():
                counted.moved(one.to, one.counted)
            else:
                counted.withdraw(one.to)
            file.unlink(missing_ok=True)
            with suppress(OSError):  # it was not there yet, or somebody put something beside it
                file.parent.rmdir()


def left_by(store: Store, job: Standing) -> None:
    """Away with what was sent for a job, if that was cancelled and nobody else wants it."""
    if job.record.state is RunState.CANCELLED:
        drop(store, _paths(job))


def _paths(job: Standing) -> list[str]:
    found: list[str] = json.loads(job.record.asked).get("paths", [])  # also of a job of a newer version
    return found


def _is_stray(store: Store, file: Path) -> bool:
    path = str(file)
    for one in jobs.standing(store):  # first: what such a job has brought is in the library before it is over
        over = one.is_over or one.record.state is RunState.FAILED
        if not over and any(places.is_below(path, places.of(root)) for root in _paths(one)):
            return False
    with store.snapshot() as snapshot:
        return all(path not in media.paths for media in snapshot.media(Filter(media=frozenset({key_of(file)}))))
