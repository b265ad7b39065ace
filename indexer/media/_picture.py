"""A decoded frame as a picture: upright, square pixels, 8 bits a channel, on black; converted when it is asked for."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from av.error import FFmpegError
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from retriever.errors import CannotDecode

SMOOTH = Interpolation.BICUBIC
"""swscale widens its filters when it scales down, so nothing aliases."""
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
"""Without the flags colours are a pixel off their edges."""
MEAN = Interpolation.AREA
"""For pictures that only a program looks at: the mean of what falls on a pixel."""

_WIDEST_PIXEL = 16.0
"""A pixel that claims to be wider or taller than this many times its other side is taken for a broken header."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the eight ways to lay a picture: mirrored at its diagonal first, then left-right, then up-down."""

    diagonal: bool = False
    sideways: bool = False
    upside_down: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> Self:
        """From the frame's display matrix, `x' = a·x + c·y`, `y' = b·x + d·y`, to the nearest quarter turn."""
        try:
            data = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
        except ValueError:  # PyAV 18 has no name for one kind of this frame's side data, and then gives none of it
            return cls._rotated(frame.rotation)
        if data is None:
            return cls()
        a, b, _, c, d = (int(number) for number in np.frombuffer(bytes(data), np.int32)[:5])
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    @classmethod
    def _rotated(cls, degrees: int) -> Self:
        """From the angle alone, counterclockwise: mirrored pictures are not told from others."""
        return {1: cls(True, False, True), 2: cls(False, True, True), 3: cls(True, True, False)}.get(
            round(degrees / 90) % 4, cls()
        )

    def shape(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height after the turn, from those before it; the same the other way round."""
        return (size[1], size[0]) if self.diagonal else size

    def laid(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`(H, W, …)` pixels, turned."""
        if self.diagonal:
            pixels = pixels.swapaxes(0, 1)
        if self.sideways:
            pixels = pixels[:, ::-1]
        if self.upside_down:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)


@dataclass(slots=True)
class Converter:
    """What all pictures of one stream share: the width of a pixel, and a scaler for each shape that was asked for."""

    pixel_width: float = 1.0  # of one pixel, its height being 1
    _scalers: dict[tuple[object, ...], VideoReformatter] = field(default_factory=dict)

    @classmethod
    def of(cls, stream: VideoStream) -> Self:
        return cls(float(stream.sample_aspect_ratio or 1))

    def __post_init__(self) -> None:
        if not 1 / _WIDEST_PIXEL <= self.pixel_width <= _WIDEST_PIXEL:
            self.pixel_width = 1.0

    def rgb(self, frame: VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """`(H, W, 3)` at `size` (width, height).  Scaling comes first and colours second, on fewer pixels: half the
        work, and the same to half a shade."""
        if not frame.format.is_rgb and size != (frame.width, frame.height):
            frame = self._scaled(frame, size, "yuv444p", SMOOTH)
        return self._scaled(frame, size, "rgb24", EXACT).to_ndarray()  # type: ignore[return-value]  # uint8

    def rgba(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """`(H, W, 4)` at the frame's own size."""
        return self._scaled(frame, (frame.width, frame.height), "rgba", EXACT).to_ndarray()  # type: ignore[return-value]

    def gray(self, frame: VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """`(H, W)` at `size`."""
        return self._scaled(frame, size, "gray8", MEAN).to_ndarray()  # type: ignore[return-value]

    def _scaled(self, frame: VideoFrame, size: tuple[int, int], layout: str, how: int) -> VideoFrame:
        scaler = self._scalers.setdefault((size, layout, frame.format.name), VideoReformatter())
        try:
            return scaler.reformat(frame, *size, format=layout, interpolation=how, threads=1)
        except FFmpegError as error:
            raise CannotDecode(f"its pictures are {frame.format.name}, which cannot be turned into {layout}") from error


@dataclass(frozen=True, slots=True)
class Picture:
    """A `Frame` of FFmpeg's."""

    frame: VideoFrame
    time: float
    end: float
    converter: Converter

    @property
    def turn(self) -> Turn:
        return Turn.of(self.frame)

    @property
    def size(self) -> tuple[int, int]:
        width = max(1, round(self.frame.width * self.converter.pixel_width))
        return self.turn.shape((width, self.frame.height))

    @property
    def width(self) -> int:
        return self.size[0]

    @property
    def height(self) -> int:
        return self.size[1]

    @property
    def has_alpha(self) -> bool:
        layout = self.frame.format
        return layout.has_palette or any(component.is_alpha for component in layout.components)

    def rgb(self, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        turn = self.turn
        flat = turn.shape(size or self.size)
        return turn.laid(self.converter.rgb(self._opaque(), flat))

    def gray(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        turn = self.turn
        return turn.laid(self.converter.gray(self._opaque(), turn.shape(size)))

    def _opaque(self) -> VideoFrame:
        """The frame, put on black at its full size: scaling first would mix in what lies under transparent parts."""
        if not self.has_alpha:
            return self.frame
        rgba = self.converter.rgba(self.frame).astype(np.uint16)  # (H, W, 4)
        rgb = (rgba[..., :3] * rgba[..., 3:] + 127) // 255
        return VideoFrame.from_ndarray(rgb.astype(np.uint8), "rgb24")


def scaled(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """`(H, W, 3)` RGB at another `size` (width, height), the way pictures are scaled here."""
    return Converter().rgb(VideoFrame.from_ndarray(pixels, "rgb24"), size)
