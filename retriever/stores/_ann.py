"""Nearest segments: exactly, or from an approximate index whose best rows are scored again exactly.

A segment's score is the cosine of its best row.  Ties go to the lower segment number.  Scores are exact cosines of the
stored rows, whichever way they were found.
"""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from retriever import kernels
from retriever.types import Floats, Halves, Ids, Matrix, Ranking

Mask = NDArray[np.bool_]

FLAT_UP_TO = 30_000
"""Rows up to which scoring all of them is as quick as an index that may miss."""
_BLOCK = 8192
"""Rows scored at a time."""


def worthwhile(rows: int) -> bool:
    """Whether so many rows deserve an index, and there is a library to make one."""
    return rows > FLAT_UP_TO and find_spec("faiss") is not None


def exact(
    queries: Matrix, rows: Halves, segment: Ids, depth: int, allowed: Mask | None = None, dead: Mask | None = None
) -> list[Ranking]:
    """The `depth` best segments of each query `(Q, D)` by their best row, every row scored.

    `rows` `(N, D)` belong to `segment` `(N,)`; `allowed` `(S,)` says which segments may answer, `dead` `(N,)` which
    rows may not.
    """
    return _scan(queries, rows, segment, depth, _usable(segment, allowed, dead))


@dataclass(frozen=True, slots=True)
class Index:
    """An approximate index over the first `count` rows of a space.  Rows behind those are searched exactly."""

    engine: Any  # a faiss index whose ids are row numbers
    count: int

    @classmethod
    def build(cls, rows: Halves, path: Path) -> None:
        """Make the index of `rows` `(N, D)` and put it at `path` in one step."""
        import faiss

        engine = faiss.index_factory(rows.shape[1], "SQfp16", faiss.METRIC_INNER_PRODUCT)
        for begin in range(0, len(rows), _BLOCK):
            engine.add(kernels.singles(rows[begin : begin + _BLOCK]))
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        faiss.write_index(engine, str(temporary))
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)

    @classmethod
    def open(cls, path: Path, mmap: bool = True) -> Self:
        import faiss

        engine = faiss.read_index(str(path), faiss.IO_FLAG_MMAP if mmap else 0)
        return cls(engine, engine.ntotal)

    def nearest(
        self,
        queries: Matrix,
        rows: Halves,
        segment: Ids,
        depth: int,
        allowed: Mask | None = None,
        dead: Mask | None = None,
    ) -> list[Ranking]:
        """As `exact`, but approximate over the rows that the index covers."""
        return exact(queries, rows, segment, depth, allowed, dead)


def _usable(segment: Ids, allowed: Mask | None, dead: Mask | None) -> Ids | None:
    """Numbers of the rows that may answer, rising; None where all may."""
    if allowed is None and (dead is None or not dead.any()):
        return None
    may = np.ones(len(segment), np.bool_) if allowed is None else allowed[segment]
    return np.flatnonzero(may if dead is None else may & ~dead).astype(np.int64)


def _scan(queries: Matrix, rows: Halves, segment: Ids, depth: int, usable: Ids | None) -> list[Ranking]:
    best = [_Best(depth) for _ in queries]
    count = len(rows) if usable is None else len(usable)
    for begin in range(0, count, _BLOCK):
        part: slice | Ids = slice(begin, begin + _BLOCK) if usable is None else usable[begin : begin + _BLOCK]
        scores = kernels.products(rows[part], queries)  # (B, Q)
        owners = segment[part]
        for column, kept in enumerate(best):
            kept.offer(owners, scores[:, column])
    return [kept.ranking() for kept in best]


class _Best:
    """The best segments of one query so far, each with its best row's score."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.segments: Ids = np.zeros(0, np.int64)
        self.scores: Floats = np.zeros(0, np.float32)

    def offer(self, segments: Ids, scores: Floats) -> None:
        """Rows `(B,)` with the segment that each belongs to; a segment may come again."""
        if len(self.segments) == self.depth:
            able = np.flatnonzero(scores >= self.scores[-1])  # equal, too: its number may be lower
            segments, scores = segments[able], scores[able]
        segments = np.concatenate([self.segments, segments])
        scores = np.concatenate([self.scores, scores])
        order = np.lexsort((segments, -scores))
        _, first = np.unique(segments[order], return_index=True)  # a segment's first place is its best row
        chosen = order[np.sort(first)[: self.depth]]
        self.segments, self.scores = segments[chosen], scores[chosen]

    def ranking(self) -> Ranking:
        return Ranking(self.segments, self.scores)
