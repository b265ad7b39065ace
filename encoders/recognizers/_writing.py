"""What was read on single pages becomes lines: words side by side, the same words through time, lines of one block.

A page reads the same words a little differently every second ("WATCHING", "WAICHING"), loses small ones and finds them
again.  So pages vote: the text that was read most surely most often stands for all.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from retriever.types import TimeSpan

ALIKE = 0.8  # share of letters that two readings of the same words have in common
GAP = 4.0  # seconds that the same words may be out of sight, or unread
TOGETHER = 0.5  # how much the times of two lines of one block overlap (intersection over union)


@dataclass(frozen=True, slots=True)
class Box:
    """Upright, in units of the page's height."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def cover(self, other: "Box") -> "Box":
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def of_one_size(self, other: "Box", times: float) -> bool:
        return max(self.height, other.height) <= times * min(self.height, other.height)


@dataclass(frozen=True, slots=True)
class Reading:
    """Some words on one page."""

    text: str
    confidence: float
    box: Box

    @property
    def letters(self) -> str:
        """What of the text OCR can be trusted with: letters and digits, without case."""
        return "".join(letter for letter in self.text.casefold() if letter.isalnum())


@dataclass(slots=True)
class Track:
    """The same words through time."""

    span: TimeSpan
    readings: dict[int, Reading] = field(default_factory=dict)  # by page, in order of time
    votes: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # letters → summed confidence

    def add(self, page: int, span: TimeSpan, reading: Reading) -> None:
        self.span = self.span.cover(span)
        self.readings[page] = reading
        self.votes[reading.letters] += reading.confidence

    @property
    def best(self) -> Reading:
        """The surest reading of the text that most pages voted for; of equals the longer, then the earlier."""
        letters = max(self.votes, key=lambda text: (self.votes[text], len(text)))
        return max((it for it in self.readings.values() if it.letters == letters), key=lambda it: it.confidence)

    def shows(self, reading: Reading) -> bool:
        """Whether `reading` may be these words again."""
        return any(alike(letters, reading.letters) for letters in self.votes)


def alike(one: str, other: str) -> bool:
    """Whether two readings are the same words, as far as OCR can tell."""
    if one == other:
        return True
    shorter = min(len(one), len(other))
    if shorter < 4 or 2 * shorter < ALIKE * (len(one) + len(other)):
        return False
    return SequenceMatcher(None, one, other, autojunk=False).ratio() >= ALIKE


def side_by_side(readings: Sequence[Reading]) -> list[Reading]:
    """Words of one page that stand in one row, not far from each other, as one reading; from top to bottom."""
    rows: list[Reading] = []
    for reading in sorted(readings, key=lambda it: (it.box.left, it.box.top)):
        for number, row in enumerate(rows):
            if _in_one_row(row.box, reading.box):
                length = len(row.text) + len(reading.text)
                sure = (row.confidence * len(row.text) + reading.confidence * len(reading.text)) / length
                rows[number] = Reading(f"{row.text} {reading.text}", sure, row.box.cover(reading.box))
                break
        else:
            rows.append(reading)
    return sorted(rows, key=lambda it: (it.box.top, it.box.left))


def _in_one_row(left: Box, right: Box) -> bool:
    height = min(left.height, right.height)
    level = min(left.bottom, right.bottom) - max(left.top, right.top) >= 0.6 * height
    near = -0.5 * height <= right.left - left.right <= height
    return level and near and left.of_one_size(right, 1.6)


def through_time(pages: Sequence[Sequence[Reading]], spans: Sequence[TimeSpan]) -> list[Track]:
    """The same words on neighbouring pages as one track, by start; on one page the same words count once."""
    done: list[Track] = []
    live: list[Track] = []
    for number, (readings, span) in enumerate(zip(pages, spans, strict=True)):
        done += [track for track in live if span.start - track.span.end > GAP]
        live = [track for track in live if span.start - track.span.end <= GAP]
        for reading in sorted(readings, key=lambda it: -it.confidence):
            track = next((it for it in live if it.shows(reading)), None)
            if track is None:
                track = Track(span)
                live.append(track)
            if number not in track.readings:
                track.add(number, span, reading)
    return sorted(done + live, key=lambda track: track.span)


def blocks(tracks: Sequence[Track]) -> list[list[Track]]:
    """Tracks that stand one below the other at the same time, each block from top to bottom, blocks by start."""
    found: list[list[Track]] = []
    for track in tracks:
        joined = [block for block in found if any(_of_one_block(track, other) for other in block)]
        found = [block for block in found if block not in joined]
        found.append([*(other for block in joined for other in block), track])
    ordered = [sorted(block, key=lambda track: (track.best.box.top, track.best.box.left)) for block in found]
    return sorted(ordered, key=lambda block: min(track.span for track in block))


def _of_one_block(one: Track, other: Track) -> bool:
    if one.span.iou(other.span) < TOGETHER:
        return False
    page = next((page for page in one.readings if page in other.readings), None)
    if page is None:
        return False
    upper, lower = sorted((one.readings[page].box, other.readings[page].box), key=lambda box: box.top)
    height = min(upper.height, lower.height)
    shared = min(upper.right, lower.right) - max(upper.left, lower.left)
    narrower = min(upper.right - upper.left, lower.right - lower.left)
    near = -0.6 * height <= lower.top - upper.bottom <= 0.8 * height
    return near and shared >= 0.3 * narrower and upper.of_one_size(lower, 1.6)
