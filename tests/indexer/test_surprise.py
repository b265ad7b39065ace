"""Cuts where something new begins."""

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.segmenters import fixed
from indexer.segmenters.surprise import FLOOR, Track, build, modularity, moving
from retriever.types import TimeSpan, Tokens


def units(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def tokens_of(rows: np.ndarray, hop: float = 1.0, width: float = 1.0) -> Tokens:
    starts = np.arange(len(rows)) * hop
    return Tokens(units(rows), np.stack([starts, starts + width], axis=1), np.ones(len(rows), np.float32))


def shots(lengths: list[int], noise: float, seed: int, alike: float = 0.0) -> np.ndarray:
    """`(sum(lengths), 64)` rows: each shot its own direction, noise on each row, and a part that all shots share."""
    random = np.random.default_rng(seed)
    shared = alike * random.normal(size=64)
    own = np.repeat(random.normal(size=(len(lengths), 64)), lengths, axis=0)
    return own + shared + noise * random.normal(size=own.shape)


def cuts(spans: list[TimeSpan]) -> list[float]:
    return [span.start for span in spans[1:]]


def f1(found: list[float], wanted: list[float], within: float) -> float:
    """Harmonic mean of precision and recall; a wanted cut is found once."""
    left = list(found)
    hits = 0
    for cut in wanted:
        near = [other for other in left if abs(other - cut) <= within]
        if near:
            left.remove(min(near, key=lambda other: abs(other - cut)))
            hits += 1
    return 2 * hits / (len(found) + len(wanted))


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("alike", [0.0, 1.5])
def test_joins_of_distinct_shots_are_found_within_a_token(noise: float, alike: float) -> None:
    scores = []
    for seed in range(5):
        lengths = np.random.default_rng(seed).integers(4, 25, 20).tolist()
        spans = build().segment(float(sum(lengths)), {"seen": tokens_of(shots(lengths, noise, seed, alike))})
        scores.append(f1(cuts(spans), [float(end) for end in accumulate(lengths[:-1])], within=1.0))
    assert min(scores) >= 0.9


def test_as_many_fixed_cuts_find_far_fewer_joins() -> None:
    lengths = np.random.default_rng(3).integers(4, 25, 30).tolist()
    joins = [float(end) for end in accumulate(lengths[:-1])]
    tokens, duration = {"seen": tokens_of(shots(lengths, 0.3, 3))}, float(sum(lengths))
    surprise = build().segment(duration, tokens)
    even = fixed.build(duration / len(surprise)).segment(duration, tokens)
    assert f1(cuts(surprise), joins, 1.0) > 2 * f1(cuts(even), joins, 1.0)


def test_a_still_picture_is_cut_only_as_often_as_it_must() -> None:
    still = np.ones((100, 8)) + 0.02 * np.random.default_rng(0).normal(size=(100, 8))
    assert len(build().segment(100.0, {"seen": tokens_of(still)})) == 4


def test_what_is_only_heard_is_cut_where_the_sound_changes() -> None:
    heard = tokens_of(shots([25, 25], 0.3, seed=1), hop=0.48, width=0.96)
    assert cuts(build().segment(24.3, {"heard": heard})) == pytest.approx([12.0], abs=0.5)


def test_lines_have_no_say_where_there_is_more_to_go_by() -> None:
    seen = tokens_of(shots([10, 20], 0.1, seed=1))
    spans = np.array([[3.0, 5.0], [5.0, 8.0], [18.0, 19.0], [23.0, 26.0]])
    said = Tokens(units(np.eye(4)), spans, np.ones(4, np.float32))
    assert build().segment(30.0, {"seen": seen, "said": said}) == build().segment(30.0, {"seen": seen})
    assert cuts(build().segment(30.0, {"said": said}))


def test_every_space_can_cut() -> None:
    seen = tokens_of(shots([10, 20], 0.1, seed=1))
    heard = tokens_of(shots([50, 50], 0.3, seed=2), hop=0.3, width=0.3)
    assert cuts(build().segment(30.0, {"seen": seen, "heard": heard})) == pytest.approx([10, 15], abs=1)


def test_a_token_is_on_show_till_the_next_and_shares_what_overlaps() -> None:
    spans = np.array([[0.0, 1.0], [4.0, 6.0], [5.0, 8.0]])
    track = Track.of(Tokens(np.eye(3, dtype=np.float32), spans, np.ones(3, np.float32)), steps=16, step=0.5)
    assert track.shown.tolist() == [0] * 8 + [1] * 3 + [2] * 5


def plain_surprise(rows: np.ndarray, memory: float) -> np.ndarray:
    """Track.surprise, a step at a time."""
    remembered, surprise = rows[0].astype(np.float64), []
    for row in rows:
        surprise.append(1 - row @ remembered / max(np.linalg.norm(remembered), FLOOR))
        remembered = remembered * np.exp(-1 / memory) + row * (1 - np.exp(-1 / memory))
    return np.maximum(0, np.array(surprise) - FLOOR) / (np.mean(surprise) + FLOOR)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 300), st.floats(0.5, 40), st.integers(0, 1000))
def test_memory_in_blocks_is_memory_a_step_at_a_time(steps: int, memory: float, seed: int) -> None:
    rows = units(np.random.default_rng(seed).normal(size=(steps, 6)))
    track = Track(rows, np.arange(steps))
    np.testing.assert_allclose(track.surprise(memory), plain_surprise(rows, memory), atol=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 80), st.integers(1, 50), st.integers(0, 1000))
def test_moving_mean_and_deviation_are_those_of_the_window(steps: int, width: int, seed: int) -> None:
    curve = np.random.default_rng(seed).uniform(size=steps)
    mean, deviation = moving(curve, width)
    around = [curve[max(0, step - width // 2) : step + width // 2 + 1] for step in range(steps)]
    np.testing.assert_allclose(mean, [part.mean() for part in around], atol=1e-9)
    np.testing.assert_allclose(deviation, [part.std() for part in around], atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 12), st.integers(0, 1000))
def test_modularity_is_newmans(steps: int, seed: int) -> None:
    rows = np.random.default_rng(seed).uniform(0.01, 1, size=(steps, 4))
    similarity = rows @ rows.T
    degrees, total = similarity.sum(axis=1), similarity.sum()
    beyond_chance = similarity / total - np.outer(degrees, degrees) / total**2
    wanted = [beyond_chance[:cut, :cut].sum() + beyond_chance[cut:, cut:].sum() for cut in range(1, steps)]
    np.testing.assert_allclose(modularity(similarity)[1:steps], wanted, atol=1e-12)
