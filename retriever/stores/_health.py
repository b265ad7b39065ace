"""What `doctor` wants to know of a library in a folder: whether its place can hold one, and whether it is whole."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from retriever.errors import StoreError, StoreUnavailable
from retriever.stores import _format, _ledger
from retriever.stores._database import Database, opened, translated
from retriever.stores._entries import Packed, content_digest
from retriever.stores._files import COLUMN_FOLDERS, INDEX_FOLDER, Files
from retriever.stores._lock import Leases
from retriever.stores._rows import Rows
from retriever.stores._snapshot import Snapshot, View
from retriever.types import Line, Media, Modality, TimeSpan

NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "davfs"}
    | {f"fuse.{name}" for name in ("sshfs", "rclone", "s3fs", "gcsfuse", "davfs")}
)
"""File systems where SQLite's log does not work: it wants memory that all who open the file share."""
_LOG_LIMIT = 256 * 2**20  # bytes; SQLite starts over with its log every 4 MB unless a reader never ends
_MEDIA_READ = 32
"""Media whose rows are read again and compared with their digest."""


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
    path = path.absolute()
    try:
        refuse_network(path)
        if not _format.exists(path):
            return [f"there is no library at {path}"]
        with translated(str(path)), closing(opened(path / _format.CATALOG)) as catalog:
            _format.check(catalog, path)
            return list(_found(path, catalog))
    except StoreError as error:
        return [str(error)]


def _found(path: Path, catalog: sqlite3.Connection) -> Iterator[str]:
    for (line,) in catalog.execute("PRAGMA quick_check(10)").fetchall():
        if line != "ok":
            yield f"the catalog is damaged: {line}"
    (mode,) = catalog.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        yield f"the catalog's journal is {mode!r} and not 'wal': it was copied or changed by something else"
    log = path / f"{_format.CATALOG}-wal"
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        yield f"the catalog's log has {log.stat().st_size:,} bytes: a reader holds a snapshot and never ends it"
    catalog.execute("BEGIN")
    short = list(_short(path, catalog))
    yield from short
    yield from _orphans(path, catalog)
    yield from _sums(catalog)
    if not short:
        yield from _rows(path, catalog)


def _short(path: Path, catalog: sqlite3.Connection) -> Iterator[str]:
    for column in _ledger.columns(catalog).values():
        file = path / column.name
        there = file.stat().st_size if file.is_file() else 0
        if there < column.bytes:
            yield f"{file} has {there:,} bytes, {column.bytes:,} were committed: restore it, or index again"
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


def _sums(catalog: sqlite3.Connection) -> Iterator[str]:
    total = sum(int.from_bytes(digest, "big") for (digest,) in catalog.execute("SELECT digest FROM media"))
    (content,) = catalog.execute("SELECT content FROM library").fetchone()
    if total % 2**256 != int.from_bytes(content, "big"):
        yield "the digest of the library is not the sum of its media's: index again into another library"


def _rows(path: Path, catalog: sqlite3.Connection) -> Iterator[str]:
    """Rows of some media, spread over all, read again and held against the digest of what was committed."""
    with closing(Files(path, Leases(path / _format.READERS))) as files:
        snapshot = Snapshot(View(catalog, files, lambda name: None), Database(catalog, str(path)))
        numbers = [number for (number,) in catalog.execute("SELECT number FROM media ORDER BY number")]
        chosen = np.unique(np.linspace(0, len(numbers) - 1, _MEDIA_READ).astype(int)) if numbers else ()
        for number in (numbers[at] for at in chosen):
            media = snapshot.media_at(np.array([number]))[0]
            if _digest(snapshot, catalog, number, media) != _committed(catalog, number):
                yield f"{media.path or media.key}: its rows are not what was committed: delete it and index it again"


def _committed(catalog: sqlite3.Connection, number: int) -> bytes:
    (content,) = catalog.execute("SELECT content FROM media WHERE number = ?", (number,)).fetchone()
    return bytes(content)


def _digest(snapshot: Snapshot, catalog: sqlite3.Connection, number: int, media: Media) -> bytes:
    """The digest of a media from what lies in the columns."""
    view = snapshot.view
    first, count = catalog.execute("SELECT first, segments FROM media WHERE number = ?", (number,)).fetchone()
    extents = catalog.execute(
        "SELECT space, token_lo, token_hi, row_lo, row_hi FROM extent WHERE media = ? ORDER BY space", (number,)
    ).fetchall()
    lines = catalog.execute(
        "SELECT start, end, text, modality, confidence FROM line WHERE media = ? ORDER BY position", (number,)
    ).fetchall()
    parts = []
    for space, token_lo, token_hi, row_lo, row_hi in extents:
        facts, names = _renamed(view.rows(space, "facts")[token_lo:token_hi], view.labels(catalog))
        parts.append(
            Packed(
                view.spaces[space],
                view.rows(space, "tokens")[token_lo:token_hi],
                facts,
                names,
                view.rows(space, "vectors")[row_lo:row_hi],
                view.rows(space, "map")[row_lo:row_hi] - first,
                np.zeros((0, 2), np.int64),
            )
        )
    spoken = [Line(TimeSpan(start, end), text, Modality(kind), sure) for start, end, text, kind, sure in lines]
    return content_digest(media, view.rows("", "segments")[first : first + count], parts, spoken)


def _renamed(facts: Rows, names: list[str]) -> tuple[Rows, tuple[str, ...]]:
    """Facts with their labels counted in order of first use, and those labels."""
    used: dict[int, int] = {-1: -1}
    for number in facts["label"].ravel().tolist():
        used.setdefault(number, len(used) - 1)
    facts = facts.copy()
    facts["label"] = np.array([used[number] for number in facts["label"].ravel().tolist()]).reshape(
        facts["label"].shape
    )
    return facts, tuple(names[number] for number in used if number >= 0)
