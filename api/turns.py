"""Work that must not hold up the event loop: some threads, a line of those who wait, and no line without an end."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Busy(Exception):
    """So many wait already that another one would be answered late: better now, and not."""


class Turns:
    """At most `threads` at work and `waiting` in line; who comes then is turned away at once."""

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self.name = name
        self._most = threads + waiting
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
        if self._there >= self._most:
            raise Busy(self.name)
        self._there += 1
        done = asyncio.get_running_loop().run_in_executor(self._crew, lambda: work(*args, **named))
        done.add_done_callback(lambda _: self._left())  # also where whoever asked has gone
        return await done

    def _left(self) -> None:
        self._there -= 1

    def close(self) -> None:
        """Wait for those who are at work; nobody else begins."""
        self._crew.shutdown(cancel_futures=True)
