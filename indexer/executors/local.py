"""On this machine: decoders ahead, encoders in the middle, the library behind.

    lane (a thread and its decoder child) ──▶ bounded queue ──▶ encoders (a thread) ──▶ queue of one ──▶ keep · commit

While a batch is encoded, the next chapters are decoded and the batch before is written.  Encoders take chapters of
several files at once; words are recognized beside them, in a thread of their own.  Everything behind the encoders, and
every look into the catalog, happens in the thread that called.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from queue import Empty, Full, Queue
from time import monotonic

import numpy as np

from indexer import lanes as decoding
from indexer.decoding import Chapter
from indexer.encoding import Abandoned, Encoded, encode
from indexer.executors._leases import leased
from indexer.jobs import RENEWAL
from indexer.lanes import CHAPTERS, PATIENCE, ROOM, Decoded, Ended, Item, Lanes
from indexer.plan import Job, Work
from indexer.run import Run
from retriever.errors import CannotEncode, MediaError
from retriever.types import Wish

BATCH_FRAMES = 64
"""Chapters that wait are encoded together, up to so many frames."""
AHEAD = 4
"""Jobs handed out a lane: a lane that is done with a short file need not wait for the encoders."""
ENCODERS, STORE, ENCODED = "encoders", "store", "encoded chapters"


def build() -> "LocalExecutor":
    return LocalExecutor()


@dataclass(frozen=True, slots=True)
class Batch:
    """Items in the order in which the lanes brought them, and what became of each chapter among them."""

    items: list[Item]
    encoded: list[Encoded | Exception | None]  # a chapter each: why it could not be encoded; None: nobody wants it


@dataclass(slots=True)
class Bench:
    """The thread that encodes, between the lanes and whoever keeps what it makes."""

    lanes: Lanes
    done: Queue[Batch | Exception] = field(default_factory=lambda: Queue(maxsize=1))
    enough: threading.Event = field(default_factory=threading.Event)  # no further batch is to be begun
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def run(self) -> Run:
        return self.lanes.run

    def drive(self) -> None:
        """Encode until that is enough, or the lanes are stopped."""
        try:
            with ThreadPoolExecutor(1, "recognizers") as beside:
                while not (self.enough.is_set() or self.lanes.stop.is_set()):
                    if items := self._take():
                        encoded = self._encoded(items, beside)
                        self._put(Batch([_light(item) for item in items], encoded))
        except Abandoned:
            pass
        except Exception as error:  # noqa: BLE001 - the edge of a thread: whoever called raises it
            self._put(error)
        finally:
            self.over.set()

    def next(self) -> Batch | None:
        """What is encoded, once it is; None: nothing was for a while.  Raises what the encoders raised."""
        began = monotonic()
        try:
            found = self.done.get(timeout=PATIENCE)
        except Empty:
            return None
        finally:
            self.run.trace.waited(STORE, ENCODED, began, monotonic())
        if isinstance(found, Exception):
            raise found
        return found

    def rest(self) -> Iterator[Batch]:
        """What is under way, and nothing after it."""
        self.enough.set()
        while not (self.over.is_set() and self.done.empty()):
            if batch := self.next():
                yield batch

    def _take(self) -> list[Item]:
        """Wait for one item, but not for long; then take what else is there, up to a batch of frames."""
        began, items, frames = monotonic(), list[Item](), 0
        try:
            item = self.lanes.ready.get(timeout=PATIENCE)
            self.run.trace.waited(ENCODERS, CHAPTERS, began, monotonic())
            while item:
                items.append(item)
                frames += _frames(item)
                item = self.lanes.ready.get_nowait() if frames < BATCH_FRAMES else None
        except Empty:
            if not items:
                self.run.trace.waited(ENCODERS, CHAPTERS, began, monotonic())
        for item in items:
            self.lanes.taken(item)
        return items

    def _put(self, found: Batch | Exception) -> None:
        began = monotonic()
        while not self.lanes.stop.is_set():
            try:
                self.done.put(found, timeout=PATIENCE)
            except Full:
                continue
            break
        self.run.trace.waited(ENCODERS, ROOM, began, monotonic())

    def _encoded(self, items: Sequence[Item], beside: ThreadPoolExecutor) -> list[Encoded | Exception | None]:
        waiting = [item for item in items if isinstance(item, Decoded)]
        wanted = [item.job not in self.lanes.dropped for item in waiting]
        encoded = iter(self._tried([item.chapter for item, want in zip(waiting, wanted, strict=True) if want], beside))
        return [next(encoded) if want else None for want in wanted]

    def _tried(self, chapters: Sequence[Chapter], beside: ThreadPoolExecutor) -> list[Encoded | Exception]:
        """All together; where that fails one by one, to find out whose fault it is."""
        if not chapters:
            return []
        try:
            return [*encode(chapters, self.run.encoders, self.run.trace, beside, self.lanes.stop)]
        except (RuntimeError, ValueError) as error:  # what inference runtimes raise over one bad input
            if len(chapters) == 1:
                return [error]
        return [found for chapter in chapters for found in self._tried([chapter], beside)]


@contextmanager
def encoding(lanes: Lanes) -> Iterator[Bench]:
    bench = Bench(lanes)
    thread = threading.Thread(target=bench.drive, name="encoders", daemon=True)
    began = monotonic()
    thread.start()
    try:
        yield bench
    finally:
        lanes.end()
        thread.join()
        for crew in (ENCODERS, STORE):
            lanes.run.trace.on_duty(crew, monotonic() - began)


class LocalExecutor:
    """Lanes of decoder children in front of encoders in this process."""

    def carry_out(self, work: Work, run: Run) -> None:
        count = min(run.children, work.known) if work.complete else run.children
        out: dict[str, Job] = {}
        try:
            with decoding.opened(run, count) as lanes, encoding(lanes) as bench:
                renewed = monotonic()
                while not run.wish():
                    self._hand_out(work, AHEAD * count, out, lanes)
                    if not out:
                        if work.complete and not work.known:
                            break
                        continue
                    batch = bench.next()
                    self._tell(lanes)
                    if batch:
                        self._keep(batch, out, lanes)
                    if monotonic() - renewed > RENEWAL:
                        renewed = monotonic()
                        for job in out.values():
                            run.renew(job)
                if run.wish() is Wish.PAUSE:
                    for batch in bench.rest():
                        self._keep(batch, out, lanes)
        finally:
            run.trace.settle()
            for job in out.values():  # nobody is at them any more
                run.put_down(job)

    def _hand_out(self, work: Work, most: int, out: dict[str, Job], lanes: Lanes) -> None:
        """As many as lanes should have at hand; where they have none the next one is waited for, but not for long."""
        while len(out) < most and (job := leased(work, lanes.run, wait=0.0 if out else PATIENCE)):
            out[job.key] = job
            lanes.hand_out(job)

    def _tell(self, lanes: Lanes) -> None:
        lanes.run.trace.memory(decoder.pid for decoder in list(lanes.decoders))
        while not lanes.said.empty():
            lanes.run.watch(lanes.said.get())

    def _keep(self, batch: Batch, out: dict[str, Job], lanes: Lanes) -> None:
        """Write a batch down; jobs that came to their end with it are out no more."""
        run, encoded = lanes.run, iter(batch.encoded)
        for item in batch.items:
            match item:
                case Decoded(job, chapter):
                    result = next(encoded)
                    if not result or job in lanes.dropped:
                        continue
                    if isinstance(result, Exception):
                        run.give_up(job, CannotEncode(f"{job.path} could not be encoded: {result}"))
                        lanes.dropped.add(job)
                    elif not run.keep(job, chapter, result, chapter.seconds):
                        lanes.dropped.add(job)
                    continue
                case Ended(job, complete=True):
                    run.commit(job)
                case Ended(job, MediaError() as error) if job not in lanes.dropped:
                    run.give_up(job, error)
                case Ended(_, Exception() as error) if not isinstance(error, MediaError):
                    raise error
            if out.get(item.job.key) is item.job:  # and not a copy of it, which came into its place
                del out[item.job.key]


def _frames(item: Item) -> int:
    return len(item.chapter.frames) if isinstance(item, Decoded) else 0


def _light(item: Item) -> Item:
    """The same without its pictures and sounds, which take room."""
    if isinstance(item, Ended):
        return item
    chapter = replace(item.chapter, frames=np.zeros((0, 1, 1, 3), np.uint8), pages=[], sounds={})
    return Decoded(item.job, chapter)
