"""Sentences that were encoded of late are not encoded again."""

from collections.abc import Sequence

import numpy as np

from retriever.ports import SentenceEncoder
from retriever.recent import Recent
from retriever.types import Matrix, Vector

FEW = 16
"""Sentences at once that are questions; more are a corpus, and would drive questions out."""
KEPT = 4_096
"""Sentences: six megabytes where each is 384 numbers."""

Rows = Recent[tuple[str, str], Vector]
"""By encoder and sentence."""


class Remembering:
    """A `SentenceEncoder` around another; several may share what they remember."""

    def __init__(self, encoder: SentenceEncoder, recent: Rows) -> None:
        self.name = encoder.name
        self.digest = encoder.digest
        self.dimension = encoder.dimension
        self._encoder = encoder
        self._recent = recent

    def encode(self, sentences: Sequence[str]) -> Matrix:
        """As the encoder within would, to the 1e-5 that batch mates may change."""
        if not 0 < len(sentences) <= FEW:
            return self._encoder.encode(sentences)
        known = [self._recent.get((self.digest, sentence)) for sentence in sentences]
        new = [place for place, row in enumerate(known) if row is None]
        rows = np.empty((len(sentences), self.dimension), np.float32)
        if new:
            rows[new] = self._encoder.encode([sentences[place] for place in new])
        for place, row in enumerate(known):
            if row is not None:
                rows[place] = row
            else:
                self._recent.put((self.digest, sentences[place]), rows[place].copy())
        return rows
