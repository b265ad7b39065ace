"""Where the steps of a query lie."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.grammar import Link, Relation
from retriever.moments import Curve
from retriever.steps import LOWEST, Runs, Step, joined, score, steps

THEN, WHILE = Relation.THEN, Relation.WHILE


def curve(heights: list[float], edges: list[float] | None = None) -> Curve:
    """A cell a second, unless it is said otherwise."""
    return Curve(np.array(edges or range(len(heights) + 1), np.float64), np.array(heights, np.float32))


def placed(curves: list[Curve], *links: Link) -> list[tuple[float, float]] | None:
    """Starts and heights of the steps."""
    found = steps(curves, links)
    return None if found is None else [(step.start, step.height) for step in found]


def test_steps_are_placed_in_order_though_the_other_way_is_higher() -> None:
    dog, cat = curve([0, 9, 0, 5, 0]), curve([9, 0, 0, 0, 4])
    assert placed([dog, cat], Link(THEN)) == [(1, 9), (4, 4)]


def test_every_step_has_to_peak() -> None:
    """A good step does not pay for a bad one."""
    assert placed([curve([9, 3, 0]), curve([0, 1, 3.0])], Link(THEN)) == [(0, 9), (2, 3)]
    assert score([9, 3]) == pytest.approx(3, abs=0.01)
    assert score([3, 3]) == pytest.approx(3 - math.log(2))


def test_one_thing_is_not_two_steps() -> None:
    """A long line over several cells, though something else was seen in each of them."""
    line = Curve(np.array([0.0, 1, 2, 3, 4]), np.array([9, 9, 9, 1], np.float32))
    assert placed([line, line], Link(THEN)) == [(0, 9), (3, 1)]
    assert steps([curve([9]), curve([9])], [Link(THEN)]) is None


def test_what_overlaps_by_half_may_be_two_steps() -> None:
    first, second = curve([9, -np.inf], [0, 1, 2]), curve([9, -np.inf], [0.5, 1.5, 2.5])
    assert placed([first, second], Link(THEN)) == [(0, 9), (0.5, 9)]
    assert placed([second, first], Link(THEN)) is None


def test_at_the_same_time() -> None:
    assert placed([curve([9, 3, 0]), curve([0, 3, 9])], Link(WHILE)) == [(1, 3), (1, 3)]
    long, short = curve([4.0], [0, 10]), curve([0, 9, 0], [0, 4, 5, 10])
    assert placed([long, short], Link(WHILE)) == [(0, 4), (4, 9)]


def test_a_limit_counts_from_the_end_of_the_step_before() -> None:
    first, second = curve([9, 0, 1, 2, 0]), curve([0, 1, 0, 1, 9])
    assert placed([first, second], Link(THEN, 0.5)) == [(3, 2), (4, 9)]
    assert placed([first, second], Link(THEN, 3.0)) == [(0, 9), (4, 9)]
    apart = [0.0, 1, 2, 10, 11]
    lone = [curve([9, -np.inf, -np.inf, -np.inf], apart), curve([-np.inf, -np.inf, -np.inf, 9], apart)]
    assert steps(lone, [Link(THEN, 8.9)]) is None
    assert steps(lone, [Link(THEN, 9.0)]) is not None


def test_where_nobody_looked_there_is_no_step() -> None:
    assert steps([curve([9, -np.inf]), curve([9, -np.inf])], [Link(THEN)]) is None
    assert steps([curve([]), curve([])], [Link(THEN)]) is None
    assert steps([curve([])], []) is None
    assert placed([curve([1, 2, -np.inf])]) == [(1, 2)]


LEVELS = st.sampled_from([-np.inf, -3.0, -1.0, 0.0, 0.5, 2.0, 4.0, 9.0])
LINKS = st.builds(Link, st.sampled_from([THEN, WHILE]), st.sampled_from([0.0, 1.0, 2.0, math.inf]))


@given(st.data(), st.integers(1, 4))
def test_no_other_placing_is_better(data: st.DataObject, count: int) -> None:
    """Against all placings, one by one."""
    curves = []
    for _ in range(count):
        lengths = data.draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=1, max_size=6))
        edges = [data.draw(st.sampled_from([0.0, 0.5])), *lengths]
        heights = data.draw(st.lists(LEVELS, min_size=len(lengths), max_size=len(lengths)))
        curves.append(curve(heights, np.cumsum(edges).tolist()))
    links = data.draw(st.lists(LINKS, min_size=count - 1, max_size=count - 1))
    runs = [Runs.of(one) for one in curves]

    def allowed(before: Step, behind: Step, link: Link) -> bool:
        if link.relation is WHILE:
            return before.start < behind.end and behind.start < before.end
        apart = (behind.start + behind.end - before.start - before.end) / 2
        mean = (before.end - before.start + behind.end - behind.start) / 2
        return apart >= mean / 2 and behind.start - before.end <= link.within

    every = [
        placing
        for placing in itertools.product(*([own.step(at) for at in range(len(own))] for own in runs))
        if all(allowed(*pair, link) for pair, link in zip(itertools.pairwise(placing), links, strict=True))
    ]
    scores = [score([step.height for step in placing]) for placing in every]
    found = steps(curves, links)
    assert (found is None) == (not every)
    if found is not None:
        assert found in every
        assert score([step.height for step in found]) == pytest.approx(max(scores), abs=1e-6)


@given(st.lists(st.lists(LEVELS, min_size=1, max_size=7), min_size=1, max_size=4), st.data())
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


@given(st.lists(LEVELS, max_size=12))
def test_runs_are_the_curve(heights: list[float]) -> None:
    own = Runs.of(curve(heights) if heights else curve([]))
    spelled = np.full(len(heights), -np.inf, np.float32)
    for at in range(len(own)):
        spelled[int(own.starts[at]) : int(own.ends[at])] = own.heights[at]
    np.testing.assert_array_equal(spelled, np.array(heights, np.float32))
    assert all(
        own.ends[at] < own.starts[at + 1] or own.heights[at] != own.heights[at + 1] for at in range(len(own) - 1)
    )


def test_heights_below_all_measure_are_still_numbers() -> None:
    found = steps([curve([10 * LOWEST]), curve([10 * LOWEST])], [Link(WHILE)])
    assert found is not None
    assert math.isfinite(score([step.height for step in found]))
