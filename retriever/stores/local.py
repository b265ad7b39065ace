"""A library in a folder of a local disk.

catalog.sqlite                         the truth: media, words, leases, and which files are live, up to which row
tokens/SPACE.EPOCH.{f16,facts}         token rows; beside each its span, norm, labels and probabilities
segments/all.EPOCH.segments            a row a segment: its media and span
segments/SPACE.EPOCH.{f16,map,ranges}  what the first stage searches, of which segment; where its tokens lie
index/SPACE.EPOCH-ROWS.faiss           derived: deleted, it comes back
staging/JOB/                           checkpoints of media that are being indexed
lock, readers/EPOCH                    locks of the operating system
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from time import sleep

from retriever import ports
from retriever.crashpoints import reached
from retriever.errors import StoreUnavailable
from retriever.stores import _ann, _compaction, _filters, _format, _health, _ledger
from retriever.stores._catalog import Catalog
from retriever.stores._database import Database, opened, translated
from retriever.stores._files import INDEX_FOLDER, Files, index_name
from retriever.stores._lock import COMMIT, CommitLock, Leases
from retriever.stores._rows import Column
from retriever.stores._snapshot import Snapshot, View
from retriever.stores._writer import Writer
from retriever.types import Searched

upgrade = _format.upgrade
problems = _health.problems


def build(path: Path, *, create: bool = True) -> "LocalStore":
    """Open the library at `path`; where there is none, make one, or with `create=False` refuse.

    Raises:
        StoreUnavailable: no library, something else, a network mount, or no right to read it.
        WrongFormat: written by another format version.
    """
    path = path.absolute()
    _health.refuse_network(path)
    if not _format.exists(path):
        if not create:
            raise StoreUnavailable(f"there is no library at {path}: reelseek index FILES --library {path} makes one")
        _format.create(path)
    return LocalStore(path)


class LocalStore(Writer):
    """The `Store` port over a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._leases = Leases(folder / _format.READERS)
        self._files = Files(folder, self._leases)
        super().__init__(Database(self._connected(), str(folder)), self._files, CommitLock(folder / _format.LOCK))
        self.catalog: ports.Catalog = Catalog(self.database, folder / _format.STAGING)
        self._idle: list[Database] = []  # connections that no snapshot holds
        self._view: View | None = None  # of the newest commit that was looked at
        self._indexes: dict[str, _ann.Index] = {}
        self._guard = Lock()

    def _connected(self) -> sqlite3.Connection:
        with translated(str(self._folder)):
            connection = opened(self._folder / _format.CATALOG)
            _format.check(connection, self._folder)
            _filters.teach(connection)
        return connection

    # ----------------------------------------------------------------------------------------------------- reading

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        try:
            database = self._idle.pop()
        except IndexError:
            database = Database(self._connected(), str(self._folder))
        with database.reading() as catalog:
            lease = self._begin(catalog)
        try:
            with database.reading() as catalog:
                snapshot = Snapshot(self._view_of(catalog), database)
            try:
                yield snapshot
            finally:
                snapshot.end()
        finally:
            os.close(lease)
            with database.reading() as catalog:
                catalog.execute("ROLLBACK")
            self._idle.append(database)

    def _begin(self, catalog: sqlite3.Connection) -> int:
        """A transaction that sees the newest commit, and the lease of its epoch."""
        while True:
            (epoch,) = catalog.execute("SELECT epoch FROM library").fetchone()
            lease = self._leases.take(epoch)
            if lease is None:  # somebody compacted just now
                sleep(0.001)
                continue
            catalog.execute("BEGIN")
            if catalog.execute("SELECT epoch FROM library").fetchone() == (epoch,):
                return lease
            catalog.execute("ROLLBACK")
            os.close(lease)

    def _view_of(self, catalog: sqlite3.Connection) -> View:
        at = catalog.execute("SELECT epoch, commits FROM library").fetchone()
        with self._guard:
            if self._view is None or self._view.at != at:
                self._view = View(catalog, self.columns, self._index)
                named = {name for name, _ in self._view.indexes.values()}
                self._indexes = {name: index for name, index in self._indexes.items() if name in named}
            return self._view

    def _index(self, name: str) -> _ann.Index | None:
        """An index that the catalog names; None where it was deleted, cannot be read, or faiss is missing: every row
        is looked at then."""
        with self._guard:
            if name not in self._indexes and (self._folder / name).is_file():
                with suppress(ImportError, RuntimeError):  # whatever faiss raises is a RuntimeError
                    self._indexes[name] = _ann.Index.open(self._folder / name)
            return self._indexes.get(name)

    # --------------------------------------------------------------------------------------------------- long work

    def compact(self) -> None:
        self._compacted()

    def drop(self, searched: Searched) -> None:
        self._compacted(searched)

    def _compacted(self, gone: Searched | None = None) -> None:
        _compaction.compact(self.database, self.columns, self.lock, gone)
        with self._guard:
            self._view = None  # what it has mapped may be gone from the folder, but not from the disk
        self.refresh()

    def refresh(self) -> None:
        """Build the indexes that are missing or have too many rows behind them.  Nobody waits meanwhile."""
        with self.snapshot() as snapshot:
            view, epoch = snapshot.view, snapshot.view.at[0]
            for space in view.held:
                vectors = view.rows(space, "vectors")
                name, covered = view.indexes.get(space, ("", 0))
                older = self._index(name)
                if older is None:  # deleted, or it cannot be read
                    covered = 0
                if _ann.worthwhile(len(vectors) - covered):
                    new = Column(index_name(space, epoch, len(vectors)), space, "index", len(vectors))
                    with translated(str(self._folder)):
                        (self._folder / INDEX_FOLDER).mkdir(exist_ok=True)
                        _ann.Index.build(vectors, self._folder / new.name, older)
                    reached("store-index-built")
                    self._name_index(new, epoch)

    def _name_index(self, new: Column, epoch: int) -> None:
        """The catalog names an index from now on, unless the rows that it covers were moved meanwhile."""
        with translated(str(self._folder)), self.lock.held(COMMIT):
            with self.database.writing() as catalog:
                if _ledger.state(catalog).epoch == epoch and (self._folder / new.name).is_file():
                    _ledger.name_index(catalog, new)
                reached("store-index-written")
            reached("store-index-committed")
            _compaction.sweep(self.database, self.columns)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        self._files.close()
        self.database.close()
