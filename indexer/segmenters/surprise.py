"""Segments that end where something new begins.

After EM-LLM (Fountas et al., ICLR 2025), without a language model: what a token shows is compared with a fading memory
of what came before, S = 1 - cos(x, memory), and a segment ends where S stands out of its surroundings, S > mean + γ·σ.
Each cut then moves to the place that parts its two neighbours best, by modularity (Newman 2006) of the similarities
A = max(0, XXᵀ) with half an event of context at both sides.

Every space that covers the media has a say: the tokens are laid on one grid of time, each space's surprise is measured
against its own average, so that a restless one does not drown a calm one, and the most surprised is believed.  Spoken
and written lines do not cover it: they begin and end inside what happens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from indexer.ports import Segmenter
from indexer.segmenters._lengths import LONGEST, SHORTEST
from retriever.types import Ids, Matrix, TimeSpan, Tokens

Curve = NDArray[np.float64]
"""`(F,)` one number a step of the grid."""

BLOCK = 64  # steps that are looked at together
STEP = 0.5  # seconds, at least; a quarter of the shortest segment
NEAREST = round(SHORTEST / STEP)  # steps between two cuts
FLOOR = 0.05  # surprise (1 - cosine) that encoders show where nothing happens: less is none
COVER = 0.9  # share of the media that a space's tokens cover if it is to have a say


@dataclass(frozen=True, slots=True)
class Surprise:
    """The segmenter and all that can be set about it."""

    gamma: float  # standard deviations above the mean that make a cut
    window: float  # seconds that mean and deviation are taken over, half before and half after
    memory: float  # seconds after which the memory has faded to 1/e

    def segment(self, duration: float, tokens: Mapping[str, Tokens]) -> list[TimeSpan]:
        if duration < 2 * SHORTEST:
            return [TimeSpan(0.0, duration)]
        steps = int(duration / STEP)
        step = duration / steps
        tracks = [Track.of(tokens[space], steps, step) for space in telling(tokens, duration)]
        surprise = np.max([np.zeros(steps), *(track.surprise(self.memory / step) for track in tracks)], axis=0)
        cuts = refined([0, *self._peaks(surprise, step), steps], tracks)
        edges = [cut * step for cut in clamped(cuts, surprise, int(LONGEST / step))]
        return [TimeSpan(start, end) for start, end in pairwise([*edges[:-1], duration])]

    def _peaks(self, surprise: Curve, step: float) -> list[int]:
        """Steps that stand out and surprise more than any near them, so that the echo of a cut is none; rising."""
        mean, deviation = moving(surprise, round(self.window / step))
        around = sliding_window_view(np.pad(surprise, NEAREST, constant_values=-1.0), 2 * NEAREST + 1)  # (F, 9)
        highest = np.argmax(around, axis=1) == NEAREST  # the first of equals
        peaks = np.flatnonzero(highest & (surprise > mean + self.gamma * deviation))
        return [int(peak) for peak in peaks if NEAREST <= peak <= len(surprise) - NEAREST]


def telling(tokens: Mapping[str, Tokens], duration: float) -> list[str]:
    """The spaces that have a say, by name: those whose tokens cover the media, else the one that covers most of it."""
    shares = {space: covered(tokens[space]) / duration for space in sorted(tokens) if len(tokens[space])}
    most = max(shares.values(), default=0.0)
    return [space for space, share in shares.items() if share >= min(most, COVER)]


def covered(tokens: Tokens) -> float:
    """Seconds that the tokens cover, those covered twice once."""
    reached = np.maximum.accumulate(tokens.spans[:, 1])
    before = np.concatenate((tokens.spans[:1, 0], reached[:-1]))
    return float((reached - np.maximum(before, tokens.spans[:, 0])).clip(0).sum())


@dataclass(frozen=True, slots=True)
class Track:
    """The tokens of one space on the grid: at each step the token on show."""

    rows: Matrix  # (N, D)
    shown: Ids  # (F,) row of each step

    @classmethod
    def of(cls, tokens: Tokens, steps: int, step: float) -> "Track":
        """A token is on show until the next one begins; where two overlap, they share what they share by halves."""
        starts, ends = tokens.spans[1:, 0], tokens.spans[:-1, 1]
        turns = np.maximum.accumulate((starts + np.maximum(starts, ends)) / 2)
        middles = (np.arange(steps) + 0.5) * step
        return cls(tokens.rows, np.searchsorted(turns, middles, side="right"))

    def surprise(self, memory: float) -> Curve:
        """How little each step resembles the memory of the steps before it, which fades to 1/e in `memory` steps; in
        units of its own average."""
        beta = np.exp(-1 / memory)
        since = np.subtract.outer(np.arange(BLOCK + 1), np.arange(BLOCK)) - 1  # (B + 1, B) steps since each was seen
        seen = np.where(since >= 0, (1 - beta) * beta ** since.clip(0), 0)
        start = self.rows[self.shown[0]].astype(np.float64)  # (D,) the memory in front of a block
        surprise: Curve = np.zeros(len(self.shown))
        for first in range(0, len(surprise), BLOCK):
            tokens = self.rows[self.shown[first : first + BLOCK]].astype(np.float64)  # (b, D)
            b = len(tokens)
            memories = seen[: b + 1, :b] @ tokens + np.outer(beta ** np.arange(b + 1), start)  # (b + 1, D)
            lengths = np.linalg.norm(memories[:b], axis=1).clip(FLOOR)
            surprise[first : first + b] = 1 - (tokens * memories[:b]).sum(axis=1) / lengths
            start = memories[b]
        standing: Curve = (surprise - FLOOR).clip(0) / (surprise.mean() + FLOOR)
        return standing

    def similarity(self, first: int, last: int) -> Curve:
        """`(n, n)` cosines of the steps `first` to `last`, those below 0 as 0."""
        rows = self.rows[self.shown[first:last]].astype(np.float64)
        return (rows @ rows.T).clip(0)


def moving(curve: Curve, width: int) -> tuple[Curve, Curve]:
    """Mean and standard deviation over `width` steps around each step, fewer at the ends."""
    steps = np.arange(len(curve))
    first, last = np.maximum(0, steps - width // 2), np.minimum(len(curve), steps + width // 2 + 1)
    sums = np.concatenate(([0.0], np.cumsum(curve)))
    squares = np.concatenate(([0.0], np.cumsum(curve**2)))
    mean = (sums[last] - sums[first]) / (last - first)
    square = (squares[last] - squares[first]) / (last - first)
    return mean, np.sqrt(np.maximum(0, square - mean**2))


def refined(cuts: list[int], tracks: list[Track]) -> list[int]:
    """Each cut where it parts half an event before it from half an event after it best; first and last stay."""
    cuts = list(cuts)
    reach = round(LONGEST / 2 / STEP)
    for number in range(1, len(cuts) - 1):
        before, cut, after = cuts[number - 1 : number + 2]
        first = max(cut - reach, cut - (cut - before + 1) // 2)
        last = min(cut + reach, cut + (after - cut + 1) // 2)
        low, high = max(first + 1, before + NEAREST), min(last - 1, after - NEAREST)
        if low < high:
            gains = modularity(np.sum([track.similarity(first, last) for track in tracks], axis=0))
            cuts[number] = low + int(np.argmax(gains[low - first : high - first + 1]))
    return cuts


def modularity(similarity: Curve) -> Curve:
    """`(n + 1,)` Newman's modularity of parting `(n, n)` similarities in front of step i; -inf for both ends."""
    degrees = similarity.sum(axis=1)
    total = degrees.sum()  # 2m
    n = len(similarity)
    block = np.concatenate(([0.0], np.diagonal(similarity.cumsum(0).cumsum(1))))  # (n + 1,) inside the first i steps
    degree = np.concatenate(([0.0], degrees.cumsum()))
    rest = total - degree
    inside_rest = total - 2 * degree + block
    gains: Curve = np.full(n + 1, -np.inf)
    if total > 0:
        gains[1:n] = ((block + inside_rest) / total - (degree**2 + rest**2) / total**2)[1:n]
    return gains


def clamped(cuts: list[int], surprise: Curve, longest: int) -> list[int]:
    """No part longer than `longest` steps: a longer one is cut where it surprises most, into as few as will do."""
    edges = [cuts[0]]
    for end in cuts[1:]:
        while (left := end - edges[-1]) > longest:
            parts = -(-left // longest)
            low = max(edges[-1] + NEAREST, end - (parts - 1) * longest)
            high = min(edges[-1] + longest, end - NEAREST)
            even = edges[-1] + left / parts
            edges.append(min(range(low, high + 1), key=lambda step: (-surprise[step], abs(step - even))))
        edges.append(end)
    return edges


def build(gamma: float = 0.75, window: float = 30.0, memory: float = 2.0) -> Segmenter:
    return Surprise(gamma, window, memory)
