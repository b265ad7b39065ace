"""On a real Ray of this machine: the same library as without, whoever is killed meanwhile."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import gettempdir
from types import SimpleNamespace
from typing import Any, cast

import clips
import farm
import numpy as np
import psutil
import pytest
import ray
import servers
from hypothesis import given
from hypothesis import strategies as st
from libraries import tokens
from ray._private.internal_api import get_memory_info_reply, get_state_from_address
from ray.exceptions import RayError
from reels import write_reel

from indexer import hashing, jobs, places, planning
from indexer.decoding import Decoder
from indexer.encoding import Encoded, encode
from indexer.events import Advanced, Committed, Event, Planned, Summary, Warned
from indexer.executors import _actors, _cluster, _pair
from indexer.executors import local as alone
from indexer.executors import ray as executor
from indexer.places import Place
from indexer.plan import Given, Job, Work
from indexer.run import wanted
from retriever import processes
from retriever.errors import MissingExtra, PluginError, SpaceMismatch
from retriever.registry import Registry
from retriever.types import Line, Modality, RunState, TimeSpan, Wish

CHILD = Path(__file__).with_name("ray_child.py")
LIMIT = 120.0  # seconds that a test waits for something at most
LINGER = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Ray's own: they notice after a minute that what they belong to was killed."""


@pytest.fixture(scope="module", autouse=True)
def by_itself() -> Iterator[None]:
    with farm.by_itself():
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of this machine with two processors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_cluster, "processors", lambda: 2)
        with _cluster.joined("", 2):
            yield


@pytest.fixture
def field(tmp_path: Path) -> Iterator[farm.Farm]:
    field = farm.Farm(tmp_path)
    yield field
    field.close()
    assert not list(Path(gettempdir()).glob(f"{_actors.OURS}-*")), "pictures lie about"


@pytest.fixture
def sown(field: farm.Farm) -> farm.Farm:
    """Four clips, of ten chapters."""
    write_reel(field.clips / "one.synthetic", "red", "blue", "green", "white", "red", "blue")
    write_reel(field.clips / "two.synthetic", "green", "black")
    write_reel(field.clips / "three.synthetic", "blue", tone=False)
    write_reel(field.clips / "four.synthetic", "white", "red")
    return field


# ---------------------------------------------------------------------------------------------------- the same library


def test_local_and_ray_runs_give_identical_libraries(cluster: None, sown: farm.Farm) -> None:
    write_reel(sown.clips / "crash.synthetic", "red", crash_at=1)
    write_reel(sown.clips / "late.synthetic", "red", "blue", "white", crash_at=7)
    write_reel(sown.clips / "hang.synthetic", "red", hang_at=1)
    (sown.clips / "empty.mp4").write_bytes(b"")
    (sown.clips / "letter.mp4").write_text("Dear Sir")
    summary = sown.index("ray", executor.build(farm.making()))
    committed = sorted(Path(event.path).stem for event in sown.said if isinstance(event, Committed))
    assert committed == sorted(Path(path).stem for path in summary.indexed) == ["four", "one", "three", "two"]
    assert {Path(path).stem for path in summary.quarantined} == {"crash", "late", "hang", "empty", "letter"}
    assert sown.children
    assert farm.left_over(sown) == []
    assert sown.held("ray") == sown.undisturbed()


def test_the_first_file_is_committed_before_the_last_was_looked_at(
    cluster: None, sown: farm.Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_reel(sown.clips / "copy.synthetic", "green", "black")  # of two, which is under way by then, or done
    write_reel(sown.clips / "zz.synthetic", "black")
    committed, key_of = threading.Event(), hashing.key_of

    def key(place: Place) -> str:
        assert place.name != "zz.synthetic" or committed.wait(LIMIT), "all was looked at before anything was done"
        return key_of(place)

    for module in (hashing, planning):
        monkeypatch.setattr(module, "BATCH", 1)
    monkeypatch.setattr(hashing, "key_of", key)
    sown.index("ray", executor.build(farm.making()), lambda event: isinstance(event, Committed) and committed.set())
    monkeypatch.undo()
    assert sown.held("ray") == sown.undisturbed()


def test_answers_that_arrive_in_any_order_are_taken_in_that_of_the_chapters(
    cluster: None, sown: farm.Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, several = ray.wait, list[int]()

    def backwards(references: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        """The last of those that were asked for, as soon as all are answered."""
        ready, _ = plain(references, num_returns=len(references), timeout=LIMIT)
        several.append(len(ready))
        return ready[-1:], references[:-1]

    with monkeypatch.context() as late:
        late.setattr(ray, "wait", backwards)
        sown.index("ray", executor.build(farm.making(slow=0.1), most=1))
    assert max(several) > 1
    assert sown.held("ray") == sown.undisturbed()


def test_a_second_run_does_nothing(cluster: None, sown: farm.Farm) -> None:
    sown.index("ray", executor.build(farm.making()))
    again = sown.index("ray", executor.build(farm.making(stillborn=True)))
    assert (again.indexed, again.unchanged, again.frames) == ([], 4, 0)


def test_one_that_cannot_be_encoded_costs_itself_only(cluster: None, sown: farm.Farm) -> None:
    summary = sown.index("ray", executor.build(farm.making(chokes="black")))
    assert sorted(Path(path).stem for path in summary.indexed) == ["four", "one", "three"]
    (reason,) = summary.quarantined.values()
    assert "two.synthetic could not be encoded: no such colour" in reason


def test_an_address_is_read_where_it_is_decoded(cluster: None, field: farm.Farm) -> None:
    clips.film(field.folder / "first.mp4", ["red", "blue"])
    with servers.web(files={"/first.mp4": (field.folder / "first.mp4").read_bytes()}) as shelf:
        place = places.of(f"{shelf.url}/first.mp4")
        summary = field.index("ray", executor.build(farm.making()), places=[place])
        assert summary.indexed == [str(place)]
        field.index("here", alone.build(), places=[place])
    assert field.held("ray") == field.held("here")


def test_a_file_that_goes_meanwhile_is_set_aside(cluster: None, sown: farm.Farm) -> None:
    gone = sown.clips / "two.synthetic"
    summary = sown.index(
        "ray", executor.build(farm.making()), lambda event: isinstance(event, Planned) and gone.unlink()
    )
    assert len(summary.indexed) == 3
    assert list(summary.quarantined) == [str(gone)]


def test_a_file_that_a_node_does_not_see_stops_the_run(
    cluster: None, sown: farm.Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = sown.clips / "two.synthetic"
    monkeypatch.setattr("indexer.executors._pair.altered", lambda job: None)  # here it is as it was
    with pytest.raises(PluginError, match=r"two\.synthetic is on this machine and not on the node .*same paths"):
        sown.index("ray", executor.build(farm.making()), lambda event: isinstance(event, Planned) and gone.unlink())
    assert sown.store("ray").catalog.leased() == {}


# --------------------------------------------------------------------------------------------------------- who is lost


@pytest.mark.parametrize("kind", ["Decoding", "Encoding"])
def test_an_actor_that_is_killed_in_the_middle_costs_nothing(
    kind: str, cluster: None, sown: farm.Farm, capfd: pytest.CaptureFixture[str]
) -> None:
    killed: list[int] = []

    def kill(event: Event) -> None:
        if isinstance(event, Advanced) and not killed:
            for actor in farm.actors(kind):
                killed.append(actor.pid)
                actor.kill()

    summary = sown.index("ray", executor.build(farm.making(slow=0.05)), kill)
    assert killed
    assert summary.quarantined == {}
    assert capfd.readouterr().out == "", "a document may be going there"
    assert any(isinstance(event, Warned) and "is lost" in event.message for event in sown.said)
    assert len(farm.kept(sown)) == len(set(farm.kept(sown))) == 10, "a chapter was kept twice"
    assert sown.children
    assert farm.left_over(sown) == []
    assert sown.held("ray") == sown.undisturbed()


@pytest.mark.slow
def test_actors_that_are_killed_at_random_cost_nothing(cluster: None, sown: farm.Farm) -> None:
    dice, killed = random.Random(6), 0

    def kill(event: Event) -> None:
        nonlocal killed
        if isinstance(event, Advanced) and dice.random() < 0.6:
            dice.choice(farm.actors("Decoding") + farm.actors("Encoding")).kill()
            killed += 1

    summary = sown.index("ray", executor.build(farm.making(slow=0.05)), kill)
    assert killed >= 3
    assert summary.quarantined == {}
    assert len(farm.kept(sown)) == len(set(farm.kept(sown))) == 10
    assert sown.held("ray") == sown.undisturbed()


@pytest.mark.slow
def test_a_file_over_which_actors_die_again_and_again_is_set_aside(cluster: None, sown: farm.Farm) -> None:
    summary = sown.index("ray", executor.build(farm.making(dies="black")))
    assert sorted(Path(path).stem for path in summary.indexed) == ["four", "one", "three"]
    (reason,) = summary.quarantined.values()
    assert f"two.synthetic: {executor.LOSSES} actors died over one part of it" in reason
    assert "try 1 of 3" in reason


def test_after_pairs_that_never_came_up_it_rests_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that is lost stays among those of Ray for a while."""
    clock, lost = [100.0], SimpleNamespace(is_ready=False, jobs={}, node="")
    monkeypatch.setattr(executor, "monotonic", lambda: clock[0])
    monkeypatch.setattr(executor.Pair, "start", lambda *_: lost)
    monkeypatch.setattr(executor.Pool, "_end", lambda *_: None)
    run, work = SimpleNamespace(watch=lambda event: None), SimpleNamespace(known=1, complete=True)
    pool = executor.Pool(run, None, work, 1.0)  # type: ignore[arg-type]
    for times in range(1, executor.STILLBORN):
        pool._grow()
        assert pool.started == times
        pool._lost(lost, RayError("gone"))  # type: ignore[arg-type]
        pool.pairs.append(lost)  # type: ignore[arg-type]
        pool._lost(lost, RayError("gone with it"))  # type: ignore[arg-type]
        clock[0] += executor.REST * times - 1
        pool._grow()
        assert pool.started == times
        clock[0] += 1
    pool._grow()
    with pytest.raises(PluginError, match="died before they were ready"):
        pool._lost(lost, RayError("gone"))  # type: ignore[arg-type]


@pytest.mark.slow
def test_actors_that_never_come_up_stop_the_run(cluster: None, sown: farm.Farm) -> None:
    with pytest.raises(PluginError, match=f"the actors of {executor.STILLBORN} pairs died before they were ready"):
        sown.index("ray", executor.build(farm.making(stillborn=True)))
    assert sown.store("ray").catalog.leased() == {}


def test_encoders_that_are_not_those_of_the_driver_are_refused(cluster: None, sown: farm.Farm) -> None:
    with pytest.raises(
        SpaceMismatch, match=f"the node {socket.gethostname()} does not encode .*colours→hashing differ"
    ):
        sown.index("ray", executor.build(farm.making(weights="colours:2")))
    assert sown.store("ray").catalog.staged() == []


# ------------------------------------------------------------------------------------------ at once, and no more of it


def test_actors_work_at_the_same_time_and_the_object_store_stays_flat(
    cluster: None, field: farm.Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    chapters, side = 40, 240
    write_reel(
        field.clips / "long.synthetic",
        *["red", "blue", "green", "white"] * (chapters // 4),
        seconds=4.0,
        size=[640, 480],
    )
    decoded: list[tuple[float, float]] = []  # when children were at work, as decode actors say it
    plain = _pair.Pair._decoded

    def listening(pair: _pair.Pair, job: Job, page: dict[str, Any]) -> None:
        decoded.append((page["page"]["began"], page["page"]["began"] + page["page"]["seconds"]))
        plain(pair, job, page)

    monkeypatch.setattr(_pair.Pair, "_decoded", listening)
    used: list[int] = []
    before = stored().cumulative_created_bytes
    log = field.folder / "encoded"
    field.index(
        "ray",
        executor.build(farm.making(side=side, slow=0.02, log=str(log))),
        lambda event: isinstance(event, Advanced) and used.append(stored().object_store_bytes_used),
        side=side,
    )
    assert len(used) == chapters
    pictures = chapters * 8 * side * side * 4 // 3 * 3  # bytes: all that passed
    assert pictures > _cluster.STORE_BYTES // 2
    assert max(used) < pictures // 50, "the object store fills"
    assert stored().cumulative_created_bytes - before < pictures // 50, "pictures went through the object store"
    lines = [line.split() for line in log.read_text().splitlines()]
    assert {cores for *_, cores in lines} == {"1"}, "an encoder keeps to the processors that it was given"
    encoded = [(float(began), float(ended)) for began, ended, *_ in lines]  # when the encoders were at work
    assert len(decoded) == len(encoded) == chapters
    at_once = [one for one in encoded if any(overlap(one, other) > 0 for other in decoded)]
    assert len(at_once) > chapters // 2


def stored() -> Any:
    """What the object store says of itself."""
    state = get_state_from_address(ray.get_runtime_context().gcs_address)
    return get_memory_info_reply(state).store_stats


def overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    return min(one[1], other[1]) - max(one[0], other[0])


# ---------------------------------------------------------------------------------------------------- steered, stopped


def steered(wish: Wish, field: farm.Farm) -> tuple[Summary, str]:
    """The clips, until at the third chapter somebody wishes; also what became of the job."""
    record = jobs.register(field.store("ray"), "{}")

    def at(event: Event) -> None:
        if isinstance(event, Advanced) and len(farm.kept(field)) == 3:
            field.store("ray").catalog.wish(record.id, wish)

    summary = Summary()
    with jobs.at_work(field.store("ray"), record, processes.me(), summary) as post:
        field.index("ray", executor.build(farm.making(slow=0.3)), at, lambda store: post)
        assert post.wish(summary) is wish
    return summary, jobs.named(field.store("ray"), record.id).record.state


def test_a_paused_run_keeps_its_checkpoints_and_goes_on_where_it_was(cluster: None, sown: farm.Farm) -> None:
    _, state = steered(Wish.PAUSE, sown)
    assert state is RunState.PAUSED
    before = farm.kept(sown)
    store = sown.store("ray")
    assert 3 <= len(before) < 10
    assert store.catalog.staged()
    assert store.catalog.leased() == {}
    sown.index("ray", executor.build(farm.making()))
    assert len(before) + len(farm.kept(sown)) == len({*before, *farm.kept(sown)}) == 10
    assert sown.held("ray") == sown.undisturbed()


def test_a_cancelled_run_leaves_nothing_begun(cluster: None, sown: farm.Farm) -> None:
    _, state = steered(Wish.CANCEL, sown)
    assert state is RunState.CANCELLED
    assert sown.held("ray")["quarantined"] == {}
    assert sown.children
    assert farm.left_over(sown) == []


def started(field: farm.Farm) -> subprocess.Popen[bytes]:
    """A process that indexes the clips on a Ray of its own, and has begun."""
    words = [sys.executable, str(CHILD), str(field.folder / "ray"), str(field.clips), "0.3"]
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until(
        lambda: len(list((field.folder / "ray" / "staging").glob("*/chapter-*.npz"))) >= 2 or child.poll() is not None
    )
    return child


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_a_driver_that_is_stopped_takes_all_with_it_and_another_goes_on(
    signum: signal.Signals, cluster: None, sown: farm.Farm
) -> None:
    child = started(sown)
    below = psutil.Process(child.pid).children(recursive=True)
    below = [process for process in below if process.name() not in LINGER]
    assert any("Decoding" in "".join(process.cmdline()) for process in below)
    open_to = {
        link.laddr.ip
        for process in below
        for link in process.net_connections("inet")
        if link.status == psutil.CONN_LISTEN
    }
    assert open_to <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, "a Ray of one's own listens on the loopback alone"
    child.send_signal(signum)
    child.communicate(timeout=LIMIT)
    _, alive = psutil.wait_procs(below, timeout=LIMIT)
    assert alive == []
    sown.index("ray", executor.build(farm.making()))
    assert 0 < len(farm.kept(sown)) < 10, "what was checkpointed is not done again"
    assert sown.held("ray") == sown.undisturbed()


# ------------------------------------------------------------------------------------------------ as many as there is


class Standing:
    """A pair that works on what it takes until somebody says that it did."""

    def __init__(self) -> None:
        self.jobs: dict[str, object] = {}
        self.is_ready = self.is_killed = False

    @property
    def is_free(self) -> bool:
        return self.is_ready and not self.jobs

    def take(self, job: str) -> None:
        self.jobs[job] = job

    def closing(self) -> None:
        pass

    def kill(self) -> None:
        self.is_killed = True


@pytest.fixture
def unleased(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs that nobody starts, and jobs that nobody leases."""
    monkeypatch.setattr(executor.Pair, "start", lambda *_: Standing())
    monkeypatch.setattr(executor, "leased", lambda work, run, wait=0.0: work.take(wait))


def pool_of(work: Work, most: float) -> executor.Pool:
    return executor.Pool(cast(Any, None), cast(Any, None), work, most)


@pytest.mark.parametrize(("most", "counts"), [(99, [1, 1, 2, 4, 8, 10]), (3, [1, 1, 2, 3, 3, 3])])
def test_pairs_double_as_they_get_room_up_to_the_jobs_and_the_most(
    most: int, counts: list[int], unleased: None
) -> None:
    pool = pool_of(Given(cast(Any, [f"job {number}" for number in range(10)])), most)
    seen = []
    for look in range(len(counts)):
        pool._hand_out()
        pool._grow()
        seen.append(len(pool.pairs))
        for pair in pool.pairs if look else []:  # at first nobody finds room
            pair.is_ready = True
    assert seen == counts


class Coming(Given):
    """Jobs of which others are to come."""

    complete = False


def test_pairs_wait_for_jobs_that_are_not_known_yet(unleased: None) -> None:
    work = Coming([])
    pool = pool_of(work, 9)
    pool._look(), pool._hand_out(), pool._grow()
    assert pool.pairs == [], "nobody has work for one"
    work._jobs.extend(cast(Any, ["a", "b"]))
    for _ in range(3):
        pool._look() if not pool._left else None
        pool._hand_out(), pool._grow()
        for pair in pool.pairs:
            pair.is_ready = True
    pool._hand_out()
    assert [sorted(pair.jobs) for pair in pool.pairs] == [["a"], ["b"]]
    pool.pairs[0].jobs.clear()
    pool._look(), pool._grow()
    assert len(pool.pairs) == 2, "it has nothing to do, but may have soon"
    work.complete = True
    pool._grow()
    assert len(pool.pairs) == 1


def test_pairs_go_when_nothing_is_left_for_them(unleased: None) -> None:
    pool = pool_of(Given(cast(Any, ["a", "b", "c"])), 9)
    every: list[Standing] = []
    for _ in range(4):
        pool._hand_out()
        pool._grow()
        every += [pair for pair in pool.pairs if pair not in every]
        for pair in pool.pairs:
            pair.is_ready = True
    assert [sorted(pair.jobs) for pair in every] == [["a"], ["b"], ["c"]]
    every[1].jobs.clear()
    pool._grow()
    assert [pair.is_killed for pair in every] == [False, True, False]
    pool.back.append(cast(Any, "b"))
    pool._hand_out()
    pool._grow()
    assert len(pool.pairs) == 3, "there is work again for one"


# ------------------------------------------------------------------------------------------------------------ reaching


def test_without_the_extra_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ray", "_pair", "_cluster"):
        monkeypatch.delitem(sys.modules, f"indexer.executors.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"ray needs ray: pip install 'reelseek\[ray\]'"):
        Registry("indexer.executors").load("ray")


def test_a_ray_of_our_own_tells_nobody_how_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is a driver of another one leaves that to whoever started it."""
    name, found = "RAY_USAGE_STATS_ENABLED", list[str | None]()
    monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: found.append(os.environ.get(name)))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    for address in ("", "auto"):
        with _cluster.joined(address, 2):
            pass
    assert found == ["0", None]
    assert name not in os.environ


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("ray://127.0.0.1:1", "Connection refused"),
        ("http://127.0.0.1:1", "it wants auto"),
        ("somebody@127.0.0.1:1", "it wants auto"),
        ("127.0.0.1:many", "it wants auto"),
        ("no such host:1", "no Ray cluster can be joined"),
    ],
)
def test_where_no_cluster_is_that_is_said_at_once(
    address: str, why: str, field: farm.Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    write_reel(field.clips / "one.synthetic", "red")
    with pytest.raises(PluginError, match=why) as raised:
        field.index("ray", executor.build(farm.making(), address))
    assert "\n" not in str(raised.value)
    assert f"--ray-address is {address}" in str(raised.value).replace("'", "")


# ------------------------------------------------------------------------------------------------- actors, without Ray


def test_what_is_handed_over_is_what_a_decoder_brings(tmp_path: Path) -> None:
    clip = write_reel(tmp_path / "a.synthetic", "red", "blue", "green", "white")
    asked = wanted(farm.RECIPE, farm.encoders({}))
    decoding, encoding = _actors.Decoding(limit_s=20.0), _actors.Encoding("farm", "encoders", {})
    spaces = encoding.ready()
    assert _actors.spaces_of(spaces) == farm.encoders({}).spaces
    assert decoding.probe(str(clip), "pyav")["probe"]["duration"] == 12.0
    told = [decoding.begin(str(clip), asked.plain(), 0)]
    while not told[-1]["page"]["last"]:
        told.append(decoding.next())
    assert decoding.next() == {"end": True}
    handed = [_actors.from_plain(encoding.encode(page)) for page in told]
    with Decoder() as decoder:
        plain = encode(list(decoder.chapters(clip, asked)), farm.encoders({}))
    decoding.close()
    assert not list(Path(gettempdir()).glob(f"{_actors.OURS}-*"))
    for one, other in zip(handed, plain, strict=True):
        same(one, other)


def test_a_file_that_is_dropped_leaves_no_pictures(tmp_path: Path) -> None:
    clips = [write_reel(tmp_path / name, "red", "blue", "green") for name in ("a.synthetic", "b.synthetic")]
    asked = wanted(farm.RECIPE, farm.encoders({})).plain()
    decoding = _actors.Decoding(limit_s=20.0)
    decoding.probe(str(clips[0]), "pyav")
    decoding.drop(decoding.begin(str(clips[0]), asked, 0))
    assert decoding.probe(str(clips[1]), "pyav")["probe"]["duration"] == 9.0
    (folder,) = Path(gettempdir()).glob(f"{_actors.OURS}-*")
    assert [file.name for file in folder.iterdir()] == [_actors.OWNER]
    assert decoding.begin(str(clips[1]), asked, 2)["page"]["last"]
    decoding.close()


def test_what_a_dead_actor_left_is_cleared_away_by_the_next_one(tmp_path: Path) -> None:
    dead = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, sys; sys.path.insert(0, sys.argv[1]); from indexer.executors._actors import Decoding\n"
            "Decoding(1.0); os._exit(0)",
            str(Path(__file__).parents[2]),
        ],
        check=True,
    )
    assert dead.returncode == 0
    (left,) = Path(gettempdir()).glob(f"{_actors.OURS}-*")
    mine = _actors.Decoding(1.0)
    assert not left.exists()
    _actors.clear_away()
    assert len(list(Path(gettempdir()).glob(f"{_actors.OURS}-*"))) == 1, "who lives keeps its own"
    mine.close()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no cores to keep to: this system binds no process")
def test_who_keeps_to_a_core_leaves_the_others_to_others() -> None:
    here = str(Path(__file__).parents[2])
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from indexer.executors._cores import keep_to\n"
        "os.sched_setaffinity(0, os.sched_getaffinity(0)); keep_to(1)\n"
        "print(*os.sched_getaffinity(0), flush=True); input()"
    )
    all_of_them = os.sched_getaffinity(0)
    holders, taken = [], []
    for _ in range(min(3, len(all_of_them) + 1)):
        holders.append(
            subprocess.Popen(
                [sys.executable, "-c", code, here], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        taken.append({int(core) for core in holders[-1].stdout.readline().split()})
    for holder in holders:
        holder.communicate("\n", timeout=LIMIT)
    alone_on_one = [cores for cores in taken if len(cores) == 1]
    assert len({*map(frozenset, alone_on_one)}) == len(alone_on_one) >= min(2, len(all_of_them))
    assert all(cores == all_of_them for cores in taken if len(cores) != 1), "no core is left: all of them"


def test_errors_cross_by_name_and_text(tmp_path: Path) -> None:
    decoding = _actors.Decoding(limit_s=20.0)
    page = decoding.probe(str(tmp_path / "nowhere.mp4"), "pyav")
    assert (page["error"], page["there"]) == ("CannotOpen", False)
    assert "nowhere.mp4" in str(_actors.raised(page))
    assert type(_actors.raised(page)).__name__ == "CannotOpen"
    decoding.close()


@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.text(max_size=9))
def test_what_was_encoded_survives_the_way(seed: int, seconds: int, text: str) -> None:
    made = tokens(np.random.default_rng(seed), float(seconds), 0.5)
    lines = [Line(TimeSpan(0.0, 1.0 + seconds), text, modality, 0.5) for modality in (Modality.SPEECH, Modality.TEXT)]
    encoded = Encoded({"a": made}, lines, {"encode": 0.5})
    page = _actors.as_plain(encoded)
    assert set(kinds(page)) <= {str, float, int, np.ndarray}
    same(_actors.from_plain(page), encoded)


def kinds(value: Any) -> Iterator[type]:
    """Types that are neither lists nor dicts, all the way down."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for inner in value:
            yield from kinds(inner)
    else:
        yield type(value)


def same(one: Encoded, other: Encoded) -> None:
    assert one.lines == other.lines
    assert one.tokens.keys() == other.tokens.keys()
    for space, found in one.tokens.items():
        wanted = other.tokens[space]
        assert found.labels == wanted.labels
        for name in ("rows", "spans", "norms", "probabilities"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
