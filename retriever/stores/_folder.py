"""What stores share whose catalog is a folder of a local disk: connections, leases and snapshots."""

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from time import sleep

from retriever import ports
from retriever.stores import _filters, _format, _writer
from retriever.stores._catalog import Catalog
from retriever.stores._database import Database, opened, translated
from retriever.stores._lock import CommitLock, Leases
from retriever.stores._rows import Columns
from retriever.stores._snapshot import Snapshot, View
from retriever.stores._writer import Writer


class FolderStore(Writer, ABC):
    """Reads and commits over the catalog in `folder`; what is derived, and long work, is a store's own."""

    def __init__(self, folder: Path, columns: Columns, leases: Leases, lock: _writer.Lock | None = None) -> None:
        self._folder = folder
        self._leases = leases
        connected = Database(self._connected(), str(folder))
        super().__init__(connected, columns, lock or CommitLock(folder / _format.LOCK))
        self.catalog: ports.Catalog = Catalog(self.database, folder / _format.STAGING)
        self._idle: list[Database] = []  # connections that no snapshot holds
        self._view: View | None = None  # of the newest commit that was looked at
        self._guard = Lock()

    def _connected(self) -> sqlite3.Connection:
        with translated(str(self._folder)):
            connection = opened(self._folder / _format.CATALOG)
            _format.check(connection, self._folder)
            _filters.teach(connection)
        return connection

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with self._standing() as database:
            with database.reading() as catalog:
                snapshot = self._shown(self._view_of(catalog), database)
            try:
                yield snapshot
            finally:
                snapshot.end()

    @contextmanager
    def _standing(self) -> Iterator[Database]:
        """A connection that shows the newest commit, and goes on showing it; its files stay meanwhile."""
        try:
            database = self._idle.pop()
        except IndexError:
            database = Database(self._connected(), str(self._folder))
        with database.reading() as catalog:
            lease = self._begin(catalog)
        try:
            yield database
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
                self._view = self._viewed(catalog)
            return self._view

    @abstractmethod
    def _viewed(self, catalog: sqlite3.Connection) -> View:
        """What snapshots of the commit that `catalog` shows are to share."""

    def _shown(self, view: View, database: Database) -> Snapshot:
        return Snapshot(view, database)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        self.database.close()
