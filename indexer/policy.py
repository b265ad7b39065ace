"""What a run takes, how much room it leaves, and how often it tries a file that fails."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from indexer.places import Place
from retriever.errors import (
    CannotEncode,
    DecoderDied,
    DecodeTimeout,
    DiskFull,
    FileChanged,
    MediaError,
    OverLimit,
    Unreachable,
)
from retriever.types import Quarantined

FIRST_WAIT = 60.0
"""Seconds until a file that failed once is tried again; a machine may have been out of memory for a while."""
GROWTH = 10.0
"""Each wait is so many times the one before it: a minute, ten, an hour and forty minutes, …"""
LONGEST_WAIT = 86_400.0
GIGA = 1_000_000_000


PASSING = (DecoderDied, DecodeTimeout, CannotEncode, FileChanged, Unreachable)
"""What may go better another time: with more memory, when nobody writes to the file any more, or when its server is
back.  All else is the fault of the file itself, and it is tried again when it changed."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What whoever started a run wants of it."""

    tries: int = 3  # that a file gets which kills its decoder or keeps it waiting, over several runs
    most_seconds: float = 0.0  # of media in one file; 0: no limit
    most_bytes: int = 0  # of one file; 0: no limit
    least_free: int = 0  # bytes that stay free on the library's disk; 0: whatever

    def __post_init__(self) -> None:
        if self.tries < 1 or min(self.most_seconds, self.most_bytes, self.least_free) < 0:
            raise ValueError(f"{self} wants at least one try, and no limit below 0")

    def size(self, path: Place, size: int) -> None:
        """
        Raises:
            OverLimit: the file has more bytes than are taken.
        """
        if 0 < self.most_bytes < size:
            raise OverLimit(f"{path} has {size:,} bytes; --most-bytes takes {self.most_bytes:,}")

    def length(self, path: Place, seconds: float) -> None:
        """
        Raises:
            OverLimit: the media is longer than is taken.
        """
        if 0 < self.most_seconds < seconds:
            raise OverLimit(f"{path} is {seconds:,.0f} s long; --most-seconds takes {self.most_seconds:,.0f}")

    def room(self, folder: Path) -> None:
        """
        Raises:
            DiskFull: less is free on the disk of `folder` than should stay free.
        """
        if self.least_free and (free := shutil.disk_usage(folder).free) < self.least_free:
            raise DiskFull(
                f"the disk of {folder} has {free / GIGA:.1f} GB free, and --least-free is {self.least_free / GIGA:.1f} "
                "GB: make room and run the same again"
            )

    def may_try(self, shut: Quarantined, now: float) -> bool:
        """Whether a file in quarantine, which is as it was, gets another try.  What was set aside in time to come tells
        of a clock that was set back since, and is not waited for."""
        due = shut.again is not None and (shut.again <= now or shut.since > now)
        return due and shut.tries < self.tries

    def verdict(self, error: MediaError, before: int, now: float) -> tuple[str, int, float | None]:
        """What becomes of a file that failed after `before` other tries: the reason with what comes of it, tries so
        far, and when it may be tried again (None: when it changed)."""
        reason = str(error)
        if isinstance(error, OverLimit):  # that cost nothing, and another run may take more
            return reason, 0, now
        tries = before + 1
        if not isinstance(error, PASSING):
            return reason, tries, None
        wait = 0.0 if isinstance(error, FileChanged) else min(FIRST_WAIT * GROWTH**before, LONGEST_WAIT)
        if tries >= self.tries:
            told = f"given up after {tries} tries: reelseek jobs retry --quarantined tries again"
        else:
            told = f"try {tries} of {self.tries}" + (f", the next one after {wait:,.0f} s" if wait else "")
        return f"{reason} ({told})", tries, now + wait
