"""Where the catalog of a library in Qdrant lies, and all that depends on it: who may write, who still reads, what was
begun and not ended, the segment table.  Here: a folder of one machine."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

from retriever.stores import _format, _health, _versions
from retriever.stores._database import Connection, Database, SqliteDatabase, connected, opened, translated
from retriever.stores._files import Files
from retriever.stores._folder import connected as as_asked
from retriever.stores._folder import leased
from retriever.stores._lock import COMMIT, CommitLock, Leases
from retriever.stores._rows import Columns
from retriever.stores._standing import GiveBack
from retriever.stores._writer import Lock

UNSETTLED = "unsettled"


class Mark(Protocol):
    """Set while Qdrant may hold what the catalog does not know of: a writer that dies leaves it."""

    def is_set(self) -> bool: ...

    def set(self) -> None:
        """It is kept when this returns, whatever becomes of a transaction that is under way."""
        ...

    def take_off(self, catalog: Connection) -> None:
        """With this transaction it goes, if it can."""
        ...

    def taken_off(self) -> None:
        """That transaction is done: it goes now, if it did not then."""
        ...


class Ground(Protocol):
    """Where a catalog lies."""

    folder: Path  # of this machine: what is staged, what is derived, options
    far: bool  # whether other machines write to it, too
    place: str  # of the catalog, as people name it
    lock: Lock
    mark: Mark
    segments: Columns  # the segment table

    def exists(self) -> bool:
        """Whether a catalog was made here, and its making came to an end."""
        ...

    def create(self) -> None:
        """Make an empty one; one that is there already stays as it is."""
        ...

    def lay_out(self) -> tuple[str, bool]:
        """Its mark, given when it was made, and whether a media ever came.

        Raises:
            StoreUnavailable: it is the catalog of something else.
        """
        ...

    def upgrade(self) -> int:
        """Bring it to the current format, as `_format.upgrade` has it."""
        ...

    def database(self) -> Database:
        """The connection that commits."""
        ...

    def another(self) -> Database:
        """One more, to look."""
        ...

    def lease(self, catalog: Connection, epoch: int) -> GiveBack | None:
        """What this epoch shows stays until it is given back; None: look again."""
        ...

    def epochs(self) -> list[int]:
        """Those that somebody may look at."""
        ...

    def begin(self) -> None:
        """The lock was taken: nothing was appended yet."""
        ...

    def keep(self, catalog: Connection) -> None:
        """With this transaction the segments are there that were appended last."""
        ...

    def sure(self) -> None:
        """Whoever changes something in Qdrant may, up to this moment.

        Raises:
            StoreUnavailable: the lock is no longer held.
        """
        ...

    def mend(self) -> None:
        """The lock was taken, and a mark is set: wait until nobody acts on it any more."""
        ...

    def problems(self, catalog: Connection) -> Iterator[str]:
        """What is wrong with it as such."""
        ...

    def close(self) -> None: ...


class _FileMark:
    """An empty file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_set(self) -> bool:
        return self._path.exists()

    def set(self) -> None:
        if not self._path.exists():
            with translated(str(self._path.parent)):
                self._path.touch()
                _format.sync(self._path.parent)

    def take_off(self, catalog: Connection) -> None:
        """A file takes part in no transaction."""

    def taken_off(self) -> None:
        self._path.unlink(missing_ok=True)  # if it comes back with the power, taking back finds nothing to do


class InFolder:
    """The catalog in SQLite, for the processes of one machine."""

    far = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = str(folder)
        self.lock: Lock = CommitLock(folder / _format.LOCK)
        self.mark: Mark = _FileMark(folder / UNSETTLED)
        self._leases = Leases(folder / _format.READERS)
        self._files = Files(folder, self._leases)
        self.segments: Columns = self._files

    def exists(self) -> bool:
        return _format.exists(self.folder)

    def create(self) -> None:
        _format.create(self.folder)

    def lay_out(self) -> tuple[str, bool]:
        with translated(self.place), closing(opened(self.folder / _format.CATALOG)) as catalog:
            if _versions.is_here(catalog):  # also where nothing may be written
                return _versions.told(catalog)
        with (
            translated(self.place),
            self.lock.held(COMMIT),
            closing(connected(self.folder / _format.CATALOG)) as catalog,
        ):
            if not _versions.is_here(catalog):
                _versions.refuse_used(catalog, self.place)
                catalog.execute("BEGIN IMMEDIATE")
                _versions.lay_out(catalog)
                catalog.execute("COMMIT")
            return _versions.told(catalog)

    def upgrade(self) -> int:
        return _format.upgrade(self.folder)

    def database(self) -> Database:
        made = self.another()
        with made.reading() as catalog:
            _versions.watch(catalog)
        return made

    def another(self) -> Database:
        return SqliteDatabase(as_asked(self.folder), self.place)

    def lease(self, catalog: Connection, epoch: int) -> GiveBack | None:
        return leased(self._leases, epoch)

    def epochs(self) -> list[int]:
        return self._leases.epochs()

    def begin(self) -> None:
        """What a file has behind the committed rows is cut off when it grows."""

    def keep(self, catalog: Connection) -> None:
        """They lie in a file."""

    def sure(self) -> None:
        """A lock of the operating system is held until it is given back."""

    def mend(self) -> None:
        """Such a lock goes with its process: nobody acts."""

    def problems(self, catalog: Connection) -> Iterator[str]:
        yield from _health.of_catalog(self.folder, catalog)

    def close(self) -> None:
        self._files.close()
