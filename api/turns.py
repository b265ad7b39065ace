"""Work that must not hold up the event loop: some threads, a line of those who wait, and no line without an end."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf
from time import monotonic
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Busy(Exception):
    """So many wait already that another one would be answered late: better now, and not."""


RECENT = 0.1
"""How much the newest work counts in how long work takes of late."""


class Turns:
    """At most `threads` at work and `waiting` in line, and no more of them than are begun within `latest_s`, by how
    long work took of late; who comes then is turned away at once."""

    def __init__(
        self, name: str, threads: int, waiting: int, latest_s: float = inf, now: Callable[[], float] = monotonic
    ) -> None:
        self.name = name
        self._threads, self._most = threads, threads + waiting
        self._latest, self._now = latest_s, now
        self._usual = 0.0  # seconds that work takes; 0: nobody knows
        self._crew = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._there = 0

    @property
    def depth(self) -> int:
        """How many are at work or wait."""
        return self._there

    async def take(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """What `work` returns, done by one of the threads.

        Raises:
            Busy: the line is full.
        """
        ahead = self._there - self._threads + 1  # who have to be done before this one is begun
        if self._there >= self._most or ahead * self._usual / self._threads > self._latest:
            raise Busy(self.name)
        self._there += 1

        def timed() -> T:
            began = self._now()
            try:
                return work(*args, **named)
            finally:
                took = self._now() - began
                self._usual += (took - self._usual) * (RECENT if self._usual else 1.0)

        done = asyncio.get_running_loop().run_in_executor(self._crew, timed)
        done.add_done_callback(lambda _: self._left())  # also where whoever asked has gone
        return await done

    def _left(self) -> None:
        self._there -= 1

    def close(self) -> None:
        """Wait for those who are at work; nobody else begins."""
        self._crew.shutdown(cancel_futures=True)
