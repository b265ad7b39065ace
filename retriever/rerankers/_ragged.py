"""Candidates of different lengths, one after the other, as a store gives them; padding is the caller's own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever import kernels
from retriever.types import Floats, Ids, Matrix, RaggedTokens

MOST = 16
"""Tokens of a candidate that a head looks at; of more, the middle one of each of so many equal bins."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """The tokens of V candidates in one space: candidate i owns rows `offsets[i]:offsets[i + 1]`, at most `MOST`.

    A head sees row times norm: rows come from a store with length one and their norm beside.
    """

    rows: NDArray[Any]  # (N, D) float16 as stored, or float32
    offsets: Ids  # (V + 1,)
    norms: Floats  # (N,)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> Ids:
        """`(V,)`."""
        return np.diff(self.offsets)

    def wide(self, begin: int, end: int) -> Matrix:
        """Rows `begin:end` in single precision, times their norms."""
        return singles(self.rows[begin:end]) * self.norms[begin:end, None]

    def part(self, begin: int, end: int) -> "Ragged":
        """Candidates `begin:end`."""
        first, last = self.offsets[begin], self.offsets[end]
        return Ragged(self.rows[first:last], self.offsets[begin : end + 1] - first, self.norms[first:last])

    def single(self, chosen: Ids) -> "Ragged":
        """These candidates alone, rising, their rows in single precision; norms stay beside."""
        counts = self.counts
        offsets = np.concatenate([[0], np.cumsum(counts[chosen])]).astype(np.int64)
        if offsets[-1] == len(self.rows):
            return Ragged(singles(self.rows), offsets, self.norms)
        kept = np.isin(np.repeat(np.arange(len(counts)), counts), chosen)
        return Ragged(singles(self.rows[kept]), offsets, self.norms[kept])

    @classmethod
    def of(cls, tokens: RaggedTokens) -> "Ragged":
        """What a store gave, at most `MOST` tokens a candidate."""
        chosen, offsets = spread(tokens.offsets)
        if len(chosen) == len(tokens.rows):
            return cls(tokens.rows, offsets, tokens.norms)
        return cls(tokens.rows[chosen], offsets, tokens.norms[chosen])

    @classmethod
    def padded(cls, tokens: NDArray[Any], mask: NDArray[np.bool_]) -> "Ragged":
        """Of `(V, F, D)` the tokens that `mask` `(V, F)` names; without a copy where it names all."""
        if tokens.ndim != 3 or mask.shape != tokens.shape[:2]:
            raise ValueError(f"tokens need (V, F, D) and a mask (V, F), got {tokens.shape} and {mask.shape}")
        if tokens.dtype not in (np.float16, np.float32):
            raise ValueError(f"tokens must be float16 or float32, got {tokens.dtype}")
        mask = mask.astype(np.bool_)
        rows = tokens.reshape(-1, tokens.shape[2]) if mask.all() else tokens[mask]
        offsets = np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int64)
        chosen, kept = spread(offsets)
        rows = rows if len(chosen) == len(rows) else rows[chosen]
        return cls(np.ascontiguousarray(rows), kept, np.ones(len(rows), np.float32))


def spread(offsets: Ids) -> tuple[Ids, Ids]:
    """Which rows stay `(N',)` where no candidate may have more than `MOST`, and the offsets of what stays."""
    counts = np.diff(offsets)
    fewer = np.minimum(counts, MOST)
    kept = np.concatenate([[0], np.cumsum(fewer)]).astype(np.int64)
    owner = np.repeat(np.arange(len(counts)), fewer)
    place = np.arange(kept[-1]) - kept[owner]
    within = ((2 * place + 1) * counts[owner]) // (2 * fewer[owner])  # the middle of bin `place`
    return offsets[owner] + within, kept


def singles(rows: NDArray[Any]) -> Matrix:
    """Rows in single precision."""
    if rows.dtype == np.float16:
        return kernels.singles(rows)
    return rows.astype(np.float32, copy=False)
