"""A library as it is at one moment, copied whole while it is searched and written; and such a copy put back.

Columns only grow, so a copy of their committed rows is theirs whoever writes meanwhile.  Putting a copy back is one
commit: its columns come under the names of a new epoch, then one transaction makes the catalog that of the copy.  Who
looks at the library keeps what they look at.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import time

from retriever.crashpoints import reached
from retriever.errors import StoreLocked, StoreUnavailable
from retriever.stores import _format, _health, _ledger
from retriever.stores._catalog import runs
from retriever.stores._database import Connection, Database, connected, translated
from retriever.stores._files import COLUMN_FOLDERS, INDEX_FOLDER, index_name
from retriever.stores._lock import RESTORE
from retriever.stores._rows import fresh
from retriever.stores._writer import Lock
from retriever.wholes import new_folder

_BLOCK = 16 * 2**20  # bytes copied at a time
_OWN = ("lease", "api_key", "once", "hook", "happening", "delivery", "quota", "deposit")
"""Tables of who works on a library, may ask it, is told of it or sends to it, whatever it holds: a backup has no key
and no secret, and brings none back."""


def write(catalog: sqlite3.Connection, folder: Path, to: Path) -> None:
    """The library in `folder`, as the transaction of `catalog` shows it, as a library of its own at `to`, which must be
    new or empty.  It is there whole, and checked, or not at all.

    Raises:
        StoreUnavailable: `to` holds something already, or the library is damaged: such a copy would be worth nothing.
        DiskFull: nothing was written.
    """
    _health.refuse_network(to.absolute())
    with translated(str(to)), new_folder(to) as half:
        for name in (*COLUMN_FOLDERS, INDEX_FOLDER, _format.READERS):
            (half / name).mkdir()
        with closing(connected(half / _format.CATALOG, "mode=rwc")) as copy:
            catalog.backup(copy)
            copy.execute("PRAGMA journal_mode = WAL")
            copy.execute("PRAGMA secure_delete = ON")  # secrets go from the file, and not only from its tables
            copy.execute("BEGIN IMMEDIATE")
            for table in _OWN:
                copy.execute(f"DELETE FROM {table}")
            for column in _ledger.columns(copy).values():
                _copy(folder / column.name, half / column.name, column.bytes)
            for name, _ in _ledger.indexes(copy).values():
                if not _copied_index(folder / name, half / name):
                    copy.execute("DELETE FROM file WHERE name = ?", (name,))
            copy.execute("COMMIT")
        for place in (*(half / name for name in (*COLUMN_FOLDERS, INDEX_FOLDER)), half):
            _format.sync(place)
        if found := _health.damage(half):
            told = found[0].replace(str(half), str(folder))
            raise StoreUnavailable(f"{folder} is damaged, nothing was written: {told}")


def put_back(source: Path, theirs: sqlite3.Connection, folder: Path, database: Database, lock: Lock) -> None:
    """Make the library in `folder` what the one in `source` is, as the transaction of `theirs` shows it.

    Raises:
        StoreUnavailable: the copy is damaged.
        StoreLocked: somebody does long work on the library, or indexes into it.
        DiskFull: nothing was changed.
    """
    if found := _health.damage(source):
        raise StoreUnavailable(f"{source} is damaged, and not put back: {found[0]}")
    with translated(str(folder)), lock.held(RESTORE):
        with database.reading() as ours:
            _nobody_indexes(database, ours)
            epoch = 1 + max(_ledger.state(ours).epoch, _ledger.state(theirs).epoch)
        columns = [(column, fresh(column, epoch).name) for column in _ledger.columns(theirs).values()]
        indexes = [(name, index_name(space, epoch, rows)) for space, (name, rows) in _ledger.indexes(theirs).items()]
        names = [(column.name, new) for column, new in columns] + indexes
        with _cleared(folder / new for _, new in names):
            for name in (*COLUMN_FOLDERS, INDEX_FOLDER):
                (folder / name).mkdir(exist_ok=True)
            for column, new in columns:
                _copy(source / column.name, folder / new, column.bytes)
            lost = [name for name, new in indexes if not _copied_index(source / name, folder / new)]
            for place in (*(folder / name for name in (*COLUMN_FOLDERS, INDEX_FOLDER)), folder):
                _format.sync(place)
            reached("restore-copied")
            with database.writing() as ours:
                _nobody_indexes(database, ours)
                commits = 1 + max(_ledger.state(ours).commits, _ledger.state(theirs).commits)
                _replace(ours, theirs)
                ours.executemany("DELETE FROM file WHERE name = ?", [(name,) for name in lost])
                ours.executemany("UPDATE file SET name = ? WHERE name = ?", [(new, name) for name, new in names])
                ours.execute("UPDATE library SET epoch = ?, commits = ?", (epoch, commits))
                reached("restore-written")
        reached("restore-committed")


def _replace(ours: Connection, theirs: sqlite3.Connection) -> None:
    """Row by row what the other catalog holds.  Both are of one format, so their tables are alike."""
    tables = theirs.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    for (table,) in tables.fetchall():
        if table not in _OWN:
            ours.execute(f"DELETE FROM {table}")
            rows = theirs.execute(f"SELECT * FROM {table}")
            places = ", ".join("?" * len(rows.description))
            ours.executemany(f"INSERT INTO {table} VALUES ({places})", rows)
    ours.execute("DELETE FROM once")  # their answers name jobs that may be gone


def _nobody_indexes(database: Database, ours: Connection) -> None:
    for job, owner, until in ours.execute("SELECT job, owner, until FROM lease ORDER BY job").fetchall():
        if runs(database, ours, owner, until, time()):
            raise StoreLocked(
                f"{database.place} is being indexed into by {owner} ({job}), nothing was changed: reelseek jobs pause "
                "stops it"
            )


@contextmanager
def _cleared(files: Iterable[Path]) -> Iterator[None]:
    """If the block raises, these files go: a full disk gets its room back."""
    try:
        yield
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise


def _copy(source: Path, to: Path, size: int) -> None:
    """The first `size` bytes of a file, on the disk when this returns."""
    with source.open("rb") as old, to.open("wb") as new:
        while size and (block := old.read(min(size, _BLOCK))):
            new.write(block)
            size -= len(block)
        new.flush()
        os.fsync(new.fileno())
    if size:
        raise StoreUnavailable(f"{source} lacks {size:,} bytes that were committed: see reelseek doctor")


def _copied_index(source: Path, to: Path) -> bool:
    """Whether it was there: an index that is built anew meanwhile takes its place."""
    try:
        _copy(source, to, source.stat().st_size)
    except FileNotFoundError:
        to.unlink(missing_ok=True)
        return False
    return True
