"""Requests that are turned away: told at once, then once in a while how many more there were, and never one by one."""

import asyncio
import logging
from collections import Counter

from api.logs import tell

EVERY_S = 30.0
"""Seconds between two lines while there are more."""


class Crowd:
    """Those of one server; for one thread, that of the event loop."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._reasons: Counter[str] = Counter()
        self._next: asyncio.TimerHandle | None = None

    def turned_away(self, reason: str) -> None:
        """One more was."""
        self._reasons[reason] += 1
        if self._next is None:
            self._tell()

    def _tell(self) -> None:
        reasons, self._reasons = self._reasons, Counter()
        self._next = asyncio.get_running_loop().call_later(EVERY_S, self._tell) if reasons else None
        if reasons:
            tell(self._log, logging.WARNING, "turned away", requests=reasons.total(), reasons=dict(reasons))
