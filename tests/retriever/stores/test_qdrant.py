"""A library in Qdrant beyond what every store promises: gapless commits, crashes, busy servers, two catalogs."""

import os
import signal
import socket
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest
import scribe
from engines import Engine
from hypothesis import given
from hypothesis import strategies as st
from libraries import HEARD, SEEN, contents, directions, entry, more, only
from qdrant_client import QdrantClient, models
from qdrant_client.common import client_warnings
from qdrant_client.local.local_collection import LocalCollection
from qdrants import Fault, serving
from qdrants import Server as Qdrant
from zoo import ZOO, Words, media

from retriever import calibrating, calibration
from retriever.errors import BadSettings, DiskFull, SpaceMismatch, StoreError, StoreUnavailable, WrongFormat
from retriever.ports import Store
from retriever.search import Searcher
from retriever.stores import _format, _points, _remote, local, memory, qdrant
from retriever.stores._address import API_KEY, OPTIONS, Address, Options
from retriever.stores._grounds import Ground, InFolder
from retriever.stores._points import FOREVER, Point, Points, among
from retriever.stores._postgres import Server
from retriever.stores._rows import FACTS
from retriever.stores._server import InServer
from retriever.types import EVERYTHING, Filter, Metadata, Moment, Reembedding, Searched, Segment, TimeSpan, Tokens


@pytest.fixture
def server() -> Iterator[Qdrant]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_points, "_SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr(_points, "_LONGEST_PAUSE", 0.01)
    monkeypatch.delenv(API_KEY, raising=False)


def opened(server: Qdrant, folder: Path, **options: Any) -> qdrant.QdrantStore:
    return qdrant.build(f"{server.url}/clips", catalog=folder, **options)


def held(store: Store) -> dict[str, Any]:
    with store.snapshot() as snapshot:
        return contents(snapshot)


State = tuple[dict[str, Any], Reembedding | None]


def stands(store: Store) -> State:
    """What a library holds, and which recipes."""
    return held(store), store.catalog.reembedding()


@pytest.fixture(scope="module")
def states() -> list[State]:
    """Where an undisturbed library stands after each change, the empty one first."""
    store = memory.build()
    found = [stands(store)]
    for change in scribe.CHANGES:
        change(store)
        found.append(stands(store))
    store.close()
    return found


@pytest.fixture(scope="module")
def history(states: list[State]) -> list[dict[str, Any]]:
    return [state for state, _ in states]


# ------------------------------------------------------------------------------------------- one engine, many processes


class Shared:
    """Points of one engine that several stores ask, as processes would ask one server; their catalog is one folder, or
    one database that each of them asks from a folder of its own."""

    def __init__(self, folder: Path, client: Any, database: str = "") -> None:
        self.folder = folder
        self.client = client
        self.database = database
        self.made: list[qdrant.QdrantStore] = []
        self.how: dict[str, Any] = {"memory": isinstance(client, QdrantClient)}

    def points(self, kind: type[Points] = Points) -> Any:
        return kind(self.client, "clips", ":memory:", Options(), **self.how)

    def store(self, points: Points | None = None) -> qdrant.QdrantStore:
        asked = points or self.points()
        ground = self.ground()
        self.made.append(qdrant.QdrantStore(qdrant._opened(ground, asked, create=True), ground))
        return self.made[-1]

    def ground(self) -> Ground:
        if not self.database:
            return InFolder(self.folder)
        return InServer(Server.parse(self.database, "clips"), self.folder / str(len(self.made)), 0.0)

    def close(self) -> None:
        for store in self.made:
            with suppress(sqlite3.ProgrammingError):  # closed already
                store.close()

    def payloads(self) -> list[dict[str, Any]]:
        found = []
        for each in self.client.get_collections().collections:
            if "." in each.name:
                records, _ = self.client.scroll(each.name, limit=10_000)
                found += [record.payload or {} for record in records]
        return found


@pytest.fixture(params=["the client's engine", "a server's engine", "a server's engine, postgres"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shared]:
    client = QdrantClient(":memory:") if "client" in request.param else Engine(optimising=True)
    postgres = request.getfixturevalue("postgres") if "postgres" in request.param else None
    with closing(client), closing(Shared(tmp_path / "catalog", client, postgres.place if postgres else "")) as made:
        yield made
    if postgres:
        postgres.clear()


class Watched(Points):
    """Points that call `watch` before and after each request."""

    watch: Callable[[], None] = staticmethod(lambda: None)

    def _ask(self, ask: Callable[[], Any], *how: Any, **else_: Any) -> Any:
        self.watch()
        answer = super()._ask(ask, *how, **else_)
        self.watch()
        return answer


def test_a_replaced_media_is_there_once_at_every_step(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two requests of a writer somebody looks: never none of it, never two."""
    monkeypatch.setattr(_remote, "EXACT_UP_TO", 0)
    writing = shared.points(Watched)
    writer, reader = shared.store(writing), shared.store()
    for key in "abc":
        writer.add(entry(key))
    versions = [entry("a", seed, segments=3 + seed) for seed in range(3)]
    queries = directions(1, 5)
    seen: list[int] = []

    def look() -> None:
        with reader.snapshot() as snapshot:
            numbers = snapshot.numbers(only("a"))
            version = len(numbers) - 3
            seen.append(version)
            for space in (SEEN, HEARD):
                (ranking,) = snapshot.nearest(queries, space.id, 100)
                assert sorted(ranking.segments.tolist()) == snapshot.numbers().tolist()
                (ranking,) = snapshot.nearest(queries, space.id, 100, only("a"))
                assert sorted(ranking.segments.tolist()) == numbers.tolist()
                rows = snapshot.tokens(numbers, space.id).rows
                np.testing.assert_array_equal(rows, versions[version].tokens[space.id].rows.astype(np.float16))

    writing.watch = look
    for each in versions[1:]:
        writer.add(each)
    writer.compact()
    assert set(seen) == {0, 1, 2}
    assert seen == sorted(seen)
    writer.close()


def test_searches_from_other_threads_see_one_version(shared: Shared) -> None:
    store = shared.store()
    store.add(entry("a", 0))
    store.add(entry("b"))
    over, wrong = threading.Event(), []

    def look() -> None:
        while not over.is_set():
            with store.snapshot() as snapshot:
                (ranking,) = snapshot.nearest(directions(1, 5), SEEN.id, 100)
                found = sorted(ranking.segments.tolist()), snapshot.numbers().tolist()
            if found[0] != found[1]:
                wrong.append(found)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for seed in range(1, 12):
        store.add(entry("a", seed))
    over.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    store.close()


class Crash(BaseException):
    """As a kill would: nothing catches it."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_writer_that_dies_at_any_request_leaves_nothing(shared: Shared, states: list[State], after: bool) -> None:
    done, at = 0, 0
    while done < len(scribe.CHANGES):
        at += 7  # so that each kind of change dies somewhere, and all of it ends soon
        writing = shared.points(Watched)
        store = shared.store(writing)
        left = iter(range(at % 31 + 3))
        calls = 0

        def fall(left: Iterator[int] = left) -> None:
            nonlocal calls
            calls += 1
            if calls % 2 == after and next(left, None) is None:
                raise Crash

        writing.watch = fall
        try:
            while done < len(scribe.CHANGES):
                scribe.CHANGES[done](store)
                done += 1
        except Crash:
            found = stands(shared.store())
            assert found in states[done : done + 2]
            done += found == states[done + 1] != states[done]
    finished = shared.store()
    finished.compact()
    assert stands(finished) == states[-1]
    assert {payload["died"] for payload in shared.payloads()} == {FOREVER}
    assert list(finished.problems()) == []


def test_dead_points_wait_for_their_readers(shared: Shared) -> None:
    store, other = shared.store(), shared.store()
    for key in "abc":
        store.add(entry(key))
    every = len(shared.payloads())
    with other.snapshot() as snapshot:
        before = contents(snapshot)
        store.delete(["a"])
        store.compact()
        store.refresh()
        assert len(shared.payloads()) == every
        assert contents(snapshot) == before
    store.refresh()
    assert len(shared.payloads()) == every * 2 // 3
    store.delete(["b", "c"])
    store.compact()
    assert shared.payloads() == []
    assert shared.points().spaces() == set()
    store.close()


def test_tokens_between_segments_are_kept(tmp_path: Path) -> None:
    """No snapshot shows them, but the digest of a media that is extended counts them."""
    whole = entry("a", segments=4)
    gaps = replace(
        whole, segments=tuple(Segment(TimeSpan(at, at + 2.0)) for at in (1.0, 5.0, 9.0)), vectors={}, lines=()
    )
    generations = []
    for store in (qdrant.build(), local.build(tmp_path / "library")):
        store.catalog.set_recipe("r1", "{}")
        store.add(gaps)
        store.begin(scribe.R1, scribe.R2)
        assert store.extend(replace(more(gaps, scribe.AGAIN), vectors={}))
        store.choose(Searched.NEW)
        generations.append(held(store))
        store.close()
    assert generations[0] == generations[1]


def test_a_media_without_segments_has_nowhere_to_put_tokens() -> None:
    store = qdrant.build()
    bare = replace(entry("a"), segments=(), vectors={}, lines=())
    with pytest.raises(ValueError, match="without segments"):
        store.add(bare)
    store.add(replace(bare, tokens={key: Tokens.none(SEEN.dimension) for key in bare.tokens}))
    assert list(held(store)["media"]) == ["a"]
    store.close()


@pytest.mark.parametrize(("runs", "listed"), [(100, 0), (1, 100), (0, 0)], ids=["runs", "listed", "sifted"])
def test_a_filter_finds_the_same_however_it_is_told(runs: int, listed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_remote, "RUNS", runs)
    monkeypatch.setattr(_remote, "LISTED", listed)
    store, plain = qdrant.build(), memory.build()
    for number in range(24):
        each = entry(f"m{number}", number, metadata=Metadata(collection="odd" if number % 2 else "even"))
        store.add(each)
        plain.add(each)
    for one in (store, plain):
        one.delete(["m4", "m5", "m6"])
    queries = directions(3, 2)
    wheres = [Filter(collection="odd"), Filter(collection="none"), Filter(without=frozenset({"m3", "m7"})), only("m1")]
    with store.snapshot() as snapshot, plain.snapshot() as twin:
        for where in wheres:
            for depth in (1, 10, 1000):
                found = snapshot.nearest(queries, SEEN.id, depth, where)
                wanted = twin.nearest(queries, SEEN.id, depth, where)
                for ours, theirs in zip(found, wanted, strict=True):
                    assert ours.segments.tolist() == theirs.segments.tolist()
                    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3)
    store.close()
    plain.close()


@pytest.mark.parametrize("graph", [False, True], ids=["every row", "graph"])
@pytest.mark.parametrize(
    ("options", "error"),
    [
        (Options(), 1e-6),
        (Options(datatype="float16"), 5e-4),
        (Options(quantisation="int8"), 1e-6),
        (Options(datatype="float16", quantisation="int8", on_disk=True), 5e-4),
    ],
    ids=["plain", "halves", "bytes", "halves and bytes"],
)
def test_the_engine_of_a_server_finds_the_best_row(options: Options, error: float, graph: bool) -> None:
    """What it does with a multivector, a version and a filter, against the plain maximum."""
    rows = directions(600, 1).reshape(200, 3, -1).astype(np.float16)
    queries = directions(8, 2)
    media = np.arange(200) // 4
    plain = np.einsum("nrd,qd->qnr", rows.astype(np.float32), queries).max(axis=2)
    with closing(Engine(graph)) as engine:
        points = Points(engine, "clips", "engine", options)
        points.ensure("s", rows.shape[2])
        none = np.zeros((0, rows.shape[2]), np.float16), np.zeros(0, FACTS), (0, 0)
        points.put("s", [Point(at, at, int(media[at]), rows[at], *none) for at in range(200)], 1)
        points.kill({"s": list(range(0, 50, 3))}, 2)
        runs = np.array([[5, 5], [9, 30]])
        for version, alive in ((0, media < 0), (1, media >= 0), (2, media % 3 > 0)):
            for conditions, passes in (
                ([], media >= 0),
                ([among(runs)], (media == 5) | ((media >= 9) & (media <= 30))),
            ):
                found = points.nearest("s", queries, 20, version, conditions)
                for own, each in zip(plain, found, strict=True):
                    able = np.flatnonzero(alive & passes)
                    wanted = able[np.argsort(-own[able])][:20]
                    assert len(each.segments) == len(wanted)
                    assert set(each.segments.tolist()) <= set(able.tolist())
                    np.testing.assert_allclose(each.scores, own[each.segments], atol=error)
                    assert len(set(each.segments.tolist()) & set(wanted.tolist())) >= 0.9 * len(wanted)
        points.purge("s", 2)
        assert points.count("s", 2) == int((media % 3 > 0).sum())


def points_of(sizes: list[int]) -> list[Point]:
    """A point for each of these numbers of tokens."""
    row = np.zeros((1, 4), np.float16)
    return [
        Point(at, at, 1, row, np.repeat(row, size, axis=0), np.zeros(size, FACTS), (0, size))
        for at, size in enumerate(sizes)
    ]


@given(st.lists(st.integers(0, 30), max_size=40))
def test_points_travel_in_requests_of_some_size_and_in_order(sizes: list[int]) -> None:
    given_points = points_of(sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_points, "REQUEST_BYTES", 2_000)
        batches = list(_points.batches(given_points))
    assert [point for batch in batches for point in batch] == given_points
    for batch in batches:
        assert batch
        assert len(batch) == 1 or sum(map(_points.weight, batch)) <= 2_000
    for one, following in pairwise(batches):
        assert sum(map(_points.weight, [*one, following[0]])) > 2_000


def test_a_segment_that_no_request_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_points, "LARGEST_POINT", 500)
    store = qdrant.build()
    with pytest.raises(ValueError, match="cuts shorter segments"):
        store.add(entry("a"))
    assert held(store)["media"] == {}
    store.close()


# ------------------------------------------------------------------------------------------------------ over a network

FAULTS = [
    Fault(429, (("Retry-After", "0"),)),
    Fault(429),
    Fault(503),
    Fault(502, only="points"),
    Fault(0),
    Fault(0, after=True, only="points"),
    Fault(500, after=True, only="points"),
]
UNHEARD = Fault(0, after=True, only=r"clips\.[^/]+$")
"""A collection is made, and nobody hears of it."""


def test_a_busy_server_is_asked_again(server: Qdrant, tmp_path: Path, history: list[dict[str, Any]]) -> None:
    store = opened(server, tmp_path / "catalog")
    server.faults += [UNHEARD, UNHEARD]
    for number, change in enumerate(scribe.CHANGES, 1):
        server.faults += FAULTS[number % 3 :: 3]
        change(store)
        assert held(store) == history[number]
    assert server.faults == []
    store.close()


def test_a_slow_server_is_asked_again(server: Qdrant, tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / OPTIONS).write_text("timeout_s = 1\n")
    store = opened(server, folder)
    server.faults += [Fault(200, seconds=1.5, after=True, only="points")]
    store.add(entry("a"))
    assert server.faults == []
    assert list(held(store)["media"]) == ["a"]
    store.close()


def test_many_points_in_memory_bother_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalCollection, "LARGE_DATA_THRESHOLD", 1)
    monkeypatch.setattr(client_warnings, "SEEN_MESSAGES", set())
    store = qdrant.build()
    store.add(entry("a"))
    store.close()


def test_warnings_of_other_threads_are_left_as_they_are(
    server: Qdrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is hushed for a moment is hushed for the process, and two who do so may leave it hushed, or aloud."""

    def hushes(*_: object, **__: object) -> Never:
        raise AssertionError("it changes what warnings become")

    monkeypatch.setenv(API_KEY, "s3cret")
    with monkeypatch.context() as patch:
        patch.setattr(warnings, "catch_warnings", hushes)
        for store in (opened(server, tmp_path / "catalog"), qdrant.build()):
            store.add(entry("a"))
            store.close()


@pytest.mark.parametrize("point", ["qdrant-sent", "qdrant-marked", "store-add-written", "store-compact-written"])
def test_a_killed_writer_is_taken_back(
    point: str, server: Qdrant, tmp_path: Path, history: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for times in (2, 3):
        child = os.fork()
        if not child:
            try:
                os.environ["REELSEEK_CRASH_AT"] = f"{point}:{times}"
                scribe.carry_out(opened(server, tmp_path / "catalog"))
            finally:
                os._exit(3)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        store = opened(server, tmp_path / "catalog")
        assert held(store) in history
        store.close()
    store = opened(server, tmp_path / "catalog")
    scribe.carry_out(store)
    assert held(store) == history[-1]
    store.compact()
    assert list(store.problems()) == []
    store.close()


def test_a_server_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    with serving() as server:
        store = opened(server, tmp_path / "catalog")
        store.add(entry("a"))
        before = held(store)
        port = int(server.url.rpartition(":")[2])
    back = threading.Event()

    def restart() -> None:
        with serving(port, server):
            back.wait()

    thread = threading.Thread(target=restart)
    later = threading.Timer(0.2, thread.start)
    later.start()
    try:
        assert held(store) == before
        store.add(entry("b"))
        assert list(held(store)["media"]) == ["a", "b"]
    finally:
        later.join()
        back.set()
        thread.join()
        store.close()


def one_line(raised: pytest.ExceptionInfo[Exception]) -> str:
    (line,) = str(raised.value).splitlines()
    return line


def test_a_server_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"http://127.0.0.1:{taken.getsockname()[1]}/clips"
        with pytest.raises(StoreUnavailable, match="cannot be reached") as raised:
            qdrant.build(place, catalog=tmp_path / "catalog")
        assert place in one_line(raised)
        assert not (tmp_path / "catalog").exists()
        assert qdrant.problems(place, tmp_path / "catalog") == [one_line(raised)]


def test_a_server_that_stays_away_ends_the_patience(server: Qdrant, tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    opened(server, folder).close()
    (folder / OPTIONS).write_text("patience_s = 1\ntimeout_s = 1\n")
    store = opened(server, folder)
    before = held(store)
    server.faults += [Fault(503)] * 10_000
    with pytest.raises(StoreUnavailable, match="did not answer for 1 s") as raised:
        store.add(entry("a"))
    assert "503" in one_line(raised)
    server.faults.clear()
    assert held(store) == before
    store.add(entry("a"))
    assert list(held(store)["media"]) == ["a"]
    store.close()


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_catalog_waits_once_for_all_that_dies(
    server: Qdrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(server, tmp_path / "catalog")
    store.add(entry("a"))
    before, clock = held(store), Clock()
    monkeypatch.setattr(_points, "time", clock)
    monkeypatch.setattr(_points, "_LONGEST_PAUSE", 1.0)
    slow, gone = sorted([SEEN.id, HEARD.id])
    server.faults += [Fault(503, only=f"{slow}/points/batch")] * 20
    server.faults += [Fault(503, only=f"{gone}/points/batch")] * 200
    with pytest.raises(StoreUnavailable, match="did not answer"):
        store.delete(["a"])
    assert clock.now <= _points.PATIENCE_INSIDE
    assert not [fault for fault in server.faults if slow in fault.only], "it did answer, late"
    server.faults.clear()
    assert held(store) == before
    assert store.delete(["a"]) == 1
    store.close()


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault(403), StoreUnavailable, API_KEY),
        (Fault(507), DiskFull, "make room"),
        (Fault(422), StoreError, "answers 422"),
        (Fault(200), StoreUnavailable, "does not answer as Qdrant does"),
    ],
)
def test_a_server_that_refuses_is_not_asked_again(
    server: Qdrant, tmp_path: Path, fault: Fault, error: type[Exception], words: str
) -> None:
    store = opened(server, tmp_path / "catalog")
    server.faults += [replace(fault, only="exists")]
    with pytest.raises(error, match=words) as raised:
        store.add(entry("a"))
    assert f"{server.url}/clips" in one_line(raised)
    assert server.faults == []
    store.close()


def test_a_key_is_sent_and_never_shown(
    server: Qdrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.wanted_key = "s3cret"
    with pytest.raises(StoreUnavailable, match=API_KEY):
        opened(server, tmp_path / "catalog")
    monkeypatch.setenv(API_KEY, "wr0ng")
    with pytest.raises(StoreUnavailable, match="refuses the key") as raised:
        opened(server, tmp_path / "catalog")
    assert "wr0ng" not in one_line(raised)
    monkeypatch.setenv(API_KEY, "s3cret")
    store = opened(server, tmp_path / "catalog")
    store.add(entry("a"))
    store.close()
    assert server.keys == {"", "wr0ng", "s3cret"}
    assert "s3cret" not in "".join(capsys.readouterr())


# ------------------------------------------------------------------------------------------------ whose points they are


def test_two_catalogs_never_write_the_same_points(server: Qdrant, tmp_path: Path) -> None:
    store = opened(server, tmp_path / "one")
    store.add(entry("a"))
    with pytest.raises(StoreUnavailable, match="its catalog elsewhere") as raised:
        opened(server, tmp_path / "two")
    assert "--store-catalog" in one_line(raised)
    assert not (tmp_path / "two").exists()
    qdrant.build(f"{server.url}/others", catalog=tmp_path / "two").close()
    with pytest.raises(StoreUnavailable, match="another catalog"):
        opened(server, tmp_path / "two")
    local.build(tmp_path / "three").add(entry("z"))
    with pytest.raises(StoreUnavailable, match="library of its own"):
        qdrant.build(f"{server.url}/more", catalog=tmp_path / "three")
    with pytest.raises(StoreUnavailable, match="catalog of a library in Qdrant"):
        local.build(tmp_path / "one")
    assert list(held(store)["media"]) == ["a"]
    store.close()


def test_points_that_are_gone_are_missed(server: Qdrant, tmp_path: Path) -> None:
    store = opened(server, tmp_path / "catalog")
    for key in "ab":
        store.add(entry(key))
    store.close()
    place, folder = f"{server.url}/clips", tmp_path / "catalog"
    assert qdrant.problems(place, folder) == []
    server.client.delete(f"clips.{SEEN.id}", [4])
    assert [line.partition(":")[0] for line in qdrant.problems(place, folder)] == ["/clips/b.mp4"]
    server.client.delete_collection(f"clips.{SEEN.id}")
    (line,) = qdrant.problems(place, folder)
    assert f"no collection of {SEEN.id}" in line
    server.client.delete_collection("clips")
    with pytest.raises(StoreUnavailable, match="nothing is left"):
        opened(server, tmp_path / "catalog")


def test_there_is_no_library_unless_one_is_made(server: Qdrant, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="reelseek index FILES --library"):
        opened(server, tmp_path / "catalog", create=False)
    assert not (tmp_path / "catalog").exists()
    opened(server, tmp_path / "catalog").close()
    opened(server, tmp_path / "catalog", create=False).close()


def test_an_older_catalog_is_upgraded(server: Qdrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, place = tmp_path / "catalog", f"{server.url}/clips"
    store = opened(server, folder)
    store.add(entry("a"))
    store.close()
    now = _format.current()
    newest = (*_format.migrations(), (now + 1, scribe.NEXT_MIGRATION))
    monkeypatch.setattr(_format, "migrations", lambda: newest)
    with pytest.raises(WrongFormat, match=f"run reelseek upgrade --library {place}$"):
        opened(server, folder)
    assert qdrant.upgrade(place, folder) == now
    store = opened(server, folder)
    assert list(held(store)["media"]) == ["a"]
    store.close()


def test_a_collection_of_something_else_is_refused(server: Qdrant, tmp_path: Path) -> None:
    from qdrant_client import models

    store = opened(server, tmp_path / "catalog")
    other = models.VectorParams(size=3, distance=models.Distance.COSINE)
    server.client.create_collection(f"clips.{SEEN.id}", {"rows": other})
    with pytest.raises(StoreError, match="something else made it"):
        store.add(entry("a"))
    with store.snapshot() as snapshot, pytest.raises(SpaceMismatch, match="no space"):
        snapshot.nearest(directions(1, 0), SEEN.id, 1)
    store.close()


# ------------------------------------------------------------------------------------------------------------- answers


def test_questions_get_the_same_answers_as_of_a_local_library(
    server: Qdrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = calibration.background()
    few = calibration.Background(whole.sentences[::29], whole.modalities[::29])
    monkeypatch.setattr(calibrating, "background", lambda: few)
    questions = ("parrot branch", "piano concert", "never do it for free", "a parrot then a crowd", "xylophone")
    wheres = (EVERYTHING, Filter(without=frozenset({"parrot", "tower"})))
    found: list[list[Moment]] = []
    for store in (local.build(tmp_path / "library"), opened(server, tmp_path / "catalog")):
        for each in (*ZOO, media("gone", seen=[(10, "parrot branch")])):
            store.add(each)
        store.delete(["gone"])
        searcher = Searcher(store, Words())
        answers = [searcher.search(each, where=where, min_confidence=0.3) for each in questions for where in wheres]
        found.append([moment for answer in answers for moment in (*answer, *answer.misses)])
        store.close()
    ours, theirs = found
    assert [told(moment) for moment in ours] == [told(moment) for moment in theirs]
    assert len(ours) > len(questions)
    for measure in ("score", "confidence"):
        pairs = np.array([[getattr(moment, measure) for moment in each] for each in found])
        np.testing.assert_allclose(pairs[0], pairs[1], atol=1e-3)


def told(moment: Moment) -> tuple[Any, ...]:
    return moment.ref, [(each.modality, each.space, each.spans, each.words) for each in moment.evidence]


# ------------------------------------------------------------------------------------------------ addresses and options


@pytest.mark.parametrize(
    ("place", "read"),
    [
        ("http://localhost/clips", ("http://localhost:6333", "clips")),
        ("https://vectors.example:443/a-b_C9/", ("https://vectors.example:443", "a-b_C9")),
        ("http://[::1]:7000/clips", ("http://[::1]:7000", "clips")),
        ("https://proxy.example/behind/it/clips", ("https://proxy.example:6333/behind/it", "clips")),
        (Path("http://host:6333/clips"), ("http://host:6333", "clips")),
    ],
)
def test_an_address_is_read(place: str | Path, read: tuple[str, str]) -> None:
    address = Address.parse(place)
    assert (address.server, address.name) == read
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "place",
    [
        "clips",
        "ftp://host/clips",
        "http://host",
        "http://host/",
        "http://host/a.b",
        "http://host:x/clips",
        "http://host/clips?key=1",
        "http:///clips",
        "http://me:s3cret@host/clips",
        "http://me:a@s3cret@host/clips",
        "http://me:s3cret/a@host/clips",
        "http://host/clips?api_key=s3cret",
        "http://host/clips#s3cret",
        "http://host/ä",
    ],
)
def test_what_is_no_address_is_refused(place: str) -> None:
    with pytest.raises(StoreUnavailable, match="wants") as raised:
        Address.parse(place)
    assert "s3cret" not in one_line(raised)


def test_catalogs_lie_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    places = [
        "http://host/clips",
        "https://host/clips",
        "http://host:1/clips",
        "http://host/a/clips",
        "http://host/clip",
    ]
    folders = {Address.parse(place).catalog for place in places}
    assert len(folders) == len(places)
    assert {folder.parent for folder in folders} == {tmp_path / "reelseek" / "catalogs"}


def test_a_key_does_not_travel_in_the_clear() -> None:
    for place in ("https://host/clips", "http://localhost/clips", "http://127.0.0.1/clips", "http://[::1]/clips"):
        assert Address.parse(place).key({API_KEY: "s3cret"}) == "s3cret"
    assert Address.parse("http://host/clips").key({}) is None
    with pytest.raises(StoreUnavailable, match="in the clear") as raised:
        Address.parse("http://host/clips").key({API_KEY: "s3cret"})
    assert "s3cret" not in one_line(raised)


@pytest.mark.parametrize("vectors", [models.VectorParams(size=2, distance=models.Distance.DOT), {}])
@pytest.mark.parametrize("points", [0, 1])
def test_a_collection_of_something_else_is_left_alone(
    server: Qdrant, tmp_path: Path, vectors: models.VectorParams | dict[str, Any], points: int
) -> None:
    server.client.create_collection("clips", vectors_config=vectors)
    if points:
        server.client.upsert("clips", [models.PointStruct(id=5, vector=[1.0, 0.0] if vectors else {})])
    if not points and not vectors:  # what a crash leaves
        opened(server, tmp_path / "catalog").close()
    else:
        with pytest.raises(StoreUnavailable, match="something else made: name another library"):
            opened(server, tmp_path / "catalog")
        assert server.client.count("clips").count == points


def test_collections_are_made_as_the_options_say(server: Qdrant, tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / OPTIONS).write_text('shard_number = 6\nreplication_factor = 2\nquantisation = "int8"\non_disk = true\n')
    store = opened(server, folder)
    store.add(entry("a"))
    (ranking,) = held(store)["answers"][SEEN.id][:1]
    assert len(ranking) == 3
    store.close()
    assert sorted(server.made) == ["clips", f"clips.{HEARD.id}", f"clips.{SEEN.id}"]
    for each in server.made.values():
        spread = each["shard_number"], each["replication_factor"], each["write_consistency_factor"]
        assert spread == (6, 2, 2)
    rows = server.made[f"clips.{SEEN.id}"]["vectors"]["rows"]
    assert (rows["size"], rows["distance"], rows["datatype"]) == (SEEN.dimension, "Dot", "float32")
    assert rows["multivector_config"]["comparator"] == "max_sim"
    assert rows["quantization_config"]["scalar"]["type"] == "int8"
    assert rows["on_disk"]
    assert rows["hnsw_config"]["on_disk"]


def test_options_of_a_library_come_before_those_of_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    address = Address.parse("http://host/clips")
    address.catalog.mkdir(parents=True)
    assert Options.read(address.options(address.catalog)) == Options()
    (address.catalog.parent / OPTIONS).write_text("on_disk = true\n")
    for folder in (address.catalog, tmp_path / "elsewhere"):
        assert Options.read(address.options(folder)).on_disk
    (address.catalog / OPTIONS).write_text("shard_number = 2\n")
    assert Options.read(address.options(address.catalog)) == Options(shard_number=2)


def test_options_are_read(tmp_path: Path) -> None:
    file = tmp_path / OPTIONS
    assert Options.read(file) == Options()
    file.write_text('shard_number = 6\nreplication_factor = 2\nquantisation = "int8"\non_disk = true\n')
    assert Options.read(file) == Options(6, 2, 0, quantisation="int8", on_disk=True)
    file.write_text('shards = 6\nreplication_factor = 0\nquantisation = "int4"\non_disk = 1\ntimeout_s = true\n')
    with pytest.raises(BadSettings) as raised:
        Options.read(file)
    lines = str(raised.value).splitlines()
    assert [line.split(": ")[1].split(" ")[0] for line in lines] == [
        "shards",
        "replication_factor",
        "quantisation",
        "on_disk",
        "timeout_s",
    ]
    file.write_text("write_consistency_factor = 3\nreplication_factor = 2\n")
    with pytest.raises(BadSettings, match="no more than"):
        Options.read(file)
    file.write_text("= 3")
    with pytest.raises(BadSettings, match="not TOML"):
        Options.read(file)
