"""Media whose files lie elsewhere by now: their paths are mended, once the content says that it is they.

By name, what lay at `OLD/a/b.mp4` is looked for at `NEW/a/b.mp4`; by content, media whose files are all gone are looked
for among the files below a folder, of which only those are read that have the size of one of them.  Nothing is encoded
again, no media comes or goes, and a path that another media is known by stays with that one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from indexer import places
from indexer.places import Place
from retriever.errors import CannotOpen, MediaError, StoreUnavailable
from retriever.ports import Store
from retriever.types import FileStat, Media


@dataclass(frozen=True, slots=True)
class Move:
    """One path of a media, and where that lies now."""

    media: Media
    old: str
    new: str
    stat: FileStat


@dataclass(slots=True)
class Found:
    """What is where, as far as it was looked for."""

    moves: list[Move] = field(default_factory=list)
    there: int = 0  # paths at which the file still lies
    missing: list[str] = field(default_factory=list)  # paths for which nothing was found
    different: list[str] = field(default_factory=list)  # where something else lies
    taken: list[str] = field(default_factory=list)  # that another media is known by
    before: int = 0  # paths that were known at or below `old`
    after: int = 0  # and, of the others, at or below `new`


def relocate(
    store: Store,
    new: Place,
    old: Place | None = None,
    *,
    dry_run: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> Found:
    """Mend paths at or below `old`, whose files lie at or below `new` by the same names; without `old`, by content.

    Raises:
        StoreUnavailable: `stopped` said so before all was looked at; nothing was changed.
        CannotOpen: `new` is not there, or cannot be listed.
        Unreachable, MissingExtra: as `places.stat_of`, of an address.
    """
    if isinstance(new, Path) and not new.exists():
        raise CannotOpen(f"{new} is not there: name the folder or the file where media lie now")
    with store.snapshot() as snapshot:
        library = list(snapshot.media())
    search = _Search(store, library, stopped)
    search.by_content(new) if old is None else search.by_name(old, new)
    found = search.found
    owners = store.catalog.owners([move.new for move in found.moves])  # by now: looking may have taken hours
    found.taken += sorted({move.new for move in found.moves if owners.get(move.new, move.media.key) != move.media.key})
    found.moves = [move for move in found.moves if owners.get(move.new, move.media.key) == move.media.key]
    if not dry_run:
        _mend(store, found.moves)
    return found


def _mend(store: Store, moves: list[Move]) -> None:
    """All paths of all of them, in one step.  What somebody sent counts where it lies now: that comes first, since who
    looks again finds nothing to be mended."""
    counted = store.catalog.quotas
    sent = {deposit.path for deposit in counted.deposits()}
    for move in moves:
        if move.old in sent:
            counted.moved(move.old, move.new)
    paths: dict[str, tuple[str, ...]] = {}
    for move in moves:
        own = paths.get(move.media.key, move.media.paths)
        paths[move.media.key] = tuple(dict.fromkeys(move.new if path == move.old else path for path in own))
    if paths:
        store.set_paths(paths)
    store.catalog.forget([move.old for move in moves])
    store.catalog.remember_all({move.new: move.stat for move in moves})


class _Search:
    """Looks for media, and gives each path to one of them."""

    def __init__(self, store: Store, library: list[Media], stopped: Callable[[], bool]) -> None:
        self._store, self._library, self._stopped = store, library, stopped
        self._owner = {path: media.key for media in library for path in media.paths}
        self.found = Found()

    def by_name(self, old: Place, new: Place) -> None:
        for media in self._library:
            for path in media.paths:
                if not places.is_below(path, old):
                    self.found.after += places.is_below(path, new)
                    continue
                self.found.before += 1
                if self._lies(media, path):
                    self.found.there += 1
                else:
                    self._judge(media, path, _moved(path, old, new))

    def by_content(self, folder: Place) -> None:
        lost = {media.key: media for media in self._library if not self._lies_somewhere(media)}
        sizes = {media.size for media in lost.values()}
        for place, seen in _files(folder):
            if not lost:
                break
            try:
                stat = seen or places.stat_of(place)
                if stat.size not in sizes:
                    continue
                stat = self._keyed(place, stat)
            except MediaError:  # it went meanwhile, or is not ours to read
                continue
            if media := lost.get(stat.key):
                if self._owner.get(str(place), media.key) != media.key:
                    self.found.taken.append(str(place))
                    continue
                del lost[stat.key]
                for path in media.paths:
                    self._take(media, path, str(place), stat)
        self.found.missing = sorted(media.paths[0] for media in lost.values())

    def _lies_somewhere(self, media: Media) -> bool:
        lies = [self._lies(media, path) for path in media.paths]
        self.found.there += sum(lies)
        return any(lies)

    def _lies(self, media: Media, path: str) -> bool:
        """Whether the file is where it was.  What cannot be asked is taken to be; another one in its place is not."""
        place = places.of(path)
        try:
            return not places.is_gone(place) and self._keyed(place, places.stat_of(place)).key == media.key
        except (MediaError, OSError):
            return not isinstance(place, Path)  # its server gives no answer

    def _judge(self, media: Media, path: str, place: Place) -> None:
        try:
            stat = self._keyed(place, places.stat_of(place))
        except (MediaError, OSError):
            self.found.missing.append(path)
            return
        if stat.key != media.key:
            self.found.different.append(str(place))
        elif self._owner.get(str(place), media.key) != media.key:
            self.found.taken.append(str(place))
        else:
            self._take(media, path, str(place), stat)

    def _take(self, media: Media, old: str, new: str, stat: FileStat) -> None:
        self._owner[new] = media.key
        self.found.moves.append(Move(media, old, new, stat))

    def _keyed(self, place: Place, now: FileStat) -> FileStat:
        """What lies there with its key, read from the content only where what is remembered of it does not hold."""
        if self._stopped():
            raise StoreUnavailable("whoever looks for files ends: nothing was changed, ask again")
        known = self._store.catalog.stat(str(place))
        return known if known and places.same(known, now) else replace(now, key=places.key_of(place))


def _moved(path: str, old: Place, new: Place) -> Place:
    """Where `new` has what lay at `path`, which is `old` or below it."""
    below = PurePosixPath(path).relative_to(str(old)) if isinstance(old, Path) else path[len(str(old)) :].strip("/")
    if str(below) in ("", "."):
        return new
    return new / Path(str(below)) if isinstance(new, Path) else places.of(f"{str(new).rstrip('/')}/{below}")


def _files(folder: Place) -> Iterator[tuple[Place, FileStat | None]]:
    if places.is_folder(folder):
        yield from places.walked(folder)
    else:
        yield folder, None
