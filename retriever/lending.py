"""Calibrations of a library that is asked while media come into it.

Each commit makes another library, and what chance does in that one takes a second or more to work out; whoever asks
next would wait for it.  So they are lent what was known of the library just before, and what is known of it now is
worked out beside them, in at most a share of the time.  What is lent is as good as the library has changed little: it
is lent only while the library has the same sources, and about as many segments.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import Lock, Thread
from time import monotonic

from retriever.calibrating import Calibration, Calibrator
from retriever.errors import ReelseekError
from retriever.levels import sources
from retriever.looking import Looking
from retriever.ports import EncodeSentences, Snapshot

ALIKE = 0.25
"""By this share of its segments a library may have grown or shrunk."""
REST = 9.0
"""Times as long as a calibration took it is rested before the next: at most a tenth of the time goes into them."""


class Lender(Calibrator):
    """A calibrator for a library that is asked for a long time; several threads may ask."""

    def __init__(
        self,
        snapshot: Callable[[], AbstractContextManager[Snapshot]],
        encode: EncodeSentences,
        looking: Looking,
        cache: Path | None = None,
        asks: str = "",
    ) -> None:
        """`snapshot` is the newest state of the library; the rest is as a `Calibrator` has it."""
        super().__init__(encode, looking, cache, asks)
        self._snapshot = snapshot
        self._beginning = Lock()
        self._worker: Thread | None = None
        self._rested = 0.0  # from when on another calibration may be begun
        self._over = False

    def of(self, library: Snapshot) -> Calibration:
        """Of this generation if it is known, else of the one before if that will do."""
        if library.generation in (held := self._held):
            return held[library.generation]
        for lent in reversed(held.values()):
            if _will_do(lent, library):
                self._renew()
                return lent
        return super().of(library)

    def close(self) -> None:
        """Wait for what is being worked out."""
        self._over = True
        if self._worker is not None:
            self._worker.join()

    def _renew(self) -> None:
        """Begin to work out what is known of the newest state, unless somebody is at it or rests."""
        with self._beginning:
            at_it = self._worker is not None and self._worker.is_alive()
            if not at_it and not self._over and monotonic() >= self._rested:
                self._worker = Thread(target=self._work, name="calibration", daemon=True)
                self._worker.start()

    def _work(self) -> None:
        began = monotonic()
        try:
            with suppress(ReelseekError, OSError), self._snapshot() as library:
                made = self.made(library)
                with self._at_work:
                    self._hold(made)
        finally:
            self._rested = monotonic() + REST * (monotonic() - began)


def _will_do(known: Calibration, library: Snapshot) -> bool:
    """Whether what is known of one state of a library may stand for another."""
    if set(sources(library)) != set(known.levels.seen):
        return False
    segments = len(library.numbers())
    return abs(segments - known.segments) <= ALIKE * min(segments, known.segments)
