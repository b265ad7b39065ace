"""Reads single pictures out of a video by their number, through decord (the decord2 package): for uniform sampling.

decord knows neither rotation nor the shape of pixels nor transparency; after a jump, and where a stream is damaged,
it may give wrong pictures without an error.  What it cannot do rightly is refused here: such files want the `pyav`
reader.  So PyAV goes beside it: it says when a picture comes and whether it is whole, and each of decord's is compared
with it at a small size.  Sound, and what the container says, are PyAV's too.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.media._footage import Footage
from indexer.media._listening import listen
from indexer.media._picture import Turn, scaled
from indexer.media._probing import probed
from indexer.places import Place
from indexer.ports import Frame, Needed, Probe
from indexer.screen import INSTANT
from retriever.errors import CannotDecode, CannotOpen
from retriever.types import Floats, MediaKind, Times

_GRID = (32, 32)  # width and height at which two decoders' pictures are compared
_APART = 4.0  # mean difference of shades that is let pass: over 34 real clips it is 0.1 to 1.9
_APART_ANYWHERE = 48  # and the largest: there it is 1 to 29, at edges of strong colours
_NO_REPAIRS = 1e-9  # share of frames that decord may replace by others without a word: as good as none
_WAY_OUT = "use the pyav reader for it"

# When it is imported decord opens every library of every `nvidia` package for all to see.  Among them is nvBLAS, whose
# `sgemm_` then answers whoever is loaded later (FAISS, say) and crashes where there is no GPU.  Its decoding on the
# processor needs none of them, so it is imported as if there were no such package.
_nvidia = sys.modules.get("nvidia")
sys.modules["nvidia"] = None  # type: ignore[assignment]
try:
    import decord
finally:
    del sys.modules["nvidia"]
    if _nvidia is not None:
        sys.modules["nvidia"] = _nvidia

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
        self._footage = Footage(path)
        self._begin = begin  # seconds of our zero at which decord's clock starts: with the first picture

    def check(self) -> None:
        """
        Raises:
            CannotOpen: decord cannot read this file.
        """
        if not len(self._times):
            raise CannotOpen(f"{self.path} has no pictures for decord; {_WAY_OUT}")

    def frames(self, start: float = 0.0, needed: Needed | None = None, keys: bool = False) -> Iterator[Frame]:
        return self._beside(self._footage.walk(start, needed))

    def frames_at(self, times: Times) -> Iterator[Frame]:
        return self._beside(self._footage.at(times))

    def sound(self, rate: int, start: float = 0.0) -> Iterator[Floats]:
        return listen(self.path, rate, start)

    @cached_property
    def _times(self) -> Times:
        """`(N,)` when each picture comes, as decord has it."""
        video = self._opened()
        return np.asarray(video.get_frame_timestamp(range(len(video)))[:, 0], np.float64) + self._begin

    def _beside(self, others: Iterator[Frame]) -> Iterator[Frame]:
        """decord's pictures for those that PyAV came to: whole ones, in order of time."""
        video, times = self._opened(), self._times
        last, shot = -1, None
        for other in others:
            number = int(np.abs(times - other.time).argmin())
            if number != last or shot is None:
                shot = Shot(self._decode(video, number), other.time, other.end)
                if abs(times[number] - other.time) > INSTANT or not _alike(shot, other):
                    raise CannotDecode(
                        f"{self.path}: decord and PyAV see different pictures at {other.time:.3f} s; {_WAY_OUT}"
                    )
                last = number
            yield shot

    def _opened(self) -> decord.VideoReader:
        try:
            # A path from the root is a file to FFmpeg, whatever it is called; a bare name could be a URL.
            return decord.VideoReader(str(self.path.resolve()), decord.cpu(0), fault_tol=_NO_REPAIRS)
        except (decord.DECORDError, RuntimeError, AssertionError) as error:
            raise CannotOpen(f"{self.path} cannot be opened by decord; {_WAY_OUT}") from error

    def _decode(self, video: decord.VideoReader, number: int) -> NDArray[np.uint8]:
        try:
            pixels: NDArray[np.uint8] = video[number].asnumpy()
        except (decord.DECORDError, RuntimeError, IndexError, StopIteration) as error:
            raise CannotDecode(f"{self.path}: decord cannot decode picture {number}; {_WAY_OUT}") from error
        return pixels


def _alike(one: Frame, other: Frame) -> bool:
    """Whether two decoders saw the same, but for how they round colours."""
    apart = np.abs(one.rgb(_GRID).astype(np.int16) - other.rgb(_GRID))
    return bool(apart.mean() <= _APART and apart.max() <= _APART_ANYWHERE)


class DecordReader:
    """A `Reader` of upright, square-pixelled, opaque video."""

    reads = frozenset({MediaKind.VIDEO})
    random_access = True

    @contextmanager
    def open(self, path: Place) -> Iterator[DecordMedia]:
        if not isinstance(path, Path):
            raise CannotOpen(f"{path} is on a server, and decord reads files of this machine; {_WAY_OUT}")
        probe = probed(path)
        if probe.kind is not MediaKind.VIDEO:
            raise CannotOpen(f"{path} is no video, and decord reads nothing else; {_WAY_OUT}")
        first = next(Footage(path).walk())
        if first.turn != Turn() or first.has_alpha or first.converter.pixel_width != 1:
            raise CannotOpen(f"{path} is rotated, transparent or not square-pixelled; {_WAY_OUT}")
        media = DecordMedia(path, probe, first.time)
        media.check()
        yield media


def build() -> DecordReader:
    return DecordReader()
