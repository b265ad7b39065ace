"""No second look: every segment keeps its first-stage score.

The baseline that a reranker has to beat, and the quickest answer.  Tokens still get their relevance, since a moment
is cut and explained by it.
"""

from dataclasses import dataclass

import numpy as np

from retriever import kernels
from retriever.types import Floats, RaggedTokens, Vector


@dataclass(frozen=True, slots=True)
class KeepFirst:
    """Scores of NaN: no opinion, the first stage's stands."""

    def rerank(self, view: Vector, tokens: RaggedTokens) -> tuple[Floats, Floats]:
        """NaN `(S,)` for a segment with tokens, -inf for one without; cosines `(N,)`."""
        counts = np.diff(tokens.offsets)
        return np.where(counts > 0, np.float32(np.nan), np.float32(-np.inf)), kernels.relevance(tokens, view)


def build() -> KeepFirst:
    return KeepFirst()
