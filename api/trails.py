"""What becomes of one request on its way: who asks, and how long each stage of the answer takes.

    with following(Trail(id)) as trail:   # around a request
        with stage("encode"): …           # anywhere below it, also in the thread that answers
    trail.seconds                         # {"encode": 0.004}

Nothing is measured where nobody follows.  Stages may lie in one another: each counts what is its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter, time_ns
from typing import ClassVar

MOST = 256
"""Stages that are remembered one by one; a batch of questions has more, and they count all the same."""


@dataclass(frozen=True, slots=True)
class Passed:
    """One stage, as it was gone through."""

    name: str
    began: int  # nanoseconds of the epoch
    ended: int


@dataclass(slots=True)
class Trail:
    """Of one request.  Whoever answers it works in one thread at a time."""

    id: str
    key: str = ""  # id of the key that came with it
    collection: str = ""  # that this key sees; empty: all
    problem: str = ""  # title of the one that it ended in
    seconds: dict[str, float] = field(default_factory=dict)  # by stage
    passed: list[Passed] = field(default_factory=list)  # in order of their ends
    _within: list[float] = field(default_factory=list)  # seconds of stages in those that are open

    _HERE: ClassVar[ContextVar["Trail | None"]] = ContextVar("trail", default=None)

    @classmethod
    def here(cls) -> "Trail | None":
        """That of the request which is being answered; None: nobody follows."""
        return cls._HERE.get()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began, instant = perf_counter(), time_ns()
        self._within.append(0.0)
        try:
            yield
        finally:
            took = perf_counter() - began
            self.add(name, took - self._within.pop(), instant, time_ns())
            if self._within:
                self._within[-1] += took

    def add(self, name: str, seconds: float, began: int, ended: int) -> None:
        """A stage that is over, from and to nanoseconds of the epoch."""
        self.seconds[name] = self.seconds.get(name, 0.0) + max(0.0, seconds)
        if len(self.passed) < MOST:
            self.passed.append(Passed(name, began, ended))

    def join(self, seconds: Mapping[str, float], passed: Sequence[Passed]) -> None:
        """What another process went through for this request, within the stage that is open here."""
        for name, took in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + took
        self.passed += passed[: MOST - len(self.passed)]
        if self._within:
            self._within[-1] += sum(seconds.values())


@contextmanager
def following(trail: Trail) -> Iterator[Trail]:
    """Meanwhile stages are those of this request."""
    before = Trail._HERE.set(trail)
    try:
        yield trail
    finally:
        Trail._HERE.reset(before)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """A stage of the request that is being answered, if there is one."""
    trail = Trail.here()
    if trail is None:
        yield
    else:
        with trail.stage(name):
            yield
