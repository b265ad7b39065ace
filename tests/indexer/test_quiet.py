"""Where a long sound is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.quiet import HOP, LULL, quiet_cut
from retriever.types import Sound

RATE = 8_000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


@settings(deadline=None, max_examples=50)
@given(st.floats(6.0, 14.0), st.floats(0.3, 1.0))
def test_a_pause_near_by_is_found(pause: float, length: float) -> None:
    samples = noise(20)
    samples[round(pause * RATE) : round((pause + length) * RATE)] *= 0.01
    cut = quiet_cut(Sound(samples, RATE), around=10.0, reach=5.0)
    assert pause - HOP + LULL / 2 <= cut <= pause + length + HOP - LULL / 2


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 3600), st.integers(0, 5), st.integers(0, 100))
def test_two_pieces_of_one_recording_are_cut_at_the_same_instant(start: float, seconds: int, seed: int) -> None:
    samples = noise(30, seed)
    whole = Sound(samples, RATE, round(start))
    later = Sound(samples[seconds * RATE :], RATE, round(start) + seconds)
    around = round(start) + 12.0
    assert quiet_cut(whole, around, 5.0) == pytest.approx(quiet_cut(later, around, 5.0), abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 20_000), st.floats(-5, 30), st.floats(0, 10), st.integers(0, 9))
def test_the_cut_stays_within_reach(samples: int, around: float, reach: float, seed: int) -> None:
    sound = Sound(noise(samples / RATE, seed), RATE, start=3.0)
    cut = quiet_cut(sound, around, reach)
    assert abs(cut - around) <= reach + 1e-9


def test_in_silence_nothing_moves() -> None:
    cut = quiet_cut(Sound(np.zeros(20 * RATE, np.float32), RATE), 10.0, 5.0)
    assert cut == pytest.approx(10.0, abs=HOP)


def test_the_quietest_place_is_found_as_a_plain_walk_finds_it() -> None:
    samples = noise(12, seed=4) * np.linspace(1, 0.8, 12 * RATE, dtype=np.float32)
    width, hop = round(LULL * RATE), round(HOP * RATE)
    starts = range(RATE, 11 * RATE - width + 1, hop)
    best = min(starts, key=lambda first: float(np.square(samples[first : first + width].astype(np.float64)).sum()))
    assert quiet_cut(Sound(samples, RATE), 6.0, 5.0) == pytest.approx((best + width / 2) / RATE)
