"""Nearest segments: exactly, or from an approximate index whose best rows are scored again exactly.

A segment's score is the cosine of its best row.  Ties go to the lower segment number.  Scores are exact cosines of the
stored rows, whichever way they were found.

The index is FAISS's product quantizer with 4-bit codes of 3 numbers each, scanned in registers (André et al. 2015;
Jégou et al. 2011), within √N inverted lists where there are many rows.  Codes that would fill the memory are of 8 bits,
which FAISS can scan where they lie on the disk.  Figures behind each constant: `benchmarks/nearest.py`.

What an index was found to find (`_recall`) stands behind it in its own file, with how far it has to look.
"""

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from retriever import kernels
from retriever.stores import _gpu
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
_SHARE_IN_MEMORY = 0.125
"""Of the machine's memory: what the codes of one index may take.  Larger ones stay on the disk."""
_NOTE = b"reelseek"
"""An index file ends with a note, its length in 8 bytes, and this; FAISS reads as far as its own end."""


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
class Measured:
    """What an index was found to find, and how far it looks since."""

    ten: float  # share of the ten best segments that it finds
    all: float  # and of the `depth` best
    depth: int
    questions: int
    sentences: bool  # whether they were sentences, and not rows of the library
    rows: int  # that it covered then
    lists: int = 1  # times as many lists as any index looks at
    fetched: int = 1  # times as many rows scored again
    usable: bool = True  # else it misses too much however far it looks, and every row is scored


@dataclass(frozen=True, slots=True)
class Index:
    """An approximate index over the first `count` rows of a space.  Rows behind those are searched exactly."""

    engine: Any  # a faiss.IndexIVF whose ids are row numbers
    count: int
    measured: Measured | None = None
    on_disk: bool = False  # its codes are mapped; it cannot grow
    lent: _gpu.Lent = field(default_factory=_gpu.Lent, compare=False)

    @classmethod
    def made(cls, rows: Halves, older: "Index | None" = None) -> Self:
        """The index of `rows` `(N, D)`.  An `older` one over the first of them, if it `serves`, is the beginning."""
        engine = _trained(rows) if older is None else _faiss().clone_index(older.engine)
        for begin in range(engine.ntotal, len(rows), _BLOCK):
            engine.add(kernels.singles(rows[begin : begin + _BLOCK]))
        return cls(engine, engine.ntotal)

    @classmethod
    def build(cls, rows: Halves, path: Path, older: "Index | None" = None) -> None:
        """Make the index of `rows` and put it at `path` in one step, unmeasured."""
        cls.made(rows, older if older and older.serves(len(rows)) else None).write(path)

    def serves(self, rows: int) -> bool:
        """Whether so many rows may be added to it: not where they have become too many for its lists."""
        return not self.on_disk and _lists(rows) <= 1.5 * self.engine.nlist

    def all_lists(self, wider: int) -> bool:
        """Whether so many times the lists that any index looks at are all that it has."""
        lists: int = self.engine.nlist
        return wider * _first_lists(lists) >= lists

    def write(self, path: Path) -> None:
        """Put it at `path` in one step: whoever has an older file open goes on with that."""
        told = json.dumps(asdict(self.measured)).encode() if self.measured else b""
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # by which a sweep knows whose it is
        try:
            with temporary.open("wb") as file:
                file.write(_faiss().serialize_index(self.engine).data)
                file.write(told + len(told).to_bytes(8, "little") + _NOTE)
                file.flush()
                os.fsync(file.fileno())  # zeros in the place of codes would be read as codes
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def open(cls, path: Path, mapped: bool = True) -> Self:
        """The index in a file.  Codes of 8 bits stay there, unless they shall not be `mapped`.

        Raises:
            ImportError: faiss is not installed.
            RuntimeError: faiss cannot read the file.
        """
        faiss = _faiss()
        engine = faiss.read_index(str(path), faiss.IO_FLAG_MMAP if mapped else 0)
        on_disk = isinstance(faiss.downcast_InvertedLists(engine.invlists), faiss.OnDiskInvertedLists)
        return cls(engine, engine.ntotal, note(path), on_disk)

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
        if self.measured and not self.measured.usable:
            return exact(queries, rows, segment, depth, allowed, dead)
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
            found = self._search(queries[short], reach, live, rows)
            for place, numbers in zip(short, found, strict=True):
                _rescore(best[place], queries[place], rows, segment, numbers, dead)
            short = [place for place in short if len(best[place].segments) < depth]
            if reach.rows >= able:
                break
            reach = reach.wider(able, self.engine.nlist)
        return [_completed(kept, query, rows, segment, dead, order) for kept, query in zip(best, queries, strict=True)]

    def _search(self, queries: Matrix, reach: "_Reach", live: Mask | None, rows: Halves) -> list[Ids]:
        """The best rows of each query by their codes; fewer where the lists hold no more."""
        faiss = _faiss()
        engine = self.engine
        if live is None and max(reach.rows, reach.lists) <= _gpu.MOST:
            engine = self.lent.engine(self.engine, rows[: self.count]) or engine
        choice = None if live is None else faiss.IDSelectorBitmap(np.packbits(live, bitorder="little"))
        asked = faiss.SearchParametersIVF(sel=choice, nprobe=reach.lists)
        _, numbers = engine.search(queries, reach.rows, params=asked)
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
        fetched, wider = (index.measured.fetched, index.measured.lists) if index.measured else (1, 1)
        rows = fetched * max(_LEAST_FETCHED, round(_OVERFETCH * depth * rows_a_segment))
        lists = wider * _first_lists(index.engine.nlist) / math.cbrt(able / index.count)
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


def note(path: Path) -> Measured | None:
    """What stands behind the index in a file; None where nothing does that could be read."""
    with suppress(OSError, ValueError, TypeError), path.open("rb") as file:
        whole = file.seek(0, os.SEEK_END)
        file.seek(whole - len(_NOTE) - 8)
        length, ending = int.from_bytes(file.read(8), "little"), file.read()
        if ending == _NOTE and 0 < length <= whole:
            file.seek(whole - len(_NOTE) - 8 - length)
            found: Mapping[str, Any] = json.loads(file.read(length))
            return Measured(**found)
    return None


def _lists(rows: int) -> int:
    return 1 if rows <= _ONE_LIST_UP_TO else math.isqrt(rows)


def _first_lists(lists: int) -> int:
    """Of so many, those that a question looks at where every row may answer."""
    return max(_PROBES, lists // 8)


def _trained(rows: Halves) -> Any:
    """An empty index that has learned its centres and codes from a sample of the rows."""
    faiss = _faiss()
    count, dimension = rows.shape
    lists = _lists(count)
    together = next((numbers for numbers in _CODED_TOGETHER if dimension % numbers == 0), 0)
    coded = together > 0 and count >= _CODED_FROM
    codes = f"PQ{dimension // together}x4fs" if coded else "SQfp16"
    large = coded and dimension % (2 * together) == 0 and count * (dimension / together / 2) > _room()
    if large:
        codes = f"PQ{dimension // (2 * together)}"
    engine = faiss.index_factory(dimension, f"IVF{lists},{codes}", faiss.METRIC_INNER_PRODUCT)
    engine.cp.max_points_per_centroid = _TRAINED_A_LIST
    if coded:
        engine.pq.cp.niter = _ROUNDS
    if large:
        engine.do_polysemous_training = False  # most of the time, for a kind of search that is not done
    taken = min(count, max(_LEAST_TRAINED, _TRAINED_A_LIST * lists))
    sample = np.sort(np.random.default_rng(0).choice(count, taken, replace=False))
    engine.train(kernels.singles(rows[sample]))
    return engine


def _room() -> float:
    """Bytes of memory that the codes of one index may take."""
    return _SHARE_IN_MEMORY * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _faiss() -> Any:
    """Imported where it is used: a library without an index is searched without it."""
    import faiss

    # Threads that wait for each other took ten times as long to learn codes on a busy machine, and a single question is
    # scanned by one thread anyhow.
    faiss.omp_set_num_threads(1)
    return faiss
