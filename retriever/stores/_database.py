"""One connection to a catalog that threads may share; here SQLite's, and its complaints in our words."""

import errno
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, Protocol
from urllib.parse import quote

from retriever import processes
from retriever.errors import DiskFull, StoreLocked, StoreUnavailable

BUSY_SECONDS = 30.0
"""How long a statement waits for another process's transaction; those take milliseconds."""
APPLICATION_ID = 0x7265656C
"""`reel` in ASCII: what makes a SQLite file a catalog of ours."""

_UNOPENED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Complaints of the operating system and of SQLite about the library at `place`, in our words."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(_full(place)) from error
        if error.errno in _DENIED:
            raise StoreUnavailable(f"{place} cannot be used: {error.strerror} ({error.filename or place})") from error
        raise
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise DiskFull(_full(place)) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreLocked(f"the catalog of {place} was busy for {BUSY_SECONDS:.0f} s: try again") from error
        if code in _UNOPENED:
            raise StoreUnavailable(f"the catalog of {place} cannot be opened for this: {error}") from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR):
            raise StoreUnavailable(f"the catalog of {place} is damaged ({error}): see reelseek doctor") from error
        raise


def _full(place: str) -> str:
    return f"the disk of {place} is full, nothing was changed: make room and run the same again"


def connected(catalog: Path, mode: str = "mode=rw") -> sqlite3.Connection:
    """A connection in autocommit, to be guarded by whoever shares it."""
    connection = sqlite3.connect(
        f"file:{quote(str(catalog.absolute()))}?{mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        # FULL: a commit is on the disk when COMMIT returns.  In WAL, NORMAL would lose the last ones with the power.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("SELECT count(*) FROM sqlite_master")  # only now the file is opened
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def opened(catalog: Path) -> sqlite3.Connection:
    """A connection to a catalog that is there: to write where that is possible, else to read.

    The log of SQLite needs a shared file beside it even to read; where none can be made and the log is empty, the
    catalog is read as a file that nobody changes.
    """
    log = catalog.with_name(f"{catalog.name}-wal")
    unchanging = [] if log.exists() and log.stat().st_size else ["immutable=1"]
    modes = ["mode=rw", "mode=ro", *unchanging]
    for mode in modes:
        try:
            return connected(catalog, mode)
        except sqlite3.OperationalError as error:
            if mode == modes[-1] or error.sqlite_errorcode & 0xFF not in _UNOPENED:
                raise
    raise AssertionError("the last mode either opens or raises")


class Found(Protocol):
    """What a statement found or did."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """What carries statements out, which are spelled as SQLite reads them."""

    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> Found: ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Found: ...


class Database(ABC):
    """One connection, one thread at a time."""

    place: str

    @abstractmethod
    def writing(self) -> AbstractContextManager[Connection]:
        """One transaction, and no other one meanwhile: done as a whole when the block ends, not begun if it raises."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]: ...

    @abstractmethod
    def bytes(self, catalog: Connection) -> int:
        """What the catalog takes."""

    @abstractmethod
    def vouch(self, catalog: Connection, owner: str) -> None:
        """As long as this connection lasts, others know that the process `owner` lives."""

    @abstractmethod
    def ended(self, catalog: Connection, owner: str) -> bool:
        """Whether the process that `owner` names is known to be no more."""

    @abstractmethod
    def clock(self, catalog: Connection, here: Callable[[], float]) -> float:
        """Seconds of the epoch that all go by who share this catalog; `here` is the clock of this machine."""

    @abstractmethod
    def rollback(self) -> None:
        """End a transaction that only looked; a connection that was lost has none."""

    @abstractmethod
    def close(self) -> None: ...


class SqliteDatabase(Database):
    """A connection to SQLite."""

    def __init__(self, connection: sqlite3.Connection, place: str) -> None:
        self.place = place
        self._connection = connection
        self._guard = RLock()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        with self._guard, translated(self.place):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        with self._guard, translated(self.place):
            yield self._connection

    def bytes(self, catalog: Connection) -> int:
        pages, page = (catalog.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int(pages) * int(page)

    def vouch(self, catalog: Connection, owner: str) -> None:
        """Nothing: whoever shares a folder sees the processes of its machine."""

    def ended(self, catalog: Connection, owner: str) -> bool:
        return processes.ended(owner)

    def clock(self, catalog: Connection, here: Callable[[], float]) -> float:
        return here()

    def rollback(self) -> None:
        with self.reading() as catalog:
            catalog.execute("ROLLBACK")

    def close(self) -> None:
        with self._guard:
            self._connection.close()
