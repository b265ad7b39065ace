"""Stay with folders, and take what comes: new, changed, renamed and removed files.

Folders are looked through every few seconds, which works on every file system and over every network.  A look costs one
`stat` a file, or a listing of a bucket; only what is not as it was goes on to be planned and indexed.  A file that is
still being written waits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep, time

from indexer import pipeline
from indexer.events import Event, Warned, Watch
from indexer.places import Place, stat_of
from indexer.ports import Executor
from indexer.run import Run
from indexer.sources import Source
from retriever.errors import CannotOpen, ManifestError
from retriever.types import Metadata

SETTLED = 3.0
"""Seconds that nobody may have written to a file before it is taken."""
PATIENCE = 0.2  # seconds between two looks whether somebody wants an end
GONE = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a look sees of a source: equal again, and nothing happened to it."""

    stat: tuple[int, int, int]  # bytes, nanoseconds, inode
    metadata: Metadata | None

    @classmethod
    def of(cls, source: Source) -> "Mark":
        try:
            seen = source.seen or stat_of(source.path)
        except CannotOpen:
            return cls(GONE, source.metadata)
        return cls((seen.size, seen.mtime_ns, seen.inode), source.metadata)

    def age(self, now: float) -> float:
        """Seconds since it was last written to, by the file system's clock; what is not there is old."""
        return now - self.stat[1] / 1e9


@dataclass(slots=True)
class Looks:
    """What was seen so far."""

    taken: dict[Place, Mark] = field(default_factory=dict)  # as it was when it was handed on
    waiting: dict[Place, tuple[Mark, float]] = field(default_factory=dict)  # and since when it is so

    def changes(self, sources: Sequence[Source], now: float, tick: float) -> tuple[list[Source], bool]:
        """The sources that are not as they were and lie still, and whether one is gone.  `now` is the time of day and
        `tick` that of a clock which is never set, both in seconds.

        A file lies still if the file system says that it was written `SETTLED` seconds ago; or, for clocks differ, if
        it looked the same for as long.
        """
        changed: list[Source] = []
        waiting: dict[Place, tuple[Mark, float]] = {}
        for source in sources:
            mark = Mark.of(source)
            if self.taken.get(source.path) == mark:
                continue
            before, since = self.waiting.get(source.path, (mark, tick))
            since = since if before == mark else tick
            if mark.age(now) >= SETTLED or tick - since >= SETTLED:
                self.taken[source.path] = mark
                changed.append(source)
            else:
                waiting[source.path] = mark, since
        self.waiting = waiting
        gone = self.taken.keys() - {source.path for source in sources}
        for path in gone:
            del self.taken[path]
        return changed, bool(gone)


def watch(look: Callable[[], list[Source]], run: Run, executor: Executor, below: Sequence[Place], every: float) -> None:
    """Index what `look` finds, and again whatever is not as it was, every `every` seconds, until somebody wants an
    end: by a wish, or by Ctrl-C while nothing is worked on.  Files that are gone are taken out below `below` only.

    Raises:
        CannotOpen, ManifestError, OSError: the first look went wrong; a later one is told of, and repeated.
        WrongRecipe, SpaceMismatch, DiskFull, KeyboardInterrupt: as `pipeline.index`.
    """
    run.watch = _once(run.watch)
    looks, first = Looks(), True
    while True:
        try:
            changed, gone = looks.changes(found := look(), time(), monotonic())
            changed += _due(found, {*changed, *(s for s in found if s.path in looks.waiting)}, run)
        except (CannotOpen, ManifestError, OSError) as error:  # a disk that is away, a list that is being edited
            if first:
                raise
            run.watch(Warned(str(error)))
            changed, gone = [], False
        except KeyboardInterrupt:
            return
        if first or changed or (gone and below):
            pipeline.index(changed, run, executor, below if gone or first else ())
        first = False
        while run.left:  # whoever is at it may die: it is handed on again
            looks.taken.pop(run.left.pop(), None)
        if not _rest(run, every):
            return


def _due(found: Sequence[Source], but: set[Source], run: Run) -> list[Source]:
    """Files in quarantine whose next try has come; those over a limit of this run cost no try, and get none."""
    now, shut = time(), run.store.catalog.quarantined()
    due = {entry.path for entry in shut if entry.tries and run.policy.may_try(entry, now)}
    return [source for source in found if str(source.path) in due and source not in but] if due else []


def _rest(run: Run, seconds: float) -> bool:
    """Wait; False: somebody wants an end."""
    until = monotonic() + seconds
    try:
        while not run.wish():
            left = until - monotonic()
            if left <= 0:
                return True
            sleep(min(left, PATIENCE))
    except KeyboardInterrupt:
        pass
    return False


def _once(watch: Watch) -> Watch:
    """The same, but a warning comes once, and not with every pass."""
    told: set[str] = set()

    def heard(event: Event) -> None:
        if isinstance(event, Warned):
            if event.message in told:
                return
            told.add(event.message)
        watch(event)

    return heard
