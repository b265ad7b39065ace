"""The catalog of a library in Qdrant in PostgreSQL, for coordinators on several machines.

Locks are advisory locks of sessions: they go with their session, as those of an operating system go with a process.
Media are committed in the very session that has the lock, so without the lock nothing is committed.  Qdrant knows
nothing of that: whoever lost the lock may have one request on its way there.  So each request is preceded by a look at
the lock, and the next writer, where it finds that one before it did not come to its end, waits as long as a request may
take before it takes that back.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from secrets import token_hex
from threading import Lock as ThreadLock
from time import sleep

import psycopg
from psycopg import sql

from retriever import processes
from retriever.crashpoints import reached
from retriever.errors import StoreLocked, StoreUnavailable
from retriever.stores import _blocks, _format, _versions
from retriever.stores._blocks import Blocks
from retriever.stores._database import Connection, Database
from retriever.stores._grounds import Mark
from retriever.stores._lock import COMMIT, UPGRADE, Work, waits
from retriever.stores._postgres import ADVISORY, COMMITTING, PostgresDatabase, Server
from retriever.stores._rows import Columns
from retriever.stores._standing import GiveBack
from retriever.stores._writer import Lock

LEAST_SERVER = 120_000
"""PostgreSQL 12, the oldest whose statements are spelled so."""

_TABLES = (
    _blocks.TABLE,
    # set in a transaction of its own, before Qdrant is told anything
    "unsettled (one INTEGER PRIMARY KEY CHECK (one = 1), writer TEXT NOT NULL, owner TEXT NOT NULL,"
    " wait REAL NOT NULL)",
    "format (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL)",
    "gone (media INTEGER NOT NULL)",
)
_WATCH = """
CREATE FUNCTION media_gone() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO gone VALUES (OLD.number); RETURN NULL; END $$;
CREATE TRIGGER media_gone AFTER DELETE ON media FOR EACH ROW EXECUTE FUNCTION media_gone()
"""


class SessionLock:
    """One writer at a time, of all machines: threads of this process first among themselves, then the session."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._turn = ThreadLock()

    @contextmanager
    def held(self, work: Work) -> Iterator[None]:
        """
        Raises:
            StoreLocked: somebody else held it for as long as this work waits.
        """
        until = time.monotonic() + work.patience
        if not self._turn.acquire(timeout=work.patience):
            raise StoreLocked(self._told("another thread of this process", work))
        try:
            self._wait(work, until)
            try:
                yield
            finally:
                self._database.let_go()
        finally:
            self._turn.release()

    def _wait(self, work: Work, until: float) -> None:
        pauses = waits()
        while not self._database.take():
            if time.monotonic() >= until:
                raise StoreLocked(self._told(self._holder(), work))
            sleep(next(pauses))
        with self._database.reading() as catalog:
            catalog.execute("SELECT set_config('application_name', ?, false)", (_name(work),))

    def _told(self, holder: str, work: Work) -> str:
        return (
            f"{self._database.place} is held by {holder}: {work.name} waited {work.patience:g} s; run it again when "
            "that is done"
        )

    def _holder(self) -> str:
        with self._database.reading() as catalog:
            row = catalog.execute(
                f"SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE {ADVISORY}"
                " AND objid = ?::bigint",
                (self._database.server.key("library"), COMMITTING),
            ).fetchone()
        with suppress(ValueError, TypeError):
            name, pid, since, host = row[0].split("|")
            began = datetime.fromtimestamp(int(since, 16), UTC).isoformat(" ", "seconds")
            return f"{name} of process {pid} on {host} since {began}"
        return "another process"


def _name(work: Work) -> str:
    """What a session is called that has the lock; PostgreSQL keeps 63 bytes."""
    return f"{work.name}|{os.getpid()}|{int(time.time()):x}|{socket.gethostname()}".encode()[:63].decode(
        errors="ignore"
    )


class _RowMark:
    """A row, set through a session of its own."""

    def __init__(self, database: PostgresDatabase, beside: PostgresDatabase, wait: float) -> None:
        self._database = database
        self._beside = beside
        self._wait = wait
        self._writer = token_hex(8)
        self._mine = False  # set since the lock was taken

    def begin(self) -> None:
        self._mine = False

    def is_set(self) -> bool:
        with self._database.reading() as catalog:
            return catalog.execute("SELECT 1 FROM unsettled").fetchone() is not None

    def set(self) -> None:
        if self._mine:
            return
        self._database.sure()
        with self._beside.reading() as catalog:
            catalog.execute(
                "INSERT OR REPLACE INTO unsettled (one, writer, owner, wait) VALUES (1, ?, ?, ?)",
                (self._writer, processes.me(), self._wait),
            )
        self._mine = True

    def take_off(self, catalog: Connection) -> None:
        catalog.execute("DELETE FROM unsettled")

    def taken_off(self) -> None:
        self._mine = False  # it went with its transaction

    def seconds(self) -> float:
        """For which who set it may still act on it; whoever asks has the lock."""
        with self._database.reading() as catalog:
            row = catalog.execute("SELECT writer, owner, wait FROM unsettled").fetchone()
        return 0.0 if row is None or row[0] == self._writer or processes.ended(row[1]) else float(row[2])


class InServer:
    """The catalog in PostgreSQL; `folder` is this machine's."""

    far = True

    def __init__(self, server: Server, folder: Path, request_s: float) -> None:
        self.folder = folder
        self.place = server.place
        self.server = server
        self._database = PostgresDatabase(server)
        self._beside = PostgresDatabase(server)  # what is to be kept while a transaction is under way
        self._readers = server.key("readers")
        self._mark = _RowMark(self._database, self._beside, request_s)
        self._blocks = Blocks(self._beside, folder)
        self.mark: Mark = self._mark
        self.segments: Columns = self._blocks
        self.lock: Lock = SessionLock(self._database)

    # ------------------------------------------------------------------------------------------------------ its making

    def exists(self) -> bool:
        with self._database.reading() as catalog:
            return self._format(catalog) > 0

    def _format(self, catalog: Connection) -> int:
        """0: it was never made."""
        there = catalog.execute("SELECT to_regclass(?) IS NOT NULL", (f'"{self.server.schema}".format',)).fetchone()[0]
        return int(catalog.execute("SELECT number FROM format").fetchone()[0]) if there else 0

    def create(self) -> None:
        with self.lock.held(COMMIT), self._database.writing() as catalog:
            if self._format(catalog):
                return
            _refuse_unable(catalog.own.info, self.place)
            catalog.own.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.server.schema)))
            for number, script in _format.migrations():
                _format.bring(catalog, number, script)
            for table in _TABLES:
                catalog.execute(f"CREATE TABLE {table}")
            catalog.own.execute(_WATCH)
            _format.begin(catalog)
            _versions.lay_out(catalog)
            catalog.execute("INSERT INTO format (one, number) VALUES (1, ?)", (_format.current(),))
            reached("store-create-written")
        reached("store-create-committed")

    def lay_out(self) -> tuple[str, bool]:
        with self._database.reading() as catalog:
            _format.compare(self._format(catalog), catalog, self.place)
            return _versions.told(catalog)

    def upgrade(self) -> int:
        """Bring it to the current format; returns the format that it had.

        Raises:
            StoreUnavailable: there is none.
            StoreLocked, WrongFormat: as `_format.upgrade` has it.
        """
        with self.lock.held(UPGRADE):
            with self._database.reading() as catalog:
                before = self._format(catalog)
                if before == 0:
                    raise StoreUnavailable(f"there is no library at {self.place}: nothing to upgrade")
                if before >= _format.current():
                    _format.compare(before, catalog, self.place)
                    return before
            for number, script in _format.migrations():
                if number > before:
                    with self._database.writing() as catalog:
                        _format.bring(catalog, number, script)
                        catalog.execute("UPDATE format SET number = ?", (number,))
                        catalog.execute("UPDATE library SET made_by = ?", (_format.made_by(),))
                        reached("store-upgrade-written")
            reached("store-upgrade-committed")
        return before

    # ------------------------------------------------------------------------------------------------- who looks at it

    def database(self) -> Database:
        return self._database

    def another(self) -> Database:
        return PostgresDatabase(self.server)

    def lease(self, catalog: Connection, epoch: int) -> GiveBack | None:
        """A lock that the session of a snapshot shares."""
        key = (self._readers, epoch)
        ((got,),) = catalog.execute("SELECT pg_try_advisory_lock_shared(?, ?)", key).fetchall()
        return partial(_given_back, catalog, key) if got else None

    def epochs(self) -> list[int]:
        with self._database.reading() as catalog:
            rows = catalog.execute(
                f"SELECT DISTINCT objid::bigint FROM pg_locks WHERE {ADVISORY}", (self._readers,)
            ).fetchall()
        return sorted(epoch for (epoch,) in rows)

    # -------------------------------------------------------------------------------------------------- who writes it

    def begin(self) -> None:
        self._mark.begin()
        self._blocks.begin()

    def keep(self, catalog: Connection) -> None:
        self._blocks.keep(catalog)

    def sure(self) -> None:
        self._database.sure()

    def mend(self) -> None:
        sleep(self._mark.seconds())

    def problems(self, catalog: Connection) -> Iterator[str]:
        for name in ("fsync", "full_page_writes"):
            ((value,),) = catalog.execute("SELECT current_setting(?)", (name,)).fetchall()
            if value != "on":
                yield f"{self.place} has {name} {value}, a power cut may take commits: turn it on"

    def close(self) -> None:
        self._blocks.close()
        self._beside.close()
        self._database.close()


def _refuse_unable(told: "psycopg.ConnectionInfo", place: str) -> None:
    """
    Raises:
        StoreUnavailable: this database cannot hold a catalog.
    """
    if told.server_version < LEAST_SERVER:
        raise StoreUnavailable(
            f"{place} is PostgreSQL {told.server_version // 10_000}, {LEAST_SERVER // 10_000} is the oldest that will "
            "do: upgrade it"
        )
    if (encoding := told.parameter_status("server_encoding")) != "UTF8":
        raise StoreUnavailable(f"{place} keeps text as {encoding}: make a database with ENCODING 'UTF8'")


def _given_back(catalog: Connection, key: tuple[int, int]) -> None:
    with suppress(psycopg.Error):  # a session that was lost has no lock
        catalog.execute("SELECT pg_advisory_unlock_shared(?, ?)", key)
