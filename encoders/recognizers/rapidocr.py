"""Words on screen: PP-OCRv6 small from the wheel of `rapidocr`, a page at a time, merged through time.

Finding costs by the square of the side and reading by the line, so both are spent where they pay.  Every page is looked
at from afar, where a title is found as well as from near by; every few seconds from near by, where shop signs are; a
page that hardly differs from the last one not at all; and a line that was read a moment ago is not read again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import cv2
import numpy as np

from encoders._weights import RAPIDOCR
from encoders.recognizers._ppocr import Corners, Finder, Page, Reader
from encoders.recognizers._writing import Box, Reading, Track, blocks, side_by_side, through_time
from retriever.ports import TextRecognizer
from retriever.types import Floats, Line, Modality, Pictures, TimeSpan

MODALITY = Modality.TEXT
REVISION = "1"  # of all that decides what is read, beside the weights: another for every change

SKETCH = (64, 36)  # width and height of a page as it is compared with the last one
THUMB = (64, 16)  # width and height of a cut-out line as it is compared with those read before


@dataclass(frozen=True, slots=True)
class Options:
    """How near pages are looked at, and what passes for writing; measured on real clips (docs/experiments.md)."""

    near: int = 960  # longer side in pixels
    far: int = 320
    every: float = 4.0  # seconds between two looks from near by
    still: float = 6.0  # of 255: how far a patch of a page may change while the page is held for the same
    same: float = 0.97  # correlation from which on a cut-out line is held for one read before
    oblong: float = 1.25  # a box less oblong holds one letter at most
    least: float = 0.8  # confidence of a reading; what is read into leaves and faces stays below
    least_short: float = 0.95  # of one with two or three letters; a single one never counts


class RapidOCR:
    """The recognizer.  What it remembers it remembers within one call: pages given apart are read apart."""

    def __init__(self, options: Options, threads: int) -> None:
        self.digest = sha256(f"rapidocr {RAPIDOCR.digest} {options} {REVISION}".encode()).hexdigest()
        self.side = 1280  # lines are cut out of the page as it comes: finer than it is searched
        self.options = options
        self._finder = Finder(threads)
        self._reader = Reader(threads)

    def recognize(self, frames: Sequence[Pictures], spans: Sequence[tuple[float, float]]) -> list[Line]:
        """Lines in order of time; lines of one block of writing are one, from top to bottom."""
        times = [TimeSpan(*span) for span in spans]
        pages = self._pages(frames, times)
        lines = [_line(block) for block in blocks(through_time(pages, times))]
        return sorted(lines, key=lambda line: line.span)

    def _pages(self, frames: Sequence[Pictures], times: Sequence[TimeSpan]) -> list[list[Reading]]:
        """What stands on each page."""
        pages: list[list[Reading]] = []
        known = Known(self.options.same)
        seen: Floats | None = None  # the sketch of the page that was looked at last
        near_until = -np.inf  # second up to which the last look from near by holds
        was_near = False
        for frame, time in zip(frames, times, strict=True):
            sketch = _sketch(frame)
            still = seen is not None and float(np.abs(sketch - seen).max()) < self.options.still
            if still and was_near:
                pages.append(pages[-1])
                continue
            was_near = still or time.start >= near_until
            if was_near:
                near_until = time.start + self.options.every
            pages.append(self._read(frame, self.options.near if was_near else self.options.far, known))
            seen = sketch
        return pages

    def _read(self, page: Page, side: int, known: "Known") -> list[Reading]:
        """The rows of words on one page that pass the gates, from top to bottom."""
        readings = []
        for written in self._finder.find(page, side):
            height, width = written.crop.shape[:2]
            if max(height, width) >= self.options.oblong * min(height, width):
                thumb = _thumb(written.crop)
                text, confidence = known.get(thumb, width / height) or self._reader.read(written.crop)
                known.keep(thumb, width / height, text, confidence)
                readings.append(Reading(text, confidence, _box(written.corners, page.shape[0])))
        known.turn()
        return side_by_side([reading for reading in readings if self._passes(reading)])

    def _passes(self, reading: Reading) -> bool:
        least = self.options.least_short if len(reading.letters) <= 3 else self.options.least
        return len(reading.letters) >= 2 and reading.confidence >= least


class Known:
    """Lines read on the last few pages, found again by how they look."""

    def __init__(self, same: float, turns: int = 4) -> None:
        self._same, self._turns = same, turns
        self._pages: list[list[tuple[Floats, float, str, float]]] = [[]]

    def get(self, thumb: Floats, shape: float) -> tuple[str, float] | None:
        """Text and confidence of the line that looks most like this one, if any looks the same."""
        alike = [it for page in self._pages for it in page if 0.9 <= it[1] / shape <= 1.1]
        if not alike:
            return None
        nearness = np.stack([it[0] for it in alike]) @ thumb
        best = int(nearness.argmax())
        return alike[best][2:] if nearness[best] >= self._same else None

    def keep(self, thumb: Floats, shape: float, text: str, confidence: float) -> None:
        self._pages[-1].append((thumb, shape, text, confidence))

    def turn(self) -> None:
        """A page is done; those of long ago are forgotten."""
        self._pages = [*self._pages[-self._turns + 1 :], []]


def _sketch(page: Page) -> Floats:
    """`(36, 64)` brightness of a page, from 0 to 255."""
    return cv2.cvtColor(cv2.resize(page, SKETCH, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY).astype(np.float32)


def _thumb(crop: Page) -> Floats:
    """`(1024,)` brightness of a line, its mean taken off and of length one; zeros for a blank one."""
    grey = cv2.cvtColor(cv2.resize(crop, THUMB, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    thumb = grey.astype(np.float32).ravel()
    thumb -= thumb.mean()
    return thumb / max(float(np.linalg.norm(thumb)), 1.0)


def _box(corners: Corners, height: int) -> Box:
    left, top = (corners.min(axis=0) / height).tolist()
    right, bottom = (corners.max(axis=0) / height).tolist()
    return Box(left, top, right, bottom)


def _line(block: Sequence[Track]) -> Line:
    readings = [track.best for track in block]
    span = block[0].span
    for track in block:
        span = span.cover(track.span)
    weights = [len(reading.letters) for reading in readings]
    confidence = float(np.average([reading.confidence for reading in readings], weights=weights))
    return Line(span, " ".join(reading.text for reading in readings), MODALITY, min(1.0, confidence))


def build(threads: int = 2) -> TextRecognizer:
    """
    Raises:
        MissingWeights, AlteredWeights: rapidocr is not there, or its models are not those that were pinned.
    """
    return RapidOCR(Options(), threads)
