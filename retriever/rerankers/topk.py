"""A segment is the average of its best tokens.

The `top` tokens nearest to the question are averaged, and the score is the cosine of that with the question: the top-k
baseline of Gorti et al. 2022, X-Pool.  No weights, nothing to train.  `maxsim` averages cosines instead; of one
token both are the same.
"""

from dataclasses import dataclass

import numpy as np

from retriever.rerankers import _weighted
from retriever.types import Floats, Ids, RaggedTokens, Vector


@dataclass(frozen=True, slots=True)
class TopK:
    """Options: how many of a segment's best tokens are averaged.  Fewer tokens than that are all averaged."""

    top: int = 3

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"top must be at least 1, got {self.top}")

    def rerank(self, view: Vector, tokens: RaggedTokens) -> tuple[Floats, Floats]:
        """Scores `(S,)` a segment, -inf without tokens; cosines `(N,)`."""
        return _weighted.rerank(view, tokens, self._weights)

    def _weights(self, relevance: Floats, starts: Ids) -> Floats:
        owner = _weighted.owners(starts, len(relevance))
        order = np.lexsort((-relevance, owner))  # best first within each segment, equal ones in order of time
        weights = np.zeros(len(relevance), np.float32)
        weights[order] = np.arange(len(order)) - starts[owner] < self.top
        return weights


def build(top: int = 3) -> TopK:
    return TopK(top)
