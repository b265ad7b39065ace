"""Many scores of one segment become one.

A *source* is one way of finding: a space, or the words of a modality.  Sources are calibrated before they come here
(`calibration.py`), so that a score says how far above chance it is.  What is still missing is how likely the question
was meant for that source at all: a *gate* knows, from how the question is worded, whether something to be seen, heard,
said or read is looked for.  Both are logarithms of odds, so they add; sources are alternatives, so their odds add.

Pure arithmetic over arrays `(..., K, S)`: K sources, S segments, -inf where a source knows nothing of a segment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retriever.types import Floats, Matrix, Modality

SHRINKAGE = 0.01
"""Added to the variance of every direction when a gate is fitted; chosen by cross-validation on the background
sentences alone (`docs/experiments.md`): flat from 0.006 to 0.02."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Which modality a question asks about, from its vector: linear discriminant analysis (Hastie, Tibshirani &
    Friedman 2009, §4.3) with a shared, shrunk covariance and equal priors."""

    modalities: tuple[Modality, ...]  # M of them
    slopes: Matrix  # (D, M)
    offsets: Floats  # (M,)

    @classmethod
    def fit(cls, rows: Matrix, modalities: Sequence[Modality]) -> "Gate":
        """From example questions `(N, D)` and what each of them asks about."""
        names = tuple(modality for modality in Modality if modality in modalities)
        owner = np.array([names.index(modality) for modality in modalities])
        means = np.stack([rows[owner == number].mean(axis=0) for number in range(len(names))])  # (M, D)
        inner = rows - means[owner]
        spread = inner.T @ inner / len(rows) + SHRINKAGE * np.eye(rows.shape[1])
        slopes = np.linalg.solve(spread, means.T)
        return cls(names, slopes.astype(np.float32), (-np.sum(means.T * slopes, axis=0) / 2).astype(np.float32))

    def log_shares(self, views: Matrix) -> Floats:
        """`(N, M)` logarithms of how likely each of the questions `(N, D)` asks about each modality."""
        logits = views @ self.slopes + self.offsets
        return logits - log_sum(logits, axis=-1)[..., None]


def log_sum(values: Floats, axis: int) -> Floats:
    """log Σ exp along an axis; -inf where everything is."""
    top = values.max(axis=axis, keepdims=True)
    safe = np.where(np.isfinite(top), top, np.float32(0))
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(values - safe).sum(axis=axis, keepdims=True)) + safe
    summed: Floats = np.squeeze(total, axis=axis)
    return summed


def fuse(scores: Floats, gate: Floats) -> tuple[Floats, Floats]:
    """Fused scores `(..., S)` and each source's share of them `(..., K, S)`, which sums to one over the sources.

    Args:
        scores: `(..., K, S)`, calibrated.
        gate: `(..., K)`, how likely each source is meant, as a logarithm.
    """
    odds = scores + gate[..., None]
    fused = log_sum(odds, axis=-2)
    known = np.isfinite(fused)
    with np.errstate(invalid="ignore"):
        shares = np.where(known[..., None, :], np.exp(odds - fused[..., None, :]), np.float32(0))
    return fused, shares.astype(np.float32)
