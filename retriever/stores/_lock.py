"""Who may write, and who still reads: locks of the operating system, which die with their holder."""

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from retriever.errors import StoreLocked

_TOLD = 2_048
"""Bytes of what the lock file says; 200 letters of a command are 1,200 at most."""
_SHORTEST_WAIT, _LONGEST_WAIT = 0.001, 0.05  # seconds between two looks at a lock


@dataclass(frozen=True, slots=True)
class Work:
    """What a lock is wanted for, and how many seconds to wait for somebody else's work."""

    name: str
    patience: float


COMMIT = Work("a commit", 60.0)
LONG_PATIENCE = 5.0
"""Commits take milliseconds: whoever is still there after this does long work as well."""
COMPACTION = Work("compaction", LONG_PATIENCE)
UPGRADE = Work("an upgrade", LONG_PATIENCE)
RESTORE = Work("putting a backup back", LONG_PATIENCE)


@dataclass(frozen=True, slots=True)
class _Holder:
    """What the lock file says of whoever holds it."""

    work: str
    pid: int
    host: str
    command: str
    since: float  # seconds of the epoch

    @classmethod
    def me(cls, work: Work) -> Self:
        return cls(work.name, os.getpid(), socket.gethostname(), " ".join(sys.argv)[:200], time.time())

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).isoformat(" ", "seconds")
        return f"{self.work} of process {self.pid} on {self.host} ({self.command}) since {since}"


def waits() -> Iterator[float]:
    """Seconds between one look at a lock and the next."""
    pause = _SHORTEST_WAIT
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_WAIT)


class CommitLock:
    """One writer at a time, threads of one process included: each taking opens the lock file anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def held(self, work: Work) -> Iterator[None]:
        """
        Raises:
            StoreLocked: somebody else held it for as long as this work waits.
        """
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._wait(file, work)
            self._tell(file, work)
            yield
        finally:
            os.close(file)  # and with it the lock

    @staticmethod
    def _tell(file: int, work: Work) -> None:
        with suppress(OSError):  # on a full disk the lock still locks
            # Always as long: ext4 waits for the disk when a file is closed that was cut off and written again.
            os.pwrite(file, json.dumps(asdict(_Holder.me(work))).encode().ljust(_TOLD), 0)

    def _wait(self, file: int, work: Work) -> None:
        until, pauses = time.monotonic() + work.patience, waits()
        while not _flocked(file, fcntl.LOCK_EX):
            if time.monotonic() >= until:
                raise StoreLocked(
                    f"{self._path.parent} is held by {_holder(file)}: {work.name} waited {work.patience:g} s; "
                    "run it again when that is done"
                )
            time.sleep(next(pauses))


def _holder(file: int) -> str:
    with suppress(ValueError, TypeError):
        return str(_Holder(**json.loads(os.pread(file, 4096, 0))))
    return "another process"


def _flocked(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Leases:
    """Readers of an epoch share a lock on a file of its own; its columns go when nobody has that lock any more."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, epoch: int) -> int | None:
        """A lease to be given back with `os.close`; None: the epoch is just being removed, so look again.  Where
        nothing can be written, nobody removes anything either, and the lease is one on `/dev/null`."""
        path = self._folder / str(epoch)
        try:
            file = self._opened(path)
        except OSError:
            file = os.open(path if path.exists() else os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        if _flocked(file, fcntl.LOCK_SH):
            return file
        os.close(file)
        return None

    @contextmanager
    def ended(self, epoch: int) -> Iterator[bool]:
        """Whether nobody reads this epoch; if so, nobody begins to within the block, and the lease file goes."""
        path = self._folder / str(epoch)
        file = self._opened(path)
        try:
            free = _flocked(file, fcntl.LOCK_EX)
            yield free
            if free:
                path.unlink(missing_ok=True)
        finally:
            os.close(file)

    def epochs(self) -> list[int]:
        """Epochs that have a lease file, held or not."""
        return sorted(int(file.name) for file in self._folder.glob("*") if file.name.isdigit())

    def _opened(self, path: Path) -> int:
        self._folder.mkdir(exist_ok=True)  # whoever copies a library may leave out a folder without files
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
