"""Whoever waits for a server says so, if somebody listens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock, Timer

SOON = 3.0
"""Seconds that nobody has to be told of."""


@dataclass(slots=True)
class _Ear:
    """Who listens, and of which servers that one has heard."""

    tell: Callable[[str], None]
    told: set[str] = field(default_factory=set)
    guard: Lock = field(default_factory=Lock)

    def hear(self, server: str, text: str) -> None:
        with self.guard:
            new = server not in self.told
            self.told.add(server)
        if new:
            self.tell(text)


_EAR: ContextVar[_Ear | None] = ContextVar("_EAR", default=None)


@contextmanager
def heard(tell: Callable[[str], None]) -> Iterator[None]:
    """Until the block ends `tell` is told what is waited for, each server once; from another thread.  Who listens
    already goes on to."""
    if _EAR.get():
        yield
        return
    before = _EAR.set(_Ear(tell))
    try:
        yield
    finally:
        _EAR.reset(before)


@contextmanager
def waiting(server: str, text: str) -> Iterator[None]:
    """The block asks a server: where that takes long, whoever listens is told."""
    ear = _EAR.get()
    if ear is None or server in ear.told:
        yield
        return
    timer = Timer(SOON, ear.hear, (server, text))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
