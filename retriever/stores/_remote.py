"""A library whose rows lie in Qdrant: on their way there, and looked at from one unchanging view.

The segment table, 32 bytes a segment, stays a column beside the catalog.  The columns of a space are counted there as
if they were written, so that the numbers of extents mean what they always do; but their rows are in points.  A point
has the number of its segment's row among the `ranges` of the space, which no other segment ever gets.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from retriever.errors import SpaceMismatch
from retriever.stores import _filters
from retriever.stores._database import Connection
from retriever.stores._entries import Packed
from retriever.stores._points import Condition, Point, Points, among, listed
from retriever.stores._reading import parts
from retriever.stores._rows import FACTS, Column, Columns, Rows, Tail
from retriever.stores._snapshot import Labels, Mask, Snapshot, View, at_least_one
from retriever.types import EVERYTHING, Filter, Ids, Matrix, RaggedTokens, Ranking

EXACT_UP_TO = 5_000
"""Segments of a library up to which every one of them is looked at, as `local` does."""
RUNS = 64
"""Runs of media numbers that a filter is told as at most: a server tries one after the other."""
LISTED = 20_000
"""Media that it is told as one by one where there are more runs; those of a longer list are sifted here."""
_WIDER = 4
_CHOICES_KEPT = 32


# ------------------------------------------------------------------------------------------------------------- writing


@dataclass(slots=True)
class _RemoteTail:
    """Rows of one media on their way, gathered by space until they are settled."""

    inner: Tail
    send: Callable[[str, int, list[Point]], None]  # space, dimension, its points
    media_of: Callable[[int], int]  # of a segment that is there already
    ends: dict[str, int] = field(default_factory=dict)  # name → rows
    # space → role → rows, and where they begin
    gathered: dict[str, dict[str, tuple[Rows, int]]] = field(default_factory=dict)
    dimensions: dict[str, int] = field(default_factory=dict)
    first: int = 0
    media: int | None = None

    def append(self, column: Column, rows: Rows, at: int | None = None) -> int:
        shaped = column.shaped(rows)
        if column.role == "segments":
            self.media = int(shaped["media"][0]) if len(shaped) else None
            return self.inner.append(column, rows, at)
        begin = max(self.ends.get(column.name, column.rows), at or 0)
        self.ends[column.name] = begin + len(shaped)
        self.gathered.setdefault(column.space, {})[column.role] = shaped, begin
        self.dimensions[column.space] = max(column.dimension, self.dimensions.get(column.space, 0))
        if column.role == "ranges":
            self.first = at or 0
        return begin + len(shaped)

    def settle(self) -> None:
        self.inner.settle()
        for space, rows in self.gathered.items():
            self.send(space, self.dimensions[space], self._points(rows))

    def _points(self, rows: Mapping[str, tuple[Rows, int]]) -> list[Point]:
        tokens, token_lo = rows["tokens"]
        facts, vectors, owners = (rows[role][0] for role in ("facts", "vectors", "map"))
        ranges, number = rows["ranges"]
        if not len(ranges):
            if len(tokens):
                raise ValueError(
                    f"a media without segments has {len(tokens)} tokens: no point in Qdrant would hold them"
                )
            return []
        media = self.media_of(self.first) if self.media is None else self.media
        filled = ranges[:, 0] < ranges[:, 1]
        # Tokens between two segments go with the later one, and those behind the last with that: none is lost.
        ends = np.maximum.accumulate(np.where(filled, ranges[:, 1] - token_lo, 0))
        starts = np.concatenate([[0], ends[:-1]])
        own = np.where(filled[:, None], ranges - token_lo - starts[:, None], 0)
        ends[-1] = len(tokens)
        segments = self.first + np.arange(len(ranges))
        row_lo, row_hi = np.searchsorted(owners, segments), np.searchsorted(owners, segments, side="right")
        return [
            Point(
                number + at,
                int(segments[at]),
                media,
                vectors[row_lo[at] : row_hi[at]],
                tokens[starts[at] : ends[at]],
                facts[starts[at] : ends[at]],
                (int(own[at, 0]), int(own[at, 1])),
            )
            for at in range(len(ranges))
            if ends[at] > starts[at] or row_hi[at] > row_lo[at]
        ]


class RemoteColumns:
    """The `Columns` of such a library: the segment table is its ground's, what else is appended is sent."""

    def __init__(
        self, segments: Columns, send: Callable[[str, int, list[Point]], None], media_of: Callable[[int], int]
    ) -> None:
        self._segments = segments
        self._send = send
        self._media_of = media_of

    @contextmanager
    def appending(self) -> Iterator[Tail]:
        with self._segments.appending() as inner:
            yield _RemoteTail(inner, self._send, self._media_of)

    def view(self, column: Column) -> Rows:
        if column.role != "segments":
            raise ValueError(f"the {column.role} of {column.space} lie in Qdrant: they are fetched, not mapped")
        return self._segments.view(column)

    def sweep(self, live: Mapping[str, int], epoch: int) -> None:
        self._segments.sweep(live, epoch)

    def bytes(self) -> int:
        return self._segments.bytes()


# ------------------------------------------------------------------------------------------------------------- reading


class RemoteView(View):
    """What snapshots of one commit share: beside the catalog's, at which version points are looked at."""

    def __init__(self, catalog: Connection, columns: RemoteColumns, points: Points, version: int) -> None:
        super().__init__(catalog, columns, lambda name: None)
        self.points = points
        self.version = version
        self._choices: OrderedDict[Filter, Ids] = OrderedDict()

    def bytes(self) -> int:
        return super().bytes() + sum(column.bytes for (space, _), column in self._live.items() if space)

    def runs(self, catalog: Connection, where: Filter) -> Ids:
        """Media that pass, as runs `(R, 2)` of numbers between which no other media of this view lies."""
        with self._guard:
            if where in self._choices:
                self._choices.move_to_end(where)
                return self._choices[where]
        condition, values = _filters.clause(where)
        rows = catalog.execute(
            f"SELECT number, coalesce({condition}, FALSE) FROM media ORDER BY number", values
        ).fetchall()
        numbers, passes = np.array(rows, np.int64).reshape(-1, 2).T
        edges = np.flatnonzero(np.diff(passes != 0, prepend=False, append=False))
        runs = np.stack([numbers[edges[::2]], numbers[edges[1::2] - 1]], axis=1)
        with self._guard:
            self._choices[where] = runs
            while len(self._choices) > _CHOICES_KEPT:
                self._choices.popitem(last=False)
        return runs


class RemoteSnapshot(Snapshot):
    """The `Snapshot` port over points at one version."""

    view: RemoteView

    def nearest(self, queries: Matrix, space: str, depth: int, where: Filter = EVERYTHING) -> list[Ranking]:
        self._known(space)
        at_least_one(depth)
        dimension = self.spaces[space].dimension
        if queries.ndim != 2 or queries.shape[1] != dimension:
            raise SpaceMismatch(f"queries have shape {queries.shape}, {space} holds rows of {dimension} numbers")
        view = self.view
        with self._reading() as catalog:
            runs = view.runs(catalog, where) if where.asks else None
            conditions = [] if runs is None else _told(runs)
            mask = view.mask(catalog, where) if conditions is None else None
        if runs is not None and not len(runs):
            return [Ranking(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in queries]
        if mask is not None:
            return [self._sifted(query[None], space, depth, mask) for query in queries]
        exact = view.segments_given <= EXACT_UP_TO
        found = view.points.nearest(space, queries, depth, view.version, conditions or [], exact)
        return [Ranking(each.segments, each.scores) for each in found]

    def _sifted(self, query: Matrix, space: str, depth: int, mask: Mask) -> Ranking:
        """The best of one query `(1, D)` that pass, where a request could not say which do: more are asked for until
        enough of them do."""
        wanted = depth
        while True:
            wanted *= _WIDER
            (found,) = self.view.points.nearest(space, query, wanted, self.view.version)
            passing = np.flatnonzero(mask[found.segments])[:depth]
            if len(passing) == depth or len(found.segments) < wanted:
                return Ranking(found.segments[passing], found.scores[passing])

    def tokens(self, numbers: Ids, space: str) -> RaggedTokens:
        self._known(space)
        self._table(numbers)
        with self._reading() as catalog:
            displaced = self.view.displaced(catalog, space)
            names = self.view.labels(catalog)
        places = displaced.ranges(numbers) if displaced else numbers
        found = self.view.points.fetch(space, np.unique(places).tolist())
        # Where some were given out of order, the point of a media without this space may be another's.
        held = [
            point if (point := found.get(place)) and point.segment == number else None
            for place, number in zip(places.tolist(), numbers.tolist(), strict=True)
        ]
        rows = [point.tokens[slice(*point.own)] for point in held if point and point.own[0] < point.own[1]]
        facts = np.concatenate([np.zeros(0, FACTS), *(point.facts[slice(*point.own)] for point in held if point)])
        counts = [point.own[1] - point.own[0] if point else 0 for point in held]
        return RaggedTokens(
            np.concatenate(rows) if rows else np.zeros((0, self.spaces[space].dimension), np.float16),
            np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
            np.ascontiguousarray(facts["span"]),
            np.ascontiguousarray(facts["norm"]),
            Labels(facts["label"], names),
            np.ascontiguousarray(facts["probability"]),
        )


def _told(runs: Ids) -> list[Condition] | None:
    """Which media a server shall look at; None: they are too many to be told."""
    if len(runs) <= RUNS:
        return [among(runs)]
    counts = runs[:, 1] - runs[:, 0] + 1
    if counts.sum() > LISTED:
        return None
    before = np.cumsum(counts) - counts
    return [listed(np.arange(counts.sum()) + np.repeat(runs[:, 0] - before, counts))]


def held_parts(catalog: Connection, points: Points, number: int, first: int, **limits: Any) -> list[Packed]:
    """What a media has in its spaces, as `_reading.parts` has it from columns; `limits` are of that."""
    ((count,),) = catalog.execute("SELECT segments FROM media WHERE number = ?", (number,)).fetchall()
    begins = dict(
        catalog.execute("SELECT space, coalesce(range_lo, ?) FROM extent WHERE media = ?", (first, number)).fetchall()
    )
    dimensions = dict(catalog.execute("SELECT id, dimension FROM space").fetchall())
    fetched: dict[str, list[Point]] = {}

    def look(space: str, role: str) -> Rows:
        if space not in fetched:
            wanted = range(begins[space], begins[space] + count)
            found = points.fetch(space, wanted, rows=True)
            fetched[space] = [found[at] for at in wanted if at in found and found[at].media == number]
        mine = fetched[space]
        width = (0, dimensions[space])
        whole = {
            "tokens": [np.zeros(width, np.float16), *(each.tokens for each in mine if len(each.tokens))],
            "facts": [np.zeros(0, FACTS), *(each.facts for each in mine)],
            "vectors": [np.zeros(width, np.float16), *(each.rows for each in mine if len(each.rows))],
            "map": [np.zeros(0, np.int64), *(np.full(len(each.rows), each.segment) for each in mine)],
        }
        return _Whole(np.concatenate(whole[role]))  # type: ignore[return-value]

    return parts(catalog, look, number, first, **limits)


@dataclass(frozen=True, slots=True)
class _Whole:
    """The rows of one media, which answer to whatever rows of the library they are."""

    rows: Rows

    def __getitem__(self, extent: slice) -> Rows:
        return self.rows
