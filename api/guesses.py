"""Wrong keys by whoever tried them: after some, nobody listens for a while."""

from collections import deque
from collections.abc import Callable
from threading import Lock
from time import monotonic

MOST, WITHIN_S = 20, 60.0
REMEMBERED = 10_000
"""Addresses: the oldest are forgotten."""


class Guesses:
    """Several threads may ask."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._tried: dict[str, deque[float]] = {}
        self._guard = Lock()

    def wrong(self, who: str) -> None:
        with self._guard:
            self._tried[who] = times = self._tried.pop(who, deque(maxlen=MOST))
            times.append(self._now())
            while len(self._tried) > REMEMBERED:
                self._tried.pop(next(iter(self._tried)))

    def is_over(self, who: str) -> bool:
        """Whether they are not listened to for now."""
        with self._guard:
            times = self._tried.get(who)
            return times is not None and len(times) == MOST and self._now() - times[0] < WITHIN_S
