"""A media that is sent is counted, kept and asked for; or none of it."""

from collections.abc import Callable
from pathlib import Path

from api import arrivals, quotas
from api.callers import Caller
from api.indexing import Asked
from indexer.jobs import Standing
from retriever.notices import Hook
from retriever.types import Metadata


def brought(
    caller: Caller, place: Path, size: int, keep: Callable[[], None], metadata: Metadata, hook: Hook | None
) -> Standing:
    """The job of a media of so many bytes that lies at `place` once `keep` has been called.

    Raises:
        Problem: a quota has no room, or these bytes are another collection's.
        OverLimit: it is too large.
        BadSettings, MissingExtra, WeightsError: as `Serving.wanted`.  Nothing is kept then.
    """
    serving = caller.serving
    try:
        folder = serving.uploads.folder
        quotas.take(serving.library.store, folder, caller.id, metadata.collection, place, size)
        keep()
        job = arrivals.wanted(caller, place, metadata, hook)
    except BaseException:  # no job knows of it, and it may lie there already
        serving.uploads.drop(place)
        serving.library.store.catalog.quotas.withdraw(str(place))
        raise
    settle(caller, place, job)
    return job


def settle(caller: Caller, sent: Path, job: Standing) -> None:
    """A file that was counted at `sent` lies where its job says: of bytes that were there already, only the first of
    those who sent them has to account."""
    serving, (path, *_) = caller.serving, Asked.of(job.record.asked).paths
    counted = serving.library.store.catalog.quotas
    if not serving.uploads.has(path):
        counted.withdraw(str(sent))
    elif path != str(sent):
        counted.moved(str(sent), path)
