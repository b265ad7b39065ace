"""How good is good?  Scores become comparable between sources, and a result becomes a confidence.

A cosine means nothing by itself: 0.4 is a find among spoken lines and noise among frames, 0.93 may be the best of one
question and chance for another.  So a few hundred everyday sentences that have nothing to do with the library
(`background.txt`) are asked as well.  They say, for each source, how well things answer by chance, and, for the whole
library, how good the best answer to a question without an answer is.  All of it follows from what is committed and
from the recipe, never from what was asked before; nothing here is a fixed threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from importlib.resources import files

import numpy as np

from retriever import kernels
from retriever.types import Floats, Matrix, Modality, RaggedTokens

CENTRES = 16
"""Points that stand for the background when a segment's chance level is taken; 8 to 64 give the same answers."""
ROUNDS = 20
"""Of k-means: on a few hundred sentences it stands still before that."""
TAIL = 0.15
"""The share of background sentences, the best answered, that the tail is fitted to."""
ALIKE = 0.75
"""Measured with background sentences on random parts of a library: 0.7 to 0.8 keeps closest to the stated rate."""
FLAT = 1e-6
"""A shape so near to zero is the exponential distribution."""
ROUNDING = 1e-5
"""Cosines of stored halves that scatter less are equal."""
HEAVIEST = 0.5
"""Bound on the tail's shape either way: a few dozen values cannot show a heavier one (Hosking & Wallis 1987, §4)."""


@dataclass(frozen=True, slots=True)
class Background:
    """Sentences that nobody asked, and what each of them would have been about."""

    sentences: tuple[str, ...]
    modalities: tuple[Modality, ...]

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def digest(self) -> str:
        lines = (f"{modality} {sentence}" for sentence, modality in zip(self.sentences, self.modalities, strict=True))
        return sha256("\n".join(lines).encode()).hexdigest()


@lru_cache(maxsize=1)
def background() -> Background:
    """The sentences that are shipped."""
    return parse(files("retriever").joinpath("background.txt").read_text(encoding="utf-8"))


def parse(text: str) -> Background:
    """Lines under `[modality]` headings; empty lines and those behind `#` are for people."""
    sentences: list[str] = []
    modalities: list[Modality] = []
    current: Modality | None = None
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            current = Modality(line.strip("[]"))
        elif line and not line.startswith("#"):
            if current is None:
                raise ValueError(f"{line!r} stands before the first [modality]")
            sentences.append(line)
            modalities.append(current)
    return Background(tuple(sentences), tuple(modalities))


@dataclass(frozen=True, slots=True)
class Chance:
    """How well anything at all answers by chance.  Some segments lie near every question (hubs: Radovanović et al.
    2010); the mean over the background of a segment's score says how near.

    The background is stood for by a few centres, so that the level of a segment costs a few products and no store of
    its own.  A mean over centres shrinks the level towards the common one, which measured better than the full one.
    """

    centres: Matrix  # (C, D)
    weights: Floats  # (C,), sums to one

    @classmethod
    def of(cls, rows: Matrix) -> "Chance":
        """Centres of the background's vectors `(B, D)` by k-means, begun at the points farthest apart."""
        centres = rows[_far_apart(rows, min(CENTRES, len(rows)))]
        for _ in range(ROUNDS):
            nearest = np.argmax(rows @ centres.T - np.sum(centres**2, axis=1) / 2, axis=1)
            held = np.unique(nearest)
            centres = np.stack([rows[nearest == number].mean(axis=0) for number in held])
            weights = np.bincount(nearest, minlength=held.max() + 1)[held] / len(rows)
        return cls(centres.astype(np.float32), weights.astype(np.float32))

    def levels(self, tokens: RaggedTokens) -> tuple[Floats, Floats]:
        """Of each segment `(S,)` and of each token `(N,)`: the mean over centres of the best and of the cosine."""
        near = kernels.products(tokens.rows, self.centres)  # (N, C)
        levels = np.zeros(len(tokens.offsets) - 1, np.float32)
        filled = tokens.offsets[1:] > tokens.offsets[:-1]
        if filled.any():
            levels[filled] = np.maximum.reduceat(near, tokens.offsets[:-1][filled], axis=0) @ self.weights
        return levels, near @ self.weights


def _far_apart(rows: Matrix, count: int) -> list[int]:
    chosen = [int(np.argmax(rows @ rows.mean(axis=0)))]
    nearest = rows @ rows[chosen[0]]
    while len(chosen) < count:
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, rows @ rows[chosen[-1]])
    return chosen


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a source's scores lie by chance, and how far they scatter."""

    middle: float
    spread: float

    @classmethod
    def of(cls, values: Floats) -> "Scale":
        """From scores by chance; without any, or where all are equal but for rounding, the spread is one."""
        known = values[np.isfinite(values)].astype(np.float64)
        if not len(known):
            return cls(0.0, 1.0)
        spread = float(known.std())
        return cls(float(known.mean()), spread if spread > ROUNDING else 1.0)

    def __call__(self, scores: Floats) -> Floats:
        """How many spreads above chance; -inf stays."""
        steps: Floats = ((scores - np.float32(self.middle)) / np.float32(self.spread)).astype(np.float32)
        return steps


@dataclass(frozen=True)
class Tail:
    """Best scores `(B,)` of questions that have no answer, rising; and from them a confidence.

    Below the tail the share of them that a score beats, interpolated; in the tail a generalised Pareto distribution
    (Pickands 1975), fitted by probability-weighted moments (Hosking & Wallis 1987, eq. 3), so that scores beyond all
    of them still differ.
    """

    best: Floats

    @classmethod
    def of(cls, best: Sequence[float] | Floats) -> "Tail":
        values = np.asarray(best, np.float32)
        return cls(np.sort(values[np.isfinite(values)]))

    @property
    def middle(self) -> float:
        """The best score that half of these questions do not reach; 0 without any."""
        return float(np.median(self.best)) if len(self.best) else 0.0

    @cached_property
    def _pareto(self) -> tuple[float, float, float]:
        """Where the tail begins, its scale and its shape."""
        begin = float(np.quantile(self.best, 1 - TAIL))
        excess = self.best[self.best > begin].astype(np.float64) - begin
        count = len(excess)
        if count < 2 or excess[-1] <= 0:
            return begin, 1e-6, 0.0
        mean = float(excess.mean())
        weighted = float(np.sum((1 - (np.arange(1, count + 1) - 0.35) / count) * excess) / count)
        shape = float(np.clip(2 - mean / (mean - 2 * weighted), -HEAVIEST, HEAVIEST)) if mean > 2 * weighted else 0.0
        return begin, max(mean * (1 - shape), 1e-6), shape

    @cached_property
    def _own(self) -> Floats:
        """The confidences of the background's own best scores, rising."""
        return self.confidences(self.best)

    def confidences(self, scores: Floats, part: float = 1.0) -> Floats:
        """The chance, for each score, that a question without an answer does no better: 0 to 1, rising.  Without any
        background it is 0: nothing is known.

        Where only a `part` of the library may answer, chance has fewer tries: F(s)^(part^θ).  Segments that are alike
        do not try independently of one another, hence θ (an extremal index, Leadbetter 1983).
        """
        if not len(self.best):
            return np.zeros(len(scores), np.float32)
        begin, scale, shape = self._pareto
        places = (np.arange(len(self.best)) + 0.5) / len(self.best)
        below = np.minimum(np.interp(scores, self.best, places, left=0.0), 1 - TAIL)
        steps = np.maximum(scores.astype(np.float64) - begin, 0.0) / scale
        left = np.exp(-steps) if abs(shape) < FLAT else np.maximum(1 + shape * steps, 0.0) ** (-1 / shape)
        whole = np.where(scores <= begin, below, 1 - TAIL * left)
        return np.asarray(whole ** (part**ALIKE), np.float32)

    def rate(self, confidence: float) -> float:
        """The share of background sentences that would have been answered with at least this confidence."""
        return float(np.mean(self._own >= confidence) if len(self.best) else confidence <= 0)
