"""One commit after the other: append, sync, one transaction, all under one lock.

Everything here is the same for files and for buffers; `local` and `memory` bring the columns and the lock.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import numpy as np

from retriever.crashpoints import reached
from retriever.stores import _ledger
from retriever.stores._database import Database, translated
from retriever.stores._entries import Packed, Parcel, parcel
from retriever.stores._ledger import Extent
from retriever.stores._lock import COMMIT, Work
from retriever.stores._rows import Column, Columns, Rows, Tail, fresh
from retriever.types import Entry, Metadata


class Lock(Protocol):
    def held(self, work: Work) -> AbstractContextManager[None]: ...


class Writer:
    """Commits media into a catalog and its columns."""

    def __init__(self, database: Database, columns: Columns, lock: Lock) -> None:
        self.database = database
        self.columns = columns
        self.lock = lock

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
        with self.database.writing() as catalog:
            row = catalog.execute(
                "SELECT number FROM media WHERE key = ? AND content = ?", (media.key, ready.content)
            ).fetchone()
            if row is None:
                return False
            _ledger.take_paths(catalog, row[0], media.paths)
            _ledger.describe(catalog, row[0], media.metadata)
            _ledger.redigest(catalog, row[0])
            return True

    def _brought(self, ready: Parcel) -> None:
        with self.database.reading() as catalog:
            shipment = _Shipment(catalog, ready)
        with self.columns.appending() as tail:
            extents = shipment.append(tail)
            reached("store-add-appended")
            tail.settle()
        reached("store-add-synced")
        with self.database.writing() as catalog:
            for (old,) in catalog.execute("SELECT number FROM media WHERE key = ?", (ready.media.key,)).fetchall():
                _ledger.bury(catalog, old)
            catalog.executemany("INSERT INTO label (name, number) VALUES (?, ?)", shipment.new_labels.items())
            _ledger.enrol(catalog, ready, shipment.number, shipment.first, extents)
            _ledger.grow(catalog, shipment.ends.values())
            reached("store-add-written")

    def delete(self, keys: Sequence[str]) -> int:
        with translated(self.database.place), self.lock.held(COMMIT):
            reached("store-delete-locked")
            with self.database.writing() as catalog:
                wanted = json.dumps(list(keys))
                found = catalog.execute(
                    "SELECT number FROM media WHERE key IN (SELECT value FROM json_each(?))", (wanted,)
                ).fetchall()
                for (number,) in found:
                    _ledger.bury(catalog, number)
                reached("store-delete-written")
            reached("store-delete-committed")
        return len(found)

    def set_paths(self, paths: Mapping[str, Sequence[str]]) -> None:
        bare = sorted(key for key, own in paths.items() if not own)
        if bare:
            raise ValueError(f"{', '.join(bare)} would have no path left: delete it instead")
        given = Counter(path for own in paths.values() for path in set(own))
        if doubled := sorted(path for path, times in given.items() if times > 1):
            raise ValueError(f"{doubled[0]} is given to two media: a path names one")
        with self._amending(list(paths)) as (catalog, numbers):
            for number in numbers:
                _ledger.drop_paths(catalog, number)
            for number, own in zip(numbers, paths.values(), strict=True):
                _ledger.take_paths(catalog, number, own)

    def set_metadata(self, key: str, metadata: Metadata) -> None:
        with self._amending([key]) as (catalog, numbers):
            _ledger.describe(catalog, numbers[0], metadata)

    @contextmanager
    def _amending(self, keys: Sequence[str]) -> Iterator[tuple[sqlite3.Connection, list[int]]]:
        with translated(self.database.place), self.lock.held(COMMIT):
            with self.database.writing() as catalog:
                numbers = [_ledger.number_of(catalog, key) for key in keys]
                yield catalog, numbers
                for number in numbers:
                    _ledger.redigest(catalog, number)
                reached("store-amend-written")
            reached("store-amend-committed")


class _Shipment:
    """One parcel on its way behind the committed rows, and its numbers counted within the library."""

    def __init__(self, catalog: sqlite3.Connection, ready: Parcel) -> None:
        state = _ledger.state(catalog)
        self.ready = ready
        self.epoch = state.epoch
        self.number = state.media_given + 1
        self.first = state.segments_given
        self.live = _ledger.columns(catalog)
        self.ends: dict[str, tuple[Column, int]] = {}  # by name: how many committed rows each column will have
        known, count = _ledger.labels(catalog, {name for part in ready.spaces for name in part.names})
        wanted = dict.fromkeys(name for part in ready.spaces for name in part.names)
        self.new_labels = {name: count + at for at, name in enumerate(name for name in wanted if name not in known)}
        self._labels = known | self.new_labels

    def append(self, tail: Tail) -> dict[str, Extent]:
        """Write all rows; returns where they lie, by space."""
        segments = self.ready.segments.copy()
        segments["media"] = self.number
        self._rows(tail, Column("", "", "segments", 0), segments)
        return {part.space.id: self._space(tail, part) for part in self.ready.spaces}

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
        self._rows(tail, column("ranges"), np.where(filled, part.ranges + token_lo, 0), self.first)
        return Extent(token_lo, token_lo + len(part.tokens), row_lo, row_lo + len(part.vectors))

    def _rows(self, tail: Tail, wanted: Column, rows: Rows, at: int | None = None) -> int:
        """Append to one column; returns where the rows begin."""
        column = self.live.get((wanted.space, wanted.role)) or fresh(wanted, self.epoch)
        end = tail.append(column, rows, at)
        self.ends[column.name] = column, end
        return end - len(rows)
