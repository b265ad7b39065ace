"""The time stamps of one stream as seconds on our clock."""

import math

from av.container import InputContainer

from indexer.media._container import claimed_duration, zero

LEAP = 3600.0
"""Seconds without anything after which a stream counts as broken off: such a time stamp is damage."""
SET_BACK = 0.5
"""Seconds: what comes out of a decoder is in order, so a time stamp that is further back was told by another clock."""
SET_FORWARD = 10.0
"""Seconds of nothing after which that is supposed of a later one, too, as players do; elsewhere it is damage if it
leads beyond what the container claims to last."""
_TS_DISCONT = 0x0200  # AVFMT_TS_DISCONT of libavformat: "format allows timestamp discontinuities"


class Clock:
    """In formats made for broadcasts the clock may start anew on the way: recordings are laid end to end, a sender is
    switched.  Time goes on then from where it was.  In all others a stream that says so is damaged."""

    def __init__(self, container: InputContainer) -> None:
        self._shift = -zero(container)  # seconds
        self._end = claimed_duration(container) or math.inf
        self.starts_anew = bool(container.format.flags & _TS_DISCONT)

    def read(self, stamp: float | None, due: float | None) -> float | None:
        """Seconds on our clock, from a time stamp of the stream's own; `due` is when something was to come, None at
        the start.  None: the stream has broken off."""
        if stamp is None:
            return due or 0.0
        time = stamp + self._shift
        if due is None:
            return max(time, 0.0)
        if self.starts_anew and not due - SET_BACK <= time <= due + SET_FORWARD:
            self._shift += due - time
            return due
        lost = time > due + LEAP or time > max(due, self._end) + SET_FORWARD
        return None if lost else time
