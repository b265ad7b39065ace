"""A segment is its tokens, averaged by how near each is to the question.

The weights are a softmax of the cosines over a temperature, and the score is the cosine of the average with the
question: the attention baseline of Gorti et al. 2022, X-Pool.  No weights, nothing to train.  A low temperature is the
best token alone, a high one the mean of all.
"""

from dataclasses import dataclass

import numpy as np

from retriever.rerankers import _weighted
from retriever.types import Floats, Ids, RaggedTokens, Vector


@dataclass(frozen=True, slots=True)
class Attention:
    """Options: the temperature, in cosines."""

    temperature: float = 0.01

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")

    def rerank(self, view: Vector, tokens: RaggedTokens) -> tuple[Floats, Floats]:
        """Scores `(S,)` a segment, -inf without tokens; cosines `(N,)`."""
        return _weighted.rerank(view, tokens, self._weights)

    def _weights(self, relevance: Floats, starts: Ids) -> Floats:
        owner = _weighted.owners(starts, len(relevance))
        behind = (relevance - np.maximum.reduceat(relevance, starts)[owner]) / np.float32(self.temperature)
        return np.asarray(np.exp(behind), np.float32)  # their sum does not matter to a cosine


def build(temperature: float = 0.01) -> Attention:
    return Attention(temperature)
