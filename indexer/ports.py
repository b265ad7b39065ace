"""The shapes of the indexer's plug-ins: readers of media files and segmenters.

A reader works inside a decoder child (`indexer/decoding.py`); nothing but the child imports one, so a file that
crashes a decoder takes a child with it and not the run.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.places import Place
from retriever.types import Floats, MediaKind, TimeSpan, Tokens

if TYPE_CHECKING:
    from indexer.plan import Work
    from indexer.run import Run


@dataclass(frozen=True, slots=True)
class Probe:
    """What a container says of itself, and what one look into it confirmed."""

    kind: MediaKind
    duration: float  # seconds; 1 for an image
    width: int = 0  # as shown: after rotation
    height: int = 0
    frame_rate: float = 0.0  # average frames a second
    has_sound: bool = False
    recorded: str = ""  # ISO 8601 where the container knows it


class Frame(Protocol):
    """One decoded picture, upright and square-pixelled.  Its pixels are converted only when they are asked for, so
    walking past a frame costs its decoding and no more.  Transparent parts stand on black."""

    @property
    def time(self) -> float:
        """Seconds from the container's earliest start: it is on show from here until the next one."""
        ...

    @property
    def end(self) -> float:
        """When it goes, as far as the container knows; the next frame's `time` counts more."""
        ...

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def rgb(self, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """`(H, W, 3)` RGB, scaled to `size` (width, height) if one is given."""
        ...

    def gray(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """`(H, W)` brightness from 0 to 255, scaled to `size` (width, height)."""
        ...


Needed = Callable[[float, float], bool]
"""Whether anybody will look at what is on show from one second to another."""


class OpenMedia(Protocol):
    """One open file."""

    probe: Probe

    def frames(self, start: float = 0.0, needed: Needed | None = None, keys: bool = False) -> Iterator[Frame]:
        """Every picture shown at or after `start`, in strictly rising order of time, the one on show at `start` first.
        Those that are on show only when nothing is `needed` may be left out, but not the last of all; where `keys` are
        enough, all that lean on others, if the others follow closely.  A stream that breaks off ends the iteration if
        any frame came; frames that the decoder calls damaged are left out.

        Raises:
            NoSuchStream: no picture in this file.
            CannotDecode: not a single frame came out.
        """
        ...

    def frames_at(self, times: NDArray[np.float64]) -> Iterator[Frame]:
        """The picture on show at each of `times`, which rise; the first one is on show before its time too, and the
        last one stays to the end.  Equal to walking through `frames()`: a reader that cannot promise that refuses.

        Raises:
            NoSuchStream, CannotDecode: as `frames`.
        """
        ...

    def sound(self, rate: int, start: float = 0.0) -> Iterator[Floats]:
        """Mono float32 blocks at `rate` samples a second from `start` on; gaps are silence, so that sample i of all
        blocks lies at `start + i / rate`.  The samples are the same whatever `start` is.

        Raises:
            NoSuchStream: no sound in this file.
            CannotDecode: not a single sample came out.
        """
        ...


class Reader(Protocol):
    """Opens media files."""

    reads: frozenset[MediaKind]
    random_access: bool  # whether `frames_at` is cheaper than walking through

    def open(self, path: Place) -> AbstractContextManager[OpenMedia]:
        """
        Raises:
            CannotOpen: no such file, empty, or nothing in it that this reader reads.
        """
        ...


class Segmenter(Protocol):
    """Cuts a media into spans: in order, not overlapping, none empty, together all of `[0, duration)`."""

    def segment(self, duration: float, tokens: Mapping[str, Tokens]) -> list[TimeSpan]:
        """`tokens` by space, as encoded; a segmenter looks at novelty in all of them, or at none."""
        ...


class Executor(Protocol):
    """Carries out a plan."""

    def carry_out(self, work: "Work", run: "Run") -> None:
        """Every job ends in a commit or in quarantine, or is left to whoever else has leased it; raises only what stops
        the run.  Once `run.wish()` wants an end, or something is raised, the jobs at hand are put down within a batch:
        their checkpoints stay, their leases do not."""
        ...
