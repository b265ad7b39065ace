"""Give the room of deleted rows back: live rows are copied into columns of the next epoch, then one transaction.

Segment and media numbers stay, and so does everything that names them (words, lines); the segment table keeps its
32 bytes for a segment that is gone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from retriever.crashpoints import reached
from retriever.stores import _beside, _ledger
from retriever.stores._database import Connection, Database, translated
from retriever.stores._lock import COMPACTION
from retriever.stores._rows import Column, Columns, Rows, Tail, fresh
from retriever.stores._writer import Lock
from retriever.types import Ids, Reembedding, Searched

_BLOCK = 16_384
"""Rows copied at a time: 12 MB of 384 halves."""


@dataclass(frozen=True, slots=True)
class _Extents:
    """Where the live media of one space lie, a row a media, in order."""

    media: Ids
    token_lo: Ids
    token_hi: Ids
    row_lo: Ids
    row_hi: Ids
    first: Ids  # its first segment
    segments: Ids  # how many
    range_lo: Ids  # the row of its ranges

    @classmethod
    def read(cls, catalog: Connection, space: str, added: bool) -> "_Extents":
        rows = catalog.execute(
            "SELECT extent.media, token_lo, token_hi, row_lo, row_hi, first, segments, coalesce(range_lo, first)"
            " FROM extent JOIN media ON media.number = extent.media WHERE space = ? AND (? = 1 OR added = 0)"
            " ORDER BY extent.media",
            (space, int(added)),
        ).fetchall()
        return cls(*np.array(rows, np.int64).reshape(-1, 8).T)


def compact(database: Database, columns: Columns, lock: Lock, gone: Searched | None = None) -> None:
    """Where no row is dead or out of order, and nothing is `gone`, this does no more than sweep.  `gone` is the recipe
    of two that is dropped in the same step."""
    with translated(database.place), lock.held(COMPACTION):
        reached("store-compact-locked")
        with database.reading() as catalog:
            two = _beside.leaving(catalog, gone) if gone else None
            (dead,) = catalog.execute("SELECT count(*) FROM tombstone").fetchone()
            (displaced,) = catalog.execute("SELECT count(*) FROM extent WHERE range_lo IS NOT NULL").fetchone()
        if dead or displaced or two:
            _rewrite(database, columns, two, gone)
            reached("store-compact-committed")
        sweep(database, columns)
        reached("store-compact-swept")


def sweep(database: Database, columns: Columns) -> None:
    """Remove what is neither live nor looked at; whoever calls holds the lock."""
    with database.reading() as catalog:
        live = dict(catalog.execute("SELECT name, rows FROM file").fetchall())
        epoch = _ledger.state(catalog).epoch
    columns.sweep(live, epoch)


def _rewrite(database: Database, columns: Columns, two: Reembedding | None, gone: Searched | None) -> None:
    with database.reading() as catalog:
        epoch = _ledger.state(catalog).epoch + 1
        live = _ledger.columns(catalog)
        held = [row[0] for row in catalog.execute("SELECT id FROM space WHERE media > 0 ORDER BY id").fetchall()]
        dropped = _beside.ids(two, gone) if two and gone else frozenset()
        spaces = [space for space in held if space not in dropped]
        extents = {space: _Extents.read(catalog, space, gone is not Searched.NEW) for space in spaces}
    ends: list[tuple[Column, int]] = []
    with columns.appending() as tail:
        for space in spaces:
            move = _Move(columns, tail, {role: column for (at, role), column in live.items() if at == space}, epoch)
            ends += move.all(extents[space])
        reached("store-compact-appended")
        tail.settle()
    reached("store-compact-synced")
    with database.writing() as catalog:
        if two and gone:
            _beside.leave(catalog, two, gone)
        for space in spaces:
            _settle(catalog, space, extents[space])
        catalog.execute("DELETE FROM tombstone")
        catalog.execute("DELETE FROM space WHERE media = 0")
        catalog.execute("DELETE FROM file WHERE role != 'segments'")
        _ledger.grow(catalog, ends)
        catalog.execute("UPDATE library SET epoch = ?, commits = commits + 1", (epoch,))
        reached("store-compact-written")


@dataclass(frozen=True, slots=True)
class _Move:
    """The columns of one space on their way into the next epoch."""

    columns: Columns
    tail: Tail
    live: dict[str, Column]  # by role
    epoch: int

    def all(self, held: _Extents) -> list[tuple[Column, int]]:
        """Copy the live rows; returns the new columns and how many rows each has."""
        return [
            self._copied("tokens", held.token_lo, held.token_hi),
            self._copied("facts", held.token_lo, held.token_hi),
            self._copied("vectors", held.row_lo, held.row_hi),
            self._copied("map", held.row_lo, held.row_hi),
            self._ranges(held),
        ]

    def _copied(self, role: str, lo: Ids, hi: Ids) -> tuple[Column, int]:
        old, new = self.live[role], fresh(self.live[role], self.epoch)
        rows, end = self.columns.view(old), 0
        for begin, stop in _runs(lo, hi):
            end = self.tail.append(new, rows[begin:stop])
        return new, end

    def _ranges(self, held: _Extents) -> tuple[Column, int]:
        old, new = self.live["ranges"], fresh(self.live["ranges"], self.epoch)
        rows: Rows = self.columns.view(old)
        segment = _counted(held.first, held.segments)
        shift = np.repeat(_packed(held.token_lo, held.token_hi) - held.token_lo, held.segments)
        before = rows[_counted(held.range_lo, held.segments)]
        filled = before[:, :1] < before[:, 1:]
        moved = np.zeros((segment.max(initial=-1) + 1, 2), rows.dtype)
        moved[segment] = np.where(filled, before + shift[:, np.newaxis], 0)
        return new, self.tail.append(new, moved)


def _settle(catalog: Connection, space: str, held: _Extents) -> None:
    """The catalog learns where the rows of a space lie now."""
    token_lo, row_lo = _packed(held.token_lo, held.token_hi), _packed(held.row_lo, held.row_hi)
    token_hi, row_hi = token_lo + held.token_hi - held.token_lo, row_lo + held.row_hi - held.row_lo
    moved = np.stack([token_lo, token_hi, row_lo, row_hi, held.media], axis=1).tolist()
    catalog.executemany(
        "UPDATE extent SET token_lo = ?, token_hi = ?, row_lo = ?, row_hi = ?, range_lo = NULL"
        " WHERE space = ? AND media = ?",
        [(*at, space, media) for *at, media in moved],
    )


def _packed(lo: Ids, hi: Ids) -> Ids:
    """Where extents begin that are laid one behind the other."""
    ends: Ids = np.cumsum(hi - lo)
    return ends - (hi - lo)


def _counted(first: Ids, count: Ids) -> Ids:
    """`first, first + 1, …`, `count` of them, for each pair."""
    return np.repeat(first - _packed(first, first + count), count) + np.arange(count.sum())


def _runs(lo: Ids, hi: Ids) -> Iterator[tuple[int, int]]:
    """Extents in order as runs of neighbours, each of `_BLOCK` rows at most."""
    filled = hi > lo
    lo, hi = lo[filled], hi[filled]
    if not len(lo):
        return
    breaks = np.flatnonzero(lo[1:] != hi[:-1]) + 1
    for part_lo, part_hi in zip(lo[[0, *breaks]], hi[[*(breaks - 1), -1]], strict=True):
        for begin in range(int(part_lo), int(part_hi), _BLOCK):
            yield begin, min(begin + _BLOCK, int(part_hi))
