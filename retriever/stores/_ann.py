"""Nearest segments: exactly, or from an approximate index whose best rows are scored again exactly.

A segment's score is the cosine of its best row.  Ties go to the lower segment number.  Scores are exact cosines of the
stored rows, whichever way they were found.

The index is FAISS's product quantizer with 4-bit codes of 3 numbers each, scanned in registers (André et al. 2015;
Jégou et al. 2011), within √N inverted lists where there are many rows.  Figures behind each constant:
`benchmarks/nearest.py`.
"""

import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from retriever import kernels
from retriever.types import Floats, Halves, Ids, Matrix, Ranking

Mask = NDArray[np.bool_]

FLAT_UP_TO = 2_000
"""Rows that are all scored: from here on an index is quicker."""
_EXACT_SHARE = 0.01
"""Share of the rows that a filter may leave for them to be scored without the index, whose time does not shrink so."""
_ONE_LIST_UP_TO = 200_000
"""Rows that are scanned in one list; more are cut into lists."""
_PROBES = 128
"""Lists looked at, where there are 1,024: first-stage recall@10 is 0.995 over a million mixtures."""
_OVERFETCH = 4
"""Rows scored again exactly for each segment that is wanted."""
_LEAST_FETCHED = 800
_LEAST_SCANNED = 4
"""Rows scanned, at least, for each that is fetched."""
_CODED_TOGETHER = (3, 4, 2)
"""Numbers of a row that share a code of 4 bits, the first that divides its dimension: D / 6 bytes a row."""
_CODED_FROM = 16 * 39
"""Rows from which codes can be learned: FAISS asks for 39 for each of the 16 values of a code."""
_TRAINED_A_LIST = 64
"""Rows that a list's centre is learned from; FAISS asks for 39."""
_LEAST_TRAINED = 16_384
_ROUNDS = 10
"""Of k-means for the codes; FAISS's 25 find no more."""
_BLOCK = 8_192
"""Rows scored or added at a time."""


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
    best = [_Best(depth) for _ in queries]
    _scan(best, queries, rows, segment, _usable(segment, allowed, dead))
    return [kept.ranking() for kept in best]


@dataclass(frozen=True, slots=True)
class Index:
    """An approximate index over the first `count` rows of a space.  Rows behind those are searched exactly."""

    engine: Any  # a faiss.IndexIVF whose ids are row numbers
    count: int

    @classmethod
    def build(cls, rows: Halves, path: Path, older: "Index | None" = None) -> None:
        """Make the index of `rows` `(N, D)` and put it at `path` in one step.

        An `older` index over the first of them is taken over, unless they have become too many for its lists.
        """
        faiss = _faiss()
        if older is not None and _lists(len(rows)) <= 1.5 * older.engine.nlist:
            engine = faiss.clone_index(older.engine)
        else:
            engine = _trained(rows)
        for begin in range(engine.ntotal, len(rows), _BLOCK):
            engine.add(kernels.singles(rows[begin : begin + _BLOCK]))
        temporary = path.with_name(f"{path.name}.new")
        try:
            temporary.write_bytes(faiss.serialize_index(engine).data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def open(cls, path: Path) -> Self:
        """The index in a file.

        Raises:
            ImportError: faiss is not installed.
            RuntimeError: faiss cannot read the file.
        """
        engine = _faiss().read_index(str(path))
        return cls(engine, engine.ntotal)

    def nearest(
        self,
        queries: Matrix,
        rows: Halves,
        segment: Ids,
        depth: int,
        allowed: Mask | None = None,
        dead: Mask | None = None,
        order: Ids | None = None,
    ) -> list[Ranking]:
        """As `exact`, but what the index covers is searched approximately.  `segment` never falls, or does not in this
        `order` of the rows `(N,)`.

        Where a query finds fewer segments than it wants it looks wider, in the end at every row: neither a filter nor
        dead rows nor segments of many rows leave a ranking short.
        """
        rows, segment = np.asarray(rows), np.asarray(segment)  # a memmap's own indexing is slow
        live = None if allowed is None else _live(segment[: self.count], allowed, dead)
        able = self.count if live is None else int(np.count_nonzero(live))
        if able <= max(FLAT_UP_TO, _EXACT_SHARE * self.count):
            return exact(queries, rows, segment, depth, allowed, dead)
        best = [_Best(depth) for _ in queries]
        tail = slice(self.count, None)
        _scan(
            best,
            queries,
            rows[tail],
            segment[tail],
            _usable(segment[tail], allowed, None if dead is None else dead[tail]),
        )
        highest = segment[self.count - 1 if order is None else order[-1]]
        reach = _Reach.first(self, int(highest), depth, able)
        short = list(range(len(queries)))
        while short:
            found = self._search(queries[short], reach, live)
            for place, numbers in zip(short, found, strict=True):
                _rescore(best[place], queries[place], rows, segment, numbers, dead)
            short = [place for place in short if len(best[place].segments) < depth]
            if reach.rows >= able:
                break
            reach = reach.wider(able, self.engine.nlist)
        return [_completed(kept, query, rows, segment, dead, order) for kept, query in zip(best, queries, strict=True)]

    def _search(self, queries: Matrix, reach: "_Reach", live: Mask | None) -> list[Ids]:
        """The best rows of each query by their codes; fewer where the lists hold no more."""
        faiss = _faiss()
        choice = None if live is None else faiss.IDSelectorBitmap(np.packbits(live, bitorder="little"))
        asked = faiss.SearchParametersIVF(sel=choice, nprobe=reach.lists)
        _, numbers = self.engine.search(queries, reach.rows, params=asked)
        return [np.sort(row[row >= 0]) for row in numbers]


@dataclass(frozen=True, slots=True)
class _Reach:
    """How far a search looks: rows to be scored again, and lists to be scanned for them."""

    rows: int
    lists: int

    @classmethod
    def first(cls, index: Index, highest: int, depth: int, able: int) -> "_Reach":
        """Enough for `depth` segments, whose numbers end with `highest`: few able rows have their best in more lists,
        and many wanted fill more."""
        rows_a_segment = max(1.0, index.count / (highest + 1))
        rows = max(_LEAST_FETCHED, round(_OVERFETCH * depth * rows_a_segment))
        lists = max(_PROBES, index.engine.nlist // 8) / math.cbrt(able / index.count)
        lists = max(lists, index.engine.nlist * _LEAST_SCANNED * rows / able)
        return cls(min(rows, able), min(math.ceil(lists), index.engine.nlist))

    def wider(self, able: int, lists: int) -> "_Reach":
        return _Reach(min(4 * self.rows, able), min(4 * self.lists, lists))


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


def _scan(best: list[_Best], queries: Matrix, rows: Halves, segment: Ids, usable: Ids | None) -> None:
    """Offer every usable row to every query."""
    count = len(rows) if usable is None else len(usable)
    for begin in range(0, count, _BLOCK):
        part: slice | Ids = slice(begin, begin + _BLOCK) if usable is None else usable[begin : begin + _BLOCK]
        scores = kernels.products(rows[part], queries)  # (B, Q)
        owners = segment[part]
        for column, kept in enumerate(best):
            kept.offer(owners, scores[:, column])


def _rescore(best: _Best, query: Floats, rows: Halves, segment: Ids, numbers: Ids, dead: Mask | None) -> None:
    """Offer some rows to one query."""
    if dead is not None:
        numbers = numbers[~dead[numbers]]
    best.offer(segment[numbers], kernels.cosines(rows[numbers], query))


def _completed(best: _Best, query: Floats, rows: Halves, segment: Ids, dead: Mask | None, order: Ids | None) -> Ranking:
    """The same segments with all of their rows looked at: the index may have missed the best one."""
    starts = np.searchsorted(segment, best.segments, "left", order)
    following = np.minimum(starts + 1, len(segment) - 1)
    if (segment[following if order is None else order[following]] == best.segments).any():
        counts = np.searchsorted(segment, best.segments, "right", order) - starts
        numbers = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        _rescore(best, query, rows, segment, numbers if order is None else order[numbers], dead)
    return best.ranking()


def _usable(segment: Ids, allowed: Mask | None, dead: Mask | None) -> Ids | None:
    """Numbers of the rows that may answer, rising; None where all may."""
    if allowed is None and (dead is None or not dead.any()):
        return None
    return np.flatnonzero(_live(segment, allowed, dead)).astype(np.int64)


def _live(segment: Ids, allowed: Mask | None, dead: Mask | None) -> Mask:
    """Which rows `(N,)` may answer."""
    may: Mask = np.ones(len(segment), np.bool_) if allowed is None else allowed[segment]
    return may if dead is None else may & ~dead[: len(segment)]


def _lists(rows: int) -> int:
    return 1 if rows <= _ONE_LIST_UP_TO else math.isqrt(rows)


def _trained(rows: Halves) -> Any:
    """An empty index that has learned its centres and codes from a sample of the rows."""
    faiss = _faiss()
    count, dimension = rows.shape
    lists = _lists(count)
    together = next((numbers for numbers in _CODED_TOGETHER if dimension % numbers == 0), 0)
    coded = together > 0 and count >= _CODED_FROM
    codes = f"PQ{dimension // together}x4fs" if coded else "SQfp16"
    engine = faiss.index_factory(dimension, f"IVF{lists},{codes}", faiss.METRIC_INNER_PRODUCT)
    engine.cp.max_points_per_centroid = _TRAINED_A_LIST
    if coded:
        engine.pq.cp.niter = _ROUNDS
    taken = min(count, max(_LEAST_TRAINED, _TRAINED_A_LIST * lists))
    sample = np.sort(np.random.default_rng(0).choice(count, taken, replace=False))
    engine.train(kernels.singles(rows[sample]))
    return engine


def _faiss() -> Any:
    """Imported where it is used: a library without an index is searched without it."""
    import faiss

    # Threads that wait for each other took ten times as long to learn codes on a busy machine, and a single question is
    # scanned by one thread anyhow.
    faiss.omp_set_num_threads(1)
    return faiss
