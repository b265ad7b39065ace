"""Heads and candidates to hold the forms of a text-conditioned pooling against one another."""

from collections.abc import Sequence

import numpy as np
import torch

from retriever.heads import Block, Gate, Head
from retriever.rerankers._ragged import Ragged
from retriever.types import LABELS_KEPT, Floats, RaggedTokens

WIDTH, HEARD = 32, 20
Made = tuple[np.ndarray, np.ndarray]  # tokens (V, F, D), mask (V, F)


def array(draw: np.random.Generator, *shape: int, around: float = 0.0, by: float = 0.3) -> Floats:
    return (around + by * draw.standard_normal(shape)).astype(np.float32)


def block(draw: np.random.Generator) -> Block:
    norms = {f"ln{n}_{part}": array(draw, WIDTH, around=float(part == "g")) for n in (1, 2, 3) for part in "gb"}
    maps = {f"{part}{name}": array(draw, *[WIDTH] * (2 if part == "w" else 1)) for name in "qkvol" for part in "wb"}
    return Block(**norms, **maps)


def xpool(draw: np.random.Generator) -> Head:
    return Head("xpool", "", ("seen",), (block(draw),))


def tefal(draw: np.random.Generator, heard: int = HEARD) -> Head:
    mapped = None if heard == WIDTH else (array(draw, WIDTH, heard), array(draw, WIDTH))
    gate = Gate(array(draw, 3 * WIDTH), -0.5)
    return Head("tefal", "", ("seen", "heard"), (block(draw), block(draw)), mapped, gate)


def tokens(draw: np.random.Generator, count: int, longest: int, width: int = WIDTH, fewest: int = 1) -> Made:
    """Candidates of `fewest` to `longest` tokens of length about ten, in any places of the mask, in half precision."""
    counts = draw.integers(fewest, longest + 1, count)
    return placed(draw, counts.tolist(), longest, width)


def placed(draw: np.random.Generator, counts: Sequence[int], longest: int, width: int = WIDTH) -> Made:
    """The same, of so many tokens each."""
    rows = array(draw, len(counts), longest, width, by=10 / np.sqrt(width)).astype(np.float16)
    mask = draw.random((len(counts), longest)).argsort(axis=1) < np.array(counts, int)[:, None]
    return rows, mask


def ragged(made: Made) -> RaggedTokens:
    """As a store gives them: rows of length one, their norms beside."""
    rows, mask = made
    kept = rows[mask].astype(np.float32)
    norms = np.linalg.norm(kept, axis=1)
    return RaggedTokens(
        (kept / norms[:, None]).astype(np.float16),
        np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int64),
        np.zeros((len(kept), 2)),
        norms.astype(np.float32),
        [()] * len(kept),
        np.zeros((len(kept), LABELS_KEPT), np.float32),
    )


def padded(tokens: RaggedTokens | Ragged) -> Made:
    """What a head sees of them: row times norm, in single precision, a candidate beside the other."""
    counts = np.diff(tokens.offsets)
    mask = np.arange(max(1, counts.max(initial=0))) < counts[:, None]
    rows = np.zeros((*mask.shape, tokens.rows.shape[1]), np.float32)
    rows[mask] = tokens.rows.astype(np.float32) * tokens.norms[:, None]
    return rows, mask


def published(own: Block) -> dict[str, object]:
    """The keys as the authors' model names them, with some of the CLIP that stands beside."""
    names = {"cross_attn.q_proj": "q", "cross_attn.k_proj": "k", "cross_attn.v_proj": "v", "cross_attn.out_proj": "o"}
    state: dict[str, object] = {
        "clip.logit_scale": torch.tensor(4.6),
        "clip.visual_projection.weight": torch.ones(2, 2),
    }
    for name, short in {**names, "linear_proj": "l"}.items():
        state[f"pool_frames.{name}.weight"] = torch.from_numpy(getattr(own, f"w{short}").copy())
        state[f"pool_frames.{name}.bias"] = torch.from_numpy(getattr(own, f"b{short}").copy())
    for number in (1, 2, 3):
        state[f"pool_frames.layer_norm{number}.weight"] = torch.from_numpy(getattr(own, f"ln{number}_g").copy())
        state[f"pool_frames.layer_norm{number}.bias"] = torch.from_numpy(getattr(own, f"ln{number}_b").copy())
    return state
