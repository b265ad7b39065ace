"""Writes small media files with PyAV, for tests.

Pictures carry their own number as black and white columns, so a test can say which one it was shown whatever a codec
did to the shades; others have four quarters of four colours, so it can say which way is up.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

WIDTH, HEIGHT = 160, 96
BITS = 8  # columns of a numbered picture
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
MILLI = Fraction(1, 1000)
RATE = 48_000


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """`(H, W, 3)` with a column a bit, the highest at the left."""
    bits = [(number >> bit) & 1 for bit in reversed(range(BITS))]
    columns = np.array(bits)[np.arange(width) * BITS // width]  # (W,)
    return np.repeat(np.where(columns, 235, 20)[None, :, None].astype(np.uint8), height, axis=0).repeat(3, axis=2)


def number_of(pixels: Pixels) -> int | None:
    """The number that a picture carries; None if it is no numbered picture, or a damaged one."""
    width = pixels.shape[1]
    edges = np.linspace(0, width, BITS + 1)
    number = 0
    for left, right in pairwise(edges):
        column = pixels[:, int(left + (right - left) / 4) : max(int(right - (right - left) / 4), int(left) + 1)]
        shade = column.astype(np.float64)
        if not (shade.max() < 90 or shade.min() > 165):
            return None
        number = number * 2 + bool(shade.mean() > 128)
    return number


def quarters(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """Red, green, blue and white: top left, top right, bottom left, bottom right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = GREEN
    pixels[height // 2 :, : width // 2] = BLUE
    pixels[height // 2 :, width // 2 :] = WHITE
    return pixels


def quarter_colours(pixels: Pixels) -> list[tuple[int, int, int]]:
    """The pure colours in the four quarters, in reading order."""
    height, width, _ = pixels.shape
    middles = [
        (height // 4, width // 4),
        (height // 4, -width // 4),
        (-height // 4, width // 4),
        (-height // 4, -width // 4),
    ]
    return [tuple(255 * int(shade > 127) for shade in pixels[row, column]) for row, column in middles]  # type: ignore[misc]


def tone(seconds: float, hertz: float = 440.0, rate: int = RATE, start: float = 0.0) -> NDArray[np.float32]:
    """Half as loud as can be."""
    places = start + np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * places)).astype(np.float32)


@dataclass(frozen=True)
class Picture:
    """How pictures are encoded."""

    codec: str = "libx264"
    layout: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "bf": "2", "g": "10"})
    pixel_aspect: Fraction | None = None
    turn: tuple[float, bool] | None = None  # degrees counter-clockwise, mirrored


LOSSLESS = Picture("ffv1", "yuv444p", {})


@dataclass(frozen=True)
class Sounded:
    """How sound is encoded, and where it begins.  Blocks of samples, each at its second."""

    blocks: Sequence[tuple[float, NDArray[np.float32]]]
    codec: str = "aac"
    layout: str = "mono"
    rate: int = RATE


def write(
    path: Path,
    pictures: Iterable[tuple[float, Pixels]] = (),
    how: Picture = Picture(),
    sound: Sounded | None = None,
    options: Mapping[str, str] | None = None,
    container: str | None = None,
    target: Any = None,
) -> Path:
    """Pictures at their seconds, and sound, as a file."""
    shown = list(pictures)
    with as_it_was(), av.open(target or str(path), "w", format=container, options=dict(options or {})) as out:
        film = film_stream(out, shown[0][1], how) if shown else None
        track = _track(out, sound) if sound else None
        parcels: list[tuple[float, Any]] = []
        if film is not None:
            parcels += encoded_pictures(film, shown)
        if track is not None and sound is not None:
            parcels += encoded_sound(track, sound)
        for _, packet in sorted(parcels, key=lambda parcel: parcel[0]):
            out.mux(packet)
    return path


@contextmanager
def as_it_was() -> Iterator[None]:
    """Whatever an encoder does to the scheduling of this thread is undone: SVT-AV1 asks for real time, and where it
    gets that, nobody else has a processor from then on."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, priority)


def film_stream(out: Any, first: Pixels, how: Picture) -> Any:
    film = out.add_stream(how.codec, rate=10, options=dict(how.options))
    film.height, film.width = first.shape[:2]
    film.pix_fmt = how.layout
    film.codec_context.time_base = MILLI
    if how.pixel_aspect:
        film.codec_context.sample_aspect_ratio = how.pixel_aspect
    if how.turn:
        film.set_display_rotation(how.turn[0], hflip=how.turn[1])
    return film


def _track(out: Any, sound: Sounded) -> Any:
    track = out.add_stream(sound.codec, rate=sound.rate)
    track.codec_context.layout = sound.layout
    return track


def encoded_pictures(film: Any, shown: Sequence[tuple[float, Pixels]]) -> Iterator[tuple[float, Any]]:
    frames = []
    for second, pixels in shown:
        frame = av.VideoFrame.from_ndarray(pixels, "rgba" if pixels.shape[2] == 4 else "rgb24")
        frame.pts, frame.time_base = round(second * 1000), MILLI
        frames.append(frame)
    for frame in [*frames, None]:
        for packet in film.encode(frame):
            yield float((packet.dts if packet.dts is not None else packet.pts) * packet.time_base), packet


def encoded_sound(track: Any, sound: Sounded) -> Iterator[tuple[float, Any]]:
    channels = track.codec_context.layout.nb_channels
    resampler = av.AudioResampler(track.codec_context.format, sound.layout, sound.rate, track.codec_context.frame_size)
    frames = []
    for second, samples in sound.blocks:
        frame = av.AudioFrame.from_ndarray(np.repeat(samples[None], channels, axis=0), "fltp", sound.layout)
        frame.sample_rate, frame.time_base = sound.rate, Fraction(1, sound.rate)
        frame.pts = round(second * sound.rate)
        frames += resampler.resample(frame)
    for frame in [*frames, *resampler.resample(None), None]:
        for packet in track.encode(frame):
            yield float(packet.pts * packet.time_base), packet


def film(count: int = 30, fps: float = 10.0, **size: int) -> list[tuple[float, Pixels]]:
    """`count` numbered pictures."""
    return [(number / fps, numbered(number, **size)) for number in range(count)]
