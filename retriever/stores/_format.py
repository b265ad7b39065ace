"""The format of a library: made, recognised, and brought up to date by numbered migrations."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from retriever.crashpoints import reached
from retriever.errors import StoreUnavailable, WrongFormat
from retriever.stores import _words
from retriever.stores._address import OPTIONS
from retriever.stores._database import APPLICATION_ID, Connection, connected, opened, translated
from retriever.stores._lock import COMMIT, UPGRADE, CommitLock

CATALOG = "catalog.sqlite"
LOCK = "lock"
READERS = "readers"
STAGING = "staging"

_FIRST_EPOCH = 1


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """Number and SQL of each, in order; the last number is the format that this version reads and writes."""
    files = sorted((Path(__file__).parent / "_migrations").glob("[0-9][0-9][0-9][0-9]_*.sql"))
    return tuple((int(file.name[:4]), file.read_text(encoding="utf-8")) for file in files)


def current() -> int:
    return migrations()[-1][0]


def made_by() -> str:
    try:
        return version("reelseek")
    except PackageNotFoundError:
        return "a checkout"


def exists(folder: Path) -> bool:
    """Whether a library was made here, and its making came to an end."""
    if not (folder / CATALOG).is_file():
        return False
    with translated(str(folder)), closing(opened(folder / CATALOG)) as catalog:
        return held(catalog) > 0


def create(folder: Path) -> None:
    """Make an empty library; one that is there already stays as it is.

    Raises:
        StoreUnavailable: the folder holds something else.
    """
    with translated(str(folder)):
        grown = {folder.parent, *(place.parent for place in folder.parents if not place.exists())}
        folder.mkdir(parents=True, exist_ok=True)
        refuse_foreign(folder)
        with CommitLock(folder / LOCK).held(COMMIT):
            reached("store-create-locked")
            (folder / READERS).mkdir(exist_ok=True)
            with closing(connected(folder / CATALOG, "mode=rwc")) as catalog:
                if held(catalog) == 0:
                    catalog.execute("PRAGMA journal_mode = WAL")
                    lay_out(catalog)
            sync(folder)
            for place in grown:
                sync(place)
            reached("store-create-committed")


def refuse_foreign(folder: Path) -> None:
    """A folder may be empty, or a library, or what a crash left of making one; and nothing may be there.

    Raises:
        StoreUnavailable: something else is.
    """
    if not folder.is_dir():
        if (there := next(place for place in (folder, *folder.parents) if place.exists())).is_dir():
            return
        raise StoreUnavailable(f"{there} is a file: a library is a folder, name one that is new, empty or a library")
    with translated(str(folder)):
        names = {file.name for file in folder.iterdir()}
    if CATALOG not in names and names - {LOCK, READERS, OPTIONS}:
        raise StoreUnavailable(
            f"{folder} is not empty and not a library: name a folder that is new, empty or a library"
        )


def lay_out(catalog: sqlite3.Connection) -> None:
    """The tables of the current format, and the row of an empty library, in one transaction."""
    catalog.execute("BEGIN IMMEDIATE")
    for number, script in migrations():
        _carry_out(catalog, number, script)
    catalog.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    begin(catalog)
    reached("store-create-written")
    catalog.execute("COMMIT")


def begin(catalog: Connection) -> None:
    """The row of an empty library."""
    catalog.execute(
        "INSERT INTO library (one, made_by, epoch, commits, media_given, segments_given, content)"
        " VALUES (1, ?, ?, 0, 0, 0, ?)",
        (made_by(), _FIRST_EPOCH, bytes(32)),
    )


def _carry_out(catalog: sqlite3.Connection, number: int, script: str) -> None:
    bring(catalog, number, script)
    catalog.execute(f"PRAGMA user_version = {number}")


def bring(catalog: Connection, number: int, script: str) -> None:
    """What a migration makes, in a transaction that somebody else holds."""
    for statement in _statements(script):
        catalog.execute(statement)
    if number == 1:
        _words.create(catalog)


def _statements(script: str) -> Iterator[str]:
    """One by one, since `executescript` would end the transaction that they belong to."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def held(catalog: sqlite3.Connection) -> int:
    """The format of a catalog; 0: it was never finished."""
    return int(catalog.execute("PRAGMA user_version").fetchone()[0])


def check(catalog: sqlite3.Connection, folder: Path) -> None:
    """
    Raises:
        StoreUnavailable: this is no catalog of ours.
        WrongFormat: it is, of another format.
    """
    found = held(catalog)
    (ours,) = catalog.execute("PRAGMA application_id").fetchone()
    if found == 0 or ours != APPLICATION_ID:
        raise StoreUnavailable(f"{folder / CATALOG} is no catalog of reelseek: name another folder")
    compare(found, catalog, str(folder))


def compare(found: int, catalog: Connection, place: str) -> None:
    """
    Raises:
        WrongFormat: the format that was found is not the one of this version.
    """
    if found == current():
        return
    (maker,) = catalog.execute("SELECT made_by FROM library").fetchone()
    told = f"{place} is a library of format {found}, written by reelseek {maker}; this one reads format {current()}"
    if found < current():
        raise WrongFormat(f"{told}: run reelseek upgrade --library {place}")
    raise WrongFormat(f"{told}: install reelseek {maker} or newer")


def upgrade(folder: Path) -> int:
    """Bring a library to the current format; returns the format that it had.  The catalog as it was stays beside it
    as `catalog.sqlite.formatN`; rows are never rewritten.

    Raises:
        StoreLocked: somebody works on the library.
        WrongFormat: it is of a newer format.
        StoreUnavailable: there is no library.
    """
    if not (folder / CATALOG).is_file():
        raise StoreUnavailable(f"there is no library at {folder}: nothing to upgrade")
    with (
        translated(str(folder)),
        CommitLock(folder / LOCK).held(UPGRADE),
        closing(connected(folder / CATALOG)) as catalog,
    ):
        before = held(catalog)
        if not 0 < before < current():
            check(catalog, folder)
            return before
        _save(catalog, folder / f"{CATALOG}.format{before}")
        reached("store-upgrade-saved")
        for number, script in migrations():
            if number > before:
                catalog.execute("BEGIN IMMEDIATE")
                _carry_out(catalog, number, script)
                catalog.execute("UPDATE library SET made_by = ?", (made_by(),))
                reached("store-upgrade-written")
                catalog.execute("COMMIT")
        reached("store-upgrade-committed")
    return before


def _save(catalog: sqlite3.Connection, path: Path) -> None:
    """A copy of the catalog that is there whole or not at all."""
    beside = path.with_name(f"{path.name}.part")
    beside.unlink(missing_ok=True)
    with closing(sqlite3.connect(beside, isolation_level=None)) as copy:
        catalog.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
