"""What is to be done: one content and its paths at a time, and what becomes of files that are not indexed.

A media is known by its content: its key is the beginning of the SHA-256 of the file (`indexer/places.py` has what that
is for an object on a server).
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Protocol

from indexer import places
from indexer.events import Warned, Watch
from indexer.places import Address, Place, stat_of
from indexer.policy import Policy
from indexer.recipe import Recipe
from indexer.sources import SUFFIXES
from retriever.errors import CannotOpen, MediaError, MissingExtra, Unreachable
from retriever.ports import Store
from retriever.types import FileStat, Media, Metadata, Modality, Quarantined

NO_PICTURE = "no picture in this file"
NO_SOUND = "no sound in this file"
PAGE = 500
"""Media that are looked at together for files that are gone."""


@dataclass(slots=True, eq=False)
class Job:
    """One content to index.  Until it is committed more may become known of it: other paths, and what is said of
    them."""

    path: Place
    stat: FileStat
    metadata: Metadata
    paths: tuple[str, ...]  # all paths of this content, as far as they are known
    tries: int | None = None  # that failed before, of a file that is in quarantine

    @property
    def key(self) -> str:
        return self.stat.key

    def id(self, recipe: Recipe) -> str:
        return job_id(self.key, recipe.digest)


def job_id(key: str, digest: str) -> str:
    """The id of the job that makes the media of this key by the recipe of this digest."""
    return f"{key}-{digest[:8]}"


class Work(Protocol):
    """Jobs that become known one after the other."""

    @property
    def known(self) -> int:
        """How many are known and not taken."""
        ...

    @property
    def complete(self) -> bool:
        """Whether no others will be."""
        ...

    def take(self, wait: float = 0.0) -> Job | None:
        """The next one; None: none is known, not even after `wait` seconds."""
        ...


class Given:
    """Jobs that are all known."""

    complete = True

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = deque(jobs)

    @property
    def known(self) -> int:
        return len(self._jobs)

    def take(self, wait: float = 0.0) -> Job | None:
        return self._jobs.popleft() if self._jobs else None


def untouched(media: Media, recipe: Recipe, able: frozenset[Modality]) -> bool:
    """Whether a media can be left as it is."""
    lacks = {Modality(name) for name, why in media.missing.items() if why not in (NO_PICTURE, NO_SOUND)}
    return media.recipe == recipe.digest and not lacks & able


def prune(roots: Sequence[Place], store: Store, watch: Watch = lambda event: None) -> Iterator[list[str]]:
    """Take out media below `roots` whose files are gone, a page of the library at a time; of each the keys of those
    that went.  Nothing goes below a root where nothing is left, and `watch` is told of it."""
    below = [_Below(root, watch) for root in roots]
    after = ""
    while page := store.catalog.paths(after, PAGE):
        after = max(page)
        yield _left(page, below, store)
    shut = [entry.path for entry in store.catalog.quarantined()]
    if gone := [path for each in below for path in each.gone(shut)]:
        store.catalog.forget(gone)


class _Below:
    """What is gone below a root."""

    def __init__(self, root: Place, watch: Watch) -> None:
        self._root, self._watch = root, watch
        self._missing = places.Missing(root)
        self._lives = False  # it is a bucket, and has something

    def gone(self, paths: Iterable[str]) -> set[str]:
        """Those of these paths that are gone; none where nothing at all is left, since a disk that is not mounted looks
        like a folder that was emptied.  It may go between two pages, so a folder is looked at after the paths were."""
        gone = self._missing.among(paths)
        if gone and not self._lives:
            if _is_bare(self._root):
                self._tell()
                return set()
            self._lives = isinstance(self._root, Address)
        return gone

    def _tell(self) -> None:
        self._watch(
            Warned(
                f"nothing is left in {self._root}, which may be a disk that is not mounted: its media stay; reelseek "
                "delete takes out those that you name"
            )
        )
        self._watch = lambda event: None  # once is enough


def _is_bare(folder: Place) -> bool:
    """Whether nothing that could be media is found in a folder; a link that leads nowhere is nothing."""
    try:
        return not any(
            file.suffix.lower() in SUFFIXES and (seen is not None or not places.is_gone(file))
            for file, seen in places.walked(folder)
        )
    except (MediaError, MissingExtra):
        return True


def _left(page: Mapping[str, Sequence[str]], below: Sequence[_Below], store: Store) -> list[str]:
    """Take from these media, key → paths, the paths that are gone; the keys of those that have none then."""
    every = [path for paths in page.values() for path in paths]
    gone = {path for each in below for path in each.gone(every)}
    lost = {key: own for key, paths in page.items() if (own := [path for path in paths if path in gone])}
    if not lost:
        return []
    went = store.drop_paths(lost)  # and what another process has found elsewhere meanwhile stays
    store.catalog.forget(sorted(gone))
    return went


def shut_away(path: str, error: MediaError, before: int, policy: Policy, store: Store) -> str:
    """Put a file in quarantine, as it is now, after `before` other tries; returns the reason that is kept."""
    now = time()
    try:
        stat = stat_of(places.of(path))
    except Unreachable:  # it is as it was, as far as anybody knows
        stat = store.catalog.stat(path) or FileStat(0, 0, 0, "")
    except CannotOpen:
        stat = FileStat(0, 0, 0, "")
    reason, tries, again = policy.verdict(error, before, now)
    store.catalog.quarantine(Quarantined(path, reason, now, stat.size, stat.mtime_ns, tries, again))
    return reason


def free(stats: Mapping[str, FileStat], store: Store) -> None:
    """Let files out of quarantine; what they are stays known."""
    store.catalog.forget(list(stats))
    store.catalog.remember_all(stats)
