"""One indexing run: what every step of it needs, and what becomes of a job: kept, committed or given up."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from indexer import places, sampling
from indexer.decoding import LIMIT, Chapter, Wanted
from indexer.encoding import MARGIN, Encoded, Encoders
from indexer.events import Advanced, Committed, SetAside, Summary, Warned, Watch
from indexer.jobs import LEASE_SECONDS, Post
from indexer.places import Place, stat_of
from indexer.plan import NO_PICTURE, NO_SOUND, Job, free, shut_away, untouched
from indexer.policy import Policy
from indexer.ports import Probe, Segmenter
from indexer.recipe import Recipe
from indexer.representatives import segment_vectors
from indexer.sources import merged
from indexer.staging import Staging
from indexer.tracing import Trace
from retriever.crashpoints import reached
from retriever.errors import CannotEncode, CannotOpen, DiskFull, FileChanged, MediaError, Unreachable
from retriever.ports import Store
from retriever.types import Entry, FileStat, Filter, Media, MediaKind, Metadata, Modality, Segment, TimeSpan, Wish

STILL = TimeSpan(0.0, 1.0)


def wanted(recipe: Recipe, encoders: Encoders) -> Wanted:
    """What a decoder has to bring for these encoders by this recipe."""
    rates = {it.rate for it in encoders.sound.values()} | {it.rate for it in encoders.speech.values()}
    return Wanted(
        reader=recipe.reader,
        sampler=sampling.parse(recipe.sampling) if encoders.looking else None,
        side=max((it.side for it in encoders.looking.values()), default=0),
        page_sampler=sampling.parse(recipe.pages) if encoders.text else None,
        page_side=max((it.side for it in encoders.text.values()), default=0),
        rates=tuple(sorted(rates)),
        margin=MARGIN,
        chapter=recipe.chapter,
    )


@dataclass(slots=True)
class Run:
    """A run over a library.  Its methods are called from one thread."""

    recipe: Recipe
    encoders: Encoders
    store: Store
    segmenter: Segmenter
    owner: str  # HOST:PID:START
    watch: Watch
    children: int = 1  # decoder children
    limit_s: float = LIMIT  # seconds that a decoder may take over one chapter
    summary: Summary = field(default_factory=Summary)
    policy: Policy = field(default_factory=Policy)
    left: list[Place] = field(default_factory=list)  # files that others were at
    under_way: dict[str, Job] = field(default_factory=dict)  # jobs that are planned and not at their end, by key
    hopeless: dict[str, tuple[str, MediaError]] = field(default_factory=dict)  # key → the file that failed, and why
    post: Post | None = None  # where it is known as a job that may be paused or cancelled; None: nobody can
    trace: Trace = field(default_factory=Trace)

    def __post_init__(self) -> None:
        self.summary.load = self.trace.load

    @property
    def id(self) -> str:
        """The job that people know this run as; empty: none."""
        return self.post.record.id if self.post else ""

    def wish(self) -> Wish:
        """What somebody wants of this run by now: to be asked between two batches."""
        return self.post.wish(self.summary) if self.post else Wish.NONE

    def wanted(self) -> Wanted:
        """What a decoder has to bring for these encoders."""
        return wanted(self.recipe, self.encoders)

    def staging(self, job: Job) -> Staging:
        return Staging(self.store.catalog.staging(job.id(self.recipe)), self.id)

    def take(self, job: Job) -> str | None:
        """Lease a job, or lease it for longer; None, or who has it."""
        return self.lease(job.id(self.recipe))

    def done(self, job: Job) -> bool:
        """Whether somebody else has done a job since it was planned."""
        with self.store.snapshot() as snapshot:
            there = snapshot.media(Filter(media=frozenset({job.key})))
        able = frozenset(space.modality for space in self.encoders.spaces.values())
        return any(untouched(media, self.recipe, able) for media in there)

    def lease(self, name: str) -> str | None:
        if self.store.catalog.lease(name, self.owner, LEASE_SECONDS):
            return None
        return self.store.catalog.leased().get(name, "another")

    def lost(self, job: Job) -> bool:
        """Whether somebody else has taken a job over that was begun here: the clock was set, or the machine slept, for
        longer than a lease lasts.  It is left to them."""
        name = job.id(self.recipe)
        holder = self.store.catalog.leased().get(name)
        if holder is None and (holder := self.take(job)) is None:  # the lease had run out
            if self.staging(job).begun_by() == self.id:
                return False
            self.leave(name)  # who took it is through with it
            holder = "another"
        if holder == self.owner:
            return False
        self.leave_to(holder, job, "was taken over")
        return True

    def leave_to(self, holder: str, job: Job, how: str) -> None:
        """A job is somebody else's; other paths of that content are jobs of their own from now on."""
        self.under_way.pop(job.key, None)
        if job.path not in self.left:
            self.left += map(places.of, job.paths)
            self.watch(Warned(f"{job.path} {how} by {holder}; left to it"))

    def renew(self, job: Job) -> None:
        """Hold a job for longer, unless it is lost.  One that nobody has begun can be taken anew."""
        if (self.staging(job).begun_by() is None and not self.done(job)) or not self.lost(job):
            self.take(job)

    def hand_over(self, job: Job) -> None:
        """Somebody else has done a job since it was planned: what is known here and not there is not lost."""
        with self.store.snapshot() as snapshot:
            there = snapshot.media(Filter(media=frozenset({job.key})))
        lacking = [path for path in job.paths if not any(path in media.paths for media in there)]
        if lacking or any(merged(media.metadata, job.metadata) not in (None, media.metadata) for media in there):
            self.leave_for_later(lacking or job.paths, "was indexed by another from elsewhere, or as something else")

    def leave_for_later(self, paths: Sequence[str], why: str) -> None:
        """Files that are neither indexed nor at fault."""
        self.left += map(places.of, paths)
        self.watch(Warned(f"{' and '.join(paths)} {why}: run the same again"))

    def keep(self, job: Job, chapter: Chapter, encoded: Encoded, decode_seconds: float) -> bool:
        """Checkpoint a chapter; with the last one the media is committed.  False: the job is over here.  Of one that is
        lost nothing is kept, and nothing of another file that came to its place: who goes on goes by checkpoints."""
        if self.lost(job):
            return False
        if isinstance(job.path, Path) and (error := altered(job)):  # a server sends the version that it was asked for
            self.give_up(job, error)
            return False
        began = monotonic()
        with self.trace.span("store", "checkpoint", file=job.path.name, chapter=chapter.index):
            self.staging(job).keep(chapter.index, chapter.span.end, chapter.last, encoded)
        seconds = {"decode": decode_seconds, **encoded.seconds, "store": monotonic() - began}
        self.summary.frames += chapter.decoded
        self._spent(seconds)
        self.watch(Advanced(str(job.path), chapter.span.end, chapter.decoded, seconds))
        if chapter.last:
            self.commit(job)
        return True

    def whole(self, job: Job) -> float | None:
        """Where a media ends that is encoded from its beginning to there, in seconds.  None: it cannot be committed,
        and is given up or left."""
        if self.lost(job):
            return None
        end = self.staging(job).end()
        if error := altered(job):
            self.give_up(job, error)
        elif end is None:
            self.give_up(job, CannotEncode(f"{job.path}: checkpoints of it went away meanwhile: index it again"))
        else:
            return end
        return None

    def commit(self, job: Job) -> None:
        """Move a media that is encoded to its end into the library, in one step."""
        began = monotonic()
        if (end := self.whole(job)) is None:
            return
        entry = self._entry(job, end)
        reached("pipeline-before-commit")
        self.store.add(entry)
        reached("pipeline-after-commit")
        self.leave(job.id(self.recipe))
        if job.tries is not None:
            free({str(job.path): job.stat}, self.store)
        reached("pipeline-after-unstage")
        self.under_way.pop(job.key, None)
        self.committed(job, entry.media, monotonic() - began)

    def committed(self, job: Job, media: Media, seconds: float) -> None:
        """A media went into the library, which took so many seconds."""
        now = monotonic()
        self.trace.spent("store", "commit", now - seconds, now, file=job.path.name)
        self.summary.indexed.append(str(job.path))
        self.summary.quarantined.drop(str(job.path))  # from an earlier pass
        self.summary.media_seconds += media.duration
        self._spent({"store": seconds})
        self.watch(Committed(str(job.path), job.key, media.missing))

    def give_up(self, job: Job, error: MediaError) -> None:
        """One bad file: into quarantine with it, and on.  Where only its server is away, the next try begins where this
        one was.  What is wrong with one path is no fault of others of that content: they are left for the next look."""
        if self.lost(job):
            return
        if isinstance(job.path, Path):
            error = altered(job) or error
        if isinstance(error, Unreachable):
            self.put_down(job)
        else:
            self.leave(job.id(self.recipe))
        own, passing = str(job.path), isinstance(error, FileChanged | Unreachable)
        others = [path for path in job.paths if path != own] if passing else []
        if others:
            self.leave_for_later(others, f"is the same as {own}, and is left for the next look")
        if self.under_way.pop(job.key, None) and not passing:
            self.hopeless[job.key] = own, error
        for path in (own,) if passing else job.paths:
            told = str(error).replace(own, path)  # another path of the same content
            self.set_aside(path, type(error)(told), job.tries or 0, planned=path == own)

    def set_aside(self, path: str, error: MediaError, before: int = 0, planned: bool = True) -> None:
        """Into quarantine with a file that failed, after `before` other tries."""
        self.failed(path, shut_away(path, error, before, self.policy, self.store), planned)

    def failed(self, path: str, reason: str, planned: bool = True) -> None:
        """Tell of a file that is in quarantine; `planned`: it was among those to be indexed."""
        self.summary.quarantined[path] = reason
        self.watch(SetAside(path, reason, planned))

    def room(self, job: Job) -> None:
        """See that there is room for a job that was taken.

        Raises:
            DiskFull: less than the policy wants to stay free; the job is left as it was.
        """
        folder = self.staging(job).folder
        try:
            self.policy.room(folder.parent)
        except DiskFull:
            with suppress(OSError):  # it has checkpoints
                folder.rmdir()
            self.put_down(job)
            raise

    def put_down(self, job: Job) -> None:
        """A job is left where it is, for whoever goes on with it."""
        self.store.catalog.release(job.id(self.recipe), self.owner)

    def leave(self, name: str) -> None:
        """A job is over: away with its checkpoints and its lease."""
        self.store.catalog.unstage(name)
        self.store.catalog.release(name, self.owner)

    def _spent(self, seconds: Mapping[str, float]) -> None:
        total = self.summary.stage_seconds
        for stage, spent in seconds.items():
            total[stage] = total.get(stage, 0.0) + spent

    def _entry(self, job: Job, end: float) -> Entry:
        staging, spaces = self.staging(job), self.encoders.spaces
        probe = staging.probe()
        tokens, lines = staging.joined(spaces)
        still = probe.kind is MediaKind.IMAGE
        duration = STILL.length if still else float(end or probe.duration)
        spans = [STILL] if still else self.segmenter.segment(duration, tokens)
        segments = tuple(Segment(span, still) for span in spans)
        media = Media(
            key=job.key,
            paths=self._paths(job),
            kind=probe.kind,
            duration=duration,
            recipe=self.recipe.digest,
            width=probe.width,
            height=probe.height,
            frame_rate=probe.frame_rate,
            size=job.stat.size,
            metadata=_dated(job.metadata, probe),
            missing=missing(probe, self.encoders),
        )
        most = self.recipe.representatives
        vectors = {space: segment_vectors(rows, segments, most) for space, rows in tokens.items()}
        return Entry(media, segments, spaces, tokens, vectors, lines)

    def _paths(self, job: Job) -> tuple[str, ...]:
        """Its paths, but for those where somebody has seen another content since they were looked at."""
        held = self.store.catalog.stats([path for path in job.paths if path != str(job.path)])
        others = {path for path, stat in held.items() if stat.key not in ("", job.key) or _is_other(path, stat)}
        return tuple(path for path in job.paths if path not in others)


def _is_other(path: str, was: FileStat) -> bool:
    """Whether a file of this machine is not the one any more that it was."""
    place = places.of(path)
    if not isinstance(place, Path):
        return False
    with suppress(CannotOpen):
        now = stat_of(place)
        return (now.size, now.mtime_ns) != (was.size, was.mtime_ns)
    return False  # it is gone: that is for who prunes


def altered(job: Job) -> MediaError | None:
    """Why a file is not the one any more that was looked at when the run began, or nobody can say; None: it is."""
    try:
        now = stat_of(job.path)
    except Unreachable as error:
        return error
    except CannotOpen as error:
        return FileChanged(str(error))
    same = (now.size, now.mtime_ns) == (job.stat.size, job.stat.mtime_ns)
    return None if same else FileChanged(f"{job.path} changed while it was being indexed: index it again")


def _dated(metadata: Metadata, probe: Probe) -> Metadata:
    """A person knows best when it was recorded; else the container may."""
    if metadata.recorded or not probe.recorded:
        return metadata
    return Metadata(metadata.title, metadata.tags, probe.recorded, "container", metadata.collection)


def missing(probe: Probe, encoders: Encoders) -> dict[str, str]:
    """Modalities that this media has not, and why."""
    reasons = {modality.value: reason for modality, reason in encoders.missing.items()}
    if probe.kind is MediaKind.SOUND:
        reasons |= {Modality.VISION.value: NO_PICTURE, Modality.TEXT.value: NO_PICTURE}
    if not probe.has_sound:
        reasons |= {Modality.SOUND.value: NO_SOUND, Modality.SPEECH.value: NO_SOUND}
    return reasons
