"""Relevance over time becomes spans."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.moments import Curve, streets
from retriever.types import TimeSpan


@st.composite
def tokens(draw: st.DrawFn, most: int = 12) -> tuple[np.ndarray, np.ndarray]:
    count = draw(st.integers(1, most))
    starts = draw(st.lists(st.integers(0, 30), min_size=count, max_size=count))
    lengths = draw(st.lists(st.integers(1, 8), min_size=count, max_size=count))
    heights = draw(st.lists(st.integers(-20, 20), min_size=count, max_size=count))
    spans = np.array([(start / 2, (start + length) / 2) for start, length in zip(starts, lengths, strict=True)])
    return spans, np.array(heights, np.float32) / 4


@given(tokens())
def test_a_curve_is_the_highest_token_at_each_time(made: tuple[np.ndarray, np.ndarray]) -> None:
    spans, heights = made
    curve = Curve.of(spans, heights)
    for start, end, height in zip(curve.edges, curve.edges[1:], curve.heights, strict=False):
        middle = (start + end) / 2
        covering = heights[(spans[:, 0] <= middle) & (middle < spans[:, 1])]
        assert height == (covering.max() if len(covering) else -np.inf)


@given(tokens(), st.integers(0, 15), st.integers(1, 10), st.sampled_from([0.25, 1.0, 3.0]))
def test_the_stretch_is_the_one_that_gathers_most(
    made: tuple[np.ndarray, np.ndarray], start: int, length: int, drop: float
) -> None:
    """Against all stretches that hold the peak, tried one by one."""
    curve = Curve.of(*made)
    found = curve.around(start, start + length, drop)
    inside = (curve.edges[:-1] < start + length) & (curve.edges[1:] > start) & np.isfinite(curve.heights)
    if not inside.any():
        assert found is None
        return
    assert found is not None
    peak = int(np.flatnonzero(inside)[np.argmax(curve.heights[inside])])
    level, lengths = curve.heights[peak] - drop, np.diff(curve.edges)

    def gathered(first: int, last: int) -> float:
        return float(((curve.heights[first:last] - level) * lengths[first:last]).sum())

    best = max(gathered(first, last) for first in range(peak + 1) for last in range(peak + 1, len(curve.heights) + 1))
    first, last = np.searchsorted(curve.edges, found)
    assert first <= peak < last
    assert gathered(first, last) == pytest.approx(best, abs=1e-4)


def level_with_dip(dip: float) -> Curve:
    edges = np.array([0.0, 4, 4 + dip, 8 + dip, 20])
    return Curve(edges, np.array([5, 2, 5, 0], np.float32))


def test_a_short_dip_is_bridged_and_a_long_one_is_not() -> None:
    assert level_with_dip(1).around(0, 4, drop=1) == (0, 9)
    assert level_with_dip(4).around(0, 4, drop=1) == (0, 4)


def test_time_that_nobody_looked_at_is_not_bridged() -> None:
    curve = Curve.of(np.array([[0.0, 2.0], [3.0, 5.0]]), np.array([5, 5], np.float32))
    assert curve.around(0, 2, drop=1) == (0, 2)


def test_what_is_taken_is_left_out() -> None:
    curve = Curve(np.array([0.0, 2, 4, 6]), np.array([5, 5, 4], np.float32))
    assert curve.without([TimeSpan(0, 4)]).around(0, 6, drop=2) == (4, 6)
    assert curve.without([TimeSpan(0, 6)]).around(0, 6, drop=2) is None
    assert curve.without([]).around(0, 6, drop=2) == curve.around(0, 6, drop=2)


def test_no_tokens_no_stretch() -> None:
    assert Curve.of(np.zeros((0, 2)), np.zeros(0, np.float32)).around(0, 10, drop=1) is None


def test_streets_are_rows_of_neighbours_of_one_media() -> None:
    media = np.array([3, 3, 3, 7, 7, 1])
    spans = np.array([[0, 5], [5, 9], [12, 15], [0, 4], [4.3, 8], [0, 1.0]])
    assert streets(media, spans, gap=0.5).tolist() == [0, 2, 3, 5, 6]
    assert streets(media[:0], spans[:0], gap=0.5).tolist() == [0, 0]
    assert streets(media[:1], spans[:1], gap=0.5).tolist() == [0, 1]
