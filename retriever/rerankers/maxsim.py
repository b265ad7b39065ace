"""A segment is as good as its best tokens.

The mean of the `top` largest cosines of a segment's tokens; of one it is the maximum, as late interaction (Khattab &
Zaharia 2020, ColBERT, §3.2) takes it for a query that is a single vector.  No weights, nothing to train.
"""

from dataclasses import dataclass

from retriever import kernels
from retriever.types import Floats, RaggedTokens, Vector


@dataclass(frozen=True, slots=True)
class MaxSim:
    """Options: how many of a segment's best tokens are averaged.  Fewer tokens than that are all averaged."""

    top: int = 1

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"top must be at least 1, got {self.top}")

    def rerank(self, view: Vector, tokens: RaggedTokens) -> tuple[Floats, Floats]:
        """Scores `(S,)` a segment, -inf without tokens; cosines `(N,)`."""
        relevance = kernels.relevance(tokens, view)
        if self.top == 1:
            return kernels.segment_max(relevance, tokens.offsets), relevance
        return kernels.segment_top_mean(relevance, tokens.offsets, self.top), relevance


def build(top: int = 1) -> MaxSim:
    return MaxSim(top)
