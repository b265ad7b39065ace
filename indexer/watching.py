"""Stay with folders, and take what comes: new, changed, renamed and removed files.

Folders are looked through every few seconds, which works on every file system and over every network.  A look costs one
`stat` a file, or a listing of a bucket; only what is not as it was goes on to be planned and indexed.  A file that is
still being written waits.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain
from time import monotonic, sleep, time
from weakref import finalize

from indexer import pipeline
from indexer.events import Event, Warned, Watch
from indexer.listing import PAGE, Listing, Source, said, scratch, whole
from indexer.places import Place, stat_of
from indexer.ports import Executor
from indexer.run import Run
from retriever.errors import CannotOpen, ManifestError

SETTLED = 3.0
"""Seconds that nobody may have written to a file before it is taken."""
PATIENCE = 0.2  # seconds between two looks whether somebody wants an end
GONE = (0, 0, 0)  # what a look sees of what is not there
DIGEST = 16  # bytes


def seen(source: Source) -> tuple[bytes, float]:
    """What a look sees of a source, as a digest: the same again, and nothing happened to it; and when it was last
    written to, in seconds of the file system's clock.  What is not there was written to long ago."""
    try:
        now = source.seen or stat_of(source.path)
        look = now.size, now.mtime_ns, now.inode
    except CannotOpen:
        look = GONE
    told = json.dumps([look, said(source.metadata)])
    return sha256(told.encode()).digest()[:DIGEST], look[1] / 1e9


class Looks:
    """What was seen so far: in a temporary database, since files may be many."""

    def __init__(self) -> None:
        self._rows = scratch(
            # as it was when it was handed on; as it is while it waits, and since when
            "CREATE TABLE look (path BLOB PRIMARY KEY, taken BLOB, waiting BLOB, since REAL) WITHOUT ROWID"
        )
        finalize(self, self._rows.close)

    def changes(self, sources: Iterable[Source], now: float, tick: float) -> Iterator[Source]:
        """The sources that are not as they were and lie still.  `now` is the time of day and `tick` that of a clock
        which is never set, both in seconds.  What comes of a look is kept when all of them were asked for.

        A file lies still if the file system says that it was written `SETTLED` seconds ago; or, for clocks differ, if
        it looked the same for as long.
        """
        with whole(self._rows):
            for source in sources:
                path = os.fsencode(str(source.path))
                mark, written = seen(source)
                taken, waiting, since = self._of(path)
                if taken == mark:
                    if waiting:
                        self._keep(path, taken, None, None)
                    continue
                since = since if waiting == mark and since is not None else tick
                if now - written >= SETTLED or tick - since >= SETTLED:
                    self._keep(path, mark, None, None)
                    yield source
                else:
                    self._keep(path, taken, mark, since)

    def forget(self, found: Listing) -> bool:
        """What is not in the list is known no more; whether any of it was handed on before."""
        ((known,),) = self._rows.execute("SELECT count(*) FROM look").fetchall()
        if known == len(found):  # all that was found is known
            return False
        gone, last = False, b""
        while page := self._rows.execute(
            "SELECT path, taken FROM look WHERE path > ? ORDER BY path LIMIT ?", (last, PAGE)
        ).fetchall():
            last = page[-1][0]
            lost = [(path, taken) for path, taken in page if os.fsdecode(path) not in found]
            gone = gone or any(taken for _, taken in lost)
            with whole(self._rows):
                self._rows.executemany("DELETE FROM look WHERE path = ?", [(path,) for path, _ in lost])
        return gone

    def waits(self, place: Place) -> bool:
        """Whether it is still being written, as far as anybody knows."""
        return self._of(os.fsencode(str(place)))[1] is not None

    def again(self, place: Place) -> None:
        """It is handed on with the next look, as if nobody had seen it."""
        self._rows.execute("DELETE FROM look WHERE path = ?", (os.fsencode(str(place)),))

    def _of(self, path: bytes) -> tuple[bytes | None, bytes | None, float | None]:
        row = self._rows.execute("SELECT taken, waiting, since FROM look WHERE path = ?", (path,)).fetchone()
        return row or (None, None, None)

    def _keep(self, path: bytes, taken: bytes | None, waiting: bytes | None, since: float | None) -> None:
        self._rows.execute("INSERT OR REPLACE INTO look VALUES (?, ?, ?, ?)", (path, taken, waiting, since))


def watch(look: Callable[[], Listing], run: Run, executor: Executor, below: Sequence[Place], every: float) -> None:
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
            found = look()
            changed = Listing.of(chain(looks.changes(found, time(), monotonic()), _due(found, looks, run)))
            gone = looks.forget(found)
        except (CannotOpen, ManifestError, OSError) as error:  # a disk that is away, a list that is being edited
            if first:
                raise
            run.watch(Warned(str(error)))
            changed, gone = Listing.of(()), False
        except KeyboardInterrupt:
            return
        if first or changed or (gone and below):
            pipeline.index(changed, run, executor, below if gone or first else ())
        first = False
        while run.left:  # whoever is at it may die: it is handed on again
            looks.again(run.left.pop())
        if not _rest(run, every):
            return


def _due(found: Listing, looks: Looks, run: Run) -> Iterator[Source]:
    """Files in quarantine whose next try has come and that lie still; those over a limit of this run cost no try, and
    get none."""
    now, shut = time(), run.store.catalog.quarantined()
    due = {entry.path for entry in shut if entry.tries and run.policy.may_try(entry, now)}
    if due:
        yield from (source for source in found if str(source.path) in due and not looks.waits(source.path))


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
