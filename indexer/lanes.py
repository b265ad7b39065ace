"""Decoders at work ahead of the encoders: each lane is a thread that drives one decoder child.

    tickets ──▶ lane (decoder child) ──▶ `ready`, a bounded queue

The queue is bounded, so a quick decoder waits for the encoders and memory stays flat however long a file is.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Full, Queue, SimpleQueue
from time import monotonic

from indexer.decoding import Chapter, Decoder
from indexer.events import Event, Opened
from indexer.plan import Job
from indexer.run import Run
from indexer.staging import Staging
from retriever.errors import CannotDecode

PATIENCE = 0.2  # seconds between two looks whether the run was stopped
DECODERS, ROOM, FILES, CHAPTERS = "decoders", "room", "files", "chapters"
READY, BYTES, TICKETS = "chapters ready", "bytes of frames ready", "files handed out"
"""Of a trace: who works in a lane, what is waited for, and what waits."""


@dataclass(frozen=True, slots=True)
class Decoded:
    job: Job
    chapter: Chapter


@dataclass(frozen=True, slots=True)
class Ended:
    """The lane is done with this job; `error` says why, if it did not come to the end."""

    job: Job
    error: Exception | None = None
    complete: bool = False  # all of its chapters were checkpointed before a crash


Item = Decoded | Ended


@dataclass(slots=True)
class Lanes:
    """Threads that drive decoder children, between a queue of jobs and a bounded queue of what became of them."""

    run: Run
    ready: Queue[Item | None]  # None: look whether there is anything left to wait for
    tickets: Queue[tuple[Job, Staging] | None] = field(default_factory=Queue)
    said: SimpleQueue[Event] = field(default_factory=SimpleQueue)  # for who watches the run
    stop: threading.Event = field(default_factory=threading.Event)
    decoders: list[Decoder] = field(default_factory=list)
    dropped: set[Job] = field(default_factory=set)  # that nobody waits for any more

    def hand_out(self, job: Job) -> None:
        self.run.trace.change(TICKETS, 1)
        self.tickets.put((job, self.run.staging(job)))

    def put(self, item: Item) -> None:
        """Wait for room, but not past a stop."""
        if isinstance(item, Decoded):
            self._count(item.chapter, 1)
        while not self.stop.is_set():
            try:
                return self.ready.put(item, timeout=PATIENCE)
            except Full:
                continue

    def end(self) -> None:
        """Nobody wants any more; who waits for an item is woken."""
        self.stop.set()
        with suppress(Full):  # then nobody waits for one
            self.ready.put_nowait(None)

    def taken(self, item: Item) -> None:
        """Somebody took an item off the queue."""
        if isinstance(item, Decoded):
            self._count(item.chapter, -1)

    def drive(self, number: int) -> None:
        """One lane: a decoder child, and the jobs that it takes."""
        with Decoder(limit_s=self.run.limit_s) as decoder:
            self.decoders.append(decoder)
            idle = _Idle(self.run, f"decoder {number}")
            while True:
                ticket = self.tickets.get()
                idle.ends(FILES)
                if ticket is None or self.stop.is_set():
                    return
                self.run.trace.change(TICKETS, -1)
                job, staging = ticket
                try:
                    ended = self._decode(decoder, job, staging, idle)
                except Exception as error:  # noqa: BLE001 - the edge of a thread: the run judges it
                    idle.begins()
                    ended = Ended(job, error)
                self.put(ended)
                idle.ends(ROOM)

    def _decode(self, decoder: Decoder, job: Job, staging: Staging, idle: "_Idle") -> Ended:
        trace, name = self.run.trace, job.path.name
        with trace.span(idle.track, "open", file=name):
            probe = decoder.probe(job.path, self.run.recipe.reader)
        self.run.policy.length(job.path, probe.duration)
        first = staging.begin(probe, self.run.encoders.spaces)
        self.said.put(Opened(str(job.path), probe.duration))
        idle.begins()
        if staging.end() is not None:
            return Ended(job, complete=True)
        last = False
        for chapter in decoder.chapters(job.path, self.run.wanted(), first):
            last = chapter.last
            idle.ends(ROOM, chapter.began)
            done = chapter.began + chapter.seconds
            trace.spent(idle.track, "decode", chapter.began, done, file=name, chapter=chapter.index)
            idle.begins(done)
            self.put(Decoded(job, chapter))
            if self.stop.is_set() or job in self.dropped:
                return Ended(job)
        if not last:  # a shorter film came to its place
            raise CannotDecode(f"{job.path} ended before its last chapter: index it again")
        return Ended(job)

    def _count(self, chapter: Chapter, sign: int) -> None:
        self.run.trace.change(READY, sign)
        self.run.trace.change(BYTES, sign * (chapter.frames.nbytes + sum(page.nbytes for page in chapter.pages)))


class _Idle:
    """Since when the child of one lane has nothing to do."""

    def __init__(self, run: Run, track: str) -> None:
        self.track = track
        self._run, self._since = run, monotonic()

    def begins(self, instant: float | None = None) -> None:
        self._since = monotonic() if instant is None else instant

    def ends(self, what: str, instant: float | None = None) -> None:
        """It waited for this; and from here on, if nobody says otherwise, it waits again."""
        now = monotonic() if instant is None else instant
        self._run.trace.waited(DECODERS, what, self._since, now, self.track)
        self._since = max(now, self._since)


@contextmanager
def opened(run: Run, count: int) -> Iterator[Lanes]:
    lanes = Lanes(run, Queue(maxsize=2 * count))
    threads = [
        threading.Thread(target=lanes.drive, args=(number,), name=f"lane-{number}", daemon=True)
        for number in range(count)
    ]
    began = monotonic()
    for thread in threads:
        thread.start()
    try:
        yield lanes
    finally:
        lanes.stop.set()
        for decoder in lanes.decoders:  # a chapter may take minutes
            decoder.stop()
        for _ in threads:
            lanes.tickets.put(None)
        for thread in threads:
            thread.join()
        run.trace.on_duty(DECODERS, count * (monotonic() - began))
