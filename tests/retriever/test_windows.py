"""Windows of time over a curve: each fast form against a plain one, and what a moment has to be."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever import windows
from retriever.moments import Curve
from retriever.types import TimeSpan
from retriever.windows import BESIDE, BORDER, LEAST, LOOKED_AT, REACH, SAME, SIGMA, Cells

heights = st.lists(st.integers(-20, 20).map(lambda height: height / 4), min_size=1, max_size=40)
rests = st.integers(-12, 8).map(lambda height: height / 4)


def cells_of(values: list[float], step: float = 0.5) -> Cells:
    return Cells(3.0, step, np.array(values, np.float64))


def curve_of(*parts: tuple[float, float]) -> Curve:
    """From seconds and heights."""
    edges = np.cumsum([0.0, *(seconds for seconds, _ in parts)])
    return Curve(edges, np.array([height for _, height in parts], np.float32))


def plain_gain(cells: Cells, first: int, last: int, rest: float) -> float:
    reach = round(REACH / cells.step)
    values = cells.heights.tolist()
    inside = values[first:last]
    around = values[max(0, first - reach) : first] + values[last : last + reach]
    a, b = len(inside) * cells.step, len(around) * cells.step + BESIDE
    above = sum(inside) / len(inside) - (sum(around) * cells.step + BESIDE * rest) / b
    return above * math.sqrt(a * b / (a + b))


def plain_overlap(one: list[float], other: list[float]) -> float:
    shared = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    union = one[1] - one[0] + other[1] - other[0] - shared
    return shared / union if union else 0.0


# ------------------------------------------------------------------------------------------------------------- windows


@given(heights, rests, st.sampled_from([0.5, 2.0, 30.0]))
def test_gains_are_those_of_every_window_one_by_one(values: list[float], rest: float, step: float) -> None:
    """Cells of half a minute, so that some windows have more around them than is looked at."""
    cells = cells_of(values, step)
    every = np.array([(first, last) for last in range(1, len(values) + 1) for first in range(last)])
    plain = [plain_gain(cells, first, last, rest) for first, last in every.tolist()]
    assert windows.gains(cells, every, rest) == pytest.approx(plain, abs=1e-9)
    ends = np.zeros(len(values) + 1, bool)
    ends[len(values) // 2] = True
    more = [
        gain + BORDER * (int(ends[first]) + int(ends[last])) for gain, (first, last) in zip(plain, every, strict=True)
    ]
    assert windows.gains(cells, every, rest, ends) == pytest.approx(more, abs=1e-9)


@given(st.integers(1, 400), st.data())
def test_a_pyramid_has_all_lengths_in_every_place(count: int, data: st.DataObject) -> None:
    cells = cells_of([0.0] * count)
    every = windows.pyramid(cells)
    lengths = every[:, 1] - every[:, 0]
    assert every.min() == 0
    assert every.max() == count
    assert lengths.min() == cells.least
    assert count in lengths
    wanted = data.draw(st.integers(cells.least, count))
    first = data.draw(st.integers(0, count - wanted))
    best = max(plain_overlap([first, first + wanted], each) for each in every.tolist())
    assert best > 0.6  # some window is near to any
    peak = data.draw(st.integers(0, count - 1))
    held = windows.pyramid(cells, peak)
    assert ((held[:, 0] <= peak) & (peak < held[:, 1])).all()
    assert held.min() >= 0
    assert held.max() <= count


def test_windows_are_as_many_as_cells_and_around_a_peak_hardly_any() -> None:
    """In ten hours: linear, and with a peak by the logarithm."""
    few, many = (len(windows.pyramid(cells_of([0.0] * count))) for count in (7_200, 72_000))
    assert 9 * few < many < 11 * few
    assert len(windows.pyramid(cells_of([0.0] * 72_000), 36_000)) < 500


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(-20, 20)), min_size=1, max_size=12))
def test_cells_hold_the_area_of_a_curve(parts: list[tuple[int, int]]) -> None:
    curve = curve_of(*((seconds / 3, height / 4) for seconds, height in parts))
    end = float(curve.edges[-1])
    cells = Cells.of(curve, 0.0, end)
    assert cells.step * len(cells) == pytest.approx(end)
    area = float((curve.heights.astype(np.float64) * np.diff(curve.edges)).sum())
    assert cells.heights.sum() * cells.step == pytest.approx(area, abs=1e-6)
    first = (cells.time(0), cells.time(1))
    fine = np.linspace(*first, 2001)
    at = np.clip(np.searchsorted(curve.edges, (fine[1:] + fine[:-1]) / 2, "right") - 1, 0, len(curve.heights) - 1)
    assert cells.heights[0] == pytest.approx(float(curve.heights[at].mean()), abs=0.05)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12), st.integers(-9, 20)), min_size=1, max_size=30),
    st.integers(1, 30),
)
def test_surrogates_and_soft_suppression_are_what_loops_say(made: list[tuple[int, int, int]], limit: int) -> None:
    spans = np.array([(start, start + length) for start, length, _ in made], np.float64)
    scores = np.array([score / 2 for *_, score in made])
    left, kept = scores.tolist(), []
    while len(kept) < limit and max(left) > -math.inf:
        best = left.index(max(left))
        kept.append(best)
        for other in range(len(left)):
            if other == best or plain_overlap(spans[best].tolist(), spans[other].tolist()) > SAME:
                left[other] = -math.inf
    assert windows.surrogates(spans, scores, limit).tolist() == kept
    left, soft = scores.tolist(), []
    while len(soft) < min(limit, len(spans)):
        best = left.index(max(left))
        soft.append((best, left[best]))
        for other in range(len(left)):
            if left[other] > 0:
                left[other] *= math.exp(-(plain_overlap(spans[best].tolist(), spans[other].tolist()) ** 2) / SIGMA)
        left[best] = -math.inf
    found = windows.soft_nms(spans, scores, limit)
    assert [at for at, _ in found] == [at for at, _ in soft]
    assert [score for _, score in found] == pytest.approx([score for _, score in soft])


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12), st.integers(-9, 20)), min_size=1, max_size=30))
def test_each_cluster_has_one_surrogate_its_best(made: list[tuple[int, int, int]]) -> None:
    spans = np.array([(start, start + length) for start, length, _ in made], np.float64)
    scores = np.array([float(score) for *_, score in made])
    kept = windows.surrogates(spans, scores, len(made))
    for place, one in enumerate(kept):
        assert (np.delete(windows.overlaps(spans[one], spans[kept]), place) <= SAME).all()
    for one, score in zip(spans, scores, strict=True):
        near = windows.overlaps(one, spans[kept])
        assert (scores[kept][(near > SAME) | (near == 1)] >= score).any()


@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([None, 0, 3])), min_size=1, max_size=15),
    st.integers(1, 40),
    st.data(),
)
def test_the_known_time_around_a_peak_ends_where_nobody_looked(
    parts: list[tuple[int, int | None]], reach: int, data: st.DataObject
) -> None:
    curve = curve_of(*((seconds / 2, -math.inf if height is None else height) for seconds, height in parts))
    known = np.flatnonzero(np.isfinite(curve.heights))
    if not len(known):
        assert windows.stretches(curve) == []
        return
    at = data.draw(st.sampled_from(known.tolist()))
    peak = float(curve.edges[at : at + 2].mean())
    (whole,) = [one for one in windows.stretches(curve) if one[0] <= peak < one[1]]
    assert windows.known_around(curve, peak, math.inf) == whole
    start, end = windows.known_around(curve, peak, reach / 2)
    assert (start, end) == (max(whole[0], peak - reach / 2), min(whole[1], peak + reach / 2))


# -------------------------------------------------------------------------------------------------------------- moments


def test_a_plateau_is_the_moment_whatever_its_length() -> None:
    for seconds in (1.0, 4.0, 12.0, 45.0):
        curve = curve_of((20, 0), (seconds, 4), (25, 0))
        found = windows.moment(curve, 20, 20 + seconds, rest=0.0)
        assert found == pytest.approx((20, 20 + seconds), abs=0.25)


def test_a_moment_may_be_longer_than_what_is_looked_at_first() -> None:
    seconds = 5 * LOOKED_AT
    found = windows.moment(curve_of((2 * seconds, 0), (seconds, 4), (2 * seconds, 0)), 2 * seconds, 3 * seconds, 0.0)
    assert found == pytest.approx((2 * seconds, 3 * seconds), abs=0.5)


def test_a_dip_is_bridged_where_it_is_short() -> None:
    """It has to gather more than it costs."""
    assert windows.moment(curve_of((20, 0), (4, 4), (1, 1), (4, 4), (20, 0)), 20, 24, 0.0) == (20, 29)
    assert windows.moment(curve_of((20, 0), (4, 4), (12, 0), (4, 4), (20, 0)), 20, 24, 0.0) == (20, 24)


def test_what_is_about_it_from_end_to_end_is_not_cut() -> None:
    restless = curve_of((2, 4.0), (1, 4.4), (3, 3.9), (2, 4.1))
    assert windows.moment(restless, 0, 8, rest=0.0) == (0, 8)
    assert windows.moment(restless, 0, 8, rest=3.9) == (2, 3)  # the rest of the library says as much


def test_time_that_nobody_looked_at_is_not_bridged() -> None:
    curve = Curve.of(np.array([[0.0, 4.0], [5.0, 9.0]]), np.array([5, 5], np.float32))
    assert windows.moment(curve, 0, 4, rest=0.0) == (0, 4)
    assert windows.moment(curve.without([TimeSpan(0, 4)]), 0, 9, rest=0.0) == (5, 9)
    assert windows.moment(curve, 4, 5, rest=0.0) is None
    assert windows.moment(Curve.of(np.zeros((0, 2)), np.zeros(0, np.float32)), 0, 9, rest=0.0) is None


def test_a_moment_prefers_to_end_where_an_event_does() -> None:
    """The curve sinks slowly; any end is nearly as good as the next one."""
    sinking = curve_of((20, 0), (4, 4), *((0.5, 3 - 0.25 * step) for step in range(12)), (20, 0))
    end = windows.moment(sinking, 20, 24, 0.0)
    assert end is not None
    border = end[1] + 0.5
    moved = windows.moment(sinking, 20, 24, 0.0, np.array([0.0, border, 50.0]))
    assert moved == (end[0], border)


@given(heights, rests, st.integers(0, 19), st.integers(-8, 8), st.integers(0, 9))
def test_a_moment_holds_its_peak_and_depends_on_differences_alone(
    values: list[float], rest: float, start: int, lift: int, later: int
) -> None:
    curve = curve_of(*((0.5, value) for value in values))
    found = windows.moment(curve, start / 2, start / 2 + 4, rest)
    if start / 2 >= len(values) / 2:
        assert found is None
        return
    peak = curve.peak(start / 2, start / 2 + 4)
    assert found is not None
    assert peak is not None
    assert found[0] <= peak < found[1]
    assert found[1] - found[0] >= min(LEAST, len(values) / 2) - 1e-9
    lifted = Curve(curve.edges + later, curve.heights + lift)
    again = windows.moment(lifted, start / 2 + later, start / 2 + 4 + later, rest + lift)
    assert again is not None
    cells = Cells.of(curve, 0.0, len(values) / 2)
    spans = np.round(np.array([found, np.array(again) - later]) / cells.step).astype(np.int64)
    gains = windows.gains(cells, spans, rest)
    assert gains[0] == pytest.approx(gains[1], abs=1e-6)  # the same one, or one that is as good


@given(heights, rests)
def test_no_window_around_the_peak_that_was_tried_stands_out_more(values: list[float], rest: float) -> None:
    cells = cells_of(values)
    peak = int(np.argmax(values))
    none = np.zeros(len(cells) + 1, bool)
    best = windows.around(cells, peak, rest, none)
    assert windows.gains(cells, best[None], rest)[0] >= windows.gains(cells, windows.pyramid(cells, peak), rest).max()


def test_several_moments_come_best_first_and_none_is_buried_under_another() -> None:
    """They may overlap: a part of a good one is worth more than all of a weak one."""
    curve = curve_of((30, 0), (6, 3), (30, 0), (6, 5), (30, 0), (3, 4), (30, 0))
    found = windows.moments(curve, 0.0, 8)
    assert found[0][:2] == (66, 72)
    assert {(66, 72), (30, 36), (102, 105)} <= {(one.start, one.end) for one in found}
    assert [one.gain for one in found] == sorted((one.gain for one in found), reverse=True)
    assert found[:2] == windows.moments(curve, 0.0, 2)
    assert windows.moments(Curve.of(np.zeros((0, 2)), np.zeros(0, np.float32)), 0.0, 3) == []


def test_what_does_not_stand_out_is_no_moment() -> None:
    assert windows.moments(curve_of((10, 2.0)), 3.0, 5) == []
    assert len(windows.moments(curve_of((10, 2.0)), 1.0, 5)) > 0


def test_moments_of_times_with_gaps_between_them_are_looked_for_in_each() -> None:
    curve = Curve.of(np.array([[0.0, 6.0], [6.0, 9.0], [20.0, 26.0]]), np.array([0, 4, 5], np.float32))
    assert {(one.start, one.end) for one in windows.moments(curve, 0.0, 2)} == {(6.0, 9.0), (20.0, 26.0)}


def test_a_film_of_ten_hours_has_its_moment_where_a_short_one_has() -> None:
    draw = np.random.default_rng(5)
    noise = draw.normal(0, 0.5, 72_000)
    noise[40_000:40_020] += 6
    edges = np.arange(72_001) / 2
    found = windows.moment(Curve(edges, noise.astype(np.float32)), 20_000, 20_010, rest=0.0)
    assert found == pytest.approx((20_000, 20_010), abs=0.5)
