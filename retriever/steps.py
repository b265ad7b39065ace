"""Steps in time: where each of several curves peaks, in the order that was asked for.

    steps([dog, laughter], [Link(Relation.THEN, within=20.0)])     # the cells of both peaks, or None

Pure arithmetic over curves on common edges.  A cell of time costs a step exp(-height): high peaks are cheap, and one
bad step cannot be paid for by another that is good, so every step has to peak.  Of all ways to place the steps, in
order and within their limits, the cheapest is found by dynamic programming, step by step, in time linear in the cells.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retriever.grammar import Link, Relation
from retriever.moments import Curve
from retriever.types import Floats, Times

Cells = NDArray[np.int64]

LOWEST = -60.0
"""Below this a height is as good as none: exp(60) of them would still be a number."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the steps are: a cell each."""

    cells: tuple[int, ...]
    heights: tuple[float, ...]

    @property
    def score(self) -> float:
        """-log Σ exp(-height): a little below the lowest of them."""
        return -float(np.log(np.exp(-np.array(self.heights, np.float64)).sum()))


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


def steps(curves: Sequence[Curve], links: Sequence[Link]) -> Placed | None:
    """The best cells for these steps, on common edges; None where no order of cells fits that all of them know."""
    edges = curves[0].edges
    if not len(curves[0].heights):
        return None
    costs = [np.exp(-np.maximum(curve.heights.astype(np.float64), LOWEST)) for curve in curves]
    costs = [np.where(np.isfinite(curve.heights), cost, np.inf) for curve, cost in zip(curves, costs, strict=True)]
    total, came = costs[0], []
    for cost, link in zip(costs[1:], links, strict=True):
        before = np.arange(len(cost)) if link.relation is Relation.WHILE else _before(total, edges, link.within)
        came.append(before)
        total = np.where(before >= 0, total[before], np.inf) + cost
    last = int(np.argmin(total))
    if not np.isfinite(total[last]):
        return None
    cells = [last]
    for before in reversed(came):
        cells.append(int(before[cells[-1]]))
    cells.reverse()
    return Placed(tuple(cells), tuple(float(curve.heights[at]) for curve, at in zip(curves, cells, strict=True)))


def _before(total: Floats, edges: Times, within: float) -> Cells:
    """For each cell the cheapest one that ends before it begins, at most `within` seconds before; -1 for none."""
    best = np.full(len(total), -1, np.int64)
    waiting: deque[int] = deque()  # cells that may still be the cheapest, cheapest first, each dearer than the last
    for cell in range(1, len(total)):
        arrived = cell - 1
        if np.isfinite(total[arrived]):
            while waiting and total[waiting[-1]] >= total[arrived]:
                waiting.pop()
            waiting.append(arrived)
        while waiting and edges[cell] - edges[waiting[0] + 1] > within:
            waiting.popleft()
        if waiting:
            best[cell] = waiting[0]
    return best
