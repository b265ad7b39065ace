"""Media that were sent, once they are whole: bytes are kept once, and belong to whom they came from first.

    uploads/media/3fa9c0ffee12ab34/holiday.mp4      the folder is named after its content
    uploads/media/3fa9c0ffee12ab34-2/sea.mp4        the same, of somebody else, or again: nobody uses the first one

Several may send the same in one moment, to several servers of one library; one after the other is decided on.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

from api import clipping
from api.callers import Caller
from api.coming import alone
from api.indexing import Asked
from api.problems import Problem
from indexer import places
from indexer.jobs import Standing
from retriever.crashpoints import reached
from retriever.errors import MediaError
from retriever.notices import Hook
from retriever.types import Filter, Metadata, RunState


def wanted(
    caller: Caller, sent: Path, metadata: Metadata, hook: Hook | None = None, counted: Path | None = None
) -> Standing:
    """The job that brings a file that was sent into the library, and of which `hook` is told.  The file gets the place
    where it stays; or goes, if the library has its bytes where it can read them, or is about to: then the job is of
    those.  If this raises, the file is where it was, and counts where it did: at `counted`, or there.

    Raises:
        Problem: another collection has, or is about to have, these very bytes (409).
        BadSettings, MissingExtra, WeightsError: as `Serving.wanted`.
    """
    serving, key, counted = caller.serving, places.key_of(sent), counted or sent
    home, quotas = serving.uploads.home, serving.library.store.catalog.quotas
    home.mkdir(exist_ok=True)
    with alone(home):
        coming = _coming(caller, home, key)
        _check(caller, key, coming)
        there = next((file for file in (_held(caller, key), *coming) if file and _same(file, sent)), None)
        if there:
            job = serving.wanted((str(there),), metadata, hook=hook)
            sent.unlink()
            sent.parent.rmdir()
            return job
        place = next(one for one in _names(home, key) if not one.exists())
        file = place / sent.name
        with serving.uploads.landing(file, counted):
            quotas.moved(str(counted), str(file))  # first: what nobody counts would lie there for ever
            reached("upload-counted")
            sent.parent.rename(place)
            reached("upload-placed")
            try:
                job = serving.wanted((str(file),), metadata, hook=hook)
            except BaseException:
                place.rename(sent.parent)
                quotas.moved(str(file), str(counted))
                raise
            reached("upload-asked")
            return job


def _names(home: Path, key: str) -> Iterator[Path]:
    yield home / key
    yield from (home / f"{key}-{number}" for number in count(2))


def _coming(caller: Caller, home: Path, key: str) -> dict[Path, str]:
    """Files with these bytes that jobs bring which are neither over nor failed, and the collections they are for."""
    found: dict[Path, str] = {}
    for one in caller.serving.library.jobs():
        asked = Asked.of(one.record.asked)
        over = one.is_over or one.record.state is RunState.FAILED
        for path in () if over else map(Path, asked.paths):
            if path.parent.parent == home and path.parent.name.partition("-")[0] == key:
                found[path] = asked.metadata.collection if asked.metadata else ""
    return found


def _check(caller: Caller, key: str, coming: Mapping[Path, str]) -> None:
    """
    Raises:
        Problem: these bytes are another collection's.
    """
    if not caller.collection:
        return
    same = Filter(media=frozenset({key}))
    with caller.serving.library.store.snapshot() as snapshot:
        there, own = snapshot.media(same), snapshot.media(caller.where(same))
    if own or not (there or set(coming.values()) - {caller.collection}):
        return
    raise Problem(
        409,
        "not for this collection",
        "these bytes are here, in another collection; whoever runs this server can put them into this one",
    )


def _held(caller: Caller, key: str) -> Path | None:
    """Where the library has these bytes, on this machine and as they were."""
    store = caller.serving.library.store
    with store.snapshot() as snapshot:
        found = snapshot.media(Filter(media=frozenset({key})))
    try:
        place = clipping.intact(store, found[0]) if found else None
    except MediaError:  # it is gone, or another one is there
        return None
    return place if isinstance(place, Path) else None


def _same(file: Path, sent: Path) -> bool:
    """Whether a file that should have the same bytes is whole."""
    try:
        return file.stat().st_size == sent.stat().st_size
    except FileNotFoundError:
        return False
