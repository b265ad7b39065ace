"""One commit after the other: append, sync, one transaction, all under one lock.

Everything here is the same for files and for buffers; `local` and `memory` bring the columns and the lock.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from retriever.crashpoints import reached
from retriever.errors import WrongRecipe
from retriever.stores import _beside, _ledger, _reading
from retriever.stores._database import Connection, Database, translated
from retriever.stores._entries import Packed, Parcel, content_digest, media_digest, parcel
from retriever.stores._ledger import Extent
from retriever.stores._lock import COMMIT, Work
from retriever.stores._rows import Column, Columns, Rows, Tail, fresh
from retriever.types import Entry, Metadata, Searched, Side


class Lock(Protocol):
    def held(self, work: Work) -> AbstractContextManager[None]: ...


class Writer:
    """Commits media into a catalog and its columns."""

    def __init__(self, database: Database, columns: Columns, lock: Lock) -> None:
        self.database = database
        self.columns = columns
        self.lock = lock

    def _transaction(self) -> AbstractContextManager[Connection]:
        """The step by which a commit happens: done as a whole when the block ends, and not begun if it raises."""
        return self.database.writing()

    def add(self, entry: Entry) -> None:
        ready = parcel(entry)
        with translated(self.database.place), self.lock.held(COMMIT):
            reached("store-add-locked")
            if not self._amended(ready):
                self._brought(ready)
            reached("store-add-committed")

    def _amended(self, ready: Parcel) -> bool:
        """Whether the same content was there already, so that only its paths and metadata could be new."""
        media = ready.media
        with self._transaction() as catalog:
            row = catalog.execute(
                "SELECT number FROM media LEFT JOIN beside ON beside.media = media.number"
                " WHERE key = ? AND (media.content = ? OR beside.content = ?)",
                (media.key, ready.content, ready.content),
            ).fetchone()
            if row is None:
                return False
            _ledger.take_paths(catalog, row[0], media.paths)
            _ledger.describe(catalog, row[0], media.metadata)
            _ledger.redigest(catalog, row[0])
            return True

    def _brought(self, ready: Parcel) -> None:
        with self.database.reading() as catalog:
            state = _ledger.state(catalog)
            shipment = _Shipment(catalog, ready.spaces, state.media_given + 1, state.segments_given)
        with self.columns.appending() as tail:
            shipment.segments(tail, ready.segments)
            extents = shipment.append(tail)
            reached("store-add-appended")
            tail.settle()
        reached("store-add-synced")
        with self._transaction() as catalog:
            for (old,) in catalog.execute("SELECT number FROM media WHERE key = ?", (ready.media.key,)).fetchall():
                _ledger.bury(catalog, old)
            shipment.register(catalog)
            _ledger.enrol(catalog, ready, shipment.number, shipment.first, extents)
            reached("store-add-written")

    def extend(self, entry: Entry) -> bool:
        ready = parcel(entry)
        with translated(self.database.place), self.lock.held(COMMIT):
            reached("store-extend-locked")
            with self.database.reading() as catalog:
                growth = self._growth(catalog, ready)
                if growth is None:
                    return False
                shipment = _Shipment(catalog, growth.parts, growth.number, growth.first)
            with self.columns.appending() as tail:
                extents = shipment.append(tail)
                reached("store-extend-appended")
                tail.settle()
            reached("store-extend-synced")
            with self._transaction() as catalog:
                shipment.register(catalog)
                _ledger.place(catalog, growth.number, growth.parts, extents, added=True)
                _beside.put(catalog, growth.number, entry.media.recipe, entry.media.missing, growth.digests)
                catalog.execute("UPDATE library SET commits = commits + 1")
                reached("store-extend-written")
            reached("store-extend-committed")
        return True

    def _growth(self, catalog: Connection, ready: Parcel) -> "_Growth | None":
        """What a media gets of a parcel with more spaces; None where it is gone, or cut otherwise."""
        media, two = ready.media, _beside.wanted(catalog)
        if media.recipe != two.new.digest:
            raise WrongRecipe(
                f"{media.key} comes with recipe {media.recipe}, this library goes over to {two.new.digest}"
            )
        row = catalog.execute("SELECT number, first, segments FROM media WHERE key = ?", (media.key,)).fetchone()
        if row is None:
            return None
        number, first, count = row
        live = _ledger.columns(catalog)

        cut = self.columns.view(live["", "segments"])[first : first + count]
        if any(not np.array_equal(cut[name], ready.segments[name]) for name in ("start", "end", "still")):
            return None
        there = self._held(catalog, number, first)
        new = tuple(part for part in ready.spaces if part.space.id not in {held.space.id for held in there})
        seen = [part for part in there if part.space.id not in _beside.ids(two, Searched.OLD)]
        together = sorted((*seen, *new), key=lambda part: part.space.id)
        content = content_digest(media, cut, together, _reading.lines(catalog, number))
        held = catalog.execute(
            "SELECT title, tags, recorded, recorded_source, collection FROM media WHERE number = ?", (number,)
        ).fetchone()
        whole = media_digest(content, _ledger.paths_of(catalog, number), _ledger.metadata_of(held))
        return _Growth(number, first, new, (content, whole))

    def _held(self, catalog: Connection, number: int, first: int) -> list[Packed]:
        """What a media, whose segments begin at `first`, has in each of its spaces."""
        live = _ledger.columns(catalog)
        return _reading.parts(catalog, lambda space, role: self.columns.view(live[space, role]), number, first)

    def begin(self, old: Side, new: Side) -> None:
        with translated(self.database.place), self.lock.held(COMMIT):
            with self._transaction() as catalog:
                _beside.begin(catalog, old, new)
                reached("store-begin-written")
            reached("store-begin-committed")

    def choose(self, searched: Searched) -> None:
        with translated(self.database.place), self.lock.held(COMMIT):
            with self._transaction() as catalog:
                _beside.choose(catalog, searched)
                reached("store-choose-written")
            reached("store-choose-committed")

    def delete(self, keys: Sequence[str]) -> int:
        with self._deleting(keys) as (catalog, found):
            for _, number in found:
                _ledger.take_out(catalog, number)
        return len(found)

    def drop_paths(self, paths: Mapping[str, Sequence[str]]) -> list[str]:
        went = []
        with self._deleting(list(paths)) as (catalog, found):
            for key, number in found:
                own = _ledger.paths_of(catalog, number)
                left = [path for path in own if path not in paths[key]]
                if len(left) == len(own):
                    continue
                if left:
                    _ledger.take_paths(catalog, number, left)
                    _ledger.redigest(catalog, number)
                else:
                    _ledger.take_out(catalog, number)
                    went.append(key)
        return went

    @contextmanager
    def _deleting(self, keys: Sequence[str]) -> Iterator[tuple[Connection, list[tuple[str, int]]]]:
        """The keys and numbers of those of these media that are there."""
        with translated(self.database.place), self.lock.held(COMMIT):
            reached("store-delete-locked")
            with self._transaction() as catalog:
                wanted = json.dumps(list(keys))
                found = catalog.execute(
                    "SELECT key, number FROM media WHERE key IN (SELECT value FROM json_each(?))", (wanted,)
                ).fetchall()
                yield catalog, found
                reached("store-delete-written")
            reached("store-delete-committed")

    def set_paths(self, paths: Mapping[str, Sequence[str]], before: Mapping[str, Sequence[str]] | None = None) -> None:
        bare = sorted(key for key, own in paths.items() if not own)
        if bare:
            raise ValueError(f"{', '.join(bare)} would have no path left: delete it instead")
        given = Counter(path for own in paths.values() for path in set(own))
        if doubled := sorted(path for path, times in given.items() if times > 1):
            raise ValueError(f"{doubled[0]} is given to two media: a path names one")
        with self._amending(list(paths)) as (catalog, numbers):
            since = []
            for key, number in zip(paths, numbers, strict=True):
                now = _ledger.paths_of(catalog, number)
                known = (before or {}).get(key, now)
                since.append([path for path in now if path not in known and path not in given])
                _ledger.drop_paths(catalog, number)
            for number, own, new in zip(numbers, paths.values(), since, strict=True):
                _ledger.take_paths(catalog, number, [*own, *new])

    def set_metadata(self, said: Mapping[str, Metadata]) -> None:
        with self._amending(list(said)) as (catalog, numbers):
            for number, metadata in zip(numbers, said.values(), strict=True):
                _ledger.describe(catalog, number, metadata)

    @contextmanager
    def _amending(self, keys: Sequence[str]) -> Iterator[tuple[Connection, list[int]]]:
        with translated(self.database.place), self.lock.held(COMMIT):
            with self._transaction() as catalog:
                numbers = [_ledger.number_of(catalog, key) for key in keys]
                yield catalog, numbers
                for number in numbers:
                    _ledger.redigest(catalog, number)
                reached("store-amend-written")
            reached("store-amend-committed")


@dataclass(frozen=True, slots=True)
class _Growth:
    """What a media that is there gets, and its digests as the new recipe has it."""

    number: int
    first: int
    parts: tuple[Packed, ...]
    digests: tuple[bytes, bytes]  # of its content, and with paths and metadata


class _Shipment:
    """Spaces of one media on their way behind the committed rows, its numbers counted within the library."""

    def __init__(self, catalog: Connection, parts: Sequence[Packed], number: int, first: int) -> None:
        self.number, self.first = number, first
        self._parts = parts
        self._epoch = _ledger.state(catalog).epoch
        self._live = _ledger.columns(catalog)
        self._ends: dict[str, tuple[Column, int]] = {}  # by name: how many committed rows each column will have
        wanted = dict.fromkeys(name for part in parts for name in part.names)
        known, count = _ledger.labels(catalog, wanted)
        self._new_labels = {name: count + at for at, name in enumerate(name for name in wanted if name not in known)}
        self._labels = known | self._new_labels

    def segments(self, tail: Tail, rows: Rows) -> None:
        """Write the segments of a media that is new."""
        segments = rows.copy()
        segments["media"] = self.number
        self._rows(tail, Column("", "", "segments", 0), segments)

    def append(self, tail: Tail) -> dict[str, Extent]:
        """Write all rows; returns where they lie, by space."""
        return {part.space.id: self._space(tail, part) for part in self._parts}

    def register(self, catalog: Connection) -> None:
        """What was written is committed with this transaction: rows, and the labels that they name."""
        catalog.executemany("INSERT INTO label (name, number) VALUES (?, ?)", self._new_labels.items())
        _ledger.grow(catalog, self._ends.values())

    def _space(self, tail: Tail, part: Packed) -> Extent:
        def column(role: str) -> Column:
            return Column("", part.space.id, role, 0, part.space.dimension)

        facts = part.facts.copy()
        numbers = np.array([*(self._labels[name] for name in part.names), -1], np.int32)
        facts["label"] = numbers[facts["label"]]  # none is -1, which is the last of them: -1 again
        token_lo = self._rows(tail, column("tokens"), part.tokens)
        self._rows(tail, column("facts"), facts)
        row_lo = self._rows(tail, column("vectors"), part.vectors)
        self._rows(tail, column("map"), part.segment + self.first)
        filled = part.ranges[:, :1] < part.ranges[:, 1:]
        # A row a segment of the library: segments of media without this space have none, and read as (0, 0).
        range_lo = self._rows(tail, column("ranges"), np.where(filled, part.ranges + token_lo, 0), self.first)
        return Extent(
            token_lo,
            token_lo + len(part.tokens),
            row_lo,
            row_lo + len(part.vectors),
            # A media that is extended after one which came later finds its place taken, until compaction.
            None if range_lo == self.first else range_lo,
        )

    def _rows(self, tail: Tail, wanted: Column, rows: Rows, at: int | None = None) -> int:
        """Append to one column; returns where the rows begin."""
        column = self._live.get((wanted.space, wanted.role)) or fresh(wanted, self._epoch)
        end = tail.append(column, rows, at)
        self._ends[column.name] = column, end
        return end - len(rows)
