"""Frames of any size as the square pictures that a network takes: the middle square, scaled.

Each new pixel is a weighted mean of the old ones around its place, under a triangle that widens when pictures shrink,
so that no pixel is skipped; PIL and torch call it bilinear with antialiasing.  A decoder that scales frames beforehand
spares it.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from retriever.types import Floats, Pictures


def squares(frames: Pictures, side: int) -> Floats:
    """The middle square of each frame `(N, H, W, 3)`, as `(N, 3, side, side)` from 0 to 255."""
    _, height, width, _ = frames.shape
    size = min(height, width)
    top, left = (height - size) // 2, (width - size) // 2
    middle: NDArray[np.uint8] | Floats = frames[:, top : top + size, left : left + size]
    if size != side:
        middle = scaled(scaled(middle, 1, side), 2, side)
    return np.ascontiguousarray(middle.transpose(0, 3, 1, 2), np.float32)


def scaled(pictures: NDArray[np.uint8] | Floats, axis: int, side: int) -> Floats:
    """The same pictures with `side` pixels along one axis."""
    places, weights = taps(pictures.shape[axis], side)
    shape = [1] * pictures.ndim
    shape[axis] = side
    total: Floats = weights[0].reshape(shape) * pictures.take(places[0], axis)
    for place, weight in zip(places[1:], weights[1:], strict=True):
        total += weight.reshape(shape) * pictures.take(place, axis)
    return total


@lru_cache(maxsize=32)
def taps(size: int, side: int) -> tuple[NDArray[np.int64], Floats]:
    """`(T, side)` each: the old pixels that a new one is made of, and how much each counts; columns sum to one."""
    ratio = size / side
    reach = max(ratio, 1.0)  # half the width of the triangle, in old pixels
    centres = (np.arange(side) + 0.5) * ratio - 0.5
    count = int(np.floor(2 * reach)) + 1
    places = np.ceil(centres - reach).astype(np.int64) + np.arange(count)[:, None]
    weights = np.maximum(0, 1 - np.abs(places - centres) / reach) * ((places >= 0) & (places < size))
    return places.clip(0, size - 1), (weights / weights.sum(axis=0)).astype(np.float32)
