"""What `doctor` wants to know of a library in a folder: whether its place can hold one, and whether it is whole."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from retriever.errors import StoreError, StoreUnavailable
from retriever.stores import _ann, _beside, _format, _ledger, _reading
from retriever.stores._database import Connection, Database, SqliteDatabase, opened, translated
from retriever.stores._entries import Packed, content_digest
from retriever.stores._files import COLUMN_FOLDERS, INDEX_FOLDER, Files
from retriever.stores._lock import Leases
from retriever.stores._snapshot import Snapshot, View
from retriever.types import Media, Searched

NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "davfs"}
    | {f"fuse.{name}" for name in ("sshfs", "rclone", "s3fs", "gcsfuse", "davfs")}
)
"""File systems where SQLite's log does not work: it wants memory that all who open the file share."""
_LOG_LIMIT = 256 * 2**20  # bytes; SQLite starts over with its log every 4 MB unless a reader never ends
_MEDIA_READ = 32
"""Media whose rows are read again and compared with their digest."""

Read = Callable[..., list[Packed]]
"""What a media has in its spaces: `_reading.parts`, but for where its rows lie."""


def file_system(path: Path, mounts: str) -> str:
    """The kind of file system below `path`, by the text of /proc/self/mountinfo (proc(5)); empty where unknown."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        # Of two mounts on one point the later one is on top.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split(" ")[0]
    return kind


def refuse_network(path: Path) -> None:
    """
    Raises:
        StoreUnavailable: the path lies on a network mount.
    """
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return  # not Linux: nobody tells
    kind = file_system(path.resolve(), mounts)
    if kind in NETWORK:
        raise StoreUnavailable(f"{path} is on a network mount ({kind}), where locks fail: keep the library on a disk")


def problems(path: Path) -> list[str]:
    """What is wrong with the library at `path`, a line each; nothing: it is whole."""
    return _looked(path.absolute(), _found)


def damage(path: Path) -> list[str]:
    """Those of its problems that building, sweeping or a copy do not mend."""
    return _looked(path.absolute(), _damaged)


def _looked(path: Path, found: Callable[[Path, sqlite3.Connection], Iterator[str]]) -> list[str]:
    try:
        refuse_network(path)
        if not _format.exists(path):
            return [f"there is no library at {path}"]
        with translated(str(path)), closing(opened(path / _format.CATALOG)) as catalog:
            _format.check(catalog, path)
            return list(found(path, catalog))
    except StoreError as error:
        return [str(error)]


@dataclass(frozen=True, slots=True)
class Indexed:
    """The index of one space."""

    space: str
    rows: int  # that it covers
    of: int  # rows that there are
    bytes: int  # of its file
    measured: _ann.Measured | None


def indexes(path: Path) -> list[Indexed]:
    """What is known of the indexes of the library at `path`, which is whole."""
    with translated(str(path)), closing(opened(path / _format.CATALOG)) as catalog:
        live = _ledger.columns(catalog)
        return [
            Indexed(space, rows, live[space, "vectors"].rows, (path / name).stat().st_size, _ann.note(path / name))
            for space, (name, rows) in sorted(_ledger.indexes(catalog).items())
            if (path / name).is_file()
        ]


def _found(path: Path, catalog: sqlite3.Connection) -> Iterator[str]:
    yield from _damaged(path, catalog)
    yield from _lost(path, catalog)
    yield from _orphans(path, catalog)


def _damaged(path: Path, catalog: sqlite3.Connection) -> Iterator[str]:
    yield from of_catalog(path, catalog)
    catalog.execute("BEGIN")
    short = list(_short(path, catalog))
    yield from short
    yield from sums(catalog)
    if not short:
        with closing(Files(path, Leases(path / _format.READERS))) as files:
            view = View(catalog, files, lambda name: None)
            yield from altered(view, SqliteDatabase(catalog, str(path)), partial(_reading.parts, look=view.rows))


def of_catalog(path: Path, catalog: Connection) -> Iterator[str]:
    """What is wrong with the file of a catalog."""
    for (line,) in catalog.execute("PRAGMA quick_check(10)").fetchall():
        if line != "ok":
            yield f"the catalog is damaged: {line}"
    (mode,) = catalog.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        yield f"the catalog's journal is {mode!r} and not 'wal': it was copied or changed by something else"
    log = path / f"{_format.CATALOG}-wal"
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        yield f"the catalog's log has {log.stat().st_size:,} bytes: a reader holds a snapshot and never ends it"


def _short(path: Path, catalog: sqlite3.Connection) -> Iterator[str]:
    for column in _ledger.columns(catalog).values():
        file = path / column.name
        there = file.stat().st_size if file.is_file() else 0
        if there < column.bytes:
            yield f"{file} has {there:,} bytes, {column.bytes:,} were committed: restore it, or index again"


def _lost(path: Path, catalog: sqlite3.Connection) -> Iterator[str]:
    for name, _ in _ledger.indexes(catalog).values():
        if not (path / name).is_file():
            yield f"{path / name} is missing, searches look at every row: reelseek compact builds it"


def _orphans(path: Path, catalog: sqlite3.Connection) -> Iterator[str]:
    live = {name for (name,) in catalog.execute("SELECT name FROM file")}
    epoch = _ledger.state(catalog).epoch
    leases = Leases(path / _format.READERS)
    old = [other for other in leases.epochs() if other < epoch]
    files = Files(path, leases)
    for name in files.names(*COLUMN_FOLDERS, INDEX_FOLDER):
        if name not in live and not any(f".{other}." in name for other in old):
            yield f"{path / name} belongs to nothing, a crash left it: reelseek compact removes it"
    files.close()


def sums(catalog: Connection) -> Iterator[str]:
    """Whether the digests of a library are those of its media, added up."""
    total = sum(int.from_bytes(digest, "big") for (digest,) in catalog.execute("SELECT digest FROM media"))
    (content,) = catalog.execute("SELECT content FROM library").fetchone()
    newer = sum(
        int.from_bytes(digest, "big")
        for (digest,) in catalog.execute(
            "SELECT coalesce(beside.digest, media.digest) FROM media LEFT JOIN beside ON beside.media = media.number"
        )
    )
    others = catalog.execute("SELECT content FROM reembedding").fetchall()
    sums = [(total, content), *((newer, other) for (other,) in others)]
    if any(found % _beside.MODULUS != int.from_bytes(kept, "big") for found, kept in sums):
        yield "the digest of the library is not the sum of its media's: index again into another library"


def altered(view: View, database: Database, read: Read) -> Iterator[str]:
    """Rows of some media, spread over all, read again and held against the digest of what was committed."""
    snapshot = Snapshot(view, database)
    with database.reading() as catalog:
        numbers = [number for (number,) in catalog.execute("SELECT number FROM media ORDER BY number")]
        chosen = np.unique(np.linspace(0, len(numbers) - 1, _MEDIA_READ).astype(int)) if numbers else ()
        for number in (numbers[at] for at in chosen):
            (media,) = snapshot.media_at(np.array([number]))
            if not all(_as_committed(view, catalog, number, media, read)):
                yield f"{media.path or media.key}: its rows are not what was committed: delete it and index it again"


def _as_committed(view: View, catalog: Connection, number: int, media: Media, read: Read) -> Iterator[bool]:
    """Whether the digest of a media from what is held of it is the one that is kept, for each recipe that made
    something of it."""
    two, lines = view.reembedding, _reading.lines(catalog, number)
    first, count, *held = catalog.execute(
        "SELECT first, segments, recipe, missing, content FROM media WHERE number = ?", (number,)
    ).fetchone()
    segments = view.rows("", "segments")[first : first + count]
    beside = catalog.execute("SELECT recipe, missing, content FROM beside WHERE media = ?", (number,)).fetchone()
    made = [(held, read(catalog, number=number, first=first, added=False))]
    if two and beside:
        made.append((beside, read(catalog, number=number, first=first, without=_beside.ids(two, Searched.OLD))))
    for (recipe, missing, content), parts in made:
        own = replace(media, recipe=recipe, missing=json.loads(missing))
        yield content_digest(own, segments, parts, lines) == bytes(content)
