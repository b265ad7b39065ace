"""Reads single pictures out of a video by their number, through decord (the decord2 package): for uniform sampling.

decord knows neither rotation nor the shape of pixels nor transparency, and after a jump it may give wrong pictures
without an error.  What it cannot do rightly is refused here: such files want the `pyav` reader.  Sound, and what the
container says, come from PyAV.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import decord
import numpy as np
from numpy.typing import NDArray

from indexer.media._footage import Footage
from indexer.media._listening import listen
from indexer.media._picture import Turn, scaled
from indexer.media._probing import probed
from indexer.ports import Frame, Probe
from retriever.errors import CannotDecode, CannotOpen
from retriever.types import Floats, MediaKind, Times

PROOF = 4
"""Pictures from the second keyframe on that a jump and a walk must give alike."""
_SMALL = 64  # pixels a side, for that comparison
_NO_REPAIRS = 1e-9  # share of frames that decord may replace by others without a word: as good as none
_WAY_OUT = "use the pyav reader for it"

decord.logging.set_level(decord.logging.QUIET)


@dataclass(frozen=True, slots=True)
class Shot:
    """A `Frame` that was decoded at once: decord wants to be asked in order."""

    pixels: NDArray[np.uint8]  # (H, W, 3)
    time: float
    end: float

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    def rgb(self, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        return self.pixels if size is None else scaled(self.pixels, size)

    def gray(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        red, green, blue = np.moveaxis(self.rgb(size).astype(np.float32), 2, 0)
        shade: NDArray[np.uint8] = (0.299 * red + 0.587 * green + 0.114 * blue).astype(np.uint8)
        return shade


class DecordMedia:
    """One open video."""

    def __init__(self, path: Path, probe: Probe, begin: float) -> None:
        self.path = path
        self.probe = probe
        self._begin = begin  # seconds of our zero at which decord's clock starts: with the first picture

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        starts = self._times[:, 0]
        first = max(0, int(np.searchsorted(starts, start, "right")) - 1)
        return self._numbered(range(first, len(starts)))

    def frames_at(self, times: Times) -> Iterator[Frame]:
        numbers = np.searchsorted(self._times[:, 0], times, "right") - 1
        return self._numbered([max(0, int(number)) for number in numbers])

    def sound(self, rate: int, start: float = 0.0) -> Iterator[Floats]:
        return listen(self.path, rate, start)

    @cached_property
    def _times(self) -> Times:
        """`(N, 2)` when each picture comes and goes."""
        video = self._opened()
        times = np.asarray(video.get_frame_timestamp(range(len(video))), np.float64) + self._begin
        if any(after <= before for before, after in pairwise(times[:, 0])):
            raise CannotDecode(f"{self.path}: its pictures do not follow one another in time; {_WAY_OUT}")
        return times

    def _numbered(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """The pictures of these numbers, which rise."""
        video = self._opened()
        if numbers and self._second_key is not None and numbers[-1] >= self._second_key:
            self._prove(self._second_key)
        last, shot = -1, None
        for number in numbers:
            if number != last or shot is None:
                shot = Shot(self._decode(video, number), *map(float, self._times[number]))
                last = number
            yield shot

    def _opened(self, *size: int) -> decord.VideoReader:
        try:
            # A path from the root is a file to FFmpeg, whatever it is called; a bare name could be a URL.
            return decord.VideoReader(str(self.path.resolve()), decord.cpu(0), *size, fault_tol=_NO_REPAIRS)
        except (decord.DECORDError, RuntimeError, AssertionError) as error:
            raise CannotOpen(f"{self.path} cannot be opened by decord; {_WAY_OUT}") from error

    def _decode(self, video: decord.VideoReader, number: int) -> NDArray[np.uint8]:
        try:
            pixels: NDArray[np.uint8] = video[number].asnumpy()
        except (decord.DECORDError, RuntimeError, IndexError, StopIteration) as error:
            raise CannotDecode(f"{self.path}: decord cannot decode picture {number}; {_WAY_OUT}") from error
        return pixels

    @cached_property
    def _second_key(self) -> int | None:
        keys = self._opened().get_key_indices()
        return int(keys[1]) if len(keys) > 1 else None

    def _prove(self, key: int) -> None:
        """Compare the pictures behind the second keyframe, reached by a jump, with those that walking gives."""
        numbers = range(key, min(key + PROOF, len(self._times)))
        jumping, walking = self._opened(_SMALL, _SMALL), self._opened(_SMALL, _SMALL)
        jumped = [self._decode(jumping, number) for number in numbers]
        walked = [self._decode(walking, number) for number in range(numbers.stop)][key:]
        if not all(np.array_equal(one, other) for one, other in zip(jumped, walked, strict=True)):
            raise CannotDecode(f"{self.path}: after a jump decord gives other pictures than in order; {_WAY_OUT}")


class DecordReader:
    """A `Reader` of upright, square-pixelled, opaque video."""

    reads = frozenset({MediaKind.VIDEO})
    random_access = True

    @contextmanager
    def open(self, path: Path) -> Iterator[DecordMedia]:
        probe = probed(path)
        if probe.kind is not MediaKind.VIDEO:
            raise CannotOpen(f"{path} is no video, and decord reads nothing else; {_WAY_OUT}")
        first = next(Footage(path).walk())
        if first.turn != Turn() or first.has_alpha or first.converter.pixel_width != 1:
            raise CannotOpen(f"{path} is rotated, transparent or not square-pixelled; {_WAY_OUT}")
        yield DecordMedia(path, probe, first.time)


def build() -> DecordReader:
    return DecordReader()
