"""Relevance over time becomes spans.

    curve = Curve.of(spans, heights)                 # what tokens say, as a step function of time
    start, end = curve.around(12.5, 14.0, drop=1.0)  # where it stays high around its peak there

Pure arithmetic: no store, no media.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retriever import kernels
from retriever.types import Floats, Ids, Times, TimeSpan


@dataclass(frozen=True, slots=True)
class Curve:
    """A step function of time: `heights[i]` holds on `[edges[i], edges[i + 1])`; -inf where nothing was looked at."""

    edges: Times  # (M + 1,), rising
    heights: Floats  # (M,)

    @classmethod
    def of(cls, spans: Times, heights: Floats) -> "Curve":
        """The highest of the tokens `(N,)` that cover a time; tokens may overlap.  No tokens give an empty curve."""
        if not len(spans):
            return cls(np.zeros(0), np.zeros(0, np.float32))
        edges = kernels.rising(spans)
        first, last = np.searchsorted(edges, spans.T)  # the cells that a token covers: [first, last)
        counts = last - first
        token = np.repeat(np.arange(len(spans)), counts)
        cell = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[token]
        highest = np.full(len(edges) - 1, -np.inf, np.float32)
        np.maximum.at(highest, cell, heights[token])
        return cls(edges, highest)

    def without(self, spans: Sequence[TimeSpan]) -> "Curve":
        """The same, as if nobody had looked at these spans."""
        if not spans:
            return self
        middles = (self.edges[:-1] + self.edges[1:]) / 2
        hidden = np.zeros(len(middles), bool)
        for span in spans:
            hidden |= (middles >= span.start) & (middles < span.end)
        return Curve(self.edges, np.where(hidden, np.float32(-np.inf), self.heights))

    def highest(self, start: float, end: float) -> float:
        """The highest point of `[start, end)`; -inf where nothing was looked at."""
        inside = (self.edges[:-1] < end) & (self.edges[1:] > start)
        return float(self.heights[inside].max(initial=-np.inf))

    def around(self, start: float, end: float, drop: float) -> tuple[float, float] | None:
        """The stretch around the highest point of `[start, end)` that gathers the most above `drop` below it.

        Of all stretches that hold the peak it has the largest ∫ (height - level) dt, so it bridges a short dip
        between two high parts and leaves out a long one.  Time that nobody looked at is never bridged.  None where
        nothing was looked at in `[start, end)`.
        """
        peak = self._highest(start, end)
        if peak is None:
            return None
        excess = (self.heights - (self.heights[peak] - drop)) * np.diff(self.edges)
        last = peak + 1 + _reach(excess[peak + 1 :])
        first = peak - _reach(excess[:peak][::-1])
        return float(self.edges[first]), float(self.edges[last])

    def peak(self, start: float, end: float) -> float | None:
        """The middle of the highest cell of `[start, end)`; None where nothing was looked at there."""
        cell = self._highest(start, end)
        return None if cell is None else float(self.edges[cell : cell + 2].mean())

    def _highest(self, start: float, end: float) -> int | None:
        first, last = self.cells(start, end)
        inside = self.heights[first:last]
        best = int(np.argmax(inside)) if len(inside) else 0
        return first + best if len(inside) and np.isfinite(inside[best]) else None

    def cells(self, start: float, end: float) -> tuple[int, int]:
        """The cells that lie in `[start, end)` in part, `[first, last)`; found by halving, however long the curve."""
        first = int(np.searchsorted(self.edges[1:], start, side="right"))
        return first, max(first, int(np.searchsorted(self.edges[:-1], end, side="left")))


def _reach(excess: Floats) -> int:
    """How many of the first of these to take, so that their sum is largest; the fewest of equal ones."""
    blind = np.flatnonzero(np.isneginf(excess))
    sums = np.concatenate([[0.0], np.cumsum(excess[: blind[0]] if len(blind) else excess)])
    return int(np.argmax(sums))


def streets(media: Ids, spans: Times, gap: float) -> Ids:
    """Where rows of neighbours begin and end `(R + 1,)`, among segments `(S, 2)` in order of media and time: in one row
    they are of one media, each at most `gap` seconds from the next."""
    apart = (np.diff(media) != 0) | (spans[1:, 0] - spans[:-1, 1] > gap)
    bounds: Ids = np.concatenate([[0], np.flatnonzero(apart) + 1, [len(media)]])
    return bounds
