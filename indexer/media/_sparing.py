"""Which packets need not be decoded, because nobody will look at what they show.

A picture is on show from its time until the next one's.  Pictures come to the decoder in another order than they are
shown in, but one that no other leans on comes after its neighbours on both sides; so what was already seen bounds its
time on show from above, and if nobody looks in that time it can be left out, which changes no other picture.

Where no picture leans on another one, as among keyframes and in codecs that know nothing else, they come in the order
in which they are shown, and the next packet says how long each stays.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from av.packet import Packet

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


def spared(
    packets: "Iterator[Packet[Any]]", needed: Needed, seconds: Callable[[int], float]
) -> "Iterator[Packet[Any]]":
    """Of packets that lean on no other those that somebody looks at, and the first and the last one: they say where it
    begins and ends.  `seconds` reads a time stamp on our clock."""
    held, first = next(packets, None), True
    for packet in packets:
        if held is None:
            return
        if (
            first
            or held.pts is None
            or packet.pts is None
            or _looked_at(seconds(held.pts), seconds(packet.pts), needed)
        ):
            yield held
        held, first = packet, False
    if held is not None:
        yield held


def _looked_at(start: float, end: float, needed: Needed) -> bool:
    return start < 0 or end <= start or needed(start - 2 * ROUNDING, end + 2 * ROUNDING)
