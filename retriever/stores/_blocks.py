"""The segment table of a library that several machines write: blocks in the catalog, and a copy on each machine.

A block is what one media brought.  Numbers of segments are given out once and in order, so the table only grows, and a
copy is up to date as far as it goes.  Each block carries a digest of itself and all before it: a copy of another past,
of a catalog that was restored since, is told by that and begun anew.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from threading import Lock

import numpy as np

from retriever import wholes
from retriever.errors import StoreUnavailable
from retriever.stores._database import Connection, Database, translated
from retriever.stores._files import Files, write
from retriever.stores._lock import CommitLock, Leases, Work
from retriever.stores._rows import SEGMENT, Column, Rows, Tail

TABLE = "segment_block (first INTEGER PRIMARY KEY, rows BLOB NOT NULL, chain BLOB NOT NULL)"

_COPYING = Work("copying the segment table", 60.0)
_TOGETHER = 1_000  # blocks in one answer
_NOTED = 10_000
"""Rows behind what is noted of a copy; another process copies these again."""


@dataclass(slots=True)
class _Pending:
    """Rows of one media that go into the catalog with its transaction."""

    first: int = 0
    rows: bytes = b""

    def append(self, column: Column, rows: Rows, at: int | None = None) -> int:
        self.first = max(column.rows, at or 0)
        self.rows = column.shaped(rows).tobytes()
        return self.first + len(rows)

    def settle(self) -> None:
        """Nothing is on its way to a disk of ours."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """How far the copy of this machine goes."""

    file: str
    rows: int
    chain: str


class Blocks:
    """The `Columns` of a segment table."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._files = Files(folder, Leases(folder / "readers"))
        self._note = folder / "segments.json"
        self._lock = CommitLock(folder / "segments.lock")
        self._guard = Lock()
        self._copy: _Copy | None = None  # as far as this process knows
        self._noted = 0
        self._pending = _Pending()

    @contextmanager
    def appending(self) -> Iterator[Tail]:
        self._pending = _Pending()
        yield self._pending

    def begin(self) -> None:
        """Whoever was to commit before did not come to it: nothing is pending."""
        self._pending = _Pending()

    def keep(self, catalog: Connection) -> None:
        """With this transaction the rows are there that were appended last."""
        pending, self._pending = self._pending, _Pending()
        if pending.rows:
            before = catalog.execute("SELECT chain FROM segment_block ORDER BY first DESC LIMIT 1").fetchone()
            chain = sha256((before[0] if before else b"") + pending.rows).digest()
            catalog.execute(
                "INSERT INTO segment_block (first, rows, chain) VALUES (?, ?, ?)", (pending.first, pending.rows, chain)
            )

    def view(self, column: Column) -> Rows:
        with self._guard:
            if self._copy is None or self._copy.rows < column.rows:
                with translated(str(self._folder)):
                    self._folder.mkdir(parents=True, exist_ok=True)
                    with self._lock.held(_COPYING):
                        self._copy = self._grown(self._copy or self._read())
            if self._copy.rows < column.rows:
                raise StoreUnavailable(
                    f"the segment table in {self._database.place} has {self._copy.rows:,} rows, {column.rows:,} were "
                    "committed: restore it from a dump"
                )
            return self._files.view(replace(column, name=self._copy.file))

    def _read(self) -> _Copy:
        with suppress(OSError, ValueError, TypeError):
            noted = _Copy(**json.loads(self._note.read_text()))
            if (self._folder / noted.file).stat().st_size >= noted.rows * SEGMENT.itemsize:
                self._noted = noted.rows
                return noted
        return self._fresh()

    def _fresh(self) -> _Copy:
        self._noted = 0
        return _Copy(f"segments-{token_hex(4)}.rows", 0, "")

    def _grown(self, copy: _Copy) -> _Copy:
        """Up to date; a new one where this one is of another past."""
        with self._database.reading() as catalog:
            if copy.rows and not (self._folder / copy.file).exists():
                copy = self._read()
            if copy.rows:
                last = catalog.execute(
                    "SELECT chain FROM segment_block WHERE first < ? ORDER BY first DESC LIMIT 1", (copy.rows,)
                ).fetchone()
                if last is None or bytes(last[0]).hex() != copy.chain:
                    copy = self._fresh()
            file = os.open(self._folder / copy.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                copy = self._filled(catalog, copy, file)
                if copy.rows - self._noted >= _NOTED or not self._noted:
                    os.fsync(file)
                    self._tell(copy)
            finally:
                os.close(file)
        return copy

    def _filled(self, catalog: Connection, copy: _Copy, file: int) -> _Copy:
        while True:
            blocks = catalog.execute(
                "SELECT first, rows, chain FROM segment_block WHERE first >= ? ORDER BY first LIMIT ?",
                (copy.rows, _TOGETHER),
            ).fetchall()
            if not blocks:
                return copy
            rows = b"".join(block for _, block, _ in blocks)
            write(file, np.frombuffer(rows, SEGMENT), copy.rows * SEGMENT.itemsize)
            copy = _Copy(copy.file, copy.rows + len(rows) // SEGMENT.itemsize, bytes(blocks[-1][2]).hex())

    def _tell(self, copy: _Copy) -> None:
        """Note how far the copy goes that is on the disk, and remove others: who looks at one keeps it."""
        wholes.write(self._note, json.dumps({"file": copy.file, "rows": copy.rows, "chain": copy.chain}).encode())
        self._noted = copy.rows
        for other in self._folder.glob("segments-*.rows"):
            if other.name != copy.file:
                other.unlink(missing_ok=True)

    def sweep(self, live: Mapping[str, int], epoch: int) -> None:
        """Nothing goes: the table keeps its rows of segments that are gone."""

    def bytes(self) -> int:
        """They count with the catalog."""
        return 0

    def close(self) -> None:
        self._files.close()
