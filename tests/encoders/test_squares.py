"""The middle square of a frame, scaled, against a loop over pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders._squares import scaled, squares, taps


def by_pixels(line: np.ndarray, side: int) -> np.ndarray:
    """One line of pixels, scaled as the definition of a widened triangle says."""
    ratio = len(line) / side
    reach = max(1.0, ratio)
    out = []
    for new in range(side):
        centre = (new + 0.5) * ratio
        weights = [max(0.0, 1 - abs(old + 0.5 - centre) / reach) for old in range(len(line))]
        out.append(sum(w * value for w, value in zip(weights, line, strict=True)) / sum(weights))
    return np.array(out)


@given(st.integers(1, 90), st.integers(1, 40))
def test_scaling_is_what_the_definition_says(size: int, side: int) -> None:
    line = np.random.default_rng(size).uniform(0, 255, size)
    np.testing.assert_allclose(scaled(line.astype(np.float32), 0, side), by_pixels(line, side), atol=1e-3)


@given(st.integers(1, 2000), st.integers(1, 300))
def test_scaling_makes_nothing_brighter(size: int, side: int) -> None:
    places, weights = taps(size, side)
    assert ((places >= 0) & (places < size)).all()
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(40, 40), (40, 71), (71, 40), (20, 33)])
def test_the_middle_square_is_taken(height: int, width: int) -> None:
    frame = np.zeros((1, height, width, 3), np.uint8)
    size = min(height, width)
    top, left = (height - size) // 2, (width - size) // 2
    frame[:, top : top + size, left : left + size] = (10, 20, 30)
    got = squares(frame, 40)
    assert got.shape == (1, 3, 40, 40)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[0], np.broadcast_to(np.array([10, 20, 30])[:, None, None], (3, 40, 40)), atol=1e-3)


def test_rows_and_columns_stay_what_they_are() -> None:
    frame = np.zeros((1, 80, 80, 3), np.uint8)
    frame[:, :40] = 200  # bright above
    got = squares(frame, 40)[0, 0]
    assert got[:19].min() > 199
    assert got[21:].max() < 1
