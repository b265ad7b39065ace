"""Places for those who stay for long: so many at once, and so many of one caller."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.problems import Problem
from api.turns import Busy

WAIT_S = 5
"""Seconds after which a caller who had too many may ask again."""


class Seats:
    """Of one kind; asked in one thread, that of the event loop."""

    def __init__(self, name: str, most: int, each: int, has: str) -> None:
        """`has` says of a key that it has as many as one may have."""
        self.name = name
        self._most, self._each, self._has = most, each, has
        self._taken: Counter[str] = Counter()

    @property
    def depth(self) -> int:
        """How many are taken."""
        return self._taken.total()

    def take(self, who: str) -> Callable[[], None]:
        """A seat, until what is returned is called; once is enough.

        Raises:
            Busy: all of them are taken.
            Problem: this caller has as many as one may have (429); without keys nobody is told apart.
        """
        if self.depth >= self._most:
            raise Busy(self.name)
        if who and self._taken[who] >= self._each:
            raise Problem(429, "too many at once", f"this key {self._has}", retry_s=WAIT_S)
        self._taken[who] += 1
        given = False

        def leave() -> None:
            nonlocal given
            if not given:
                given = True
                self._taken[who] -= 1

        return leave


class Seated(StreamingResponse):
    """An answer that has a seat until it ends, however it ends, also before its first byte."""

    def __init__(self, content: AsyncIterator[str], leave: Callable[[], None], **more: Any) -> None:
        super().__init__(content, **more)
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()
