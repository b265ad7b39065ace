"""The log-mel patches against their definition, written out slowly."""

import math

import numpy as np
import pytest

from encoders._logmel import BANDS, FRAME, RATE, STEP, log_mel, samples_of


def mel(hertz: float) -> float:
    return 1127 * math.log(1 + hertz / 700)


def frame_by_definition(frame: np.ndarray) -> list[float]:
    """One frame of 400 samples as 64 numbers, by the sums that define them."""
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / FRAME) for n in range(FRAME)]
    times = np.arange(FRAME)
    magnitudes = [
        abs(np.sum(frame.astype(np.float64) * window * np.exp(-2j * np.pi * k * times / 512))) for k in range(257)
    ]
    low, high = mel(125), mel(7500)
    edges = [low + (high - low) * i / (BANDS + 1) for i in range(BANDS + 2)]
    bands = []
    for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
        total = 0.0
        for k in range(1, 257):
            place = mel(k * RATE / 512)
            total += max(0.0, min((place - left) / (centre - left), (right - place) / (right - centre))) * magnitudes[k]
        bands.append(math.log(total + 0.001))
    return bands


def test_every_frame_is_what_the_definition_says() -> None:
    samples = np.random.default_rng(0).normal(size=1_000).astype(np.float32) * 0.1
    fast = log_mel(samples)
    assert fast.shape == (1 + (1_000 - FRAME) // STEP, BANDS)
    assert fast.dtype == np.float32
    for number, row in enumerate(fast):
        slow = frame_by_definition(samples[number * STEP : number * STEP + FRAME])
        np.testing.assert_allclose(row, slow, atol=1e-4)


def test_silence_is_the_floor() -> None:
    np.testing.assert_allclose(log_mel(np.zeros(800, np.float32)), math.log(0.001), atol=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 96])
def test_so_many_samples_give_so_many_frames(frames: int) -> None:
    assert len(log_mel(np.zeros(samples_of(frames), np.float32))) == frames
    assert len(log_mel(np.zeros(samples_of(frames) - 1, np.float32))) == frames - 1


def test_a_tone_is_loudest_in_its_own_band() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    edges = np.linspace(mel(125), mel(7500), BANDS + 2)
    nearest = int(np.argmin(np.abs(edges[1:-1] - mel(1000))))
    assert abs(int(log_mel(tone).mean(axis=0).argmax()) - nearest) <= 1
