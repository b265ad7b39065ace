"""One connection to a catalog in PostgreSQL, and its complaints in our words.

A library has a schema of its own, by its NAME.  Whoever writes takes an advisory lock within the transaction, so that
one comes after the other as in SQLite.  A connection that was lost is opened anew, but never while something depends on
it: a snapshot, a transaction, or the lock of whoever commits.
"""

import os
import re
import select
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from threading import RLock
from typing import Any, Self

import psycopg
from psycopg import conninfo, errors, sql
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import IntLoader

from retriever import processes
from retriever.errors import DiskFull, StoreLocked, StoreUnavailable
from retriever.stores import _dialect, _filters
from retriever.stores._address import CATALOG_PASSWORD, CATALOG_WANTED, is_here, without_secrets
from retriever.stores._database import BUSY_SECONDS, Connection, Database, Found

WRITING, COMMITTING = 0, 1
"""Locks of a library: of any transaction that writes, and of whoever commits media, over many statements."""

RETURN_S = 120.0
"""Seconds after a start of the server within which whoever lives has opened a session again."""
ADVISORY = (
    "locktype = 'advisory' AND granted AND objsubid = 2 AND classid = ?::bigint"
    " AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""Which rows of `pg_locks` are of the locks with this first number; the second one is `objid`."""

_KNOWN = frozenset({"user", "host", "port", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl"})
_LONGEST_NAME = 63  # bytes of an identifier
_ASKED: Mapping[str, Any] = {
    "connect_timeout": 10,
    "application_name": "reelseek",
    "client_encoding": "utf8",
    "target_session_attrs": "primary",  # a copy of it knows nothing of who reads elsewhere
}
_ALIVE = {"keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 40_000}
"""A machine that says nothing is gone after 40 s, on both sides: so its locks are."""


@dataclass(frozen=True, slots=True)
class Server:
    """A database of a server, and the schema of one library in it."""

    place: str  # as people name it, without anything secret
    asked: Mapping[str, str]
    schema: str

    @classmethod
    def parse(cls, text: str, name: str, environ: Mapping[str, str] = os.environ) -> Self:
        """The database at an address, for the library NAME.

        Raises:
            StoreUnavailable: this is no such address, or one with a password in it.
        """
        told = f"{without_secrets(text)!r} is no address of a catalog in PostgreSQL"
        try:
            asked = {key: str(value) for key, value in conninfo.conninfo_to_dict(text).items()}
        except psycopg.ProgrammingError:  # its words may quote a part of a password
            raise StoreUnavailable(f"{told}: it wants {CATALOG_WANTED}") from None
        if "password" in asked or set(asked) - _KNOWN or "dbname" not in asked:
            raise StoreUnavailable(f"{told}: it wants {CATALOG_WANTED} alone, and a password in {CATALOG_PASSWORD}")
        user = f"{asked['user']}@" if "user" in asked else ""
        host, port = asked.get("host", ""), asked.get("port", "")
        if not re.fullmatch(r"[\d,]*", port):
            raise StoreUnavailable(f"{told}: its port is no number")
        ports = port.split(",") + [""] * host.count(",")
        at = ",".join(f"{one}:{door}" if door else one for one, door in zip(host.split(","), ports, strict=False))
        if password := environ.get(CATALOG_PASSWORD):
            asked["password"] = password
            if not all(each == "" or each.startswith(("/", "@")) or is_here(each) for each in host.split(",")):
                asked.setdefault("sslmode", "require")
        return cls(f"postgresql://{user}{at}/{asked['dbname']}", asked, schema_of(name))

    def key(self, purpose: str) -> int:
        """A number of 31 bits for locks of this library."""
        return number_of(f"{self.schema} {purpose}")


def number_of(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:4], "big") >> 1


def schema_of(name: str) -> str:
    """The schema of the library NAME."""
    plain = f"reelseek_{name}"
    if len(plain) <= _LONGEST_NAME:
        return plain
    return f"{plain[: _LONGEST_NAME - 9]}_{sha256(name.encode()).hexdigest()[:8]}"


# -------------------------------------------------------------------------------------------------------------- errors


@contextmanager
def answered(place: str) -> Iterator[None]:
    """Complaints of PostgreSQL, in our words."""
    try:
        yield
    except errors.DiskFull as error:
        raise DiskFull(f"the disk of {place} is full, nothing was changed: make room and run the same again") from error
    except (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure) as error:
        raise StoreLocked(f"the catalog at {place} was busy for {BUSY_SECONDS:.0f} s: try again") from error
    except (errors.ReadOnlySqlTransaction, errors.InsufficientPrivilege, errors.InvalidCatalogName) as error:
        raise StoreUnavailable(
            f"the catalog at {place} cannot be used for this ({_line(error)}): name a database that this user may write"
        ) from error
    except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
        raise StoreUnavailable(
            f"the catalog at {place} lacks what it should have ({_line(error)}): restore it from a dump"
        ) from error
    except psycopg.OperationalError as error:
        raise StoreUnavailable(
            f"the catalog at {place} does not answer ({_line(error)}): look whether PostgreSQL runs there, and lets "
            "this user in, and run the same again"
        ) from error
    except psycopg.DataError as error:
        raise ValueError(f"the catalog at {place} cannot keep this: {_line(error)}") from error


def _line(error: Exception) -> str:
    """What is said, on one line, without what is said of addresses that were tried before."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"\s+", " ", said[0])[:300] if said else type(error).__name__


# ---------------------------------------------------------------------------------------------------------- connection


class Session:
    """A connection as the statements of a catalog want it."""

    def __init__(self, own: "psycopg.Connection[Any]") -> None:
        self.own = own
        self.stands = False  # a transaction that looks is under way

    def execute(self, text: str, values: Sequence[Any] = (), /) -> Found:
        made = _dialect.statement(text)
        if text == "BEGIN":
            self.stands = True
        found = self.own.execute(made.text, made.values(values, self._matching))
        if text == "ROLLBACK":
            self.stands = False
        return found

    def executemany(self, text: str, rows: Iterable[Sequence[Any]], /) -> Found:
        made = _dialect.statement(text)
        cursor = self.own.cursor()
        cursor.executemany(made.text, _dialect.many(rows, made, self._matching))
        return cursor

    def _matching(self, glob: str) -> list[int]:
        rows = self.own.execute("SELECT media, path FROM path").fetchall()
        return sorted({media for media, path in rows if _filters.path_matches(path, glob)})


def connect(server: Server) -> "psycopg.Connection[Any]":
    """A new connection, where every statement is a transaction of its own unless one was begun."""
    own: psycopg.Connection[Any] = psycopg.connect(autocommit=True, **{**_ASKED, **_ALIVE, **server.asked})
    try:
        own.adapters.register_loader("numeric", IntLoader)  # sums of whole numbers
        # A commit is on the disk when COMMIT returns; a snapshot may stand for long; the dead are missed soon.
        settings = {
            "search_path": server.schema,
            "synchronous_commit": "on",
            "lock_timeout": f"{BUSY_SECONDS:.0f}s",
            "statement_timeout": "0",
            "idle_in_transaction_session_timeout": "0",
            **{f"tcp_{name.removeprefix('tcp_')}": str(value) for name, value in _ALIVE.items()},
        }
        own.execute(
            sql.SQL("; ").join(
                sql.SQL("SET {} TO {}").format(sql.Identifier(name), sql.Literal(value))
                for name, value in settings.items()
            )
        )
    except BaseException:
        own.close()
        raise
    return own


class PostgresDatabase(Database):
    """A connection to PostgreSQL, opened when it is wanted first."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.place = server.place
        self._guard = RLock()
        self._session: Session | None = None
        self._committing = False  # the lock of whoever commits belongs to this session
        self._vouched: set[str] = set()
        self._library = server.key("library")
        self._owners = server.key("owners")

    # ----------------------------------------------------------------------------------------------------- statements

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with self._guard, answered(self.place):
            yield self._live()

    @contextmanager
    def writing(self) -> Iterator[Session]:
        with self._guard, answered(self.place):
            session = self._live()
            try:
                session.own.execute(
                    sql.SQL("BEGIN; SELECT pg_advisory_xact_lock({}, {})").format(self._library, WRITING)
                )
                yield session
                self.sure()
                if session.own.execute("COMMIT").statusmessage != "COMMIT":  # a statement failed, and nobody said so
                    raise StoreUnavailable(f"the catalog at {self.place} took nothing of this: run the same again")
            except BaseException:
                with suppress(psycopg.Error):
                    session.own.execute("ROLLBACK")
                raise

    def _live(self) -> Session:
        """The session; a new one where it was lost and nothing depends on it."""
        session = self._session
        if session is not None and not session.own.closed:
            if session.own.info.transaction_status is not TransactionStatus.IDLE or not _stirs(session.own):
                return session
            with suppress(psycopg.OperationalError):
                session.own.execute("SELECT 1")
                return session
        if self._committing or (session is not None and session.stands):
            raise psycopg.OperationalError("the connection was lost in the middle")
        return self._renewed()

    def _renewed(self) -> Session:
        self._dropped()
        self._session = Session(connect(self.server))
        for owner in self._vouched:
            self._vouch(self._session, owner)
        return self._session

    def _dropped(self) -> None:
        if self._session is not None:
            self._session.own.close()
            self._session = None

    def rollback(self) -> None:
        """And where a connection was lost, that is no matter any more: the next one who looks gets another."""
        with self._guard:
            session = self._session
            try:
                if session is not None and not session.own.closed:
                    session.execute("ROLLBACK")
            except psycopg.Error:
                self._dropped()
            if session is not None:
                session.stands = False

    def close(self) -> None:
        with self._guard:
            self._dropped()

    def bytes(self, catalog: Connection) -> int:
        ((size,),) = catalog.execute(
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class"
            " WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
        ).fetchall()
        return int(size)

    # ------------------------------------------------------------------------------------------------------ who lives

    def vouch(self, catalog: Connection, owner: str) -> None:
        if owner not in self._vouched:
            self._vouch(catalog, owner)
            self._vouched.add(owner)

    def _vouch(self, catalog: Connection, owner: str) -> None:
        catalog.execute("SELECT pg_advisory_lock_shared(?, ?)", (self._owners, number_of(owner)))

    def ended(self, catalog: Connection, owner: str) -> bool:
        if processes.ended(owner):
            return True
        if held(catalog, self._owners, number_of(owner)):
            return False
        ((up,),) = catalog.execute(
            "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::double precision"
        ).fetchall()
        return bool(up > RETURN_S)

    def clock(self, catalog: Connection, here: Callable[[], float]) -> float:
        ((now,),) = catalog.execute("SELECT extract(epoch FROM clock_timestamp())::double precision").fetchall()
        return float(now)

    # ---------------------------------------------------------------------------------------- the lock of who commits

    def take(self) -> bool:
        """Take the lock of whoever commits, for this session; False: another one has it."""
        with self.reading() as session:
            ((self._committing,),) = session.execute(
                "SELECT pg_try_advisory_lock(?, ?)", (self._library, COMMITTING)
            ).fetchall()
            return self._committing

    def let_go(self) -> None:
        with self._guard:
            self._committing = False
            try:
                if self._session is not None and not self._session.own.closed:
                    self._session.execute("SELECT pg_advisory_unlock(?, ?)", (self._library, COMMITTING))
            except psycopg.Error:  # it was lost, and with it the lock
                self._dropped()

    def sure(self) -> None:
        """
        Raises:
            StoreUnavailable: this is of whoever commits, and the lock is no longer held.
        """
        if not self._committing:
            return
        with self._guard, answered(self.place):
            session = self._live()
            if not held(session, self._library, COMMITTING, session.own.info.backend_pid):
                raise StoreUnavailable(
                    f"the lock of {self.place} was lost: name a server, or a pool that gives a session to each client"
                )


def held(catalog: Connection, library: int, number: int, pid: int | None = None) -> bool:
    """Whether somebody, or the session `pid`, has this advisory lock."""
    return bool(
        catalog.execute(
            f"SELECT 1 FROM pg_locks WHERE {ADVISORY} AND objid = ?::bigint AND pid = coalesce(?::int, pid) LIMIT 1",
            (library, number, pid),
        ).fetchone()
    )


def _stirs(own: "psycopg.Connection[Any]") -> bool:
    """Whether something came from the server that nobody asked for: most likely that it ends."""
    poll = select.poll()
    poll.register(own.fileno(), select.POLLIN)
    return bool(poll.poll(0))
