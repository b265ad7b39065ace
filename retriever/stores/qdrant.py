"""A library whose vectors lie in Qdrant, for corpora that outgrow one machine.

The catalog, in a folder of the one machine that writes or in PostgreSQL for several, is the truth about what exists:
media, lines, words, leases, quarantine, recipes.  Qdrant holds points, and is asked for nothing but them.  A commit
brings points that no version has yet, marks those that go as dying with the next version, and then raises the version
in the catalog's own transaction: before it nobody sees any of that, after it everybody sees all of it.  A writer that
dies in between leaves the mark `unsettled`; the next one takes back what it had begun.
"""

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from weakref import finalize

from retriever.crashpoints import reached
from retriever.errors import BadSettings, MissingExtra, NoLibrary, StoreError, StoreUnavailable, WrongFormat
from retriever.stores import _beside, _health, _ledger, _versions
from retriever.stores._address import MEMORY, Address, Options, is_catalog_address
from retriever.stores._database import Connection, Database, translated
from retriever.stores._entries import Packed
from retriever.stores._grounds import Ground, InFolder
from retriever.stores._lock import COMMIT, COMPACTION, Work
from retriever.stores._points import Point, Points
from retriever.stores._remote import RemoteColumns, RemoteSnapshot, RemoteView, held_parts
from retriever.stores._snapshot import Snapshot, View
from retriever.stores._standing import GiveBack, StandingStore
from retriever.stores._writer import Lock
from retriever.types import Reembedding, Searched

PROMPTNESS_S = 5.0
"""Seconds in which a request is on its way after a look at the lock; with its time limit, how long a writer that lost
the lock is waited for."""
LEAST_RELEASE = (1, 10)
"""Of Qdrant: the first with several vectors a point."""


def build(place: Path | str = MEMORY, *, create: bool = True, catalog: Path | str | None = None) -> "QdrantStore":
    """Open the library at `place`, `http(s)://HOST:6333/NAME`; where there is none, make one, or with `create=False`
    refuse.  `catalog` is the folder of its catalog, if it is not the usual one, or `postgresql://USER@HOST/DATABASE`.
    `:memory:` is a new one in the client's own engine, gone when it is closed.

    Raises:
        StoreUnavailable: no server, no library, another catalog's library, or no place for the catalog.
        BadSettings: the options in the catalog's folder are wrong.
        MissingExtra: a catalog in PostgreSQL wants its client.
        WrongFormat: the catalog was written by another format version.
    """
    if os.fspath(place) == MEMORY:
        folder = Path(mkdtemp(prefix="reelseek-"))
        ground: Ground = InFolder(folder)
        return QdrantStore(_opened(ground, Points.in_memory(), create=True), ground, passing=True)
    address = Address.parse(place)
    folder = home(place, catalog)
    _health.refuse_network(folder)
    options = Options.read(address.options(folder))
    ground = _ground(address, catalog, folder, options)
    points = Points.at(address, address.key(os.environ), options)
    try:
        return QdrantStore(_opened(ground, points, create), ground)
    except BaseException as error:
        points.close()
        ground.close()
        if isinstance(error, WrongFormat):  # which takes the catalog for the library
            raise WrongFormat(str(error).replace(f"--library {ground.place}", f"--library {address}")) from error
        raise


def _ground(address: Address, catalog: Path | str | None, folder: Path, options: Options) -> Ground:
    if catalog is None or not is_catalog_address(catalog):
        return InFolder(folder)
    try:
        from retriever.stores._postgres import Server
        from retriever.stores._server import InServer
    except ImportError as error:  # psycopg, or the library of PostgreSQL that it wants
        raise MissingExtra(
            f"a catalog in PostgreSQL needs psycopg: pip install 'reelseek[postgres]' ({error})"
        ) from error
    return InServer(Server.parse(os.fspath(catalog), address.name), folder, options.timeout_s + PROMPTNESS_S)


def home(place: Path | str, catalog: Path | str | None = None) -> Path:
    """The folder of this machine for the library at `place`: of its catalog, or of what is not in PostgreSQL."""
    there = None if catalog is None or is_catalog_address(catalog) else Path(catalog)
    return (there or Address.parse(place).catalog).absolute()


def upgrade(place: Path | str, catalog: Path | str | None = None) -> int:
    """Bring the catalog to the current format, as `_format.upgrade` has it; points have none."""
    with closing(_ground(Address.parse(place), catalog, home(place, catalog), Options())) as ground:
        return ground.upgrade()


def problems(place: Path | str, catalog: Path | str | None = None) -> list[str]:
    """What is wrong with the library at `place`, a line each; nothing: it is whole."""
    try:
        with closing(build(place, create=False, catalog=catalog)) as store:
            return list(store.problems())
    except (StoreError, BadSettings) as error:
        return str(error).splitlines()


def _opened(ground: Ground, points: Points, create: bool) -> Points:
    """The points, when it is sure that they and the catalog belong together; both are made where neither is there."""
    owner = points.owner()
    if not ground.exists():
        if owner is not None:
            raise StoreUnavailable(
                f"{points.place} has its catalog elsewhere, not in {ground.place}: name it with --store-catalog, or "
                "another NAME"
            )
        if not create:
            raise NoLibrary(_nothing(points.place))
        ground.create()
    mark, used = ground.lay_out()
    if owner is None:
        if used:
            raise StoreUnavailable(
                f"nothing is left at {points.place} of what the catalog in {ground.place} describes: restore it in "
                "Qdrant, or index into another NAME"
            )
        if not create:
            raise NoLibrary(_nothing(points.place))
        points.own(mark)
    elif owner != mark:
        raise StoreUnavailable(
            f"{points.place} belongs to another catalog than the one in {ground.place}: name its own with "
            "--store-catalog, or another NAME"
        )
    return points


def _nothing(place: str) -> str:
    return f"there is no library at {place}: reelseek index FILES --library {place} makes one"


class _MendingLock:
    """The lock of the catalog; whoever takes it first takes back what a writer before it did not bring to an end."""

    def __init__(self, lock: Lock, mend: Callable[[], None]) -> None:
        self._lock = lock
        self._mend = mend

    @contextmanager
    def held(self, work: Work) -> Iterator[None]:
        with self._lock.held(work):
            self._mend()
            yield


class QdrantStore(StandingStore):
    """The `Store` port over a catalog and points in Qdrant."""

    def __init__(self, points: Points, ground: Ground, passing: bool = False) -> None:
        self.points = points
        self.folder = ground.folder
        self.far = ground.far
        self._ground = ground
        self._end = finalize(self, shutil.rmtree, ground.folder, ignore_errors=True) if passing else None
        self._remote = RemoteColumns(ground.segments, self._send, self._media_of)
        points.sure = ground.sure
        super().__init__(ground.folder, ground.database(), self._remote, _MendingLock(ground.lock, self._mend))

    def _another(self) -> Database:
        return self._ground.another()

    def _lease(self, catalog: Connection, epoch: int) -> GiveBack | None:
        return self._ground.lease(catalog, epoch)

    # ----------------------------------------------------------------------------------------------------- reading

    def _viewed(self, catalog: Connection) -> RemoteView:
        return RemoteView(catalog, self._remote, self.points, _versions.version(catalog))

    def _shown(self, view: View, database: Database) -> Snapshot:
        return RemoteSnapshot(view, database)

    def _held(self, catalog: Connection, number: int, first: int) -> list[Packed]:
        return held_parts(catalog, self.points, number, first)

    # --------------------------------------------------------------------------------------------------- one commit

    def _send(self, space: str, dimension: int, points: list[Point]) -> None:
        """Bring points of the next version; nobody sees them before it has come."""
        self._ground.mark.set()
        with self.database.reading() as catalog:
            version = _versions.version(catalog)
        self.points.ensure(space, dimension)
        self.points.put(space, points, version + 1)
        reached("qdrant-sent")

    def _media_of(self, segment: int) -> int:
        """The number of the media of a segment that is there."""
        with self.database.reading() as catalog:
            table = _ledger.columns(catalog)["", "segments"]
        return int(self._ground.segments.view(table)["media"][segment])

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self.database.writing() as catalog:
            _versions.taken(catalog)
            yield catalog
            if dead := _versions.taken(catalog):
                self._kill(catalog, dict.fromkeys(_versions.spaces(catalog), dead))
            self._ground.keep(catalog)
            if self._ground.mark.is_set():
                _versions.rise(catalog)
                self._ground.mark.take_off(catalog)
        self._ground.mark.taken_off()

    def _kill(self, catalog: Connection, dead: dict[str, list[int]]) -> None:
        """What these media have in these spaces dies with the next version."""
        self._ground.mark.set()
        version = _versions.version(catalog)
        self.points.kill(dead, version + 1)
        reached("qdrant-marked")

    def _mend(self) -> None:
        """Take back what a writer had begun; whoever calls holds the lock."""
        self._ground.begin()
        mark = self._ground.mark
        if not mark.is_set():
            return
        self._ground.mend()
        with self.database.reading() as catalog:
            version, known, waiting = _versions.version(catalog), _versions.spaces(catalog), _versions.graves(catalog)
        for space in sorted(self.points.spaces()):
            if space in known or waiting:
                self.points.mend(space, version)
            else:
                self.points.drop(space)
        with self.database.writing() as catalog:
            mark.take_off(catalog)
        mark.taken_off()

    # ---------------------------------------------------------------------------------------------------- long work

    def compact(self) -> None:
        self._compacted()

    def drop(self, searched: Searched) -> None:
        self._compacted(searched)

    def _compacted(self, gone: Searched | None = None) -> None:
        with translated(self.database.place), self.lock.held(COMPACTION):
            reached("store-compact-locked")
            with self.database.reading() as catalog:
                two = _beside.leaving(catalog, gone) if gone else None
                (dead,) = catalog.execute("SELECT count(*) FROM tombstone").fetchone()
            if dead or two:
                self._retire(two, gone)
                reached("store-compact-committed")
            self._sweep()
            reached("store-compact-swept")

    def _retire(self, two: Reembedding | None, gone: Searched | None) -> None:
        with self.database.writing() as catalog:
            if two and gone:
                self._kill(catalog, _leaving(catalog, _beside.ids(two, gone), gone))
                _beside.leave(catalog, two, gone)
                _versions.rise(catalog)
            _versions.bury(catalog)
            self._ground.mark.take_off(catalog)
            reached("store-compact-written")
        self._ground.mark.taken_off()

    def _sweep(self) -> None:
        """Remove what is dead and looked at by nobody; whoever calls holds the lock."""
        with self.database.reading() as catalog:
            live = dict(catalog.execute("SELECT name, rows FROM file").fetchall())
            epoch, waiting, known = _ledger.state(catalog).epoch, _versions.graves(catalog), _versions.spaces(catalog)
        self._remote.sweep(live, epoch)
        oldest = min((read for read in self._ground.epochs() if read < epoch), default=epoch)
        free = [(buried, version) for buried, version in waiting if buried < oldest]
        if not free:
            return
        for space in sorted(self.points.spaces()):
            if space in known or len(free) < len(waiting):
                self.points.purge(space, free[-1][1])
            else:
                self.points.drop(space)
        with self.database.writing() as catalog:
            for buried, _ in free:
                _versions.close(catalog, buried)

    def refresh(self) -> None:
        """Remove dead points whose last reader has ended; Qdrant builds its indexes itself."""
        with self.database.reading() as catalog:
            waiting = _versions.graves(catalog)
        if waiting:
            with translated(self.database.place), self.lock.held(COMMIT):
                self._sweep()

    def problems(self) -> Iterator[str]:
        """What is wrong with the catalog, or with the points that it tells of."""
        release = self.points.version()
        if release != MEMORY and _numbers(release) < LEAST_RELEASE:
            least = ".".join(map(str, LEAST_RELEASE))
            yield f"{self.points.place} runs Qdrant {release}, {least} is the oldest that will do: upgrade it"
        with self.database.reading() as catalog:
            yield from self._ground.problems(catalog)
            catalog.execute("BEGIN")
            yield from _health.sums(catalog)
            yield from self._amiss(self._viewed(catalog))
            catalog.execute("ROLLBACK")

    def _amiss(self, view: RemoteView) -> Iterator[str]:
        """What is wrong with the points of a view."""
        there = self.points.spaces()
        lost = sorted(view.held.keys() - there)
        for space in lost:
            yield f"{self.points.place} has no collection of {space}: restore it in Qdrant, or index again"
        for space in sorted(view.held.keys() & there):
            if self.points.state(space) == "red":
                yield f"{self.points.place}: the collection of {space} is red: see the log of Qdrant"
        if not lost:
            yield from _health.altered(view, self.database, partial(held_parts, points=self.points))

    def close(self) -> None:
        super().close()
        self._ground.close()
        self.points.close()
        if self._end:
            self._end()


def _leaving(catalog: Connection, spaces: frozenset[str], gone: Searched) -> dict[str, list[int]]:
    """Which media lose what, by space, when one recipe of two goes."""
    found: dict[str, list[int]] = defaultdict(list)
    for space, media, added in catalog.execute("SELECT space, media, added FROM extent ORDER BY media").fetchall():
        if space in spaces or (added and gone is Searched.NEW):
            found[space].append(media)
    return found


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release)[:2])
