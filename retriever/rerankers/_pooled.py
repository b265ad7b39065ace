"""The attention first, over the tokens as they are stored; then the wide maps, once a candidate: exact, no record.

A softmax sums to one, so what is linear behind it may wait: Wo (Σ aᵢ (Wv hᵢ + bv)) + bo = B (Σ aᵢ hᵢ) + b, B = Wo Wv.
The keys need not be made either: q · (Wk h + bk) = (Wkᵀ q) · h + a constant, which a softmax does not see.  That leaves
2 F D + 2 D² multiplications a candidate, and the D² of them in one product of matrices.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from retriever import kernels
from retriever.heads import EPSILON, Block, Head
from retriever.rerankers._ragged import Ragged
from retriever.types import Floats, Ids, Matrix, Vector

_BLOCK = 256
"""Candidates at a time: 256 × 16 × 512 singles are 8 MB.  Fewer make more and smaller products of matrices, whose
threads then wait for each other."""


@dataclass(frozen=True, slots=True)
class PooledFirst:
    """One head over ragged candidates."""

    head: Head
    folded: tuple[tuple[Matrix, Floats], ...]  # B and b of each block

    @classmethod
    def of(cls, head: Head) -> "PooledFirst":
        return cls(head, tuple((block.wo @ block.wv, block.wo @ block.bv + block.bo) for block in head.blocks))

    def scores(self, text: Vector, frames: Ragged, sounds: Ragged | None = None) -> Floats:
        """`(V,)` for one text `(D,)`; -inf without frames."""
        found = np.full(len(frames), -np.inf, np.float32)
        text = text.astype(np.float32)
        for begin in range(0, len(frames), _BLOCK):
            end = min(begin + _BLOCK, len(frames))
            there = np.flatnonzero(frames.counts[begin:end])
            if len(there):
                heard = None if sounds is None else sounds.part(begin, end)
                seen = self._seen(text, frames.part(begin, end), heard, there)
                found[begin + there] = seen @ text / (np.linalg.norm(seen, axis=1) * np.linalg.norm(text))
        return found

    def _seen(self, text: Vector, frames: Ragged, sounds: Ragged | None, there: Ids) -> Matrix:
        """Candidates `there` (that have frames) as the text sees them, `(V', D)`."""
        shown = frames.single(there)
        seen = self._attended(0, text, shown)
        if self.head.family == "xpool" or sounds is None:
            return seen
        both = np.flatnonzero(sounds.counts[there])
        if len(both):
            heard = sounds.single(there[both])
            if self.head.audio_map is not None:
                weight, bias = self.head.audio_map
                mapped = heard.rows @ weight.T * heard.norms[:, None] + bias
                heard = Ragged(mapped, heard.offsets, np.ones(len(mapped), np.float32))
            gates = self._gates(text, shown, heard, both)
            seen[both] += gates[:, None] * self._attended(1, text, heard)
        return seen

    def _attended(self, number: int, text: Vector, tokens: Ragged) -> Matrix:
        """Candidates `(V, D)` out of block `number`; none of them empty."""
        block, (weight, bias) = self.head.blocks[number], self.folded[number]
        width, starts, norms = np.float32(block.dimension), tokens.offsets[:-1], tokens.norms
        asked = block.wq @ normalised(text, block.ln1_g, block.ln1_b) + block.bq
        asked = (asked @ block.wk) * block.ln1_g / np.sqrt(width)
        means = tokens.rows @ np.full(block.dimension, 1 / width, np.float32)  # of rows of length one, as kept
        variances = np.maximum(np.vecdot(tokens.rows, tokens.rows) / width - means**2, 0)
        over = norms / np.sqrt(variances * norms**2 + np.float32(EPSILON))
        logits = tokens.rows @ (asked - asked.mean()) * over  # what the mean adds is taken off the question
        attention = np.exp(logits - np.repeat(np.maximum.reduceat(logits, starts), tokens.counts))
        attention /= np.repeat(np.add.reduceat(attention, starts), tokens.counts)
        shares = attention * over
        pooled = _mixed(shares, tokens) - np.add.reduceat(shares * means, starts)[:, None]
        pooled = np.asarray(pooled * block.ln1_g + block.ln1_b, np.float32)
        return _after(block, pooled @ weight.T + bias)

    def _gates(self, text: Vector, frames: Ragged, sounds: Ragged, both: Ids) -> Floats:
        if self.head.gate is None:
            return np.ones(len(both), np.float32)
        seen_w, heard_w, text_w = np.split(self.head.gate.weight, 3)
        seen, loud = (
            np.add.reduceat(tokens.rows @ own * tokens.norms, tokens.offsets[:-1]) / tokens.counts
            for tokens, own in ((frames, seen_w), (sounds, heard_w))
        )
        inner = seen[both] + loud + text_w @ text + self.head.gate.bias
        return kernels.logistic(inner.astype(np.float32))


def _mixed(shares: Floats, tokens: Ragged) -> Matrix:
    """Rows of each candidate, summed by `shares` `(N,)`: `(V, D)`.  One small product a candidate reads every row once;
    `np.add.reduceat` over weighted rows takes eight times as long."""
    mixed = np.empty((len(tokens), tokens.rows.shape[1]), np.float32)
    bounds = tokens.offsets.tolist()
    for place, (begin, end) in enumerate(pairwise(bounds)):
        np.dot(shares[begin:end], tokens.rows[begin:end], out=mixed[place])
    return mixed


def normalised(vectors: Floats, gain: Floats, bias: Floats) -> Floats:
    """Layer normalisation over the last axis, in single precision."""
    centred = vectors - vectors.mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt(np.vecdot(centred, centred)[..., None] / np.float32(vectors.shape[-1]) + np.float32(EPSILON))
    return np.asarray(centred * scale * gain + bias, np.float32)


def _after(block: Block, out: Matrix) -> Matrix:
    """What a block does behind its attention."""
    middle = normalised(out, block.ln2_g, block.ln2_b)
    return normalised(middle + middle @ block.wl.T + block.bl, block.ln3_g, block.ln3_b)
