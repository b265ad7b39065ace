"""Columns as files: appended, synced, mapped by readers, and swept away when their epoch is over."""

import mmap
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from retriever import processes
from retriever.errors import StoreUnavailable
from retriever.stores._lock import Leases
from retriever.stores._rows import Column, Rows, Tail

COLUMN_FOLDERS = ("tokens", "segments")
INDEX_FOLDER = "index"

_COLUMN_NAME = re.compile(r".+\.(?P<epoch>\d+)\.[a-z0-9]+")
_INDEX_NAME = re.compile(r"(?P<space>.+)\.(?P<epoch>\d+)-(?P<rows>\d+)\.faiss(?:\.(?P<builder>\d+)\.tmp)?")


def index_name(space: str, epoch: int, rows: int) -> str:
    """The index over the first `rows` rows of a space; another count is another file."""
    return f"{INDEX_FOLDER}/{space}.{epoch}-{rows}.faiss"


@dataclass(slots=True)
class _FileTail:
    """Open files, with the length that each of them is to have if nothing comes of it."""

    folder: Path
    pool: ThreadPoolExecutor
    committed: dict[int, int] = field(default_factory=dict)  # open file → bytes
    files: dict[str, int] = field(default_factory=dict)  # name → open file
    ends: dict[str, int] = field(default_factory=dict)  # name → rows
    grown: set[Path] = field(default_factory=set)  # folders that have a new file

    def append(self, column: Column, rows: Rows, at: int | None = None) -> int:
        if column.name not in self.files:
            self._open(column)
        at = max(self.ends[column.name], at or 0)
        write(self.files[column.name], column.shaped(rows), at * column.row_bytes)
        self.ends[column.name] = at + len(rows)
        return self.ends[column.name]

    def _open(self, column: Column) -> None:
        path = self.folder / column.name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            self.grown |= {path.parent, self.folder}
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self.files[column.name], self.committed[file], self.ends[column.name] = file, column.bytes, column.rows
        if os.fstat(file).st_size > column.bytes:
            os.ftruncate(file, column.bytes)

    def settle(self) -> None:
        # Together: the file system's journal takes waiting syncs in one go, several times as quick as one by one.
        waits: list[Future[None]] = [self.pool.submit(_sync_rows, file) for file in self.files.values()]
        waits += [self.pool.submit(_sync_folder, folder) for folder in self.grown]
        wait(waits)  # for all of them, before a failure of one cuts the others off
        for done in waits:
            done.result()

    def undo(self) -> None:
        for file, length in self.committed.items():
            with suppress(OSError):
                os.ftruncate(file, length)

    def close(self) -> None:
        for file in self.files.values():
            os.close(file)


def write(file: int, rows: Rows, offset: int) -> None:
    """All of these rows, at that byte of an open file."""
    rest = memoryview(rows.reshape(-1).view(np.uint8).data)
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


def _sync_rows(file: int) -> None:
    if hasattr(os, "fdatasync"):
        os.fdatasync(file)
    else:  # macOS
        os.fsync(file)


def _sync_folder(folder: Path) -> None:
    """The names of new files are on the disk, too."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


class Files:
    """Columns as files below a folder; readers map them."""

    def __init__(self, folder: Path, leases: Leases) -> None:
        self._folder = folder
        self._leases = leases
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="reelseek-sync")  # no thread starts before it is needed

    @contextmanager
    def appending(self) -> Iterator[Tail]:
        tail = _FileTail(self._folder, self._pool)
        try:
            yield tail
        except Exception:
            tail.undo()  # gives a full disk its room back
            raise
        finally:
            tail.close()

    def view(self, column: Column) -> Rows:
        shape = (column.rows, *column.width)
        if not column.bytes:
            return np.zeros(shape, column.dtype)
        try:
            with (self._folder / column.name).open("rb") as file:
                mapped = mmap.mmap(file.fileno(), column.bytes, access=mmap.ACCESS_READ)
            return np.frombuffer(mapped, column.dtype).reshape(shape)
        except (OSError, ValueError) as error:
            raise StoreUnavailable(
                f"{self._folder / column.name} should have {column.bytes:,} bytes and cannot be read ({error}): "
                "see reelseek doctor"
            ) from error

    def sweep(self, live: Mapping[str, int], epoch: int) -> None:
        stale: dict[int, list[str]] = {old: [] for old in self._leases.epochs()}
        for name in self.names(*COLUMN_FOLDERS):
            found = _COLUMN_NAME.fullmatch(name)
            if found and name not in live:
                stale.setdefault(int(found["epoch"]), []).append(name)
        for old, names in stale.items():
            # Of this epoch or a later one, it is what a crash left of a commit: nobody ever looked at it.
            with self._leases.ended(old) if old < epoch else nullcontext(True) as free:
                self._remove(names if free else ())
        self._remove([name for name in self.names(INDEX_FOLDER) if name not in live and _left(name, live, epoch)])

    def names(self, *folders: str) -> Iterator[str]:
        """What lies in these folders, as the catalog would call it."""
        for folder in folders:
            for file in sorted((self._folder / folder).glob("*")):
                yield f"{folder}/{file.name}"

    def bytes(self) -> int:
        return sum((self._folder / name).stat().st_size for name in self.names(*COLUMN_FOLDERS, INDEX_FOLDER))

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self._folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        self._pool.shutdown()


def _left(name: str, live: Mapping[str, int], epoch: int) -> bool:
    """Whether an index file that the catalog does not name will never be named: it is of another epoch, covers less
    than the one that is named, or its builder has ended."""
    found = _INDEX_NAME.fullmatch(name.removeprefix(f"{INDEX_FOLDER}/"))
    if not found:
        return False  # not ours
    if found["builder"] and processes.ended(f"{socket.gethostname()}:{found['builder']}:"):
        return True
    named = [rows for other, rows in live.items() if other.startswith(f"{INDEX_FOLDER}/{found['space']}.")]
    return int(found["epoch"]) != epoch or int(found["rows"]) <= max(named, default=0)
