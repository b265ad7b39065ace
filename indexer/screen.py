"""What is on show at a time, from frames in order."""

from collections.abc import Iterator

from indexer.ports import Frame

INSTANT = 1e-3
"""Seconds: two times that are nearer are one.  Containers round theirs to this and coarser."""


ROUNDING = 1e-6
"""Seconds: what is lost when a time stamp is calculated in two ways."""


class Screen:
    """Walks frames forward.  The first is on show before its time too, and the last one stays."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self._ahead: Frame | None = next(frames, None)
        self._shown: Frame | None = None
        self.pulled = int(self._ahead is not None)  # frames that were decoded so far

    def at(self, time: float) -> Frame | None:
        """The frame on show at `time`; None only if there is no frame at all.  Times may only rise."""
        while self._ahead is not None and (self._shown is None or self._ahead.time <= time + ROUNDING):
            self._shown, self._ahead = self._ahead, next(self._frames, None)
            self.pulled += self._ahead is not None
        return self._shown

    @property
    def reached(self) -> float:
        """Seconds up to which frames have been decoded."""
        frame = self._ahead or self._shown
        return frame.time if frame else 0.0

    def ends_by(self, time: float) -> bool:
        """Whether no frame begins, and none is on show, after `time`."""
        shown = self.at(time)
        return self._ahead is None and (shown is None or shown.end <= time + INSTANT)

    @property
    def end(self) -> float:
        """When the frame on show goes, as far as the container knows: the end of the picture after the last one."""
        return self._shown.end if self._shown else 0.0
