"""Steps in time: where each of several curves peaks, in the order that was asked for.

    steps([dog, laughter], [Link(Relation.THEN, within=20.0)])     # a stretch of each curve, or None

Pure arithmetic over curves.  A step stands on a *run*, a stretch over which its curve has one height: what one token
says.  It costs exp(-height), so high runs are cheap, and one bad step cannot be paid for by another that is good: every
step has to peak.  Of all ways to place the steps, in order and within their limits, the cheapest is found by dynamic
programming, step by step, in time linear in the runs, or n log n where there are limits (a sparse table of the
cheapest: Bender & Farach-Colton 2000).

Two runs are one after the other if their middles are at least half of their mean length apart: so one long spoken line
cannot be both steps, and windows of sound that overlap by half can.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retriever.grammar import Link, Relation
from retriever.moments import Curve
from retriever.types import Floats, Times

Places = NDArray[np.int64]

LOWEST = -60.0
"""Below this a height is as good as none: exp(60) of them would still be a number."""
INSTANT = 1e-9
"""Seconds that rounding may take."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where a step stands."""

    start: float
    end: float
    height: float


@dataclass(frozen=True, slots=True)
class Runs:
    """A curve as stretches of one height, in order of time; where nothing is known there is none."""

    starts: Times  # (R,)
    ends: Times  # (R,)
    heights: Floats  # (R,)

    @classmethod
    def of(cls, curve: Curve) -> "Runs":
        if not len(curve.heights):
            return cls(np.zeros(0), np.zeros(0), np.zeros(0, np.float32))
        first = np.concatenate([[0], np.flatnonzero(curve.heights[1:] != curve.heights[:-1]) + 1])
        last = np.append(first[1:], len(curve.heights))
        known = np.isfinite(curve.heights[first])
        return cls(curve.edges[first[known]], curve.edges[last[known]], curve.heights[first[known]])

    def __len__(self) -> int:
        return len(self.heights)

    def step(self, at: int) -> Step:
        return Step(float(self.starts[at]), float(self.ends[at]), float(self.heights[at]))


def score(heights: Sequence[float]) -> float:
    """-log Σ exp(-height): a little below the lowest of them."""
    return -float(np.logaddexp.reduce(-np.maximum(np.array(heights, np.float64), LOWEST)))


def joined(curves: Sequence[Curve]) -> list[Curve]:
    """The same curves on the edges of all of them; -inf where one knows nothing."""
    edges: Times = np.unique(np.concatenate([curve.edges for curve in curves]))
    return [Curve(edges, _at(curve, edges)) for curve in curves]


def _at(curve: Curve, edges: Times) -> Floats:
    if not len(curve.heights) or len(edges) < 2:
        return np.full(max(0, len(edges) - 1), -np.inf, np.float32)
    place = np.searchsorted(curve.edges, edges[:-1], side="right") - 1
    inside = (place >= 0) & (place < len(curve.heights))
    return np.where(inside, curve.heights[np.clip(place, 0, len(curve.heights) - 1)], np.float32(-np.inf))


def steps(curves: Sequence[Curve], links: Sequence[Link]) -> tuple[Step, ...] | None:
    """The best stretches for these steps; None where no order of stretches fits that all of them know."""
    runs = [Runs.of(curve) for curve in curves]
    total = _costs(runs[0])
    came: list[Places] = []
    for before, behind, link in zip(runs[:-1], runs[1:], links, strict=True):
        best = _cheapest(total, *_allowed(before, behind, link))
        came.append(best)
        reached = np.where(best >= 0, np.append(total, np.inf)[best], np.inf)
        total = reached + _costs(behind)
    if not len(total) or not np.isfinite(total).any():
        return None
    places = [int(np.argmin(total))]
    for best in reversed(came):
        places.append(int(best[places[-1]]))
    return tuple(own.step(at) for own, at in zip(runs, reversed(places), strict=True))


def _costs(runs: Runs) -> NDArray[np.float64]:
    costs: NDArray[np.float64] = np.exp(-np.maximum(runs.heights.astype(np.float64), LOWEST))
    return costs


def _allowed(before: Runs, behind: Runs, link: Link) -> tuple[Places, Places]:
    """For each run of the second step which runs of the first may go before it: `[low, high)`, both rising."""
    if link.relation is Relation.WHILE:
        low = np.searchsorted(before.ends, behind.starts + INSTANT, side="right")
        high = np.searchsorted(before.starts, behind.ends - INSTANT, side="left")
        return low, np.maximum(low, high)
    quarter = (before.ends - before.starts) / 4
    done = (before.starts + before.ends) / 2 + quarter
    begun = (behind.starts + behind.ends) / 2 - (behind.ends - behind.starts) / 4
    high = np.searchsorted(done, begun + INSTANT, side="right")
    low = np.searchsorted(before.ends, behind.starts - link.within - INSTANT, side="left")
    return np.minimum(low, high), high


def _cheapest(total: NDArray[np.float64], low: Places, high: Places) -> Places:
    """The cheapest of `total[low[i]:high[i]]` for each i; -1 for none."""
    if not len(total):
        return np.full(len(low), -1, np.int64)
    if not low.any():  # without a limit: the cheapest so far
        lowest = np.minimum.accumulate(total)
        lower = np.append(True, lowest[1:] < lowest[:-1])
        cheapest = np.maximum.accumulate(np.where(lower, np.arange(len(total)), 0))
        last = np.maximum(high - 1, 0)
        return np.where((high > 0) & np.isfinite(lowest[last]), cheapest[last], -1)
    count = high - low
    level = np.frexp(np.maximum(count, 1))[1] - 1  # two stretches of 2^level hold all of them
    cheapest = np.arange(len(total))  # of the 2^done from each on
    best = np.full(len(low), -1, np.int64)
    for done in range(int(level.max(initial=0)) + 1):
        ours = np.flatnonzero((level == done) & (count > 0))
        best[ours] = _cheaper(total, cheapest[low[ours]], cheapest[high[ours] - (1 << done)])
        cheapest = _cheaper(total, cheapest[: -(1 << done)], cheapest[1 << done :])
    return np.where((best >= 0) & np.isfinite(total[best]), best, -1)


def _cheaper(total: NDArray[np.float64], one: Places, other: Places) -> Places:
    """Of every two the cheaper, of equal ones the later."""
    return np.where(total[other] <= total[one], other, one)
