"""A plan that is made beside the work: its first jobs are carried out while later files are still looked at.

    hashing ── a batch of files ──▶ new, changed, renamed, unchanged? ──▶ jobs, as far as they are asked for

A batch is judged at once, in the thread that asks for a job: paths and metadata are written down, what is to be decoded
waits to be taken.  What is held is what waits: batches behind the hashing, jobs that were not taken or are under way.

A file whose path is another media's by now waits until all others were looked at: the content that was there may have
moved, and a media goes with its last path.
"""

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from time import monotonic, time
from weakref import finalize

from indexer import listing as listings
from indexer import places
from indexer.events import Planned
from indexer.hashing import BATCH, PATIENCE, Hashing, Looked, hashing, known_stat
from indexer.listing import Listing, Source
from indexer.plan import Job, free, untouched
from indexer.run import Run
from indexer.sources import merged
from retriever.crashpoints import reached
from retriever.errors import MediaError
from retriever.types import FileStat, Filter, Media, Metadata, Modality, Quarantined


@dataclass(frozen=True, slots=True)
class Found:
    """A file with its key, and how often it failed if it is in quarantine and tried again."""

    source: Source
    stat: FileStat
    tries: int | None = None

    @property
    def path(self) -> str:
        return str(self.source.path)


class Notes:
    """What a plan has to remember of all files: in a temporary database, since they may be many."""

    def __init__(self) -> None:
        self._rows = listings.scratch(
            "CREATE TABLE met (key TEXT PRIMARY KEY) WITHOUT ROWID",
            "CREATE TABLE made (key TEXT PRIMARY KEY) WITHOUT ROWID",
            "CREATE TABLE late (number INTEGER PRIMARY KEY, key TEXT NOT NULL, path BLOB NOT NULL, page TEXT NOT NULL)",
            "CREATE INDEX late_by_key ON late (key)",
        )
        finalize(self, self._rows.close)

    def first(self, keys: Iterable[str]) -> set[str]:
        """Those of these keys that it is told of for the first time."""
        new = set()
        with listings.whole(self._rows):
            for key in keys:
                if self._rows.execute("INSERT OR IGNORE INTO met VALUES (?)", (key,)).rowcount:
                    new.add(key)
        return new

    def make(self, keys: Iterable[str]) -> None:
        """There are jobs of these keys."""
        with listings.whole(self._rows):
            self._rows.executemany("INSERT OR IGNORE INTO made VALUES (?)", [(key,) for key in keys])

    def made(self, keys: Iterable[str]) -> set[str]:
        """Those of these keys of which there was a job."""
        return self._of("made", keys)

    def _of(self, table: str, keys: Iterable[str]) -> set[str]:
        asked = f"SELECT 1 FROM {table} WHERE key = ?"
        return {key for key in keys if self._rows.execute(asked, (key,)).fetchone()}

    def put_off(self, several: Sequence[Found]) -> None:
        rows = [
            (
                found.stat.key,
                os.fsencode(found.path),
                json.dumps([listings.said(found.source.metadata), asdict(found.stat), found.tries]),
            )
            for found in several
        ]
        if not rows:
            return
        with listings.whole(self._rows):
            self._rows.executemany("INSERT INTO late (key, path, page) VALUES (?, ?, ?)", rows)

    def are_late(self, keys: Iterable[str]) -> set[str]:
        """Those of these keys of which a file was put off."""
        return self._of("late", keys)

    def late(self) -> Iterator[list[Found]]:
        """What was put off, a batch at a time."""
        last = 0
        while page := self._rows.execute(
            "SELECT number, path, page FROM late WHERE number > ? ORDER BY number LIMIT ?", (last, BATCH)
        ).fetchall():
            last = page[-1][0]
            yield [_found(path, json.loads(told)) for _, path, told in page]


def _found(path: bytes, page: list[object]) -> Found:
    said, stat, tries = page
    return Found(Source(listings.place(path), listings.unsaid(said)), FileStat(**stat), tries)  # type: ignore[arg-type]


@dataclass(slots=True)
class Counts:
    """What a plan has found so far."""

    looked: int = 0
    jobs: int = 0
    unchanged: int = 0
    renamed: int = 0


@dataclass(slots=True)
class Plan:
    """The jobs of one pass, as `indexer.plan.Work` has them; all but `hashing` happens in the thread that asks."""

    run: Run
    hashing: Hashing
    able: frozenset[Modality]  # what this machine can index now: a media that lacks one of these is indexed again
    _instant: float  # when it began, seconds of the epoch
    _shut: dict[str, Quarantined]
    _kept: bool  # whether media of the other recipe are left as they are
    _foreign: frozenset[str]
    _counts: Counts = field(default_factory=Counts)
    _notes: Notes = field(default_factory=Notes)
    _ready: deque[Job] = field(default_factory=deque)
    _late: Iterator[list[Found]] | None = None  # once all else was looked at
    _over: bool = False

    @classmethod
    def of(cls, run: Run, hashing: Hashing, able: frozenset[Modality]) -> "Plan":
        with run.store.snapshot() as snapshot:
            two = snapshot.reembedding
            # The old recipe may be gone back to: what it made is embedded again, and not indexed in its place.
            kept = two is not None and two.current is two.new
            foreign = frozenset(media.key for media in snapshot.foreign()) if kept else frozenset[str]()
        shut = {entry.path: entry for entry in run.store.catalog.quarantined()}
        return cls(run, hashing, able, time(), shut, kept, foreign)

    @property
    def known(self) -> int:
        return len(self._ready)

    @property
    def complete(self) -> bool:
        return self._over

    def take(self, wait: float = 0.0) -> Job | None:
        """The next job.  Without a wait it goes through the batches that are there, but not for long: whoever asks has
        other work.

        Raises:
            DiskFull, StoreLocked, OSError: what stops the run.
        """
        until = monotonic() + max(wait, PATIENCE)
        while not self._ready and not self._over and self._go_on(wait) and monotonic() < until:
            pass
        return self._ready.popleft() if self._ready else None

    def begin(self) -> None:
        """Wait until a first job is known, or that there is none, or until somebody wants an end of the run."""
        while not (self._ready or self._over or self.run.wish()):
            self._go_on(PATIENCE)

    def _go_on(self, wait: float) -> bool:
        """Judge one more batch; False: none is there."""
        if self._late is None:
            batch = self.hashing.next(wait)
            if batch is None:
                return False
            self._counts.looked += len(batch.files)
            self._judge(self._willing(batch.files))
            if batch.last:
                self._move()
                self._late = self._notes.late()
        if self._late is not None:
            several = next(self._late, [])
            self._over = len(several) < BATCH
            self._judge(several, late=True)
        self._tell()
        return True

    def _tell(self) -> None:
        counts, total = self._counts, len(self.hashing.listing)
        self.run.summary.looked, self.run.summary.found = counts.looked, total
        self.run.watch(Planned(counts.jobs, counts.unchanged, counts.renamed, counts.looked, total, not self._over))

    # -------------------------------------------------------------------------------------------------------- judging

    def _willing(self, files: Sequence[Looked]) -> list[Found]:
        """Those that have a key and are not in quarantine, or get another try."""
        found, changed = [], {}
        for looked in files:
            path = str(looked.source.path)
            if looked.error or looked.stat is None:
                assert looked.error
                self.run.set_aside(path, looked.error, planned=False)
                continue
            tries, entry = None, self._shut.get(path)
            if entry and (entry.size, entry.mtime_ns) != (looked.stat.size, looked.stat.mtime_ns):
                changed[path] = looked.stat  # out of quarantine, and tried again
            elif entry and self.run.policy.may_try(entry, self._instant):
                tries = entry.tries
            elif entry:
                self.run.failed(path, entry.reason, planned=False)
                continue
            found.append(Found(looked.source, looked.stat, tries))
        if changed:
            free(changed, self.run.store)
        return found

    def _judge(self, files: Sequence[Found], late: bool = False) -> None:
        """Write down what needs no decoding, and make jobs of the rest."""
        if not files:
            return
        there = {found.path: found.stat.key for found in files}
        several: dict[str, list[Found]] = {}
        for found in files if late else self._at_once(files):
            several.setdefault(found.stat.key, []).append(found)
        library = self._library(several)
        known = self._remembered(library.values(), there)
        settled, jobs = Settled(), list[Job]()
        new, made = self._notes.first(several), self._notes.made(several)
        for key, named in several.items():
            media = library.get(key)
            said = _said(named)
            if job := self.run.under_way.get(key):
                job.paths = tuple(dict.fromkeys((*job.paths, *(found.path for found in named))))
                job.metadata = merged(job.metadata, said) or Metadata()
            elif why := self.run.hopeless.get(key):
                self._refuse(named, *why)
            elif media and self._stays(media):
                self._counts.unchanged += key in new
                self.run.summary.unchanged += key in new
                settled.take(media, named, self._together(media, named, there, known), said, is_new=key in made)
            else:
                metadata = merged(media.metadata if media else None, said) or Metadata()
                first, paths = named[0], self._together(media, named, there, known)
                jobs.append(Job(first.source.path, first.stat, metadata, paths, first.tries))
        self._settle(settled)
        self._notes.make(job.key for job in jobs)
        self.run.under_way |= {job.key: job for job in jobs}
        self.run.summary.files += len(jobs)
        self._counts.jobs += len(jobs)
        self._ready += jobs

    def _at_once(self, files: Sequence[Found]) -> Iterator[Found]:
        """Those of these files that do not have to wait: others are put off, and what follows of their content, so that
        a media has its paths in the order of the files."""
        owners = self.run.store.catalog.owners([found.path for found in files])
        waits = self._notes.are_late({found.stat.key for found in files})
        off = []
        for found in files:
            key = found.stat.key
            if key in waits or owners.get(found.path, key) != key:
                waits.add(key)
                off.append(found)
            else:
                yield found
        self._notes.put_off(off)

    def _move(self) -> None:
        """Media that are at paths which are others' so far: all in one step, for they may have changed places."""
        moved: dict[str, list[Found]] = {}
        for files in self._notes.late():
            library = self._library(found.stat.key for found in files)
            for found in files:
                if (media := library.get(found.stat.key)) and self._stays(media):
                    moved.setdefault(media.key, []).append(found)
        settled = Settled()
        library = self._library(moved)
        known = self._remembered(library.values(), {})
        for key, media in library.items():
            settled.take(media, moved[key], self._together(media, moved[key], {}, known), None)
        self._settle(settled)

    def _library(self, keys: Iterable[str]) -> dict[str, Media]:
        wanted = frozenset(keys)
        if not wanted:
            return {}
        with self.run.store.snapshot() as snapshot:
            return {media.key: media for media in snapshot.media(Filter(media=wanted))}

    def _stays(self, media: Media) -> bool:
        kept = self._kept and media.key not in self._foreign
        return kept or untouched(media, self.run.recipe, self.able)

    def _remembered(self, library: Iterable[Media], there: Mapping[str, str]) -> Mapping[str, FileStat]:
        """What is remembered of the paths of these media which are not `there`."""
        others = [path for media in library for path in media.paths if path not in there]
        return self.run.store.catalog.stats(others) if others else {}

    def _together(
        self, media: Media | None, named: Sequence[Found], there: Mapping[str, str], known: Mapping[str, FileStat]
    ) -> tuple[str, ...]:
        """All paths that this content has from now on."""
        own = [found.path for found in named]
        before = media.paths if media else ()
        still = [path for path in before if path in own or self._is_at(path, media, there, known)]
        return tuple(dict.fromkeys((*still, *own)))

    def _is_at(self, path: str, media: Media | None, there: Mapping[str, str], known: Mapping[str, FileStat]) -> bool:
        """Whether a media is still where it was; of what is no file of this run nobody asks for more than that there is
        something."""
        place = places.of(path)
        assert media
        if path in there:
            return there[path] == media.key
        if places.is_gone(place):
            return False
        if path not in self.hashing.listing:
            return True
        try:
            return known_stat(place, self.run.store, before=known.get(path)).key == media.key
        except MediaError:
            return True

    def _refuse(self, named: Sequence[Found], path: str, error: MediaError) -> None:
        """These have a content that another file of this run has, which was given up."""
        for found in named:
            told = type(error)(str(error).replace(path, found.path))
            self.run.set_aside(found.path, told, found.tries or 0, planned=False)

    def _settle(self, settled: "Settled") -> None:
        store, summary = self.run.store, self.run.summary
        if settled.freed:
            free(settled.freed, store)
        if settled.paths:
            store.set_paths(settled.paths, settled.before)
            reached("plan-settled")
        if settled.metadata:
            store.set_metadata(settled.metadata)
        summary.renamed += settled.renamed
        self._counts.renamed += len(settled.renamed)


@dataclass(slots=True)
class Settled:
    """What is done to media without decoding anything."""

    paths: dict[str, tuple[str, ...]] = field(default_factory=dict)  # key → paths from now on
    before: dict[str, tuple[str, ...]] = field(default_factory=dict)  # key → paths that it had when that was found out
    metadata: dict[str, Metadata] = field(default_factory=dict)  # key → metadata from now on
    renamed: list[str] = field(default_factory=list)
    freed: dict[str, FileStat] = field(default_factory=dict)  # out of quarantine: what they are is there by now

    def take(
        self,
        media: Media,
        named: Sequence[Found],
        together: tuple[str, ...],
        said: Metadata | None,
        is_new: bool = False,  # it came with this plan, and so did its paths
    ) -> None:
        self.freed |= {found.path: found.stat for found in named if found.tries is not None}
        if together != media.paths:
            self.paths[media.key], self.before[media.key] = together, media.paths
            self.renamed += [found.path for found in named if not (is_new or found.path in media.paths)]
        if (metadata := merged(media.metadata, said) or Metadata()) != media.metadata:
            self.metadata[media.key] = metadata


def _said(named: Sequence[Found]) -> Metadata | None:
    said: Metadata | None = None
    for found in named:
        said = merged(said, found.source.metadata)
    return said


@contextmanager
def planning(listing: Listing, run: Run, able: frozenset[Modality]) -> Iterator[Plan]:
    """The plan of one pass; whatever is to be indexed is in it once."""
    run.under_way.clear()
    run.hopeless.clear()
    with hashing(listing, run.store, run.policy) as thread:
        yield Plan.of(run, thread, able)
