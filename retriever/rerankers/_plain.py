"""X-Pool and TEFAL by their papers, a pair at a time, in float64: what every other form is held against.

Gorti et al. 2022, X-Pool, §3.3 (equations 3 to 6), with the layer normalisations of the authors' code; Ibrahimi et al.
2023, TEFAL, §3: two such blocks, and their sum.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.heads import EPSILON, Block, Head
from retriever.types import Floats, Matrix

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]


def scores(
    head: Head, text: Matrix, tokens: Floats, mask: Mask, audio: Floats | None = None, heard: Mask | None = None
) -> Floats:
    """`(Q, V)` of texts `(Q, D)` and candidates `(V, F, D)` of which `mask` `(V, F)` tokens are there, and for TEFAL
    `audio` `(V, M, Da)` with `heard` `(V, M)`; -inf without frames."""
    found = np.full((len(text), len(tokens)), -np.inf, np.float32)
    for query, asked in enumerate(text.astype(np.float64)):
        for candidate, valid in enumerate(mask):
            frames = tokens[candidate][valid].astype(np.float64)
            sounds = None if audio is None or heard is None else audio[candidate][heard[candidate]].astype(np.float64)
            if len(frames):
                found[query, candidate] = _cosine(asked, pooled(head, asked, frames, sounds))
    return found


def pooled(head: Head, text: Doubles, frames: Doubles, sounds: Doubles | None) -> Doubles:
    """The candidate `(D,)` as this text sees it."""
    seen = attended(head.blocks[0], text, frames)
    if head.family == "xpool" or sounds is None or not len(sounds):
        return seen
    if head.audio_map is not None:
        weight, bias = head.audio_map
        sounds = sounds @ weight.T + bias
    gate = 1.0
    if head.gate is not None:
        means = np.concatenate([frames.mean(axis=0), sounds.mean(axis=0), text])
        gate = 1 / (1 + np.exp(-(head.gate.weight @ means + head.gate.bias)))
    return seen + gate * attended(head.blocks[1], text, sounds)


def attended(block: Block, text: Doubles, tokens: Doubles) -> Doubles:
    """One block: the tokens `(F, D)` pooled by what the text attends to, `(D,)`."""
    query = block.wq @ normalised(text, block.ln1_g, block.ln1_b) + block.bq
    inner = normalised(tokens, block.ln1_g, block.ln1_b)
    keys = inner @ block.wk.T + block.bk
    values = inner @ block.wv.T + block.bv
    logits = keys @ query / np.sqrt(block.dimension)
    attention = np.exp(logits - logits.max())
    attention /= attention.sum()
    out = block.wo @ (attention @ values) + block.bo
    middle = normalised(out, block.ln2_g, block.ln2_b)
    return normalised(middle + block.wl @ middle + block.bl, block.ln3_g, block.ln3_b)


def normalised(vectors: Doubles, gain: Floats, bias: Floats) -> Doubles:
    """Layer normalisation over the last axis (Ba et al. 2016)."""
    centred = vectors - vectors.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
    return np.asarray(centred / spread * gain + bias, np.float64)


def _cosine(one: Doubles, other: Doubles) -> Any:
    return one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
