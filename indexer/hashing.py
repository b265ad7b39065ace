"""Files get their keys beside the work: a thread looks at one after the other, some ahead of whoever asks.

    listing ──▶ hashing (a thread) ──▶ queue of few batches ──▶ plan

What the file system, or the server, says of a file spares reading it again.  Keys are kept a batch at a time, in one
transaction; whoever is killed has lost a batch at most, and goes on behind it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from itertools import islice
from queue import Empty, Full, Queue
from time import monotonic

from indexer import places
from indexer.listing import Listing, Source
from indexer.places import Place, key_of, stat_of
from indexer.policy import Policy
from retriever.crashpoints import reached
from retriever.errors import MediaError
from retriever.ports import Store
from retriever.types import FileStat

BATCH = 256  # files, at most
SOON = 1.0
"""Seconds after which a batch goes on with what it has: large files take long to read, and the first is waited for."""
AHEAD = 2  # batches that wait
PATIENCE = 0.2  # seconds between two looks whether anybody still wants them
FAREWELL = 1.0
"""Seconds that a stop waits for a file that is being read.  What is found after it is kept nowhere."""


def known_stat(place: Place, store: Store, now: FileStat | None = None, before: FileStat | None = None) -> FileStat:
    """What lies there with its key, read from the content only where the file system, or the server, says something
    new.  `now` is what it says, and `before` what the catalog remembers, where that is known already."""
    now = now or stat_of(place)
    before = before or store.catalog.stat(str(place))
    if before and places.same(before, now):
        return before
    stat = replace(now, key=key_of(place))
    store.catalog.remember(str(place), stat)
    return stat


@dataclass(frozen=True, slots=True)
class Looked:
    """What became of looking at a source."""

    source: Source
    stat: FileStat | None = None  # with its key
    error: MediaError | None = None  # why there is none


@dataclass(frozen=True, slots=True)
class Batch:
    files: list[Looked]
    last: bool  # none comes after it


@dataclass(slots=True)
class Hashing:
    """The thread, and what it has ready."""

    listing: Listing
    store: Store
    policy: Policy
    _ready: Queue[Batch | Exception] = field(default_factory=lambda: Queue(maxsize=AHEAD))
    _stop: threading.Event = field(default_factory=threading.Event)

    def next(self, wait: float) -> Batch | None:
        """The next batch; None: there is none within `wait` seconds.

        Raises:
            DiskFull, StoreLocked, MissingExtra, OSError: what stopped it.
        """
        try:
            found = self._ready.get(timeout=wait) if wait else self._ready.get_nowait()
        except Empty:
            return None
        if isinstance(found, Exception):
            raise found
        return found

    def drive(self) -> None:
        try:
            for batch in self._batches():
                self._put(batch)
        except Exception as error:  # noqa: BLE001 - the edge of a thread: whoever asks for the next batch raises it
            self._put(error)

    def _batches(self) -> Iterator[Batch]:
        left, looked, began = len(self.listing), list[Looked](), monotonic()
        if not left:
            yield Batch([], True)
        sources = iter(self.listing)
        while several := list(islice(sources, BATCH)):
            before = self.store.catalog.stats([str(source.path) for source in several])
            new: dict[str, FileStat] = {}
            for source in several:
                if self._stop.is_set():
                    return
                looked.append(self._look(source, before.get(str(source.path)), new))
                left -= 1
                if len(looked) == BATCH or not left or monotonic() - began >= SOON:
                    self._keep(new)
                    yield Batch(looked, not left)
                    looked, new, began = [], {}, monotonic()
            self._keep(new)

    def _look(self, source: Source, before: FileStat | None, new: dict[str, FileStat]) -> Looked:
        try:
            now = source.seen or stat_of(source.path)
            self.policy.size(source.path, now.size)  # before all of it is read for its key
            if before and places.same(before, now):
                return Looked(source, before)
            stat = new[str(source.path)] = replace(now, key=key_of(source.path))
        except MediaError as error:
            return Looked(source, error=error)
        return Looked(source, stat)

    def _keep(self, new: dict[str, FileStat]) -> None:
        if new and not self._stop.is_set():
            reached("plan-hashed")
            self.store.catalog.remember_all(new)
            reached("plan-remembered")

    def _put(self, found: Batch | Exception) -> None:
        while not self._stop.is_set():
            try:
                return self._ready.put(found, timeout=PATIENCE)
            except Full:
                continue


@contextmanager
def hashing(listing: Listing, store: Store, policy: Policy) -> Iterator[Hashing]:
    made = Hashing(listing, store, policy)
    thread = threading.Thread(target=copy_context().run, args=(made.drive,), name="hashing", daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made._stop.set()
        thread.join(FAREWELL)
