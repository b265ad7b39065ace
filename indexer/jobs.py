"""Indexing runs as people see and steer them: kept in the catalog, so that they outlive whoever works on them.

    queued ──▶ running ──▶ done, failed
                 │  ▲
       paused ◀──┴──┘ resumed          cancelled: whatever it had begun and not committed goes

A run is at work while somebody holds its lease.  One that the catalog calls running and whose lease nobody holds was
interrupted: killed, or stopped by the keyboard.  Wishes wait in the catalog; who works looks for them between batches.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from secrets import token_hex
from time import monotonic, sleep, time

from indexer.events import Summary
from indexer.staging import Staging
from retriever.errors import JobOver, NoSuchJob, ReelseekError, StoreError, StoreLocked
from retriever.ports import Store
from retriever.types import RunRecord, RunState, Wish

INTERRUPTED = "interrupted"
LEASE_SECONDS = 600.0
LOOK = 0.2  # seconds between two looks for a wish
TELL = 1.0  # seconds between two times that counts are written down
RENEWAL = 60.0  # and that the lease is renewed
LEAST_ID = 4
"""Letters of an id that have to be given for its beginning to name a job."""
OVER = (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Standing:
    """A run, and who works on it."""

    record: RunRecord
    by: str = ""  # HOST:PID:START; empty: nobody

    @property
    def state(self) -> str:
        """What people are told: a `RunState`, or that it was interrupted."""
        left = self.record.state is RunState.RUNNING and not self.by
        return INTERRUPTED if left else self.record.state.value

    @property
    def is_over(self) -> bool:
        return self.record.state in (RunState.DONE, RunState.CANCELLED)


def standing(store: Store) -> list[Standing]:
    """All runs that are remembered, in the order in which they were asked for."""
    runs, leased = store.catalog.runs(), store.catalog.leased()
    return [Standing(record, leased.get(record.lease, "")) for record in runs]


def named(store: Store, name: str) -> Standing:
    """The one run of this id, or whose id begins so.

    Raises:
        NoSuchJob: there is none, or there are several.
    """
    found = [one for one in standing(store) if one.record.id == name]
    if not found and len(name) >= LEAST_ID:
        found = [one for one in standing(store) if one.record.id.startswith(name)]
    if len(found) != 1:
        why = f"begins the id of {len(found)} jobs: write more of it" if found else "is no job of this library"
        raise NoSuchJob(f"{name} {why}; `reelseek jobs list --all` lists them")
    return found[0]


def register(store: Store, asked: str) -> RunRecord:
    """Write down what was asked for; nobody works on it yet.  Where the same was asked for and did not come to its end,
    that job goes on."""
    for one in standing(store):
        if one.record.asked == asked and not (one.is_over or one.by):
            return one.record
    record = RunRecord(token_hex(4), asked, time())
    store.catalog.write_run(record)
    return record


@dataclass(slots=True)
class Post:
    """Where the one who works on a run reads what is wished of it, and writes how far it is."""

    store: Store
    record: RunRecord
    owner: str  # HOST:PID:START
    before: Mapping[str, float] = field(default_factory=dict)  # what others did of it
    _wish: Wish = Wish.NONE
    _looked: float = 0.0
    _told: float = 0.0
    _held: float = 0.0
    _held_at: float = 0.0  # by the clock on the wall: leases run out by that one, also while a machine sleeps

    def begin(self, summary: Summary) -> None:
        """Take the run up.  One that was paused since whoever begins looked at it stays so, and stops at once.

        Raises:
            StoreLocked, JobOver: as `hold`.
            JobOver: it was cancelled.
        """
        self.hold()
        if self.record.state is RunState.CANCELLED:
            raise JobOver(f"job {self.record.id} was cancelled, and is not gone on with: ask for it anew")
        self.before = self.record.counts
        self.store.catalog.wish(self.record.id, Wish.NONE)
        if self._wish is Wish.NONE:
            self.write(summary, replace(self.record, state=RunState.RUNNING, began=time(), ended=None, error=""))

    def wish(self, summary: Summary) -> Wish:
        """What is wished by now.  Asked often it looks only every `LOOK` seconds; on the way it keeps the lease and
        writes counts down.

        Raises:
            StoreLocked: somebody else has taken the run over.
            JobOver: as `hold`.
        """
        now = monotonic()
        if not self._wish and now - self._looked >= LOOK:
            self._looked = now
            self._wish = self.store.catalog.wished(self.record.id)
        if max(now - self._held, abs(time() - self._held_at)) >= RENEWAL:
            self.hold()  # before anything is written: somebody else may be at it by now
            self.write(summary, self.record)
        elif now - self._told >= TELL and _counts(summary, self.before) != self.record.counts:
            self._told = now
            self.write(summary, self.record)
        return self._wish

    def hold(self) -> None:
        """Take or keep the lease.  Others may have stopped the run while nobody held it, and what people were told
        then holds: it counts as wished.

        Raises:
            StoreLocked: somebody else has it.
            JobOver: others have brought it to its end since it was last looked at.
        """
        if not self.store.catalog.lease(self.record.lease, self.owner, LEASE_SECONDS):
            holder = self.store.catalog.leased().get(self.record.lease, "another")
            raise StoreLocked(
                f"job {self.record.id} is being worked on by {holder}: reelseek jobs pause stops that one"
            )
        before, self.record = self.record.state, named(self.store, self.record.id).record
        if self.record.state is not before:
            self._hear(before)
        self._held, self._held_at = monotonic(), time()

    def _hear(self, before: RunState) -> None:
        """Others have written down another state than `before`."""
        match self.record.state:
            case RunState.PAUSED:
                self._wish = Wish.PAUSE
            case RunState.CANCELLED:
                self._wish = Wish.CANCEL
            case RunState.DONE | RunState.FAILED as over:
                raise JobOver(f"job {self.record.id} is {over}: somebody else was at it meanwhile")
            case RunState.QUEUED:  # it is to go on, and does
                self.record = replace(self.record, state=before)

    def write(self, summary: Summary, record: RunRecord) -> None:
        """Write down what became of it, and how far it is."""
        self.record = replace(record, counts=_counts(summary, self.before))
        self.store.catalog.write_run(self.record)

    def finish(self, summary: Summary) -> None:
        """The work is over, at its end or because somebody wished so.

        Raises:
            StoreLocked, JobOver: as `hold`.
        """
        self.hold()
        record, summary.stopped = replace(self.record, ended=time()), self._wish
        if self._wish is not Wish.PAUSE:
            clear(self.store, record.id, self.owner, everything=self._wish is Wish.CANCEL)
        match self._wish:
            case Wish.CANCEL:
                record = replace(record, state=RunState.CANCELLED)
            case Wish.PAUSE:
                record = replace(record, state=RunState.PAUSED)
            case Wish.NONE if summary.failed_all:
                told = f"every file was set aside ({summary.quarantined.total:,})"
                record = replace(record, state=RunState.FAILED, error=told)
            case Wish.NONE:
                record = replace(record, state=RunState.DONE)
        self.write(summary, record)
        self.store.catalog.wish(record.id, Wish.NONE)


def _counts(summary: Summary, before: Mapping[str, float]) -> dict[str, float]:
    """What a run has done.  What was committed adds up over those who worked on it; the rest is the last one's."""
    return {
        "found": summary.found,
        "looked": summary.looked,
        "files": summary.files + before.get("indexed", 0),
        "indexed": summary.indexed.total + before.get("indexed", 0),
        "unchanged": summary.unchanged,
        "renamed": summary.renamed.total + before.get("renamed", 0),
        "pruned": summary.pruned.total + before.get("pruned", 0),
        "quarantined": summary.quarantined.total,
        "media_s": round(summary.media_seconds + before.get("media_s", 0.0), 3),
    }


@contextmanager
def at_work(store: Store, record: RunRecord, owner: str, summary: Summary) -> Iterator[Post]:
    """Work on a run: its lease is held meanwhile, and at the end the catalog says what came of it.

    Raises:
        StoreLocked: somebody works on it already.
        JobOver: it was cancelled, or others have brought it to its end since `record` was read.
    """
    summary.job = record.id
    post = Post(store, record, owner)
    try:
        post.begin(summary)
        try:
            yield post
        except (ReelseekError, OSError) as error:
            with suppress(StoreError):  # a full disk takes no word about it
                post.hold()
                if post.record.state is RunState.RUNNING:  # else others have told of it
                    post.write(summary, replace(post.record, state=RunState.FAILED, ended=time(), error=str(error)))
            raise
        post.finish(summary)
    finally:
        with suppress(StoreError):
            store.catalog.release(record.lease, owner)


def clear(store: Store, run: str, owner: str, everything: bool = True) -> None:
    """Away with what a run has begun and nobody else is at: checkpoints and leases; if not `everything`, then but for
    files that are tried again.  What was committed stays.

    So goes what is left of runs that are over: of a file that is gone by now, or that came back with the power.
    """
    staged = store.catalog.staged()
    kept = _waiting(store) if staged and not everything else set()
    held = store.catalog.leased()  # also by this process, in another run
    over = {record.id for record in store.catalog.runs() if record.state in (RunState.DONE, RunState.CANCELLED)}
    for name in staged:
        if name in held or name.partition("-")[0] in kept:
            continue
        begun_by = Staging(store.catalog.staging(name)).begun_by()
        if begun_by in {run, None, *over} and store.catalog.lease(name, owner, LEASE_SECONDS):
            store.catalog.unstage(name)
            store.catalog.release(name, owner)


def _waiting(store: Store) -> set[str]:
    """The keys of files in quarantine that are tried again, and go on then where they stopped."""
    again = [entry.path for entry in store.catalog.quarantined() if entry.again is not None]
    return {stat.key for path in again if (stat := store.catalog.stat(path))}


# ------------------------------------------------------------------------------------------------------------- steering


def pause(store: Store, name: str, patience: float = 0.0) -> Standing:
    """Ask a run to stop and keep what it has; waits at most `patience` seconds until it did.

    Raises:
        NoSuchJob: as `named`.
    """
    return _stop(store, name, Wish.PAUSE, patience)


def cancel(store: Store, name: str, owner: str, patience: float = 0.0) -> Standing:
    """Stop a run for good, and take out what it has begun and not committed.

    Raises:
        NoSuchJob: as `named`.
    """
    found = _stop(store, name, Wish.CANCEL, patience)
    record = found.record
    if not found.by and not found.is_over and store.catalog.lease(record.lease, owner, LEASE_SECONDS):
        clear(store, record.id, owner)
        store.catalog.write_run(replace(record, state=RunState.CANCELLED, ended=record.ended or time()))
        store.catalog.wish(record.id, Wish.NONE)
        store.catalog.release(record.lease, owner)
    return named(store, record.id)


def _stop(store: Store, name: str, wish: Wish, patience: float) -> Standing:
    found, until = named(store, name), monotonic() + patience
    if found.by:
        store.catalog.wish(found.record.id, wish)
    elif wish is Wish.PAUSE and found.record.state not in OVER:
        store.catalog.write_run(replace(found.record, state=RunState.PAUSED))
    while (found := named(store, found.record.id)).by and monotonic() < until:
        sleep(LOOK / 2)
    return found
