"""What speaks against an answer, before its score becomes a confidence.

    doubt = Doubt.of(rows)                            # the background's vectors
    doubt.of_question(view) + of_place(scored, [4])   # in the unit of scores, to be taken off

A score says how far an answer lies above chance.  Two things are known beside it:

- *The question is one of many.*  What lies near to much of what people ask lies near to what tokens are near to, and
  scores high wherever it is asked; a question that is like no other scores low even where it is answered.  So the
  nearness of a question to the background counts against it: the mean of its nearest cosines, as r in CSLS (Conneau et
  al. 2018, §2.3).  It is the same for all answers to a question, so it changes nothing between them.
- *It stands on one token.*  The largest of many numbers is large by chance; that its neighbours are nearly as large is
  less so.

The background's own answers are doubted in the same way, so the share of false alarms that is stated stays what it was
meant to be.  What each is worth was chosen on the *choose* half (`docs/experiments.md`), between values that do alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retriever.calibration import Scale
from retriever.scoring import Scored
from retriever.types import Floats, Matrix, Vector

NEAR = 0.5
"""Spreads of a score that a spread of nearness is worth: 0.25 to 0.75 do alike."""
ALONE = 0.5
"""What counts of how far the best token lies above its neighbours: 0.25 to 0.75 do alike."""
NEAREST = 10
"""Sentences that a question is held against; 3 to 30 do alike."""
TOKENS = 3
"""The best ones of a segment, the best itself among them."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """How near questions are to all that people ask."""

    rows: Matrix  # the background, (B, D)
    own: Floats  # (B,) of each of its sentences, with regard to all others
    scale: Scale

    @classmethod
    def of(cls, rows: Matrix) -> "Doubt":
        """From the vectors of the background, of length one."""
        near = rows @ rows.T
        np.fill_diagonal(near, -np.inf)
        own = _nearness(near)
        scale = Scale.of(own)
        return cls(rows, NEAR * scale(own), scale)

    def of_question(self, view: Vector) -> float:
        """Of a question `(D,)`: 0 for one as near as the background is to itself."""
        near = np.vecdot(self.rows, view)  # takes no threads, which would wait for whatever else runs
        return NEAR * float(self.scale(_nearness(near[None]))[0])


def _nearness(near: Matrix) -> Floats:
    """The mean of the largest cosines of each row; nothing is as near as -inf is."""
    best = np.sort(near, axis=1)[:, -NEAREST:]
    known = np.isfinite(best)
    total = np.where(known, best, np.float32(0)).sum(axis=1)
    return np.asarray(total / np.maximum(known.sum(axis=1), 1), np.float32)


def of_place(scored: Scored, candidates: Sequence[int]) -> Floats:
    """Of each of these candidates `(R,)`: how far its best token lies above the mean of the best ones in that space; 0
    where there is one token or none."""
    found = np.zeros(len(candidates), np.float32)
    for place, row in enumerate(candidates):
        seen = [one.heights[slice(*one.tokens.offsets[row : row + 2].tolist())] for one in scored.seen.values()]
        heights = max(seen, key=lambda own: float(own.max(initial=-np.inf)), default=np.zeros(0, np.float32))
        if len(heights) and np.isfinite(heights).all():
            found[place] = ALONE * (heights.max() - np.sort(heights)[-TOKENS:].mean())
    return found
