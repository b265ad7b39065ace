"""One unchanging view of a library, over a catalog connection that stands still and columns up to what it names."""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from retriever.errors import SpaceMismatch
from retriever.stores import _ann, _beside, _filters, _ledger, _together, _words
from retriever.stores._database import Connection, Database
from retriever.stores._paths import unpacked
from retriever.stores._rows import Column, Columns, Rows
from retriever.types import (
    EVERYTHING,
    Filter,
    Held,
    Ids,
    Line,
    Matrix,
    Media,
    MediaKind,
    Modality,
    RaggedTokens,
    Ranking,
    Reembedding,
    Searched,
    SegmentTable,
    Space,
    TimeSpan,
    WordQuery,
)

Mask = NDArray[np.bool_]

_MASKS_KEPT = 32
"""Answers to filters that one view remembers; each takes a byte a segment."""
_COLUMNS = (
    "SELECT media.number, media.key, media.kind, media.duration, {recipe}, media.width, media.height,"
    " media.frame_rate, media.size, {missing}, media.title, media.tags, media.recorded, media.recorded_source,"
    " media.collection FROM media"
)
_OLD = _COLUMNS.format(recipe="media.recipe", missing="media.missing")
_NEW = (
    _COLUMNS.format(recipe="coalesce(beside.recipe, media.recipe)", missing="coalesce(beside.missing, media.missing)")
    + " LEFT JOIN beside ON beside.media = media.number"
)
"""Media as the new recipe of two has them, where it has them."""


class View:
    """What all snapshots of one commit share: mapped columns and whatever was worked out from them."""

    def __init__(self, catalog: Connection, columns: Columns, index: Callable[[str], _ann.Index | None]) -> None:
        state = _ledger.state(catalog)
        self.at = (state.epoch, state.commits)
        self.segments_given = state.segments_given
        self.generation = _beside.generation(catalog)
        self.reembedding = _beside.read(catalog)
        hidden = self.reembedding.hidden if self.reembedding else frozenset()
        self.held = _spaces(catalog)
        self.spaces = {key: space for key, space in self.held.items() if key not in hidden}
        newer = self.reembedding and self.reembedding.searched is not Searched.OLD
        self.media = _NEW if newer else _OLD
        self.indexes = _ledger.indexes(catalog)  # space → file and rows
        self._columns = columns
        self._live = _ledger.columns(catalog)
        self._index = index
        self._rows: dict[tuple[str, str], Rows] = {}
        self._masks: OrderedDict[Filter, Mask] = OrderedDict()
        self._dead: dict[str, Mask | None] = {}
        self._displaced: dict[str, _Displaced | None] = {}
        self._orders: dict[str, Ids] = {}
        self._labels: list[str] = []
        self._guard = Lock()

    def rows(self, space: str, role: str) -> Rows:
        """A mapped column; one that was never written has no rows."""
        if (space, role) not in self._rows:
            dimension = self.held[space].dimension if space else 0
            column = self._live.get((space, role)) or Column("", space, role, 0, dimension)
            self._rows[space, role] = self._columns.view(column)
        return self._rows[space, role]

    def index(self, space: str) -> _ann.Index | None:
        name, _ = self.indexes.get(space, ("", 0))
        return self._index(name) if name else None

    def bytes(self) -> int:
        return self._columns.bytes()

    def bytes_of(self, space: str) -> int:
        return sum(column.bytes for (own, _), column in self._live.items() if own == space)

    def mask(self, catalog: Connection, where: Filter) -> Mask:
        """`(segments given out,)` which segments live and pass."""
        with self._guard:
            if where in self._masks:
                self._masks.move_to_end(where)
                return self._masks[where]
        condition, values = _filters.clause(where)
        pairs = catalog.execute(f"SELECT first, first + segments FROM media WHERE {condition}", values).fetchall()
        mask = _covered(np.array(pairs, np.int64).reshape(-1, 2), self.segments_given)
        with self._guard:
            self._masks[where] = mask
            while len(self._masks) > _MASKS_KEPT:
                self._masks.popitem(last=False)
        return mask

    def dead(self, catalog: Connection, space: str) -> Mask | None:
        """Which first-stage rows of a space are of media that are gone; None: none is."""
        if space not in self._dead:
            pairs = catalog.execute("SELECT row_lo, row_hi FROM tombstone WHERE space = ?", (space,)).fetchall()
            rows = len(self.rows(space, "map"))
            self._dead[space] = _covered(np.array(pairs, np.int64), rows) if pairs else None
        return self._dead[space]

    def displaced(self, catalog: Connection, space: str) -> "_Displaced | None":
        """The media whose rows in a space do not lie in the order of their numbers; None: all do."""
        if space not in self._displaced:
            found = catalog.execute(
                "SELECT first, segments, range_lo FROM extent JOIN media ON media.number = extent.media"
                " WHERE space = ? AND range_lo IS NOT NULL ORDER BY first",
                (space,),
            ).fetchall()
            self._displaced[space] = _Displaced(*np.array(found, np.int64).T) if found else None
        return self._displaced[space]

    def order(self, space: str) -> Ids:
        """The first-stage rows of a space as their segments rise."""
        if space not in self._orders:
            self._orders[space] = np.argsort(self.rows(space, "map"), kind="stable")
        return self._orders[space]

    def labels(self, catalog: Connection) -> list[str]:
        """Label names by number."""
        if not self._labels:
            self._labels = [name for (name,) in catalog.execute("SELECT name FROM label ORDER BY number")]
        return self._labels


class _Displaced:
    """Media of a space that was given to them out of the order of their numbers."""

    def __init__(self, first: Ids, count: Ids, range_lo: Ids) -> None:
        self._first, self._count, self._range_lo = first, count, range_lo

    def ranges(self, numbers: Ids) -> Ids:
        """The row of the ranges of each of these segments `(S,)`, if its media has the space."""
        at = np.searchsorted(self._first, numbers, side="right") - 1
        steps = numbers - self._first[at]
        return np.where((at >= 0) & (steps < self._count[at]), self._range_lo[at] + steps, numbers)


class Snapshot:
    """The `Snapshot` port; several threads may ask."""

    def __init__(self, view: View, catalog: Database) -> None:
        self.view = view
        self._catalog = catalog
        self._over = False
        self.generation = view.generation
        self.numbering = view.at[0]  # a copy that is put back brings its own numbers, under a new epoch
        self.spaces: Mapping[str, Space] = view.spaces
        self.reembedding: Reembedding | None = view.reembedding

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        if self._over:
            raise ValueError("this snapshot is over: ask within its `with`, or take another")
        with self._catalog.reading() as catalog:
            yield catalog

    def end(self) -> None:
        """Nothing can be asked any more."""
        self._over = True

    # -------------------------------------------------------------------------------------------------------- media

    def media(self, where: Filter = EVERYTHING) -> Sequence[Media]:
        condition, values = _filters.clause(where)
        with self._reading() as catalog:
            found = catalog.execute(f"{self.view.media} WHERE {condition}", values).fetchall()
            paths = catalog.execute(
                "SELECT path.media, path.path FROM media JOIN path ON path.media = media.number"
                f" WHERE {condition} ORDER BY path.media, path.position",
                values,
            ).fetchall()
        return sorted(_media(found, paths).values(), key=lambda media: (media.path, media.key))

    def media_at(self, numbers: Ids) -> Sequence[Media]:
        wanted = json.dumps(sorted(set(numbers.tolist())))
        with self._reading() as catalog:
            found = catalog.execute(
                f"{self.view.media} WHERE media.number IN (SELECT value FROM json_each(?))", (wanted,)
            ).fetchall()
            paths = catalog.execute(
                "SELECT media, path FROM path WHERE media IN (SELECT value FROM json_each(?)) ORDER BY media, position",
                (wanted,),
            ).fetchall()
        media = _media(found, paths)
        if len(media) < len(set(numbers.tolist())):
            raise ValueError(f"not all of these are media numbers of this snapshot: {numbers}")
        return [media[number] for number in numbers.tolist()]

    # ---------------------------------------------------------------------------------------------------- searching

    def nearest(self, queries: Matrix, space: str, depth: int, where: Filter = EVERYTHING) -> list[Ranking]:
        self._known(space)
        at_least_one(depth)
        dimension = self.spaces[space].dimension
        if queries.ndim != 2 or queries.shape[1] != dimension:
            raise SpaceMismatch(f"queries have shape {queries.shape}, {space} holds rows of {dimension} numbers")
        rows, segment = self.view.rows(space, "vectors"), self.view.rows(space, "map")
        allowed = self._allowed(where)
        with self._reading() as catalog:
            dead = self.view.dead(catalog, space)
            displaced = self.view.displaced(catalog, space)
        index = self.view.index(space)
        if index is None:
            return _ann.exact(queries, rows, segment, depth, allowed, dead)
        order = self.view.order(space) if displaced else None
        return index.nearest(queries, rows, segment, depth, allowed, dead, order)

    def matching(self, words: WordQuery, modality: Modality, depth: int, where: Filter = EVERYTHING) -> Ranking:
        at_least_one(depth)
        allowed = self._allowed(where)
        with self._reading() as catalog:
            return _words.matching(catalog, words, modality, depth, allowed)

    def _allowed(self, where: Filter) -> Mask | None:
        if not where.asks:
            return None
        with self._reading() as catalog:
            return self.view.mask(catalog, where)

    # ----------------------------------------------------------------------------------------------------- segments

    def numbers(self, where: Filter = EVERYTHING) -> Ids:
        with self._reading() as catalog:
            return np.flatnonzero(self.view.mask(catalog, where)).astype(np.int64)

    def segments(self, numbers: Ids) -> SegmentTable:
        rows = self._table(numbers)
        return SegmentTable(
            np.asarray(numbers, np.int64),
            rows["media"].copy(),
            np.stack([rows["start"], rows["end"]], axis=1),
            rows["still"] != 0,
        )

    def _table(self, numbers: Ids) -> Rows:
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self.view.segments_given:
            raise ValueError(f"segment numbers run from 0 to {self.view.segments_given - 1} here, got {numbers}")
        return self.view.rows("", "segments").take(numbers)  # `[]` takes several times as long where rows have fields

    def tokens(self, numbers: Ids, space: str) -> RaggedTokens:
        self._known(space)
        media = self._table(numbers)["media"]
        ranges = self.view.rows(space, "ranges")
        with self._reading() as catalog:
            displaced = self.view.displaced(catalog, space)
            names = self.view.labels(catalog)
            # Beside rows that were given out of order, the row of a media without this space may be another's.
            able = _having(catalog, space, media) if self.reembedding else None
        place = displaced.ranges(numbers) if displaced else numbers
        has = place < len(ranges)  # the column ends with the last media that has this space
        if able is not None:
            has &= able
        lo, hi = np.zeros((2, len(numbers)), np.int64)
        lo[has], hi[has] = ranges[place[has]].T
        offsets = np.concatenate([[0], np.cumsum(hi - lo)])
        at = np.arange(offsets[-1]) + np.repeat(lo - offsets[:-1], hi - lo)
        facts = self.view.rows(space, "facts").take(at)
        return RaggedTokens(
            self.view.rows(space, "tokens")[at],
            offsets,
            np.ascontiguousarray(facts["span"]),
            np.ascontiguousarray(facts["norm"]),
            Labels(facts["label"], names),
            np.ascontiguousarray(facts["probability"]),
        )

    def lines(self, numbers: Ids) -> list[list[Line]]:
        rows = self._table(numbers)
        asked = list(zip(*(rows[name].tolist() for name in ("media", "start", "end")), strict=True))
        return self._lines(
            "media, lo, hi",
            asked,
            "FROM asked CROSS JOIN line WHERE line.media = asked.media AND middle >= asked.lo AND middle < asked.hi"
            " ORDER BY asked.at, middle, position",
        )

    def lines_over(self, spans: Sequence[tuple[str, TimeSpan]]) -> list[list[Line]]:
        return self._lines(
            "key, lo, hi",
            [(key, span.start, span.end) for key, span in spans],
            "FROM asked CROSS JOIN media CROSS JOIN line WHERE media.key = asked.key AND line.media = media.number"
            " AND start < asked.hi AND end > asked.lo ORDER BY asked.at, start, end, middle, position",
        )

    def _lines(self, names: str, asked: Sequence[Sequence[Any]], where: str) -> list[list[Line]]:
        statement = f"SELECT asked.at, start, end, text, modality, confidence {where}"
        with self._reading() as catalog:
            found = _together.asked(catalog, names, asked, statement)
        lines: list[list[Line]] = [[] for _ in asked]
        for at, start, end, text, kind, sure in found:
            lines[at].append(Line(TimeSpan(start, end), text, Modality(kind), sure))
        return lines

    # ------------------------------------------------------------------------------------------------------- counts

    def counts(self) -> Mapping[str, int]:
        with self._reading() as catalog:
            media, segments = catalog.execute("SELECT count(*), coalesce(sum(segments), 0) FROM media").fetchone()
            (lines,) = catalog.execute("SELECT count(*) FROM line").fetchone()
            held = catalog.execute("SELECT id, tokens FROM space WHERE media > 0 ORDER BY id").fetchall()
            size = self._catalog.bytes(catalog)
        tokens = {space: count for space, count in held if space in self.spaces}
        return {
            "media": media,
            "segments": segments,
            "tokens": sum(tokens.values()),
            "lines": lines,
            "bytes": self.view.bytes() + size,
            **{f"tokens:{space}": count for space, count in tokens.items()},
        }

    def kinds(self, where: Filter = EVERYTHING) -> Mapping[MediaKind, tuple[int, float]]:
        condition, values = _filters.clause(where)
        asked = f"SELECT kind, count(*), sum(duration) FROM media WHERE {condition} GROUP BY kind ORDER BY kind"
        with self._reading() as catalog:
            found = catalog.execute(asked, values).fetchall()
        return {MediaKind(kind): (count, seconds) for kind, count, seconds in found}

    # ---------------------------------------------------------------------------------------------------- two recipes

    def held(self) -> Mapping[str, Held]:
        with self._reading() as catalog:
            counts = catalog.execute("SELECT id, media, tokens FROM space WHERE media > 0 ORDER BY id").fetchall()
        return {key: Held(self.view.held[key], media, tokens, self.view.bytes_of(key)) for key, media, tokens in counts}

    def lacking(self, where: Filter = EVERYTHING) -> Sequence[tuple[Media, frozenset[str]]]:
        two = self.reembedding
        if two is None:
            return []
        with self._reading() as catalog:
            numbers = _beside.lacking(catalog, two, *_filters.clause(where))
            having = catalog.execute(
                "SELECT media, space FROM extent WHERE media IN (SELECT value FROM json_each(?))"
                " AND space IN (SELECT value FROM json_each(?))",
                (json.dumps(numbers), json.dumps(sorted(two.brought))),
            ).fetchall()
        has: dict[int, set[str]] = {number: set() for number in numbers}
        for number, space in having:
            has[number].add(space)
        media = self.media_at(np.array(numbers, np.int64))
        return [(one, two.brought - has[number]) for number, one in zip(numbers, media, strict=True)]

    def foreign(self) -> Sequence[Media]:
        if self.reembedding is None:
            return []
        with self._reading() as catalog:
            numbers = _beside.foreign(catalog, self.reembedding)
        return sorted(self.media_at(np.array(numbers, np.int64)), key=lambda media: (media.path, media.key))

    def _known(self, space: str) -> None:
        if space not in self.spaces:
            raise SpaceMismatch(f"this library has no space {space!r}: it has {', '.join(self.spaces) or 'none yet'}")


class Labels(Sequence[tuple[str, ...]]):
    """The labels of tokens, looked up when they are looked at: few of those that are gathered ever are."""

    def __init__(self, numbers: NDArray[np.int32], names: Sequence[str]) -> None:
        self._numbers = numbers  # (N, 5)
        self._names = names

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, at: int) -> tuple[str, ...]: ...

    @overload
    def __getitem__(self, at: slice) -> "Labels": ...

    def __getitem__(self, at: int | slice) -> "tuple[str, ...] | Labels":
        if isinstance(at, slice):
            return Labels(self._numbers[at], self._names)
        return tuple(self._names[number] for number in self._numbers[at].tolist() if number >= 0)


def _having(catalog: Connection, space: str, media: Ids) -> Mask:
    """Which of these media `(S,)` have a space."""
    found = catalog.execute(
        "SELECT media FROM extent WHERE space = ? AND media IN (SELECT value FROM json_each(?))",
        (space, json.dumps(np.unique(media).tolist())),
    ).fetchall()
    return np.isin(media, np.array(found, np.int64).ravel())


def at_least_one(depth: int) -> None:
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")


def _covered(pairs: Ids, count: int) -> Mask:
    """Which of `count` numbers lie in one of the ranges `(P, 2)`, which do not overlap."""
    filled = pairs[pairs[:, 0] < pairs[:, 1]]
    edges = np.concatenate([[0], filled[np.argsort(filled[:, 0])].ravel(), [count]])
    inside = np.arange(len(edges) - 1) % 2 == 1  # before the first range, in it, between it and the second, …
    return np.repeat(inside, np.diff(edges))


def _spaces(catalog: Connection) -> dict[str, Space]:
    rows = catalog.execute(
        "SELECT id, name, modality, dimension, media_side, query_side, preprocessing FROM space WHERE media > 0"
        " ORDER BY id"
    ).fetchall()
    return {key: Space(name, Modality(modality), *rest) for key, name, modality, *rest in rows}


def _media(found: Sequence[Any], paths: Sequence[tuple[int, bytes]]) -> dict[int, Media]:
    """Media by number, from rows of `_MEDIA` and their paths in order."""
    held: dict[int, list[str]] = {row[0]: [] for row in found}
    for number, path in paths:
        held[number].append(unpacked(path))
    return {
        row[0]: Media(
            key=row[1],
            paths=tuple(held[row[0]]),
            kind=MediaKind(row[2]),
            duration=row[3],
            recipe=row[4],
            width=row[5],
            height=row[6],
            frame_rate=row[7],
            size=row[8],
            missing=json.loads(row[9]),
            metadata=_ledger.metadata_of(row[10:]),
        )
        for row in found
    }
