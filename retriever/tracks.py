"""What a moment head looks at: a stretch of one media in equal cells, by modality, and a view of it around a peak.

    track = Track.of(0.0, 63.5, heights, tokens, borders)     # heights by modality, tokens of what is seen and heard
    view = track.view(12.25, rest, shares)                    # 32 s on each side of the peak
    proposals(view)                                           # the windows around it that stand for all

There is nothing of a vector in it but how much it differs from the one before, so a head that was trained on one space
can be asked on another.  Pure arithmetic: no store, no torch.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from retriever import windows
from retriever.moments import Curve
from retriever.types import Floats, Halves, Ids, Modality, Times
from retriever.windows import Cells, Mask, Numbers

MODALITIES = tuple(Modality)
"""In the order of rows."""
CHANGING = (Modality.VISION, Modality.SOUND)
"""Modalities whose tokens cover a media, so that one can be held against the one before."""
REACH = 64
"""Cells of a view on each side of its peak."""
WIDTH = 2 * REACH + 1
FLOOR = 0.05
"""Change (1 - cosine) that encoders show where nothing happens: as the segmenter has it."""
CHANNELS = (*MODALITIES, "highest", "over rest", "seen change", "heard change", "border", "peak", "known")
"""Of what a head of the family `spans` sees."""
SURROGATES = 16
"""Windows that stand for all around a peak."""
PARTS = ("over rest", "above around", "known", "gain")
"""Of a window in one modality."""


@dataclass(frozen=True, slots=True)
class View:
    """The cells around a peak, which is the middle one; what lies outside of the track knows nothing."""

    heights: Floats  # (4, WIDTH) of each modality, -inf where it knows nothing
    change: Floats  # (2, WIDTH) how much each cell differs from the one before, in units of the track's own mean
    ends: Mask  # (WIDTH,) whether a segment begins with this cell
    rest: float  # height of what the rest of the library has to say
    shares: Floats  # (4,) how likely the question asks about each modality, as a logarithm
    step: float  # seconds a cell

    @property
    def known(self) -> Mask:
        """`(WIDTH,)`: which cells are of the track."""
        known: Mask = np.isfinite(self.heights.max(axis=0))
        return known


@dataclass(frozen=True, slots=True)
class Track:
    """A time that was looked at without a gap, in cells."""

    start: float  # seconds
    step: float
    heights: Floats  # (4, n)
    change: Floats  # (2, n)
    ends: Mask  # (n,)

    @classmethod
    def of(
        cls,
        start: float,
        end: float,
        heights: Iterable[tuple[Modality, Times, Floats]],
        tokens: Iterable[tuple[Modality, Times, Halves]],
        borders: Times,
    ) -> "Track":
        """`[start, end)` from heights `(N,)` over spans `(N, 2)`, and rows `(N, D)` over theirs; several may be of one
        modality.  What lies outside is not looked at."""
        count = max(1, round((end - start) / windows.STEP))
        step = (end - start) / count
        middles: Times = np.linspace(start + step / 2, end - step / 2, count)
        laid = np.full((len(MODALITIES), count), -np.inf, np.float32)
        for modality, spans, own in heights:
            row, near = laid[MODALITIES.index(modality)], _near(spans, start, end)
            np.maximum(row, _at(Curve.of(spans[near], own[near]), middles), out=row)
        change = np.zeros((len(CHANGING), count), np.float32)
        for modality, spans, rows in tokens:
            near = _near(spans, start, end)
            if modality in CHANGING and len(near):
                row = change[CHANGING.index(modality)]
                np.maximum(row, _change(spans[near], rows[near], middles), out=row)
        ends = np.zeros(count, bool)
        places = np.round((borders - start) / step).astype(np.int64)
        ends[places[(places > 0) & (places < count)]] = True
        return cls(start, step, laid, change, ends)

    def __len__(self) -> int:
        return len(self.ends)

    def cell(self, time: float) -> int:
        """The cell that a time lies in, or the nearest one."""
        return min(max(0, int((time - self.start) / self.step)), len(self) - 1)

    def cells(self, rest: float) -> Cells:
        """The highest modality of each cell; where none knows anything, what the rest of the library has to say."""
        highest = self.heights.max(axis=0)
        return Cells(self.start, self.step, np.where(np.isfinite(highest), highest, rest).astype(np.float64))

    def view(self, peak: int, rest: float, shares: Floats) -> View:
        """Around a cell."""
        first, last = max(0, peak - REACH), min(len(self), peak + REACH + 1)
        into = slice(first - peak + REACH, last - peak + REACH)
        heights = np.full((len(MODALITIES), WIDTH), -np.inf, np.float32)
        change, ends = np.zeros((len(CHANGING), WIDTH), np.float32), np.zeros(WIDTH, bool)
        heights[:, into], change[:, into], ends[into] = (
            self.heights[:, first:last],
            self.change[:, first:last],
            self.ends[first:last],
        )
        return View(heights, change, ends, rest, shares, self.step)

    def times(self, peak: int, window: tuple[int, int]) -> tuple[float, float]:
        """When a window `[first, last)` of the view around a cell begins and ends."""
        first, last = (min(max(0, cell + peak - REACH), len(self)) for cell in window)
        return self.start + first * self.step, self.start + last * self.step


def _near(spans: Times, start: float, end: float) -> Ids:
    return np.flatnonzero((spans[:, 1] > start) & (spans[:, 0] < end))


def _at(curve: Curve, times: Times) -> Floats:
    """The height of a curve at each time; -inf where it knows nothing."""
    if not len(curve.heights):
        return np.full(len(times), -np.inf, np.float32)
    place = np.searchsorted(curve.edges, times, side="right") - 1
    inside = (place >= 0) & (place < len(curve.heights))
    return np.where(inside, curve.heights[np.clip(place, 0, len(curve.heights) - 1)], np.float32(-np.inf))


def _change(spans: Times, rows: Halves, middles: Times) -> Floats:
    """1 - cosine of the token on show in each cell and the one in the cell before, by the mean of those that differ.
    Where two tokens overlap they share what they share by halves."""
    order = np.argsort(spans[:, 0], kind="stable")
    starts, ends = spans[order][1:, 0], spans[order][:-1, 1]
    shown = order[np.searchsorted(np.maximum.accumulate((starts + np.maximum(starts, ends)) / 2), middles, "right")]
    turned = np.flatnonzero(shown[1:] != shown[:-1])
    change = np.zeros(len(middles), np.float32)
    if len(turned):
        one, other = (rows[shown[at]].astype(np.float32) for at in (turned, turned + 1))
        lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        apart = 1 - (one * other).sum(axis=1) / np.maximum(lengths, 1e-9)
        change[turned + 1] = apart / (apart.mean() + FLOOR)
    return change


# ----------------------------------------------------------------------------------------------------- what a head sees


def channels(view: View) -> Floats:
    """`(CHANNELS, WIDTH)` of about -1 to 1; zeros outside of the track."""
    highest = view.heights.max(axis=0)
    known = np.isfinite(highest)
    if not known.any():
        return np.zeros((len(CHANNELS), WIDTH), np.float32)
    top = highest[REACH] if known[REACH] else highest[known].max()
    low = np.float32(-99)
    every = np.concatenate([view.heights, highest[np.newaxis]])
    below = np.clip((np.where(np.isfinite(every), every, low) - top) / 2, -3, 1)
    over = np.clip((np.where(known, highest, low) - view.rest) / 4, -1, 3)
    peak = np.arange(WIDTH) == REACH
    flags = np.stack([view.ends, peak, known]).astype(np.float32)
    found = np.concatenate([below, over[np.newaxis], np.clip(view.change, 0, 6) / 3, flags])
    seen: Floats = (found * known).astype(np.float32)
    return seen


class Proposals(NamedTuple):
    """The windows around a peak that stand for all."""

    windows: Ids  # (P, 2) of cells of the view
    parts: Floats  # (P, 4, PARTS)


def proposals(view: View) -> Proposals:
    """At most `SURROGATES`, those that hold the peak: what stands out most in one modality or in the highest of all."""
    inside = np.flatnonzero(view.known)
    first, last = int(inside[0]), int(inside[-1]) + 1
    rows = np.where(np.isfinite(view.heights), view.heights, view.rest)[:, first:last].astype(np.float64)
    tracks = [Cells(0.0, view.step, heights) for heights in (*rows, rows.max(axis=0))]
    every = windows.pyramid(tracks[0], min(max(REACH - first, 0), len(tracks[0]) - 1))
    ends = np.append(view.ends[first:last], False)
    gain = np.stack([windows.gains(cells, every, view.rest, ends) for cells in tracks])  # (5, W)
    kept = windows.surrogates(every, gain.max(axis=0), SURROGATES)
    chosen = every[kept]
    known = np.isfinite(view.heights[:, first:last])
    parts = [_parts(row, has, own[kept], chosen, view.rest) for row, has, own in zip(rows, known, gain, strict=False)]
    return Proposals(chosen + first, np.stack(parts, axis=1).astype(np.float32))


def _parts(heights: Numbers, known: Mask, gain: Numbers, chosen: Ids, rest: float) -> Numbers:
    """Of each window `(P, 2)` in one modality `(n,)`: how high it lies, how far above what surrounds it, how much of it
    is known, and how far it stands out; zeros where nothing is."""
    held = np.concatenate([[0.0], np.cumsum(np.where(known, heights - rest, 0.0))])
    count = np.concatenate([[0.0], np.cumsum(known)])
    inside, cells = held[chosen[:, 1]] - held[chosen[:, 0]], count[chosen[:, 1]] - count[chosen[:, 0]]
    mean = inside / np.maximum(cells, 1)
    around = (held[-1] - inside) / np.maximum(count[-1] - cells, 1)
    share = cells / (chosen[:, 1] - chosen[:, 0])
    found = np.stack([np.clip(mean / 4, -2, 4), np.clip((mean - around) / 2, -3, 3), share, gain / 8], axis=1)
    there: Numbers = np.where(cells[:, np.newaxis] > 0, found, 0.0)
    return there
