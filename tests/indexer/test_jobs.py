"""Runs as the catalog has them: who is at work, what is wished, what is cleared away."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import fakes
import pytest
from reels import write_reel

from indexer import jobs, pipeline, sources
from indexer.encoding import Encoders
from indexer.events import Advanced, Event, Opened, Summary, Watch
from indexer.executors import local as executor
from indexer.naming import Named
from indexer.recipe import Recipe
from indexer.run import Run
from indexer.segmenters import fixed
from indexer.staging import Staging
from retriever import processes
from retriever.errors import CannotOpen, JobOver, NoSuchJob, StoreLocked
from retriever.ports import Store
from retriever.stores import memory
from retriever.types import RunRecord, RunState, Wish

ME, ELSEWHERE = processes.me(), "elsewhere:1:1"
RECIPE = Recipe("fake", vision=("colours",), sampling="fixed(2)", pages="fixed(1)", chapter=4.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = memory.build(tmp_path / "lib")
    yield store
    store.close()


def state(store: Store, record: RunRecord) -> str:
    return jobs.named(store, record.id).state


def index(store: Store, folder: Path, post: jobs.Post, summary: Summary, watch: Watch, limit_s: float = 60.0) -> None:
    encoders = Encoders(fakes.HashingSentences(), {"colours": fakes.Colours()}, {}, {}, {})
    run = Run(RECIPE, encoders, store, fixed.build(), ME, watch, limit_s=limit_s, summary=summary, post=post)
    pipeline.index(sources.found([folder]), run, executor.build())


def test_a_run_is_queued_running_and_done(store: Store) -> None:
    record, summary = jobs.register(store, "{}"), Summary()
    assert state(store, record) == "queued"
    with jobs.at_work(store, record, ME, summary) as post:
        assert (state(store, record), jobs.named(store, record.id).by) == ("running", ME)
        summary.indexed.append("/a")
        summary.files = 1
        assert post.wish(summary) is Wish.NONE
        assert jobs.named(store, record.id).record.counts["indexed"] == 1
    done = jobs.named(store, record.id)
    assert (done.state, done.by, done.is_over) == ("done", "", True)
    assert done.record.began is not None
    assert done.record.ended is not None
    assert summary.job == record.id


def test_what_others_did_of_a_run_is_counted(store: Store) -> None:
    record = jobs.register(store, "{}")
    for _ in range(2):
        summary = Summary(files=1, indexed=Named(["/a"]), media_seconds=1.5)
        with jobs.at_work(store, jobs.named(store, record.id).record, ME, summary):
            pass
    counts = jobs.named(store, record.id).record.counts
    assert (counts["files"], counts["indexed"], counts["media_s"]) == (2, 2, 3.0)


def test_a_run_that_raises_failed_and_one_that_is_interrupted_can_be_gone_on_with(store: Store) -> None:
    record = jobs.register(store, "{}")
    with pytest.raises(CannotOpen), jobs.at_work(store, record, ME, Summary()):
        raise CannotOpen("/a is not there")
    assert (state(store, record), jobs.named(store, record.id).record.error) == ("failed", "/a is not there")
    failed = jobs.named(store, record.id).record
    with pytest.raises(KeyboardInterrupt), jobs.at_work(store, failed, ME, Summary()):
        raise KeyboardInterrupt
    assert (state(store, record), jobs.named(store, record.id).record.error) == (jobs.INTERRUPTED, "")


def test_nobody_works_on_a_run_that_somebody_is_at(store: Store) -> None:
    record = jobs.register(store, "{}")
    store.catalog.lease(record.lease, ELSEWHERE, 60)
    told = f"job {record.id} is being worked on by {ELSEWHERE}"
    with pytest.raises(StoreLocked, match=told), jobs.at_work(store, record, ME, Summary()):
        pass
    assert store.catalog.leased() == {record.lease: ELSEWHERE}


def test_who_lost_a_run_to_another_writes_nothing_more_of_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    record = jobs.register(store, "{}")
    theirs = replace(record, state=RunState.RUNNING, counts={"indexed": 5})

    def work() -> None:
        with jobs.at_work(store, record, ME, Summary()) as post:
            store.catalog.release(record.lease, ME)  # stopped for longer than a lease holds
            assert store.catalog.lease(record.lease, ELSEWHERE, 60)
            store.catalog.write_run(theirs)
            monkeypatch.setattr(jobs, "RENEWAL", 0.0)
            post.wish(Summary(files=7))

    with pytest.raises(StoreLocked, match=ELSEWHERE):
        work()
    assert jobs.named(store, record.id) == jobs.Standing(theirs, ELSEWHERE)


@pytest.fixture
def sleep(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[RunRecord], None]:
    """This machine sleeps for longer than a lease holds.  `monotonic` knows nothing of that."""

    def sleep(record: RunRecord) -> None:
        store.catalog.release(record.lease, ME)
        woken = time.time() + 2 * jobs.LEASE_SECONDS
        monkeypatch.setattr(jobs, "time", lambda: woken)

    return sleep


def stop(store: Store, record: RunRecord, wish: Wish) -> None:
    """By somebody at another machine, where nobody is at the run."""
    stopped = jobs.pause(store, record.id) if wish is Wish.PAUSE else jobs.cancel(store, record.id, ELSEWHERE)
    assert stopped.state in ("paused", "cancelled"), "people are told so"


@pytest.fixture
def states(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[RunState]:
    """Those that are written down."""
    written, write = list[RunState](), store.catalog.write_run

    def kept(run: RunRecord) -> None:
        written.append(run.state)
        write(run)

    monkeypatch.setattr(store.catalog, "write_run", kept)
    return written


STOPS = pytest.mark.parametrize(("wish", "becomes"), [(Wish.PAUSE, RunState.PAUSED), (Wish.CANCEL, RunState.CANCELLED)])


@STOPS
def test_who_wakes_up_at_a_run_that_was_stopped_does_no_more_of_it(
    wish: Wish,
    becomes: RunState,
    store: Store,
    sleep: Callable[[RunRecord], None],
    states: list[RunState],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executor, "BATCH_FRAMES", 1)
    clip = write_reel(tmp_path / "clips" / "a.synthetic", *["red", "blue", "green"] * 4)
    record, summary = jobs.register(store, "{}"), Summary()

    def doze(event: Event) -> None:
        if isinstance(event, Advanced) and becomes not in states:
            sleep(record)
            stop(store, record, wish)

    with jobs.at_work(store, record, ME, summary) as post:
        index(store, clip.parent, post, summary, doze)
    assert (summary.stopped, summary.indexed.total) == (wish, 0)
    assert set(states[states.index(becomes) :]) == {becomes}, "not for a moment is it anything else"
    assert bool(store.catalog.staged()) == (wish is Wish.PAUSE), "what was encoded waits only for who goes on"
    assert store.catalog.leased() == {}


@pytest.mark.parametrize("raised", [None, CannotOpen("/a is not there")])
@STOPS
def test_what_was_stopped_stays_so_however_its_run_ends(
    wish: Wish, becomes: RunState, raised: CannotOpen | None, store: Store, sleep: Callable[[RunRecord], None]
) -> None:
    record = jobs.register(store, "{}")
    with suppress(CannotOpen), jobs.at_work(store, record, ME, Summary()):
        sleep(record)
        stop(store, record, wish)
        if raised:
            raise raised
    assert state(store, record) == becomes


@pytest.mark.parametrize("over", [RunState.DONE, RunState.FAILED])
def test_who_wakes_up_at_a_run_that_another_has_ended_writes_nothing_more_of_it(
    over: RunState, store: Store, sleep: Callable[[RunRecord], None]
) -> None:
    record = jobs.register(store, "{}")
    theirs = replace(record, state=over, counts={"indexed": 5})

    def work() -> None:
        with jobs.at_work(store, record, ME, Summary()) as post:
            sleep(record)
            store.catalog.write_run(theirs)
            post.wish(Summary(files=7))

    with pytest.raises(JobOver, match=f"job {record.id} is {over}"):
        work()
    assert jobs.named(store, record.id) == jobs.Standing(theirs)


def test_who_wakes_up_at_a_run_that_is_to_go_on_goes_on(store: Store, sleep: Callable[[RunRecord], None]) -> None:
    record = jobs.register(store, "{}")
    with jobs.at_work(store, record, ME, Summary()) as post:
        sleep(record)
        store.catalog.write_run(replace(record, state=RunState.QUEUED))  # whoever serves the library is to take it
        assert post.wish(Summary()) is Wish.NONE
        assert state(store, record) == "running"
    assert state(store, record) == "done"


def test_what_was_stopped_before_anybody_took_it_up_is_not_begun(store: Store, states: list[RunState]) -> None:
    record, summary = jobs.register(store, "{}"), Summary()
    stop(store, record, Wish.PAUSE)
    with jobs.at_work(store, record, ME, summary) as post:
        assert post.wish(summary) is Wish.PAUSE
    assert (summary.stopped, set(states)) == (Wish.PAUSE, {RunState.QUEUED, RunState.PAUSED})
    stop(store, record, Wish.CANCEL)
    for seen in (record, jobs.named(store, record.id).record):
        with pytest.raises(JobOver, match="was cancelled"), jobs.at_work(store, seen, ME, Summary()):
            pass
    assert (state(store, record), store.catalog.leased()) == ("cancelled", {})


def test_who_waits_writes_nothing_while_nothing_happens(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "TELL", 0.0)
    record, summary, written = jobs.register(store, "{}"), Summary(), list[RunRecord]()
    with jobs.at_work(store, record, ME, summary) as post, monkeypatch.context() as patch:
        patch.setattr(store.catalog, "write_run", written.append)
        for files in (0, 0, 1, 1):
            summary.files = files
            post.wish(summary)
    assert [run.counts["files"] for run in written] == [1]


def test_the_same_asked_again_goes_on_with_the_same_job(store: Store) -> None:
    record = jobs.register(store, "{}")
    assert jobs.register(store, "{}") == record
    assert jobs.register(store, '{"paths": []}') != record
    store.catalog.lease(record.lease, ELSEWHERE, 60)
    assert jobs.register(store, "{}").id != record.id, "somebody is at that one"
    store.catalog.release(record.lease, ELSEWHERE)
    store.catalog.write_run(replace(record, state=RunState.CANCELLED))
    assert jobs.register(store, "{}").id != record.id


def test_a_name_is_an_id_or_the_beginning_of_one(store: Store) -> None:
    for id in ("abcd1234", "abcd9999", "ffff0000"):
        store.catalog.write_run(RunRecord(id, "{}", 1.0))
    assert jobs.named(store, "abcd1234").record.id == "abcd1234"
    assert jobs.named(store, "ffff").record.id == "ffff0000"
    for name, why in (("abcd", "begins the id of 2 jobs"), ("fff", "is no job"), ("", "is no job")):
        with pytest.raises(NoSuchJob, match=why):
            jobs.named(store, name)


def test_pausing_what_nobody_is_at_is_at_once(store: Store) -> None:
    record = jobs.register(store, "{}")
    for _ in range(2):
        assert jobs.pause(store, record.id).state == "paused"
    assert store.catalog.wished(record.id) is Wish.NONE


def test_a_wish_is_heard_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who paused is not still to be paused, and what was wished of somebody who died is no matter of the next one."""
    monkeypatch.setattr(jobs, "LOOK", 0.0)
    record = jobs.register(store, "{}")
    with jobs.at_work(store, record, ME, Summary()) as post:
        store.catalog.wish(record.id, Wish.PAUSE)
        assert post.wish(Summary()) is Wish.PAUSE
    assert (state(store, record), jobs.named(store, record.id).record.wish) == ("paused", Wish.NONE)
    store.catalog.wish(record.id, Wish.PAUSE)
    with jobs.at_work(store, jobs.named(store, record.id).record, ME, Summary()) as post:
        assert post.wish(Summary()) is Wish.NONE
    assert state(store, record) == "done"


def test_a_worker_that_does_not_answer_is_waited_for_in_vain(store: Store) -> None:
    record = jobs.register(store, "{}")
    store.catalog.lease(record.lease, ELSEWHERE, 60)
    store.catalog.write_run(replace(record, state=RunState.RUNNING))
    found = jobs.cancel(store, record.id, ME, patience=0.01)
    assert (found.state, found.by, found.record.wish) == ("running", ELSEWHERE, Wish.CANCEL)
    store.catalog.release(record.lease, ELSEWHERE)  # it died, and did not get to it
    assert jobs.cancel(store, record.id, ME).state == "cancelled"
    assert store.catalog.wished(record.id) is Wish.NONE


def test_cancelling_clears_what_the_run_began_and_nothing_else(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LOOK", 0.0)
    monkeypatch.setattr(executor, "BATCH_FRAMES", 1)
    clip = write_reel(tmp_path / "clips" / "a.synthetic", *["red", "blue", "green"] * 4)
    record, summary = jobs.register(store, "{}"), Summary()

    def pause(event: Event) -> None:
        if isinstance(event, Advanced):
            store.catalog.wish(record.id, Wish.PAUSE)

    with jobs.at_work(store, record, ME, summary) as post:
        index(store, clip.parent, post, summary, pause)
    (name,) = store.catalog.staged()
    assert Staging(store.catalog.staging(name)).begun_by() == record.id
    others = {"other-1": "anothers", "mine-2": record.id, "none-3": ""}
    for staged, run in others.items():
        (store.catalog.staging(staged) / "job.json").write_text(f'{{"run": "{run}"}}')
    store.catalog.staging("empty-4")
    store.catalog.staging("leased-5")
    store.catalog.lease("leased-5", ELSEWHERE, 60)
    store.catalog.staging("waiting-6")  # for a decoder, in another run of this process
    store.catalog.lease("waiting-6", ME, 60)
    (store.catalog.staging("earlier-7") / "job.json").write_text('{"spaces": []}')  # by a version that knew no jobs
    assert jobs.cancel(store, record.id, ME).state == "cancelled"
    assert store.catalog.staged() == ["earlier-7", "leased-5", "none-3", "other-1", "waiting-6"]
    assert store.catalog.leased() == {"leased-5": ELSEWHERE, "waiting-6": ME}


def test_a_pause_does_not_wait_for_a_decoder_that_hangs(store: Store, tmp_path: Path) -> None:
    clip = write_reel(tmp_path / "clips" / "a.synthetic", "red", "blue", hang_at=5)
    record, summary = jobs.register(store, "{}"), Summary()

    def pause(event: Event) -> None:
        if isinstance(event, Opened):
            store.catalog.wish(record.id, Wish.PAUSE)

    with jobs.at_work(store, record, ME, summary) as post:
        index(store, clip.parent, post, summary, pause, limit_s=10_000.0)
    assert (summary.stopped, summary.quarantined) == (Wish.PAUSE, {})
    assert state(store, record) == "paused"
    assert store.catalog.leased() == {}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lane-")]


def test_a_pause_is_heard_while_files_are_looked_at(store: Store, tmp_path: Path) -> None:
    clip = write_reel(tmp_path / "clips" / "a.synthetic", "red")
    record, summary, said = jobs.register(store, "{}"), Summary(), list[Event]()
    with jobs.at_work(store, record, ME, summary) as post:
        store.catalog.wish(record.id, Wish.PAUSE)
        index(store, clip.parent, post, summary, said.append)
    assert (summary.stopped, said) == (Wish.PAUSE, [])
    assert store.catalog.stat(str(clip)) is None
