"""Sound as log-mel patches, by the definition that YAMNet was trained with.

Frames of 25 ms every 10 ms under a periodic Hann window, the magnitude of their 512-point Fourier transform, 64
triangles from 125 to 7500 Hz that are straight on the mel scale, log(x + 0.001).
"""

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from retriever.types import Floats

RATE = 16_000
FRAME = 400  # samples: 25 ms
STEP = 160  # samples: 10 ms
FOURIER = 512
BANDS = 64
LOWEST, HIGHEST = 125.0, 7500.0  # Hz
OFFSET = np.float32(1e-3)  # under the logarithm: silence is log 0.001


def samples_of(frames: int) -> int:
    """Samples that so many frames need."""
    return (frames - 1) * STEP + FRAME


def log_mel(samples: Floats) -> Floats:
    """`(T,)` at 16 kHz → `(frames, 64)`; no padding: `T` below one frame gives no row."""
    if len(samples) < FRAME:
        return np.zeros((0, BANDS), np.float32)
    frames = sliding_window_view(samples, FRAME)[::STEP]  # (frames, 400), a view
    magnitude = np.abs(np.fft.rfft(frames * _window(), FOURIER)).astype(np.float32)
    logarithms: Floats = np.log(magnitude @ _triangles() + OFFSET)
    return logarithms


@cache
def _window() -> Floats:
    """Periodic Hann, `(400,)`."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)).astype(np.float32)


@cache
def _triangles() -> Floats:
    """`(257, 64)`: how much of each Fourier bin goes into each band (HTK mel scale)."""
    bins = _mel(np.linspace(0, RATE / 2, FOURIER // 2 + 1))[:, None]
    lowest, highest = _mel(np.array([LOWEST, HIGHEST]))
    edges = np.linspace(lowest, highest, BANDS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.maximum(0, np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre)))
    triangles[0] = 0  # the mean of the wave is no sound
    weights: Floats = triangles.astype(np.float32)
    return weights


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    mels: NDArray[np.float64] = 1127.0 * np.log1p(hertz / 700.0)
    return mels
