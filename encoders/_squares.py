"""Frames of any size as the square pictures that a network takes: the middle square, scaled.

Scaling is one matrix from the left and one from the right, with triangle weights that widen when pictures shrink, so
that no pixel is skipped; PIL and torch call it bilinear with antialiasing.
"""

from functools import lru_cache

import numpy as np

from retriever.types import Floats, Pictures


def squares(frames: Pictures, side: int) -> Floats:
    """The middle square of each frame `(N, H, W, 3)`, as `(N, 3, side, side)` from 0 to 255."""
    _, height, width, _ = frames.shape
    size = min(height, width)
    top, left = (height - size) // 2, (width - size) // 2
    middle = frames[:, top : top + size, left : left + size].transpose(0, 3, 1, 2).astype(np.float32)
    if size == side:
        return np.ascontiguousarray(middle)
    matrix = scaling(size, side)
    return np.asarray(matrix @ middle @ matrix.T, np.float32)


@lru_cache(maxsize=32)
def scaling(size: int, side: int) -> Floats:
    """`(side, size)`: how much of each old pixel goes into each new one; every row sums to one."""
    ratio = size / side
    reach = max(ratio, 1.0)  # half the width of the triangle, in old pixels
    centres = (np.arange(side) + 0.5) * ratio - 0.5
    weights = np.maximum(0, 1 - np.abs(np.arange(size) - centres[:, None]) / reach)
    matrix: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return matrix
