"""What stores share whose snapshots are transactions of their catalog."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from time import sleep

from retriever import ports
from retriever.stores import _format, _writer
from retriever.stores._catalog import Catalog
from retriever.stores._database import Connection, Database
from retriever.stores._rows import Columns
from retriever.stores._snapshot import Snapshot, View
from retriever.stores._writer import Writer

GiveBack = Callable[[], None]


class StandingStore(Writer, ABC):
    """Reads and commits over a catalog; `folder` is on this machine, for what is staged.  What is derived, and long
    work, is a store's own."""

    def __init__(self, folder: Path, database: Database, columns: Columns, lock: _writer.Lock) -> None:
        super().__init__(database, columns, lock)
        self._folder = folder
        self.catalog: ports.Catalog = Catalog(database, folder / _format.STAGING)
        self._idle: list[Database] = []  # connections that no snapshot holds
        self._view: View | None = None  # of the newest commit that was looked at
        self._guard = Lock()

    @abstractmethod
    def _another(self) -> Database:
        """One more connection."""

    @abstractmethod
    def _lease(self, catalog: Connection, epoch: int) -> GiveBack | None:
        """What is of this epoch stays until it is given back; None: it is just being removed, so look again."""

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
            database = self._another()
        try:
            with database.reading() as catalog:
                give_back = self._begin(catalog)
        except BaseException:
            database.close()
            raise
        try:
            yield database
        finally:
            try:
                database.rollback()
            finally:
                give_back()
            self._idle.append(database)

    def _begin(self, catalog: Connection) -> GiveBack:
        """A transaction that sees the newest commit, and the lease of its epoch."""
        while True:
            (epoch,) = catalog.execute("SELECT epoch FROM library").fetchone()
            give_back = self._lease(catalog, epoch)
            if give_back is None:  # somebody compacted just now
                sleep(0.001)
                continue
            catalog.execute("BEGIN")
            if catalog.execute("SELECT epoch FROM library").fetchone() == (epoch,):
                return give_back
            catalog.execute("ROLLBACK")
            give_back()

    def _view_of(self, catalog: Connection) -> View:
        at = catalog.execute("SELECT epoch, commits FROM library").fetchone()
        with self._guard:
            if self._view is None or self._view.at != at:
                self._view = self._viewed(catalog)
            return self._view

    @abstractmethod
    def _viewed(self, catalog: Connection) -> View:
        """What snapshots of the commit that `catalog` shows are to share."""

    def _shown(self, view: View, database: Database) -> Snapshot:
        return Snapshot(view, database)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        self.database.close()
