"""On this machine: decoders ahead, encoders behind.

    lane (a thread and its decoder child) ──▶ bounded queue ──▶ encode, batches across files ──▶ keep · commit

The queue is bounded, so a quick decoder waits for the encoders and memory stays flat however long a file is.
Everything behind the queue, and every look into the catalog, happens in the thread that called.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, Full, Queue
from time import monotonic

from indexer.decoding import Chapter, Decoder
from indexer.encoding import encode
from indexer.events import Opened, Warned
from indexer.jobs import RENEWAL
from indexer.plan import Job
from indexer.ports import Probe
from indexer.run import Run
from indexer.staging import Staging
from retriever.errors import CannotEncode, MediaError

BATCH_FRAMES = 64
"""Chapters that wait are encoded together, up to so many frames."""
AHEAD = 4
"""Jobs handed out a lane: a lane that is done with a short file need not wait for the encoders."""
PATIENCE = 0.2  # seconds between two looks whether the run was stopped


def build() -> "LocalExecutor":
    return LocalExecutor()


@dataclass(frozen=True, slots=True)
class Begun:
    job: Job
    probe: Probe
    complete: bool  # all of its chapters were checkpointed before a crash


@dataclass(frozen=True, slots=True)
class Decoded:
    job: Job
    chapter: Chapter
    seconds: float  # that the lane waited for it


@dataclass(frozen=True, slots=True)
class Ended:
    """The lane is done with this job; `error` says why, if it did not come to the end."""

    job: Job
    error: Exception | None = None


Item = Begun | Decoded | Ended


@dataclass(slots=True)
class Lanes:
    """Threads that drive decoder children, between a queue of jobs and a bounded queue of what became of them."""

    run: Run
    ready: Queue[Item]
    tickets: Queue[tuple[Job, Staging] | None] = field(default_factory=Queue)
    stop: threading.Event = field(default_factory=threading.Event)
    decoders: list[Decoder] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)  # keys of jobs that nobody waits for any more

    def put(self, item: Item) -> None:
        """Wait for room, but not past a stop."""
        while not self.stop.is_set():
            try:
                return self.ready.put(item, timeout=PATIENCE)
            except Full:
                continue

    def drive(self) -> None:
        """One lane: a decoder child, and the jobs that it takes."""
        with Decoder(limit_s=self.run.limit_s) as decoder:
            self.decoders.append(decoder)
            while (ticket := self.tickets.get()) and not self.stop.is_set():
                job, staging = ticket
                try:
                    self._decode(decoder, job, staging)
                    self.put(Ended(job))
                except Exception as error:  # noqa: BLE001 - the edge of a thread: the run judges it
                    self.put(Ended(job, error))

    def _decode(self, decoder: Decoder, job: Job, staging: Staging) -> None:
        probe = decoder.probe(job.path, self.run.recipe.reader)
        self.run.policy.length(job.path, probe.duration)
        first = staging.begin(probe, self.run.encoders.spaces)
        complete = staging.end() is not None
        self.put(Begun(job, probe, complete))
        if complete or self.stop.is_set():
            return
        began = monotonic()
        for chapter in decoder.chapters(job.path, self.run.wanted(), first):
            self.put(Decoded(job, chapter, monotonic() - began))
            if self.stop.is_set() or job.key in self.dropped:
                return
            began = monotonic()


@contextmanager
def open_lanes(run: Run, count: int) -> Iterator[Lanes]:
    lanes = Lanes(run, Queue(maxsize=2 * count))
    threads = [threading.Thread(target=lanes.drive, name=f"lane-{number}", daemon=True) for number in range(count)]
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


class LocalExecutor:
    """Lanes of decoder children in front of encoders in this process."""

    def carry_out(self, jobs: Sequence[Job], run: Run) -> None:
        count = min(run.children, len(jobs))
        leased = self._leased(jobs, run)
        out: dict[str, Job] = {}
        try:
            with open_lanes(run, count) as lanes:
                renewed = monotonic()
                self._hand_out(islice(leased, AHEAD * count), out, lanes)
                while out and not run.wish():
                    ended = self._take_in(lanes)
                    for job in ended:
                        del out[job.key]
                    self._hand_out(islice(leased, len(ended)), out, lanes)
                    if monotonic() - renewed > RENEWAL:
                        renewed = monotonic()
                        for job in out.values():
                            run.take(job)
        finally:
            for job in out.values():  # nobody is at them any more
                run.put_down(job)

    def _leased(self, jobs: Sequence[Job], run: Run) -> Iterator[Job]:
        """The jobs that nobody else is at, or has done since they were planned."""
        for job in jobs:
            holder = run.take(job)
            if holder is None and run.done(job):
                run.leave(job.id(run.recipe))
            elif holder is None:
                run.room(job)
                yield job
            else:
                run.left.append(job.path)
                run.watch(Warned(f"{job.path} is being indexed by {holder}; left to it"))

    def _hand_out(self, jobs: Iterator[Job], out: dict[str, Job], lanes: Lanes) -> None:
        for job in jobs:
            out[job.key] = job
            lanes.tickets.put((job, lanes.run.staging(job)))

    def _take_in(self, lanes: Lanes) -> list[Job]:
        """Wait a while for something, work on all that is there, and return the jobs that came to their end."""
        items = list(_together(lanes.ready))
        for item in items:
            if isinstance(item, Begun):
                lanes.run.watch(Opened(str(item.job.path), item.probe.duration))
        self._encode([item for item in items if isinstance(item, Decoded)], lanes)
        for item in items:
            match item:
                case Begun(job, _, complete=True):
                    lanes.run.commit(job)
                case Ended(job, MediaError() as error) if job.key not in lanes.dropped:
                    lanes.run.give_up(job, error)
                case Ended(_, Exception() as error) if not isinstance(error, MediaError):
                    raise error
        return [item.job for item in items if isinstance(item, Ended)]

    def _encode(self, waiting: Sequence[Decoded], lanes: Lanes) -> None:
        waiting = [item for item in waiting if item.job.key not in lanes.dropped]
        if not waiting:
            return
        try:
            encoded = encode([item.chapter for item in waiting], lanes.run.encoders)
        except (RuntimeError, ValueError) as error:  # what inference runtimes raise over one bad input
            if len(waiting) > 1:  # find out whose it is
                for item in waiting:
                    self._encode([item], lanes)
            else:
                job = waiting[0].job
                lanes.dropped.add(job.key)
                lanes.run.give_up(job, CannotEncode(f"{job.path} could not be encoded: {error}"))
            return
        for item, result in zip(waiting, encoded, strict=True):
            lanes.run.keep(item.job, item.chapter, result, item.seconds)


def _together(ready: Queue[Item]) -> Iterator[Item]:
    """Wait for one item, but not for long; then take what else is there, up to a batch of frames."""
    try:
        item = ready.get(timeout=PATIENCE)
    except Empty:
        return
    yield item
    frames = 0
    while True:
        frames += len(item.chapter.frames) if isinstance(item, Decoded) else 0
        if frames >= BATCH_FRAMES:
            return
        try:
            item = ready.get_nowait()
        except Empty:
            return
        yield item
