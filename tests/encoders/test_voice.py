"""Chances of voice become stretches and windows."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.recognizers._voice import RATE, STEP, least_voiced, stretches, windows

SECOND = RATE // STEP  # about as many chances
chances = st.lists(st.sampled_from([0.0, 0.3, 0.4, 0.6, 1.0]), max_size=300).map(
    lambda values: np.repeat(np.array(values, np.float32), 8)
)


def voice(*parts: tuple[float, float]) -> np.ndarray:
    """Chances: pairs of seconds and chance."""
    return np.concatenate([np.full(round(seconds * RATE / STEP), chance, np.float32) for seconds, chance in parts])


def test_a_voice_is_a_stretch_a_little_longer_than_itself() -> None:
    ((start, end),) = stretches(voice((2, 0), (3, 0.9), (2, 0)))
    assert (start, end) == pytest.approx((1.7, 5.3), abs=0.05)


def test_a_murmur_that_never_rises_is_none() -> None:
    assert stretches(voice((2, 0), (3, 0.45), (2, 0))) == []


def test_a_short_silence_parts_nothing_and_a_longer_one_does() -> None:
    assert len(stretches(voice((2, 0.9), (0.4, 0), (2, 0.9)))) == 1
    assert len(stretches(voice((2, 0.9), (1.4, 0), (2, 0.9)))) == 2


@settings(deadline=None)
@given(chances)
def test_stretches_are_in_order_and_hold_every_clear_voice(values: np.ndarray) -> None:
    found = stretches(values)
    assert all(0 <= start < end <= len(values) * STEP / RATE + 1e-9 for start, end in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))
    for step in np.flatnonzero(values >= 0.5):
        middle = (step + 0.5) * STEP / RATE
        assert any(start <= middle <= end for start, end in found)


@settings(deadline=None)
@given(chances, st.floats(2, 30), st.floats(0, 5))
def test_windows_hold_every_stretch_and_none_is_too_long(values: np.ndarray, longest: float, gap: float) -> None:
    voiced = stretches(values)
    made = windows(voiced, values, longest, gap)
    assert all(0 < end - start <= longest + 1e-9 for start, end in made)
    assert all(before[1] <= after[0] for before, after in pairwise(made))
    for start, end in voiced:
        heard = sum(max(0.0, min(end, b) - max(start, a)) for a, b in made)
        assert heard == pytest.approx(end - start)


def test_a_long_speech_is_cut_where_it_pauses() -> None:
    values = voice((20, 0.9), (0.4, 0.4), (20, 0.9))
    cut = windows(stretches(values), values, 28, 2)[0][1]
    assert 20 <= cut <= 20.4
    assert least_voiced(values, 15, 25) == cut
