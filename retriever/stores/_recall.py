"""How much of the exact answer an index finds, and how far it has to look to find enough.

Measured where an index is built, so no question waits for it, from what is committed alone: nothing depends on what was
asked before.  The questions are shipped background sentences where somebody can turn them into vectors of the space,
and else rows of the library itself, each asked of all segments but its own; those lie near other rows, as questions
often do not, and flatter the index.

A found segment counts if it scores as well as the exact answer of that rank (Aumüller et al. 2020, *ANN-Benchmarks*):
of a thousand black frames any ten are the best.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from retriever import kernels
from retriever.calibration import background
from retriever.errors import ReelseekError
from retriever.ports import EncodeSentences
from retriever.stores import _ann
from retriever.types import Halves, Ids, Matrix, Ranking

TARGET = 0.98
"""Share of the ten best that an index has to find."""
DEPTH = 200
"""Segments that a search asks of each space, unless it is told otherwise."""
_QUESTIONS = 200
_LEAST = 50
"""Questions, however many rows there are."""
_SCORED = 1_000_000_000
"""Rows times questions that are scored exactly: about ten seconds of a processor, at 384 numbers."""
_GROWN = 1.25
"""Times as many rows until an index that only grew is measured again."""
_WIDEST = 16
"""Times as many lists, and rows scored again, as an index begins with."""
_EQUAL = 1e-6
"""Scores this near are one score: products in another order."""


def build(
    rows: Halves,
    segment: Ids,
    path: Path,
    older: _ann.Index | None = None,
    encode: EncodeSentences | None = None,
    side: str = "",
) -> None:
    """Put an index of `rows` `(N, D)`, of these segments `(N,)`, at `path`, measured, and as wide as it has to be.

    `older` is an index over the first of the rows; one that is not good enough any more is learned again.  `encode`
    gives the vectors of questions for the query `side` of the space.
    """
    taken = older if older and older.serves(len(rows)) else None
    index = _ann.Index.made(rows, taken)
    if taken and taken.measured and taken.measured.usable and len(rows) <= _GROWN * taken.measured.rows:
        replace(index, measured=taken.measured).write(path)
        return
    asked = _Asked.of(rows, segment, encode, side)
    measured = asked.widened(index)
    if taken and not measured.usable:
        index = _ann.Index.made(rows)
        measured = asked.widened(index)
    replace(index, measured=measured).write(path)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Questions to one space, with their exact answers."""

    rows: Halves
    segment: Ids
    order: Ids | None  # of the rows as their segments rise, where that is not theirs
    questions: Matrix  # (Q, D)
    own: Ids  # (Q,) the segment that each was taken from, which does not answer; -1: from none
    best: list[Ranking]

    @classmethod
    def of(cls, rows: Halves, segment: Ids, encode: EncodeSentences | None, side: str) -> Self:
        segment = np.asarray(segment)
        count = max(_LEAST, min(_QUESTIONS, _SCORED // len(rows)))
        questions = _sentences(count, rows.shape[1], encode, side)
        own = np.full(len(questions), -1, np.int64)
        if not len(questions):
            chosen = np.unique(np.linspace(0, len(rows) - 1, count).round().astype(np.int64))
            questions, own = kernels.singles(np.asarray(rows)[chosen]), segment[chosen]
        best = _ann.exact(questions, rows, segment, DEPTH + 1, None, None)
        rising = bool(np.all(segment[:-1] <= segment[1:]))
        order = None if rising else np.argsort(segment, kind="stable")
        others = [_others(ranking, one) for ranking, one in zip(best, own.tolist(), strict=True)]
        return cls(rows, segment, order, questions, own, others)

    def widened(self, index: _ann.Index) -> _ann.Measured:
        """The least wide that finds enough, of those tried: each step takes twice the lists or twice the rows,
        whichever finds more."""
        now = self.measured(index, _ann.Measured(0, 0, DEPTH, len(self.questions), bool(self.own[0] < 0), index.count))
        while now.ten < TARGET:
            steps = [self.measured(index, step) for step in _steps(now, index)]
            if not steps:
                return replace(now, usable=False)
            now = max(steps, key=lambda step: (step.ten, step.all))
        return now

    def measured(self, index: _ann.Index, width: _ann.Measured) -> _ann.Measured:
        """What an index of this width finds."""
        wide = replace(index, measured=width)
        found = wide.nearest(self.questions, self.rows, self.segment, DEPTH + 1, order=self.order)
        others = [_others(ranking, own) for ranking, own in zip(found, self.own.tolist(), strict=True)]
        pairs = list(zip(others, self.best, strict=True))
        ten, all_of = (float(np.mean([_share(*pair, depth) for pair in pairs])) for depth in (10, DEPTH))
        return replace(width, ten=ten, all=all_of)


def _steps(now: _ann.Measured, index: _ann.Index) -> Iterator[_ann.Measured]:
    if now.fetched < _WIDEST:
        yield replace(now, fetched=2 * now.fetched)
    if now.lists < _WIDEST and not index.all_lists(now.lists):
        yield replace(now, lists=2 * now.lists)


def _sentences(count: int, dimension: int, encode: EncodeSentences | None, side: str) -> Matrix:
    """Background sentences, spread over all of them, as vectors `(Q, D)`; none where nobody can say them."""
    if encode is not None:
        asked = background().sentences
        chosen = np.unique(np.linspace(0, len(asked) - 1, count).round().astype(int))
        with suppress(ReelseekError):  # other weights, or none: rows of the library have to do
            found = encode([asked[place] for place in chosen], side)
            if found.shape[1] == dimension:
                return np.ascontiguousarray(found, np.float32)
    return np.zeros((0, dimension), np.float32)


def _others(ranking: Ranking, own: int) -> Ranking:
    """All segments but one's own, `DEPTH` at most."""
    kept = np.flatnonzero(ranking.segments != own)[:DEPTH]
    return Ranking(ranking.segments[kept], ranking.scores[kept])


def _share(found: Ranking, best: Ranking, depth: int) -> float:
    wanted = min(depth, len(best))
    if not wanted:
        return 1.0
    return float(np.count_nonzero(found.scores[:wanted] >= best.scores[wanted - 1] - _EQUAL) / wanted)
