"""What is to be done: which files are new, changed, renamed, unchanged or gone.

A media is known by its content: its key is the beginning of the SHA-256 of the file (`indexer/places.py` has what that
is for an object on a server).  What the file system says of a file (size, time, inode) spares reading it again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import time

from indexer import places
from indexer.places import Place, key_of, stat_of
from indexer.policy import Policy
from indexer.recipe import Recipe
from indexer.sources import Source, merged
from retriever.errors import CannotOpen, MediaError, Unreachable
from retriever.ports import Store
from retriever.types import FileStat, Media, Metadata, Modality, Quarantined

NO_PICTURE = "no picture in this file"
NO_SOUND = "no sound in this file"


@dataclass(frozen=True, slots=True)
class Job:
    """One content to index."""

    path: Place
    stat: FileStat
    metadata: Metadata
    paths: tuple[str, ...]  # all paths of this content
    tries: int | None = None  # that failed before, of a file that is in quarantine

    @property
    def key(self) -> str:
        return self.stat.key

    def id(self, recipe: Recipe) -> str:
        return job_id(self.key, recipe.digest)


def job_id(key: str, digest: str) -> str:
    """The id of the job that makes the media of this key by the recipe of this digest."""
    return f"{key}-{digest[:8]}"


@dataclass(slots=True)
class Plan:
    """What a run will do.  Renames and metadata are light, and are done at once by `settle`."""

    jobs: list[Job] = field(default_factory=list)
    unchanged: int = 0
    paths: dict[str, tuple[str, ...]] = field(default_factory=dict)  # key → paths from now on
    renamed: list[str] = field(default_factory=list)
    metadata: dict[str, Metadata] = field(default_factory=dict)  # key → metadata from now on
    refused: dict[str, MediaError] = field(default_factory=dict)  # path → why, in quarantine from now on
    shut: dict[str, str] = field(default_factory=dict)  # path → reason, in quarantine as before
    freed: dict[str, FileStat] = field(default_factory=dict)  # out of quarantine: what they are is there by now


def known_stat(place: Place, store: Store, now: FileStat | None = None) -> FileStat:
    """What lies there with its key, read from the content only where the file system, or the server, says something
    new.  `now` is what it says, where that is known already."""
    now = now or stat_of(place)
    before = store.catalog.stat(str(place))
    if before and places.same(before, now):
        return before
    stat = replace(now, key=key_of(place))
    store.catalog.remember(str(place), stat)
    return stat


def plan(
    sources: Sequence[Source],
    recipe: Recipe,
    store: Store,
    able: frozenset[Modality],
    policy: Policy | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Plan:
    """Look through the sources.  `able` are the modalities that this machine can index now: a media that lacks one
    of them for want of weights is indexed again.  A file in quarantine is left there while it is what it was, unless
    the policy has a try left for it.  Once `stopped` says so nothing more is looked at: the plan is then a part."""
    policy, instant = policy or Policy(), time()
    with store.snapshot() as snapshot:
        library = {media.key: media for media in snapshot.media()}
        two = snapshot.reembedding
        # The old recipe may be gone back to: what it made is embedded again, and not indexed in its place.
        foreign = {media.key for media in snapshot.foreign()}
        kept = library.keys() - foreign if two and two.current is two.new else set()
    shut = {entry.path: entry for entry in store.catalog.quarantined()}
    tries: dict[str, int] = {}  # path in quarantine that is tried again → tries that failed
    made = Plan()
    seen: dict[str, list[Place]] = {}  # key → paths among the sources
    said: dict[str, Metadata | None] = {}
    stats: dict[str, FileStat] = {}
    for source in sources:
        if stopped():  # files are read for their keys, which may take hours
            break
        path = str(source.path)
        try:
            now = source.seen or stat_of(source.path)
            policy.size(source.path, now.size)  # before all of it is read for its key
            stat = known_stat(source.path, store, now)
        except MediaError as error:
            made.refused[path] = error
            continue
        if entry := shut.get(path):
            if (entry.size, entry.mtime_ns) != (stat.size, stat.mtime_ns):
                store.catalog.forget([path])  # it changed: out of quarantine, and tried again
            elif policy.may_try(entry, instant):
                tries[path] = entry.tries
            else:
                made.shut[path] = entry.reason
                continue
        stats[path] = stat
        seen.setdefault(stat.key, []).append(source.path)
        said[stat.key] = merged(said.get(stat.key), source.metadata)
    there = {path: stat.key for path, stat in stats.items()}  # what lies where, as far as this run looked
    for key, found in seen.items():
        media, named = library.get(key), [str(place) for place in found]
        before = media.paths if media else ()
        still = [path for path in before if there.get(path, key) == key and not places.is_gone(places.of(path))]
        together = tuple(dict.fromkeys((*still, *named)))
        metadata = merged(media.metadata if media else None, said[key]) or Metadata()
        if media is None or not (key in kept or untouched(media, recipe, able)):
            made.jobs.append(Job(found[0], stats[named[0]], metadata, together, tries.get(named[0])))
            continue
        made.unchanged += 1
        made.freed |= {path: stats[path] for path in named if path in tries}
        if together != before:
            made.paths[key] = together
            made.renamed += [path for path in named if path not in before]
        if metadata != media.metadata:
            made.metadata[key] = metadata
    return made


def untouched(media: Media, recipe: Recipe, able: frozenset[Modality]) -> bool:
    """Whether a media can be left as it is."""
    lacks = {Modality(name) for name, why in media.missing.items() if why not in (NO_PICTURE, NO_SOUND)}
    return media.recipe == recipe.digest and not lacks & able


def settle(made: Plan, store: Store) -> None:
    """Do what needs no decoding: paths, metadata and who leaves quarantine."""
    free(made.freed, store)
    if made.paths:
        store.set_paths(made.paths)
    for key, metadata in made.metadata.items():
        store.set_metadata(key, metadata)


def prune(roots: Sequence[Place], store: Store) -> list[str]:
    """Take out media below `roots` whose files are gone; returns the keys of those that went."""
    with store.snapshot() as snapshot:
        library = list(snapshot.media())
    shut = [entry.path for entry in store.catalog.quarantined()]
    paths = {*shut, *(path for media in library for path in media.paths)}
    gone = {path for root in roots for path in places.gone(paths, root)}
    went: list[str] = []
    for media in library:
        if gone.isdisjoint(media.paths):
            continue
        if left := [path for path in media.paths if path not in gone]:
            store.set_paths({media.key: left})
        else:
            store.delete([media.key])
            went.append(media.key)
        store.catalog.forget([path for path in media.paths if path in gone])
    store.catalog.forget([path for path in shut if path in gone])
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
    for path, stat in stats.items():
        store.catalog.remember(path, stat)
