"""The driver's side of a pair of actors: which jobs it has, what it was asked, and what its answers come to."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from time import monotonic
from typing import Any

import numpy as np
import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from indexer.decoding import Chapter
from indexer.events import Opened
from indexer.executors import _actors
from indexer.executors._actors import Page
from indexer.making import Making
from indexer.plan import Job
from indexer.ports import Probe
from indexer.run import Run, altered
from retriever.errors import (
    CannotDecode,
    CannotEncode,
    CannotOpen,
    MediaError,
    PluginError,
    ReelseekError,
    SpaceMismatch,
)
from retriever.types import MediaKind, TimeSpan

IN_FLIGHT = 2
"""Chapters of a pair between its decoder and its encoders: one is encoded, the next one decoded."""
DECODER = 1.0  # processors of a decode actor: its child does one thing at a time


@dataclass(frozen=True, slots=True)
class Shape:
    """What a pair is made of."""

    making: Making
    cpus: float  # of the encode actor
    gpus: float  # share of one, of the encode actor
    limit_s: float  # seconds that a chapter may take to decode

    @property
    def bundles(self) -> list[dict[str, float]]:
        """What its node has to have free, as Ray says it."""
        return [{"CPU": DECODER}, {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}]

    def __str__(self) -> str:
        return f"{DECODER + self.cpus:g} processors" + (f" and {self.gpus:g} of a GPU" if self.gpus else "")


@dataclass(slots=True, eq=False)
class Pair:
    """A decode actor and an encode actor on one node.  They are made when the cluster has room for both."""

    run: Run
    decoder: Any  # actor handles, which have no type
    encoder: Any
    group: PlacementGroup
    losses: Counter[str]  # pairs that were lost over a job since its last checkpoint, by key
    number: int  # of all pairs of this run, for its trace
    asked: dict[Any, Callable[[Page], None]] = field(default_factory=dict)  # by reference of the answer
    jobs: dict[str, Job] = field(default_factory=dict)  # at hand, by key, in the order in which they came
    node: str = ""
    _encoding: deque[Any] = field(default_factory=deque)  # references of chapters that are encoded, in their order
    _decoding: Job | None = None
    _encodes: bool = False  # whether its encoders are ready
    _flying: int = 0  # chapters between a call to the decoder and the encoders' answer
    _waits: bool = False  # whether the decoder is asked for the next chapter when there is room

    @classmethod
    def start(cls, run: Run, shape: Shape, losses: Counter[str], number: int) -> "Pair":
        group = placement_group(shape.bundles, strategy="STRICT_PACK")
        places = [PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=at) for at in range(2)]
        decoding = ray.remote(_actors.Decoding).options(
            num_cpus=DECODER,
            scheduling_strategy=places[0],
            max_concurrency=2,  # `close` comes in between
        )
        encoding = ray.remote(_actors.Encoding).options(
            num_cpus=shape.cpus, num_gpus=shape.gpus, scheduling_strategy=places[1]
        )
        making = shape.making
        encoder = encoding.remote(making.module, making.function, dict(making.page), ceil(shape.cpus))
        made = cls(run, decoding.remote(shape.limit_s), encoder, group, losses, number)
        made._ask(made.decoder.ready.remote(), made._decoder_ready)
        made._ask(made.encoder.ready.remote(), made._encoder_ready)
        return made

    @property
    def is_ready(self) -> bool:
        return bool(self.node) and self._encodes

    @property
    def has_room(self) -> bool:
        """Whether the cluster has found a node for it."""
        return self.is_ready or bool(self.group.wait(0))

    @property
    def is_free(self) -> bool:
        """Whether its decoder has nothing to do."""
        return self.is_ready and self._decoding is None

    @property
    def awaited(self) -> list[Any]:
        """What to wait for.  Answers arrive in any order, chapters are kept in theirs: with the last one the media is
        committed."""
        later = list(self._encoding)[1:]
        return [reference for reference in self.asked if reference not in later]

    def take(self, job: Job) -> None:
        self.jobs[job.key] = self._decoding = job
        self._ask(self.decoder.probe.remote(str(job.path), self.run.recipe.reader), partial(self._probed, job))

    def answer(self, reference: Any) -> None:
        """Go on with what was asked and is answered now.

        Raises:
            ray.exceptions.RayError: an actor is lost, and the pair with it.
            ReelseekError, RayTaskError: what stops the run.
        """
        then, page = self.asked.pop(reference), ray.get(reference)
        if self._encoding and self._encoding[0] == reference:
            self._encoding.popleft()
        then(page)

    def closing(self) -> Any:
        """Ask the decode actor to leave nothing behind; the answer says that nothing is.  None: it never came up."""
        return self.decoder.close.remote() if self.node else None

    def clearing(self) -> Any:
        """Ask the same of the encode actor, where the other one is gone."""
        return self.encoder.close.remote() if self._encodes else None

    def kill(self) -> None:
        self.asked.clear()
        for actor in (self.decoder, self.encoder):
            ray.kill(actor)
        remove_placement_group(self.group)

    def _ask(self, reference: Any, then: Callable[[Page], None]) -> None:
        self.asked[reference] = then

    def _decoder_ready(self, page: Page) -> None:
        self.node = page["node"]

    def _encoder_ready(self, page: Page) -> None:
        """
        Raises:
            ReelseekError: its encoders cannot be had on that node, or are not those that are here.
        """
        if "error" in page:
            error = _actors.raised(page)
            raise type(error)(f"on the node {page['node']}: {error}")
        here, there = self.run.encoders.spaces, _actors.spaces_of(page)
        if here != there:
            wrong = ", ".join(
                sorted(
                    {space.name for key, space in {**here, **there}.items() if key not in here.keys() & there.keys()}
                )
            )
            why = "".join(f" ({reason})" for reason in page["missing"])
            raise SpaceMismatch(
                f"the node {page['node']} does not encode as this machine does: {wrong} differ{why}; install the same "
                "version, extras and models on both"
            )
        self._encodes = True

    def _probed(self, job: Job, page: Page) -> None:
        if "error" in page:
            error = _actors.raised(page)
            if isinstance(error, CannotOpen) and not page["there"] and not altered(job):
                raise PluginError(
                    f"{job.path} is on this machine and not on the node {page['node']}: files are wanted at the same "
                    "paths on all nodes"
                )
            return self._fail(job, error)
        probe = Probe(**{**page["probe"], "kind": MediaKind(page["probe"]["kind"])})
        try:
            self.run.policy.length(job.path, probe.duration)
        except MediaError as error:
            return self._fail(job, error)
        staging = self.run.staging(job)
        first = staging.begin(probe, self.run.encoders.spaces)
        self.run.watch(Opened(str(job.path), probe.duration))
        if staging.end() is not None:  # all of it was checkpointed before a crash
            self.run.commit(job)
            return self._over(job)
        self._flying += 1
        wanted = self.run.wanted().plain()
        self._ask(self.decoder.begin.remote(str(job.path), wanted, first), partial(self._decoded, job))

    def _decoded(self, job: Job, page: Page) -> None:
        if self.jobs.get(job.key) is not job:  # an earlier chapter could not be encoded
            self._flying -= 1
            if "files" in page:
                self.decoder.drop.remote(page)
        elif "error" in page:
            self._flying -= 1
            self._fail(job, _actors.raised(page))
        elif "end" in page:  # a shorter film came to its place
            self._flying -= 1
            self._fail(job, CannotDecode(f"{job.path} ended before its last chapter: index it again"))
        else:
            self._trace("decoder", "decode", page["page"]["seconds"], job, page["page"])
            self._encoding.append(self.encoder.encode.remote(page))
            self._ask(self._encoding[-1], partial(self._encoded, job, page["page"]))
            if page["page"]["last"]:
                self._decoding = None
            else:
                self._waits = True
        self._advance()

    def _encoded(self, job: Job, told: Mapping[str, Any], page: Page) -> None:
        self._flying -= 1
        if self.jobs.get(job.key) is job:
            if "error" in page:
                self._fail(job, CannotEncode(f"{job.path} could not be encoded: {page['text']}"))
            else:
                self._trace("encoder", "encode", sum(page["seconds"].values()), job, told)
                goes_on = self.run.keep(job, _empty(told), _actors.from_plain(page), told["seconds"])
                self.losses.pop(job.key, None)
                if told["last"] or not goes_on:
                    self._over(job)
        self._advance()

    def _advance(self) -> None:
        if self._waits and self._decoding and self._flying < IN_FLIGHT:
            self._waits = False
            self._flying += 1
            self._ask(self.decoder.next.remote(), partial(self._decoded, self._decoding))

    def _trace(self, who: str, what: str, seconds: float, job: Job, told: Mapping[str, Any]) -> None:
        """Nodes have clocks of their own, so what took so long is said to have ended when we hear of it."""
        now = monotonic()
        track = f"{who} {self.number} on {self.node}"
        self.run.trace.spent(track, what, now - seconds, now, file=job.path.name, chapter=told["index"])

    def _fail(self, job: Job, error: ReelseekError) -> None:
        """
        Raises:
            ReelseekError: it is not about this file.
        """
        if not isinstance(error, MediaError):
            raise error
        self.run.give_up(job, error)
        self._over(job)

    def _over(self, job: Job) -> None:
        del self.jobs[job.key]
        self.losses.pop(job.key, None)
        if self._decoding is job:
            self._decoding, self._waits = None, False


def _empty(told: Mapping[str, Any]) -> Chapter:
    """What the driver is told of a chapter: all but what came out of the decoder."""
    none = np.zeros((0, 0, 0, 3), np.uint8)
    span = TimeSpan(*told["span"])
    return Chapter(told["index"], span, told["last"], none, np.zeros((0, 2)), [], [], {}, told["decoded"])
