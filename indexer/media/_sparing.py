"""Which packets need not be decoded, because nobody will look at what they show.

A picture is on show from its time until the next one's.  Pictures come to the decoder in another order than they are
shown in, but one that no other leans on comes after its neighbours on both sides; so what was already seen bounds its
time on show from above, and if nobody looks in that time it can be left out, which changes no other picture.
"""

from collections import deque

from indexer.ports import Needed
from indexer.screen import ROUNDING

REORDERED = 32
"""Packets among which the neighbours of a picture are looked for: twice as many as any codec holds back."""


class Sparing:
    """Asked once for each packet, in the order of decoding."""

    def __init__(self, needed: Needed) -> None:
        self._needed = needed
        self._seen: deque[float] = deque(maxlen=REORDERED)

    def spares(self, time: float) -> bool:
        """Whether the picture that comes at `time` may be left out, if no other leans on it."""
        later = min((seen for seen in self._seen if seen > time), default=None)
        self._seen.append(time)
        if later is None or time < 0:
            return False
        return not self._needed(time - 2 * ROUNDING, later + 2 * ROUNDING)
