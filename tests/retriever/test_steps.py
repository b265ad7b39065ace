"""Where the steps of a query lie."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.grammar import Link, Relation
from retriever.moments import Curve
from retriever.steps import LOWEST, Placed, joined, steps

THEN, WHILE = Relation.THEN, Relation.WHILE


def curve(heights: list[float], edges: list[float] | None = None) -> Curve:
    """A cell a second, unless it is said otherwise."""
    return Curve(np.array(edges or range(len(heights) + 1), np.float64), np.array(heights, np.float32))


def test_steps_are_placed_in_order_though_the_other_way_is_higher() -> None:
    dog, cat = curve([0, 9, 0, 5, 0]), curve([9, 0, 0, 0, 4])
    placed = steps([dog, cat], [Link(THEN)])
    assert placed is not None
    assert placed.cells == (1, 4)
    assert placed.heights == (9, 4)


def test_every_step_has_to_peak() -> None:
    """A good step does not pay for a bad one."""
    one, other = curve([9, 3, 0]), curve([0, 0, 3.0])
    assert steps([one, other], [Link(THEN)]) == Placed((0, 2), (9, 3))
    assert Placed((0, 1), (9, 3)).score == pytest.approx(3, abs=0.01)
    assert Placed((0, 1), (3, 3)).score == pytest.approx(3 - math.log(2))


def test_two_steps_are_two_times() -> None:
    placed = steps([curve([0, 9, 1]), curve([0, 9, 1])], [Link(THEN)])
    assert placed is not None
    assert placed.cells in ((0, 1), (1, 2))
    assert steps([curve([9]), curve([9])], [Link(THEN)]) is None


def test_at_the_same_time() -> None:
    placed = steps([curve([9, 3, 0]), curve([0, 3, 9])], [Link(WHILE)])
    assert placed is not None
    assert placed.cells == (1, 1)


def test_a_limit_counts_from_the_end_of_the_step_before() -> None:
    first, second = curve([9, 0, 0, 2, 0]), curve([0, 0, 0, 0, 9])
    near = steps([first, second], [Link(THEN, 1.0)])
    assert near is not None
    assert near.cells == (3, 4)
    assert steps([first, second], [Link(THEN, 3.0)]) == Placed((0, 4), (9, 9))
    apart = [0.0, 1, 2, 10, 11]
    lone = curve([9, -np.inf, -np.inf, -np.inf], apart), curve([-np.inf, -np.inf, -np.inf, 9], apart)
    assert steps(lone, [Link(THEN, 8.9)]) is None
    assert steps(lone, [Link(THEN, 9.0)]) is not None


def test_where_nobody_looked_there_is_no_step() -> None:
    assert steps([curve([9, -np.inf]), curve([9, -np.inf])], [Link(THEN)]) is None
    assert steps([curve([]), curve([])], [Link(THEN)]) is None


HEIGHTS = st.lists(st.sampled_from([-np.inf, -3.0, -1.0, 0.0, 0.5, 2.0, 4.0, 9.0]), min_size=1, max_size=7)
LINKS = st.builds(Link, st.sampled_from([THEN, WHILE]), st.sampled_from([0.0, 1.0, 2.0, math.inf]))


@given(st.data(), st.integers(1, 7), st.integers(1, 4))
def test_no_other_placing_is_better(data: st.DataObject, cells: int, count: int) -> None:
    """Against all placings, one by one."""
    level = st.sampled_from([-np.inf, -3.0, -1.0, 0.0, 0.5, 2.0, 4.0, 9.0])
    lengths = data.draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=cells, max_size=cells))
    edges = [0.0, *np.cumsum(lengths).tolist()]
    curves = [curve(data.draw(st.lists(level, min_size=cells, max_size=cells)), edges) for _ in range(count)]
    links = data.draw(st.lists(LINKS, min_size=count - 1, max_size=count - 1))

    def allowed(placing: tuple[int, ...]) -> bool:
        for link, (before, behind) in zip(links, itertools.pairwise(placing), strict=True):
            if link.relation is WHILE and before != behind:
                return False
            if link.relation is THEN and not (before < behind and edges[behind] - edges[before + 1] <= link.within):
                return False
        return all(np.isfinite(one.heights[cell]) for one, cell in zip(curves, placing, strict=True))

    every = [placing for placing in itertools.product(range(cells), repeat=count) if allowed(placing)]
    scores = [
        Placed(placing, tuple(float(one.heights[cell]) for one, cell in zip(curves, placing, strict=True))).score
        for placing in every
    ]
    placed = steps(curves, links)
    assert (placed is None) == (not every)
    if placed is not None:
        assert allowed(placed.cells)
        assert placed.score == pytest.approx(max(scores), abs=1e-6)


@given(st.lists(HEIGHTS, min_size=1, max_size=4), st.data())
def test_curves_on_common_edges_say_the_same(heights: list[list[float]], data: st.DataObject) -> None:
    starts = [data.draw(st.sampled_from([0.0, 0.5, 1.0, 2.25])) for _ in heights]
    curves = [
        curve(each, [start + place for place in range(len(each) + 1)])
        for each, start in zip(heights, starts, strict=True)
    ]
    together = joined(curves)
    assert all(np.array_equal(one.edges, together[0].edges) for one in together)
    middles = (together[0].edges[:-1] + together[0].edges[1:]) / 2
    for one, whole in zip(curves, together, strict=True):
        for middle, height in zip(middles, whole.heights, strict=True):
            inside = one.edges[0] <= middle < one.edges[-1]
            wanted = one.heights[np.searchsorted(one.edges, middle, side="right") - 1] if inside else -np.inf
            assert height == wanted


def test_heights_below_all_measure_are_still_numbers() -> None:
    placed = steps([curve([10 * LOWEST]), curve([10 * LOWEST])], [Link(WHILE)])
    assert placed is not None
    assert placed.cells == (0, 0)
