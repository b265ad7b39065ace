"""A library in a folder of a local disk.

catalog.sqlite                         the truth: media, words, leases, and which files are live, up to which row
tokens/SPACE.EPOCH.{f16,facts}         token rows; beside each its span, norm, labels and probabilities
segments/all.EPOCH.segments            a row a segment: its media and span
segments/SPACE.EPOCH.{f16,map,ranges}  what the first stage searches, of which segment; where its tokens lie
index/SPACE.EPOCH-ROWS.faiss           derived: deleted, it comes back
staging/JOB/                           checkpoints of media that are being indexed
lock, readers/EPOCH                    locks of the operating system
"""

import sqlite3
from contextlib import suppress
from pathlib import Path
from time import monotonic

from retriever.crashpoints import reached
from retriever.errors import NoLibrary, StoreError, StoreUnavailable
from retriever.ports import EncodeSentences
from retriever.stores import _ann, _backup, _compaction, _format, _health, _ledger, _recall, _versions
from retriever.stores._database import Connection, translated
from retriever.stores._files import INDEX_FOLDER, Files, index_name
from retriever.stores._folder import FolderStore
from retriever.stores._lock import COMMIT, Leases
from retriever.stores._rows import Column
from retriever.stores._snapshot import View
from retriever.types import Entry, Searched

upgrade = _format.upgrade
problems = _health.problems
indexes = _health.indexes


BEHIND = 5_000
"""Rows of one space behind its index from which it is built anew while media are added: scoring them takes 1.5 ms."""
_REST = 20
"""Times as long as building took, without building."""


def build(path: Path, *, create: bool = True) -> "LocalStore":
    """Open the library at `path`; where there is none, make one, or with `create=False` refuse.

    Raises:
        StoreUnavailable: no library, something else, a network mount, or no right to read it.
        WrongFormat: written by another format version.
    """
    path = path.absolute()
    _health.refuse_network(path)
    if not _format.exists(path):
        _format.refuse_foreign(path)
        if not create:
            raise NoLibrary(f"there is no library at {path}: reelseek index FILES --library {path} makes one")
        _format.create(path)
    return LocalStore(path)


class LocalStore(FolderStore):
    """The `Store` port over a folder.  `encode` makes questions out of sentences for measuring indexes; without it rows
    of the library are asked."""

    encode: EncodeSentences | None = None

    def __init__(self, folder: Path) -> None:
        leases = Leases(folder / _format.READERS)
        self._files = Files(folder, leases)
        super().__init__(folder, self._files, leases)
        self._indexes: dict[str, _ann.Index] = {}
        self._resting = 0.0  # until when no index is built, but for whoever asks for it

    # ----------------------------------------------------------------------------------------------------- reading

    def _connected(self) -> sqlite3.Connection:
        connection = super()._connected()
        if _versions.is_here(connection):
            connection.close()
            raise StoreUnavailable(
                f"{self._folder} is the catalog of a library in Qdrant: name that with --library http(s)://HOST:6333/NAME"
            )
        return connection

    def _viewed(self, catalog: Connection) -> View:
        view = View(catalog, self.columns, self._index)
        named = {name for name, _ in view.indexes.values()}
        self._indexes = {name: index for name, index in self._indexes.items() if name in named}
        return view

    def _index(self, name: str) -> _ann.Index | None:
        """An index that the catalog names; None where it was deleted, cannot be read, or faiss is missing: every row
        is looked at then."""
        with self._guard:
            if name not in self._indexes and (self._folder / name).is_file():
                with suppress(ImportError, RuntimeError):  # whatever faiss raises is a RuntimeError
                    self._indexes[name] = _ann.Index.open(self._folder / name)
            return self._indexes.get(name)

    # ----------------------------------------------------------------------------------------------------- writing

    def add(self, entry: Entry) -> None:
        super().add(entry)
        self._keep_up()

    def extend(self, entry: Entry) -> bool:
        done = super().extend(entry)
        self._keep_up()
        return done

    def _keep_up(self) -> None:
        """While media come in their thousands, few rows are to be behind the indexes: each of them is scored for each
        question.  Commits wait for this, a twentieth of the time at most, and questions never."""
        if monotonic() < self._resting:
            return
        with self.database.reading() as catalog:
            covered = _ledger.indexes(catalog)
            rows = [(held.space, held.rows) for held in _ledger.columns(catalog).values() if held.role == "vectors"]
        if any(count - covered.get(space, ("", 0))[1] > BEHIND for space, count in rows):
            begun = monotonic()
            with suppress(StoreError):  # a full disk, a lock: the media is committed all the same
                self.refresh()
            self._resting = monotonic() + _REST * (monotonic() - begun)

    # --------------------------------------------------------------------------------------------------- long work

    def compact(self) -> None:
        self._compacted()

    def drop(self, searched: Searched) -> None:
        self._compacted(searched)

    def _compacted(self, gone: Searched | None = None) -> None:
        _compaction.compact(self.database, self.columns, self.lock, gone)
        with self._guard:
            self._view = None  # what it has mapped may be gone from the folder, but not from the disk
        self.refresh()

    def refresh(self) -> None:
        """Build the indexes that are missing or have too many rows behind them.  Nobody waits meanwhile."""
        with self.snapshot() as snapshot:
            view, epoch = snapshot.view, snapshot.view.at[0]
            for space in view.held:
                vectors = view.rows(space, "vectors")
                name, covered = view.indexes.get(space, ("", 0))
                older = self._index(name)
                if older is None or older.measured is None:  # deleted, it cannot be read, or nobody knows what it finds
                    covered = 0
                if _ann.worthwhile(len(vectors) - covered):
                    new = Column(index_name(space, epoch, len(vectors)), space, "index", len(vectors))
                    with translated(str(self._folder)):
                        (self._folder / INDEX_FOLDER).mkdir(exist_ok=True)
                        if older and older.on_disk:
                            older = _ann.Index.open(self._folder / name, mapped=False)
                        path, side = self._folder / new.name, view.held[space].query_side
                        _recall.build(vectors, view.rows(space, "map"), path, older, self.encode, side)
                    with self._guard:
                        self._indexes.pop(new.name, None)  # of the same rows, unmeasured
                    reached("store-index-built")
                    self._name_index(new, epoch)

    def _name_index(self, new: Column, epoch: int) -> None:
        """The catalog names an index from now on, unless the rows that it covers were moved meanwhile."""
        with translated(str(self._folder)), self.lock.held(COMMIT):
            with self.database.writing() as catalog:
                if _ledger.state(catalog).epoch == epoch and (self._folder / new.name).is_file():
                    _ledger.name_index(catalog, new)
                reached("store-index-written")
            reached("store-index-committed")
            _compaction.sweep(self.database, self.columns)

    def back_up(self, to: Path) -> None:
        """This library as a library of its own at `to`, while it is searched and written.

        Raises:
            StoreUnavailable: `to` is neither new nor empty, or this library is damaged.
            DiskFull: nothing was written.
        """
        with self._standing() as database, database.reading() as catalog:
            assert isinstance(catalog, sqlite3.Connection)
            _backup.write(catalog, self._folder, to)

    def restore(self, source: Path) -> None:
        """Become what the library at `source` is, in one commit; who searches goes on with what they look at.

        Raises:
            StoreUnavailable, WrongFormat: nothing of the kind is there, or it is damaged, or it is this library.
            StoreLocked: somebody does long work here, or indexes.
            DiskFull: nothing was changed.
        """
        if source.resolve() == self._folder.resolve():
            raise StoreUnavailable(f"{source} is this library itself: name its backup")
        other = build(source, create=False)
        try:
            with other._standing() as database, database.reading() as theirs:
                assert isinstance(theirs, sqlite3.Connection)
                _backup.put_back(other._folder, theirs, self._folder, self.database, self.lock)
        finally:
            other.close()
        self._compacted()

    def close(self) -> None:
        self._files.close()
        super().close()
