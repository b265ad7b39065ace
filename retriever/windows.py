"""Windows of time over a curve: which of them stand out, and the moments that they are.

    found = moment(curve, 12.0, 20.0, rest=-0.4, borders=cuts)   # the window around the peak of [12, 20)
    best = moments(curve, rest=-0.4, limit=5)                    # several in one media, best first

A window stands out by how far its mean lies above that of what surrounds it, in the measure of a scan statistic: the
difference of means times √(a b / (a + b)), a being the seconds of the window and b those around it (what the likelihood
ratio of a raised mean comes to; over windows of all sizes: Arias-Castro, Donoho & Huo 2005).  So neither the shortest
window wins nor the longest, and there is no threshold to choose.  Means come from prefix sums, windows from a pyramid
of lengths (VLANet: Ma et al. 2020), so all is linear in the length of a curve.

Pure arithmetic: no store, no media.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retriever.moments import Curve
from retriever.types import Ids, Times

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

STEP = 0.5
"""Seconds of a cell: what two frames a second and windows of sound can tell apart."""
RATIO = 2**0.5
"""Each length of a pyramid by the one before."""
SHIFTS = 8
"""Windows of one length that begin within one length."""
LEAST = 1.0
"""Seconds of a moment, at least: a single frame is no event."""
REACH = 60.0
"""Seconds on each side of a window that it is held against, so that a moment is one wherever in a film it lies."""
LOOKED_AT = 4 * REACH
"""Seconds on each side of a peak in which its moment is looked for; where it fills them, in twice as many."""
BESIDE = 1.0
"""Seconds of the rest of the library that stand beside every media: where a media is about the question from end to
end, all of it is the moment."""
BORDER = 0.2
"""What it is worth that an end of a moment lies where an event ends."""
SAME = 0.7
"""Overlap from which on two windows are one proposal."""
TRIED = 1 << 14
"""Windows, those that stand out most, of which surrogates are chosen: all there are in a quarter of an hour."""
PROPOSED = 64
"""Surrogates that moments are chosen of, in each time that was looked at without a gap."""
SIGMA = 0.5
"""Of soft non-maximum suppression, as its authors have it."""


class Found(NamedTuple):
    """A window of time, and how far it stands out."""

    start: float
    end: float
    gain: float


@dataclass(frozen=True)
class Cells:
    """A curve in equal cells, over a time that was looked at without a gap."""

    start: float  # seconds
    step: float  # seconds a cell
    heights: Numbers  # (n,) mean of the curve

    @classmethod
    def of(cls, curve: Curve, start: float, end: float) -> "Cells":
        """Cells of about `STEP` over `[start, end)`, all of which the curve knows."""
        count = max(1, round((end - start) / STEP))
        times: Times = np.linspace(start, end, count + 1)
        low, high = curve.cells(start, end)
        edges, heights = curve.edges[low : high + 1], curve.heights[low:high].astype(np.float64)
        areas = np.concatenate([[0.0], np.cumsum(heights * np.diff(edges))])
        return cls(start, (end - start) / count, np.diff(np.interp(times, edges, areas)) / np.diff(times))

    def __len__(self) -> int:
        return len(self.heights)

    @cached_property
    def sums(self) -> Numbers:
        """`(n + 1,)` of the heights before each cell."""
        return np.concatenate([[0.0], np.cumsum(self.heights)])

    @cached_property
    def least(self) -> int:
        """Cells of the shortest window."""
        return min(len(self), max(1, round(LEAST / self.step)))

    def time(self, cell: int) -> float:
        """When a cell begins."""
        return self.start + cell * self.step

    def at(self, times: Times) -> Ids:
        """The cells whose beginnings are nearest to these times, those outside left out."""
        found: Ids = np.round((times - self.start) / self.step).astype(np.int64)
        return found[(found >= 0) & (found <= len(self))]


def stretches(curve: Curve) -> list[tuple[float, float]]:
    """The times that were looked at without a gap, in order."""
    known = np.concatenate([[False], np.isfinite(curve.heights), [False]])
    turns = np.flatnonzero(known[1:] != known[:-1])
    return [(float(curve.edges[first]), float(curve.edges[last])) for first, last in turns.reshape(-1, 2)]


def known_around(curve: Curve, peak: float, reach: float) -> tuple[float, float]:
    """The time around a known peak that was looked at without a gap, `reach` seconds on each side at most."""
    first, last = curve.cells(peak - reach, peak + reach)
    at = int(np.searchsorted(curve.edges[1:], peak, side="right"))
    blind = first + np.flatnonzero(np.isneginf(curve.heights[first:last]))
    before, behind = blind[blind < at], blind[blind > at]
    low = curve.edges[before[-1] + 1] if len(before) else curve.edges[first]
    high = curve.edges[behind[0]] if len(behind) else curve.edges[last]
    return max(float(low), peak - reach), min(float(high), peak + reach)


@lru_cache(maxsize=1024)
def lengths(least: int, most: int) -> Ids:
    """`(L,)` rising from `least` cells to `most`, each by `RATIO` longer than the one before, or by a cell."""
    found, length = [], float(least)
    while round(length) < most:
        found.append(round(length))
        length = max(length * RATIO, round(length) + 1)
    return np.array([*found, most], np.int64)


def pyramid(cells: Cells, peak: int | None = None) -> Ids:
    """Windows `(W, 2)` of cells, `[first, last)`, of all lengths: as many as begin `SHIFTS` to a length, and the last.
    With a `peak` those that hold it: some ten a length, however many cells there are."""
    count, long = len(cells), lengths(cells.least, len(cells))
    low = np.zeros_like(long) if peak is None else np.maximum(0, peak - long + 1)
    high = count - long if peak is None else np.minimum(peak, count - long)
    step = np.maximum(1, long // SHIFTS)
    many = -((low - high) // step) + 1  # of each length; the last begins at `high`, however near the one before
    at = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    starts = np.minimum(np.repeat(low, many) + at * np.repeat(step, many), np.repeat(high, many))
    return np.stack([starts, starts + np.repeat(long, many)], axis=1)


def gains(cells: Cells, windows: Ids, rest: float, ends: Mask | None = None) -> Numbers:
    """How far each window `(W, 2)` stands out, in heights times √second, by a few additions a window.

    What surrounds it are `REACH` seconds on each side, and `BESIDE` seconds of the height `rest`.  `ends` `(n + 1,)`
    says in front of which cells an event ends.
    """
    gain = _gains(cells, windows[:, 0], windows[:, 1], rest)
    return gain if ends is None else gain + BORDER * ends[windows].sum(axis=1)


def _gains(cells: Cells, first: Ids | int, last: Ids | int, rest: float) -> Numbers:
    sums, reach = cells.sums, round(REACH / cells.step)
    low, high = np.maximum(first - reach, 0), np.minimum(last + reach, len(cells))
    wide = last - first
    inside, outside = wide * cells.step, (high - low - wide) * cells.step + BESIDE
    total = sums[last] - sums[first]
    above = total / wide - ((sums[high] - sums[low] - total) * cells.step + BESIDE * rest) / outside
    gain: Numbers = above * np.sqrt(inside * outside / (inside + outside))
    return gain


def moment(
    curve: Curve, start: float, end: float, rest: float, borders: Times | None = None
) -> tuple[float, float] | None:
    """The window that stands out most of those that hold the highest point of `[start, end)`.

    It begins and ends on cells; `borders` are times where events end, on which it prefers to.  Time that nobody looked
    at is never bridged.  None where nothing was looked at in `[start, end)`.
    """
    peak = curve.peak(start, end)
    if peak is None:
        return None
    reach = LOOKED_AT
    while True:
        low, high = known_around(curve, peak, reach)
        cells = Cells.of(curve, low, high)
        at = min(int((peak - low) / cells.step), len(cells) - 1)
        start, end = _times(cells, around(cells, at, rest, _ends(cells, borders)))
        if (low > peak - reach or start - low >= REACH) and (high < peak + reach or high - end >= REACH):
            return start, end
        reach *= 2  # it may be longer, or has less around it than there is


def around(cells: Cells, peak: int, rest: float, ends: Mask) -> Ids:
    """The window `(2,)` that stands out most of those that hold a cell."""
    windows = pyramid(cells, peak)
    return refined(cells, windows[np.argmax(gains(cells, windows, rest, ends))], rest, ends, peak)


def _ends(cells: Cells, borders: Times | None) -> Mask:
    """`(n + 1,)` in front of which cells an event ends; where the cells do is no news."""
    ends = np.zeros(len(cells) + 1, bool)
    if borders is not None:
        ends[cells.at(borders)] = True
        ends[[0, -1]] = False
    return ends


def _times(cells: Cells, window: Ids) -> tuple[float, float]:
    first, last = window.tolist()
    return cells.time(first), cells.time(last)


def refined(cells: Cells, window: Ids, rest: float, ends: Mask, peak: int | None = None) -> Ids:
    """A window `(2,)` whose ends were moved, in turn, to where it stands out most: by a quarter of its length at most,
    so that it lands where the pyramid has no window.  It keeps the peak, and its least length."""
    first, last = window.tolist()
    worth = BORDER * ends
    for side in (0, 1, 0, 1):
        reach = max(1, (last - first) // 4)
        if side == 0:
            low = max(0, first - reach)
            high = min(first + reach, last - cells.least, last if peak is None else peak)
            moved = np.arange(low, high + 1)
            first = low + int(np.argmax(_gains(cells, moved, last, rest) + worth[moved]))
        else:
            low = max(last - reach, first + cells.least, 0 if peak is None else peak + 1)
            moved = np.arange(low, min(last + reach, len(cells)) + 1)
            last = low + int(np.argmax(_gains(cells, first, moved, rest) + worth[moved]))
    return np.array([first, last], np.int64)


# ------------------------------------------------------------------------------------------------------ several moments


def moments(curve: Curve, rest: float, limit: int, borders: Times | None = None) -> list[Found]:
    """At most `limit` moments of one media, best first, by soft non-maximum suppression of its surrogates.

    They may overlap: half of what stands out much comes before all of what stands out little.
    """
    found: set[Found] = set()
    for first, last in stretches(curve):
        cells = Cells.of(curve, first, last)
        ends, windows = _ends(cells, borders), pyramid(cells)
        gain = gains(cells, windows, rest, ends)
        if len(windows) > TRIED:
            most = np.sort(np.argpartition(-gain, TRIED)[:TRIED])
            windows, gain = windows[most], gain[most]
        for at in surrogates(windows, gain, PROPOSED).tolist():
            best = refined(cells, windows[at], rest, ends)
            found.add(Found(*_times(cells, best), float(gains(cells, best[np.newaxis], rest, ends)[0])))
    if not found:
        return []
    table = np.array(sorted(found))
    kept = soft_nms(table[:, :2], table[:, 2], limit)
    return [Found(float(table[at, 0]), float(table[at, 1]), gain) for at, gain in kept if gain > 0]


def overlaps(span: Numbers | Ids, spans: Numbers | Ids) -> Numbers:
    """Intersection over union of one `(2,)` with each of `(W, 2)`."""
    shared = np.minimum(span[1], spans[:, 1]) - np.maximum(span[0], spans[:, 0])
    shared = np.maximum(shared, 0)
    union = (span[1] - span[0]) + (spans[:, 1] - spans[:, 0]) - shared
    share: Numbers = np.divide(shared, union, out=np.zeros(len(spans)), where=union > 0)
    return share


def surrogates(windows: Ids | Numbers, scores: Numbers, limit: int, same: float = SAME) -> Ids:
    """Which windows `(W, 2)` stand for all, best first, `limit` at most: the best one, and then the best of those that
    overlap none of these by more than `same` (VLANet, §3.2: surrogate proposals)."""
    left = scores.astype(np.float64, copy=True)
    found: list[int] = []
    while len(found) < limit and len(left):
        best = int(np.argmax(left))
        if not np.isfinite(left[best]):
            break
        found.append(best)
        left[overlaps(windows[best], windows) > same] = -np.inf
        left[best] = -np.inf
    return np.array(found, np.int64)


def soft_nms(spans: Numbers, scores: Numbers, limit: int, sigma: float = SIGMA) -> list[tuple[int, float]]:
    """Spans `(W, 2)` best first, with what is left of their scores: each that is taken makes those that it overlaps
    worth exp(-IoU² / sigma) as much (Bodla et al. 2017, eq. 3).  Scores that are not above zero stay as they are."""
    left = scores.astype(np.float64, copy=True)
    found: list[tuple[int, float]] = []
    while len(found) < min(limit, len(spans)):
        best = int(np.argmax(left))
        found.append((best, float(left[best])))
        faded = np.exp(-(overlaps(spans[best], spans) ** 2) / sigma)
        left = np.where(left > 0, left * faded, left)
        left[best] = -np.inf
    return found
