"""The attention first, over the tokens as they are stored; then the wide maps, once a candidate: exact, no record.

A softmax sums to one, so what is linear behind it may wait: Wo (Σ aᵢ (Wv hᵢ + bv)) + bo = B (Σ aᵢ hᵢ) + b, B = Wo Wv.
The keys need not be made either: q · (Wk h + bk) = (Wkᵀ q) · h + a constant, which a softmax does not see.  That leaves
2 F D + 2 D² multiplications a candidate, and the D² of them in one product of matrices.
"""

from dataclasses import dataclass

import numpy as np

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
        rows = frames.wide(0, len(frames.rows))
        seen = self._attended(0, text, rows, frames.offsets[[*there, -1]])
        if self.head.family == "xpool" or sounds is None:
            return seen
        both = np.flatnonzero(sounds.counts[there])
        if len(both):
            heard, offsets = _only(sounds.wide(0, len(sounds.rows)), sounds, there[both])
            if self.head.audio_map is not None:
                heard = heard @ self.head.audio_map[0].T + self.head.audio_map[1]
            gates = self._gates(text, rows, frames.offsets[[*there, -1]], heard, offsets, both)
            seen[both] += gates[:, None] * self._attended(1, text, heard, offsets)
        return seen

    def _attended(self, number: int, text: Vector, rows: Matrix, offsets: Ids) -> Matrix:
        """Candidates `(V, D)` out of block `number`; none of them empty, `offsets` `(V + 1,)` rising."""
        block, (weight, bias) = self.head.blocks[number], self.folded[number]
        width = np.float32(block.dimension)
        asked = block.wq @ normalised(text, block.ln1_g, block.ln1_b) + block.bq
        asked = (asked @ block.wk) * block.ln1_g / np.sqrt(width)
        means = rows.mean(axis=1)
        over = 1 / np.sqrt(np.maximum(np.vecdot(rows, rows) / width - means**2, 0) + np.float32(EPSILON))
        logits = np.vecdot(rows, asked - asked.mean()) * over  # what the mean adds is taken off the question
        owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        attention = np.exp(logits - np.maximum.reduceat(logits, offsets[:-1])[owner])
        attention /= np.add.reduceat(attention, offsets[:-1])[owner]
        pooled = np.add.reduceat(rows * (attention * over)[:, None], offsets[:-1], axis=0)
        pooled -= np.add.reduceat(attention * over * means, offsets[:-1])[:, None]
        pooled = np.asarray(pooled * block.ln1_g + block.ln1_b, np.float32)
        return _after(block, pooled @ weight.T + bias)

    def _gates(self, text: Vector, frames: Matrix, offsets: Ids, sounds: Matrix, heard: Ids, both: Ids) -> Floats:
        if self.head.gate is None:
            return np.ones(len(both), np.float32)
        seen_w, heard_w, text_w = np.split(self.head.gate.weight, 3)
        seen = np.add.reduceat(frames @ seen_w, offsets[:-1]) / np.diff(offsets)
        loud = np.add.reduceat(sounds @ heard_w, heard[:-1]) / np.diff(heard)
        open_ = 1 / (1 + np.exp(-(seen[both] + loud + text_w @ text + self.head.gate.bias)))
        return np.asarray(open_, np.float32)


def normalised(vectors: Floats, gain: Floats, bias: Floats) -> Floats:
    """Layer normalisation over the last axis, in single precision."""
    centred = vectors - vectors.mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt(np.vecdot(centred, centred)[..., None] / np.float32(vectors.shape[-1]) + np.float32(EPSILON))
    return np.asarray(centred * scale * gain + bias, np.float32)


def _after(block: Block, out: Matrix) -> Matrix:
    """What a block does behind its attention."""
    middle = normalised(out, block.ln2_g, block.ln2_b)
    return normalised(middle + middle @ block.wl.T + block.bl, block.ln3_g, block.ln3_b)


def _only(rows: Matrix, tokens: Ragged, chosen: Ids) -> tuple[Matrix, Ids]:
    """Rows and offsets of these candidates alone."""
    kept = np.isin(np.repeat(np.arange(len(tokens)), tokens.counts), chosen)
    offsets = np.concatenate([[0], np.cumsum(tokens.counts[chosen])]).astype(np.int64)
    return (rows if kept.all() else rows[kept]), offsets
