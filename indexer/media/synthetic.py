"""Reads `*.synthetic`: a few lines of JSON that describe scenes and tones, for tests without any codec.

    {"size": [320, 180], "fps": 10,
     "scenes": [{"seconds": 3, "colour": [255, 0, 0]},
                {"seconds": 2, "colour": [0, 0, 255], "pattern": "checks", "block": [255, 255, 255]}],
     "tones": [{"start": 1, "end": 2.5, "hertz": 440, "loudness": 0.5}],
     "seconds": 6, "still": false, "crash_at": null, "hang_at": null, "break_at": null, "leak": 0}

A scene is its colour, with `pattern` one of plain, stripes, checks, ramp, noise, and a `block` of a colour that moves
from left to right through the scene.  Tones may overlap; where there is none, and there are tones at all, is silence.
`seconds` is the length of the whole if that is more than the scenes' and tones'.  `still` makes it a picture.  Last,
ways to misbehave: when the second is decoded, the process dies (`crash_at`), answers no more (`hang_at`), or the
pictures end (`break_at`); and each picture costs so many bytes for good (`leak`).
"""

import json
import math
import os
import signal
import time as clock
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from indexer import places
from indexer.places import Place
from indexer.ports import Frame, Needed, Probe
from indexer.screen import Screen
from retriever.errors import CannotOpen, NoSuchStream
from retriever.types import Floats, MediaKind, Times

SUFFIX = ".synthetic"
Colour = tuple[int, int, int]
_Made = TypeVar("_Made")
_CELL = 16  # pixels of a stripe or a check
_LEAKED: list[bytes] = []


@dataclass(frozen=True, slots=True)
class Scene:
    seconds: float = 1.0
    colour: Colour = (0, 0, 0)
    pattern: str = "plain"
    block: Colour | None = None


@dataclass(frozen=True, slots=True)
class Tone:
    start: float
    end: float
    hertz: float = 440.0
    loudness: float = 0.5  # of the full range


@dataclass(frozen=True, slots=True)
class Script:
    """All that a file says."""

    size: tuple[int, int] = (320, 180)  # width, height
    fps: float = 10.0
    scenes: tuple[Scene, ...] = ()
    tones: tuple[Tone, ...] = ()
    seconds: float = 0.0
    still: bool = False
    crash_at: float | None = None
    hang_at: float | None = None
    break_at: float | None = None
    leak: int = 0

    @property
    def duration(self) -> float:
        shown = math.fsum(scene.seconds for scene in self.scenes)
        return max(self.seconds, shown, max((tone.end for tone in self.tones), default=0.0))


@dataclass(frozen=True, slots=True)
class Painted:
    """A `Frame` that is painted when it is asked for."""

    scene: Scene
    progress: float  # of the scene, 0 to 1
    size: tuple[int, int]
    time: float
    end: float

    @property
    def width(self) -> int:
        return self.size[0]

    @property
    def height(self) -> int:
        return self.size[1]

    def rgb(self, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        pixels = PATTERNS[self.scene.pattern](np.array(self.scene.colour, np.uint8), self.size)
        if self.scene.block:
            side = max(1, min(self.size) // 4)
            left, top = round(self.progress * (self.width - side)), (self.height - side) // 2
            pixels[top : top + side, left : left + side] = self.scene.block
        if size is None:
            return pixels
        rows = (np.arange(size[1]) * self.height) // size[1]
        columns = (np.arange(size[0]) * self.width) // size[0]
        return np.ascontiguousarray(pixels[rows][:, columns])

    def gray(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        red, green, blue = np.moveaxis(self.rgb(size).astype(np.float32), 2, 0)
        shade: NDArray[np.uint8] = (0.299 * red + 0.587 * green + 0.114 * blue).astype(np.uint8)
        return shade


def _grid(size: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.arange(size[0])[None, :, None], np.arange(size[1])[:, None, None]


def _plain(colour: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.full((size[1], size[0], 3), colour, np.uint8)


def _stripes(colour: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    x, y = _grid(size)
    return np.where(((x + 0 * y) // _CELL) % 2 == 0, colour, colour // 4).astype(np.uint8)


def _checks(colour: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    x, y = _grid(size)
    return np.where((x // _CELL + y // _CELL) % 2 == 0, colour, colour // 4).astype(np.uint8)


def _ramp(colour: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    x, y = _grid(size)
    return ((x + 0 * y) / max(size[0] - 1, 1) * colour).astype(np.uint8)


def _noise(colour: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    shade = np.random.default_rng(0).random((size[1], size[0], 1))
    return (shade * colour).astype(np.uint8)


PATTERNS: Mapping[str, Callable[[NDArray[np.uint8], tuple[int, int]], NDArray[np.uint8]]] = {
    "plain": _plain,
    "stripes": _stripes,
    "checks": _checks,
    "ramp": _ramp,
    "noise": _noise,
}


@dataclass(frozen=True, slots=True)
class SyntheticMedia:
    path: Place
    script: Script
    probe: Probe

    def frames(self, start: float = 0.0, needed: Needed | None = None, keys: bool = False) -> Iterator[Frame]:
        script = self.script
        if not script.scenes:
            raise NoSuchStream(f"{self.path} has no picture")
        starts = [0.0, *accumulate(scene.seconds for scene in script.scenes)]
        end = 1.0 if script.still else max(starts[-1], script.seconds)
        count = 1 if script.still else math.ceil(starts[-1] * script.fps - 1e-9)
        first = min(max(0, math.floor(start * script.fps + 1e-9)), count - 1)
        for number in range(first, count):
            time = number / script.fps
            if script.break_at is not None and time >= script.break_at:
                return
            self._misbehave(time)
            _LEAKED.append(b"\1" * script.leak)
            scene = min(bisect_right(starts, time) - 1, len(script.scenes) - 1)
            progress = (time - starts[scene]) / script.scenes[scene].seconds
            until = end if number == count - 1 else (number + 1) / script.fps
            yield Painted(script.scenes[scene], progress, script.size, time, until)

    def frames_at(self, times: Times) -> Iterator[Frame]:
        screen = Screen(self.frames(float(times[0]) if len(times) else 0.0))
        for time in times:
            frame = screen.at(float(time))
            if frame is not None:
                yield frame

    def sound(self, rate: int, start: float = 0.0) -> Iterator[Floats]:
        script = self.script
        if not script.tones:
            raise NoSuchStream(f"{self.path} has no sound")
        count = round(script.duration * rate)
        for first in range(round(start * rate), count, rate):
            self._misbehave(first / rate)
            places = np.arange(first, min(first + rate, count)) / rate  # (T,) seconds
            samples = np.zeros(len(places))
            for tone in script.tones:
                on = (places >= tone.start) & (places < tone.end)
                samples += on * tone.loudness * np.sin(2 * np.pi * tone.hertz * places)
            yield samples.clip(-1, 1).astype(np.float32)

    def _misbehave(self, time: float) -> None:
        if self.script.crash_at is not None and time >= self.script.crash_at:
            os.kill(os.getpid(), signal.SIGSEGV)
        while self.script.hang_at is not None and time >= self.script.hang_at:
            clock.sleep(1)


class SyntheticReader:
    """A `Reader` of `*.synthetic`."""

    reads = frozenset(MediaKind)
    random_access = True

    @contextmanager
    def open(self, path: Place) -> Iterator[SyntheticMedia]:
        script = _read(path)
        kind = MediaKind.IMAGE if script.still else MediaKind.VIDEO if script.scenes else MediaKind.SOUND
        width, height = script.size if script.scenes else (0, 0)
        rate = script.fps if kind is MediaKind.VIDEO else 0.0
        duration = 1.0 if script.still else script.duration
        sound = bool(script.tones) and not script.still
        yield SyntheticMedia(path, script, Probe(kind, duration, width, height, rate, sound))


def build() -> SyntheticReader:
    return SyntheticReader()


def _read(path: Place) -> Script:
    try:
        with places.opened(path) as file:
            page = json.loads(file.readall().decode("utf-8"))
        script = _script(page)
    except (OSError, ValueError, TypeError) as error:  # a UnicodeDecodeError and a JSONDecodeError are ValueErrors
        raise CannotOpen(f"{path} is no synthetic media: {error}") from error
    if not script.duration and not script.still:
        raise CannotOpen(f"{path} has neither scenes nor tones")
    return script


def _script(page: Any) -> Script:
    if not isinstance(page, dict):
        raise ValueError("it wants a JSON object")
    scenes = tuple(_made(Scene, scene) for scene in page.pop("scenes", ()))
    tones = tuple(_made(Tone, tone) for tone in page.pop("tones", ()))
    unknown = {scene.pattern for scene in scenes} - set(PATTERNS)
    if unknown:
        raise ValueError(f"there is no pattern {', '.join(sorted(unknown))}: there are {', '.join(PATTERNS)}")
    if not all(scene.seconds > 0 for scene in scenes):
        raise ValueError("each scene wants seconds above 0")
    return _made(Script, {**page, "scenes": scenes, "tones": tones})


def _made(kind: type[_Made], page: Mapping[str, Any]) -> _Made:
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if set(page) - known:
        raise ValueError(f"unknown keys {', '.join(sorted(set(page) - known))}: known are {', '.join(sorted(known))}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in page.items()})
