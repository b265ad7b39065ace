"""A library in memory: the plain twin of `local`, gone with its process."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from threading import RLock
from weakref import finalize

from retriever import ports
from retriever.stores import _compaction, _filters, _format
from retriever.stores._catalog import Catalog
from retriever.stores._database import Database, SqliteDatabase
from retriever.stores._lock import Work
from retriever.stores._rows import Buffers
from retriever.stores._snapshot import Snapshot, View
from retriever.stores._writer import Writer
from retriever.types import Searched

PLACE = "this library in memory"


def build(path: Path | None = None, *, create: bool = True) -> "MemoryStore":
    """An empty library.  `path` and `create` are what other stores need."""
    return MemoryStore()


class _ThreadLock:
    """One thread at a time."""

    def __init__(self) -> None:
        self._lock = RLock()

    @contextmanager
    def held(self, work: Work) -> Iterator[None]:
        with self._lock:
            yield


class MemoryStore(Writer):
    """The `Store` port over SQLite's `:memory:` and buffers; every search looks at every row."""

    def __init__(self) -> None:
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        _format.lay_out(connection)
        staging = Path(mkdtemp(prefix="reelseek-"))
        self._unstage = finalize(self, shutil.rmtree, staging, ignore_errors=True)
        self._connection = connection
        super().__init__(SqliteDatabase(connection, PLACE), Buffers(), _ThreadLock())
        self.catalog: ports.Catalog = Catalog(self.database, staging)
        self._newest: tuple[View, Database] | None = None

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        snapshot = Snapshot(*self._view())
        try:
            yield snapshot
        finally:
            snapshot.end()

    def _view(self) -> tuple[View, Database]:
        """The newest commit; the catalog in it is a copy, which no later commit changes."""
        with self.database.reading() as catalog:
            at = catalog.execute("SELECT epoch, commits FROM library").fetchone()
            if self._newest is None or self._newest[0].at != at:
                copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
                self._connection.backup(copy)
                _filters.teach(copy)
                self._newest = View(copy, self.columns, lambda name: None), SqliteDatabase(copy, PLACE)
            return self._newest

    def compact(self) -> None:
        _compaction.compact(self.database, self.columns, self.lock)

    def drop(self, searched: Searched) -> None:
        _compaction.compact(self.database, self.columns, self.lock, searched)

    def refresh(self) -> None:
        """Nothing here is derived."""

    def close(self) -> None:
        self.database.close()
        self._unstage()
