"""The files of a run, in a temporary database: so that ten million of them take no more memory than ten.

The database is SQLite's own kind for this: it has no name, lies in the temporary folder as far as a small cache does
not hold it, and is gone with its process, however that ends.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Self
from weakref import finalize

from indexer.places import Address, Place
from retriever.errors import DiskFull
from retriever.types import FileStat, Metadata, jsonable

PAGE = 500
"""Rows that are read at once."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file to index.  `metadata` is None where nobody said anything: what the library has then stays."""

    path: Place  # absolute
    metadata: Metadata | None = None
    seen: FileStat | None = None  # what a listing said of it


class Listing:
    """Sources, each path once: in its place where it was first named, as it was last named."""

    def __init__(self) -> None:
        self._rows = scratch(
            "CREATE TABLE source (number INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, said TEXT, size INTEGER,"
            " mtime_ns INTEGER, inode TEXT)"
        )
        finalize(self, self._rows.close)
        self._guard = Lock()  # one goes through it while another asks for a path
        self._count = 0

    @classmethod
    def of(cls, sources: Iterable[Source]) -> Self:
        """
        Raises:
            DiskFull: there is no room for the list in the temporary folder.
            and what going through `sources` raises.
        """
        made = cls()
        with whole(made._rows):
            made._rows.executemany(
                "INSERT INTO source (path, said, size, mtime_ns, inode) VALUES (?, ?, ?, ?, ?) ON CONFLICT (path)"
                " DO UPDATE SET said = excluded.said, size = excluded.size, mtime_ns = excluded.mtime_ns,"
                " inode = excluded.inode",
                map(_row, sources),
            )
        (made._count,) = made._rows.execute("SELECT count(*) FROM source").fetchone()
        return made

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Source]:
        last = 0
        asked = "SELECT number, path, said, size, mtime_ns, inode FROM source WHERE number > ? ORDER BY number LIMIT ?"
        while page := self._asked(asked, last, PAGE):
            yield from (_source(row) for _, *row in page)
            last = page[-1][0]

    def __contains__(self, path: str) -> bool:
        """Whether one of them lies at this path."""
        return bool(self._asked("SELECT 1 FROM source WHERE path = ?", os.fsencode(path)))

    def _asked(self, statement: str, *values: int | bytes) -> list[tuple[Any, ...]]:
        with self._guard:
            return self._rows.execute(statement, values).fetchall()


def _row(source: Source) -> tuple[bytes, str | None, int | None, int | None, str | None]:
    seen = source.seen
    look = (seen.size, seen.mtime_ns, str(seen.inode)) if seen else (None, None, None)
    return os.fsencode(str(source.path)), said(source.metadata), *look


def _source(row: list[bytes | str | int]) -> Source:
    path, told, size, mtime_ns, inode = row
    assert isinstance(path, bytes)
    seen = None if size is None else FileStat(int(size), int(mtime_ns), int(inode), "")
    return Source(place(path), unsaid(told), seen)


def place(path: bytes) -> Place:
    """What `os.fsencode` was told of: an absolute path, or an address as somebody has read it before."""
    text = os.fsdecode(path)
    if text.startswith(os.sep):
        return Path(text)
    scheme, _, rest = text.partition("://")
    return Address(scheme, rest)


def said(metadata: Metadata | None) -> str | None:
    return None if metadata is None else json.dumps(jsonable(metadata))


def unsaid(text: object) -> Metadata | None:
    if not isinstance(text, str):
        return None
    told = json.loads(text)
    return Metadata(**{**told, "tags": tuple(told["tags"])})


# ------------------------------------------------------------------------------------------------- temporary databases


def scratch(*tables: str) -> sqlite3.Connection:
    """A database of its own, that goes when nobody has it any more.  Threads may share it, one at a time."""
    made = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    for table in tables:
        made.execute(table)
    return made


@contextmanager
def whole(rows: sqlite3.Connection) -> Iterator[None]:
    """All that is written is written at once.

    Raises:
        DiskFull: there is no room for it.
    """
    rows.execute("BEGIN")
    try:
        yield
        rows.commit()
    except BaseException as error:
        rows.rollback()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            raise DiskFull(
                "the temporary folder has no room for the list of files: make some there, or name another one by TMPDIR"
            ) from error
        raise
