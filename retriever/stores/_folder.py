"""A catalog in a folder of a local disk: connections and leases, and what a store over it is."""

import os
import sqlite3
from functools import partial
from pathlib import Path

from retriever.stores import _filters, _format
from retriever.stores._database import Connection, Database, SqliteDatabase, opened, translated
from retriever.stores._lock import CommitLock, Leases
from retriever.stores._rows import Columns
from retriever.stores._standing import GiveBack, StandingStore


def connected(folder: Path) -> sqlite3.Connection:
    """A connection to the catalog in a folder, to be asked whatever a store asks."""
    with translated(str(folder)):
        connection = opened(folder / _format.CATALOG)
        _format.check(connection, folder)
        _filters.teach(connection)
    return connection


class FolderStore(StandingStore):
    """A store whose catalog is in a folder of a local disk."""

    def __init__(self, folder: Path, columns: Columns, leases: Leases) -> None:
        self._folder = folder
        self._leases = leases
        super().__init__(folder, self._another(), columns, CommitLock(folder / _format.LOCK))

    def _another(self) -> Database:
        return SqliteDatabase(self._connected(), str(self._folder))

    def _connected(self) -> sqlite3.Connection:
        return connected(self._folder)

    def _lease(self, catalog: Connection, epoch: int) -> GiveBack | None:
        return leased(self._leases, epoch)


def leased(leases: Leases, epoch: int) -> GiveBack | None:
    """A lease of a folder's epoch."""
    file = leases.take(epoch)
    return None if file is None else partial(os.close, file)
