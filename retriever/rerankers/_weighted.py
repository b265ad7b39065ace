"""Tokens of a segment averaged by weights, and the cosine of that with the question."""

from collections.abc import Callable

import numpy as np

from retriever import kernels
from retriever.types import Floats, Ids, RaggedTokens, Vector

Weigh = Callable[[Floats, Ids], Floats]
"""Weights `(N,)` of tokens from their cosines `(N,)`, in segments that begin at `(S,)`, none of them empty."""


def rerank(view: Vector, tokens: RaggedTokens, weigh: Weigh) -> tuple[Floats, Floats]:
    """Scores `(S,)` a segment, -inf without tokens; cosines `(N,)`."""
    relevance = kernels.relevance(tokens, view)
    counts = np.diff(tokens.offsets)
    filled = counts > 0
    scores = np.full(len(counts), -np.inf, np.float32)
    if filled.any():
        starts = tokens.offsets[:-1][filled]
        weighted = kernels.singles(tokens.rows) * weigh(relevance, starts)[:, None]
        pooled = np.add.reduceat(weighted, starts, axis=0)
        scores[filled] = pooled @ view / np.maximum(np.linalg.norm(pooled, axis=1), np.float32(1e-12))
    return scores, relevance


def owners(starts: Ids, count: int) -> Ids:
    """`(N,)` which segment each of `count` tokens belongs to."""
    return np.repeat(np.arange(len(starts)), np.diff(starts, append=count))
