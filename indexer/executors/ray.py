"""On a cluster: pairs of actors decode and encode wherever there is room, and this process writes.

    driver: leases, checkpoints, commits ◀── tokens, lines ── encode actor ◀── mapped files ── decode actor, its child
                                                              └────────────────── one node ──────────────────┘

The driver alone knows the library.  Pairs come as the cluster has room for them and go when nothing is left for them;
on a cluster that grows by demand one that waits for room is that demand.  A pair has two chapters in flight at most, so
nothing piles up anywhere.  Whatever a lost actor or node had at hand is begun again at its last checkpoint.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from time import monotonic, sleep

import ray
from ray.exceptions import RayError, RayTaskError

from indexer.events import Warned
from indexer.executors import _cluster
from indexer.executors._leases import leased
from indexer.executors._pair import DECODER, Pair, Shape
from indexer.jobs import RENEWAL
from indexer.making import Making
from indexer.plan import Job, Work
from indexer.run import Run
from retriever.errors import DecoderDied, PluginError

FAR = True
"""Its encoders are made elsewhere, so it has to be told how."""
LOSSES = 3
"""Pairs that may be lost over one chapter of a file before the file counts as the cause."""
STILLBORN = 5
"""Pairs that may be lost one after the other before they were ready."""
PATIENCE = 0.2  # seconds between two looks whether the run is to stop
REST = 10.0
"""Seconds until another pair is begun, times those that were lost one after the other before they were ready: Ray takes
a quarter of a minute to see that a node is gone, on a busy machine half a one and more, and makes actors on it as long.
The fifth pair comes after a minute and forty seconds."""
ROOM = 10.0  # seconds without a single pair until people are told
FAREWELL = 5.0  # seconds that actors get to clear up


def build(making: Making, address: str = "", most: int = 0, cpus: float = 1.0, gpus: float = 0.0) -> "RayExecutor":
    """`address` is that of a cluster, empty for a Ray of this machine; `most` pairs are at work at once, 0: as many as
    there is room for.  An encode actor takes `cpus` processors and `gpus` of a GPU.

    Raises:
        ValueError: no such numbers.
    """
    if most < 0 or cpus <= 0 or not 0 <= gpus <= 1:
        raise ValueError(f"most {most}, cpus {cpus}, gpus {gpus}; it wants ≥ 0, > 0 and 0 to 1")
    return RayExecutor(making, address, most, cpus, gpus)


@dataclass(frozen=True, slots=True)
class RayExecutor:
    """Pairs of actors on a Ray cluster."""

    making: Making
    address: str
    most: int
    cpus: float
    gpus: float

    def carry_out(self, work: Work, run: Run) -> None:
        shape = Shape(self.making, self.cpus, self.gpus, run.limit_s)
        with _cluster.joined(self.address, ceil(DECODER + self.cpus)):
            if not self.address and self.gpus > ray.cluster_resources().get("GPU", 0):
                raise PluginError(f"--ray-gpus is {self.gpus:g}, and Ray sees no such GPU here: leave it out")
            pool = Pool(run, shape, work, self.most or inf)
            try:
                pool.work()
            finally:
                pool.close()


@dataclass(slots=True)
class Pool:
    """The pairs of a run, and the jobs that wait for them."""

    run: Run
    shape: Shape
    waiting: Work
    most: float  # pairs
    back: deque[Job] = field(default_factory=deque)  # jobs of pairs that were lost
    pairs: list[Pair] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)  # pairs that were lost over a job since its last checkpoint
    started: int = 0  # pairs so far
    stillborn: int = 0  # pairs that were lost before they were ready, since one was
    rested: float = 0.0  # from when on another pair may be begun

    def work(self) -> None:
        """
        Raises:
            ReelseekError: what stops the run.
        """
        began = renewed = monotonic()
        told = False
        while not self.run.wish():
            if not self._left:
                self._look()
            self._hand_out()
            self._grow()
            if not self.pairs and self.waiting.complete and not self._left:
                return
            owners = {reference: pair for pair in self.pairs for reference in pair.awaited}
            if owners:
                for reference in ray.wait(list(owners), timeout=PATIENCE)[0]:
                    self._go_on(owners[reference], reference)
            elif self._left:  # it rests
                sleep(PATIENCE)
            now = monotonic()
            if now - renewed > RENEWAL:
                renewed = now
                for job in self._at_hand():
                    self.run.renew(job)
            if not told and self.pairs and now - began > ROOM and not any(pair.has_room for pair in self.pairs):
                told = True
                self.run.watch(Warned(f"waits for a node of the Ray cluster with {self.shape} free"))

    def close(self) -> None:
        """End the pairs, and put down what they had."""
        try:
            for job in self._at_hand():
                self.run.put_down(job)
        finally:
            self._end(self.pairs)

    def _at_hand(self) -> list[Job]:
        return [*self.back, *(job for pair in self.pairs for job in pair.jobs.values())]

    @property
    def _left(self) -> int:
        """Jobs that are known and nobody has."""
        return self.waiting.known + len(self.back)

    def _next(self) -> Job | None:
        return self.back.popleft() if self.back else leased(self.waiting, self.run)

    def _look(self) -> None:
        """See whether another job is known by now, which says whether pairs are wanted; without any, wait for it."""
        if job := leased(self.waiting, self.run, 0.0 if self.pairs else PATIENCE):
            self.back.append(job)

    def _hand_out(self) -> None:
        for pair in self.pairs:
            if pair.is_free and (job := self._next()):
                pair.take(job)

    def _grow(self) -> None:
        """As many pairs as there is work for; they double at most, since who waits for room may wait for long."""
        idle = [pair for pair in self.pairs if not pair.jobs]
        if not self._left and not self.waiting.complete:
            return  # more may come
        if not self._left:
            self._end(idle)
            self.pairs = [pair for pair in self.pairs if pair.jobs]
            return
        if monotonic() < self.rested:
            return
        ready = sum(pair.is_ready for pair in self.pairs)
        wanted = min(self.most, len(self.pairs) - len(idle) + self._left, 2 * ready or 1)
        for _ in range(int(wanted) - len(self.pairs)):
            self.pairs.append(Pair.start(self.run, self.shape, self.losses, self.started))
            self.started += 1

    def _go_on(self, pair: Pair, reference: ray.ObjectRef) -> None:
        try:
            pair.answer(reference)
        except RayTaskError:  # what nobody foresaw
            raise
        except RayError as error:
            self._lost(pair, error)
        else:
            self.stillborn = 0 if pair.is_ready else self.stillborn

    def _lost(self, pair: Pair, error: RayError) -> None:
        """An actor or its node is gone: others begin again at the last checkpoints."""
        self.pairs.remove(pair)
        self._end([pair])
        why = str(error).strip().splitlines()[-1].strip()
        if not pair.is_ready and monotonic() >= self.rested:  # those lost in a rest were begun with the one before it
            self.stillborn += 1
            self.rested = monotonic() + REST * self.stillborn
        if self.stillborn >= STILLBORN:
            raise PluginError(f"the actors of {self.stillborn} pairs died before they were ready ({why})")
        self.run.watch(Warned(f"an actor on {pair.node or 'a node'} is lost ({why}); others go on with what it had"))
        self.back.extend(pair.jobs.values())
        for job in list(pair.jobs.values())[:1]:  # the one that was encoded, or decoded if nothing was
            self.losses[job.key] += 1
            if self.losses[job.key] >= LOSSES:
                self.back.remove(job)
                self.run.give_up(job, DecoderDied(f"{job.path}: {LOSSES} actors died over one part of it ({why})"))

    def _end(self, pairs: Sequence[Pair]) -> None:
        closing = {answer: pair for pair in pairs if (answer := pair.closing())}
        gone = [closing[answer] for answer in _waited(closing) if _is_lost(answer)]
        _waited([answer for pair in gone if (answer := pair.clearing())])
        for pair in pairs:
            pair.kill()


def _waited(answers: Iterable[ray.ObjectRef]) -> list[ray.ObjectRef]:
    """Those that came while there was patience for farewells."""
    every = list(answers)
    return list(ray.wait(every, num_returns=len(every), timeout=FAREWELL)[0]) if every else []


def _is_lost(answer: ray.ObjectRef) -> bool:
    try:
        ray.get(answer)
    except RayError:
        return True
    return False
