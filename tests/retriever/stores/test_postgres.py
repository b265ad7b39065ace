"""A catalog in PostgreSQL beyond what every store promises: several machines, sessions that are lost, servers that
crash, addresses and passwords."""

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import scribe
from end_to_end import index_child
from libraries import SEEN, contents, directions, entry, only
from nursery import Nursery
from postgres import PASSWORD, Postgres
from qdrants import Server as Qdrant
from qdrants import serving
from reels import write_reel

from retriever.errors import MissingExtra, StoreError, StoreLocked, StoreUnavailable, WrongFormat
from retriever.ports import Store
from retriever.stores import _format, _lock, _postgres, _server, _writer, local, memory, qdrant
from retriever.stores._address import CATALOG_PASSWORD
from retriever.stores._lock import COMPACTION, Work
from retriever.stores._postgres import Server, schema_of
from retriever.types import Filter

CHILD = Path(__file__).parent / "coordinator_child.py"
ROOTS = (CHILD.parents[3], CHILD.parents[2])
PLAIN = r"postgresql://reelseek@/\S+"


@pytest.fixture
def server() -> Iterator[Qdrant]:
    with serving() as made:
        yield made


Open = Callable[..., qdrant.QdrantStore]


@pytest.fixture
def machine(server: Qdrant, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open the library as a machine of this name does: with a data folder of its own."""
    made: list[qdrant.QdrantStore] = []

    def opened(name: str = "a", **options: Any) -> qdrant.QdrantStore:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / name))
        made.append(qdrant.build(f"{server.url}/clips", catalog=postgres.place, **options))
        return made[-1]

    yield opened
    for store in made:
        store.close()
    postgres.clear()


def held(store: Store) -> dict[str, Any]:
    with store.snapshot() as snapshot:
        return contents(snapshot)


def plain(*keys: tuple[str, int]) -> dict[str, Any]:
    """What a library holds that got these media undisturbed."""
    with closing(memory.build()) as store:
        for key, seed in keys:
            store.add(entry(key, seed))
        return held(store)


def one_line(raised: pytest.ExceptionInfo[Exception]) -> str:
    (line,) = str(raised.value).splitlines()
    return line


# -------------------------------------------------------------------------------------------------- several machines


def child(server: Qdrant, postgres: Postgres, home: Path, what: str, *words: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CHILD), what, f"{server.url}/clips", postgres.place, *words],
        env={**os.environ, "XDG_DATA_HOME": str(home), "PYTHONPATH": ":".join(map(str, ROOTS)), **env},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_machines_write_and_search_one_library(
    machine: Open, server: Qdrant, postgres: Postgres, tmp_path: Path
) -> None:
    reader = machine("c")
    writers = [child(server, postgres, tmp_path / name, "add", name, "4") for name in "ab"]
    seen = []
    while any(writer.poll() is None for writer in writers):
        with reader.snapshot() as snapshot:
            numbers = snapshot.numbers().tolist()
            seen.append(len(snapshot.media()))
            if SEEN.id in snapshot.spaces:
                (ranking,) = snapshot.nearest(directions(1, 5), SEEN.id, 1000)
                assert sorted(ranking.segments.tolist()) == numbers
                spans = snapshot.segments(snapshot.numbers(only("shared"))).spans
                assert sorted(spans[:, 0].tolist()) == spans[:, 0].tolist()
    told = [int(writer.communicate()[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert max(told) == 9
    assert seen == sorted(seen)
    wanted = [(f"{name}{seed}", seed) for name in "ab" for seed in range(4)]
    with closing(memory.build()) as undisturbed:
        for key, seed in wanted:
            undisturbed.add(entry(key, seed))
        undisturbed.add(entry("shared", 3, segments=6))
        assert held(reader) == held(undisturbed)
    assert list(reader.problems()) == []
    assert held(machine("d")) == held(reader)


@pytest.fixture
def reels(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for at, colours in enumerate((("red", "blue", "green"), ("green", "black"), ("blue",), ("white", "red"))):
        write_reel(folder / f"{at}.synthetic", *colours)
    return folder


def indexed(reels: Path, folder: Path) -> dict[str, Any]:
    """What a library in a folder holds of them, with nobody else at it."""
    with closing(local.build(folder)) as store:
        index_child.index(store, [reels])
        return held(store)


def test_two_machines_index_one_folder(
    machine: Open, server: Qdrant, postgres: Postgres, tmp_path: Path, reels: Path
) -> None:
    writers = [child(server, postgres, tmp_path / name, "index", str(reels)) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    for writer in writers:
        writer.communicate()
    store = machine("c")
    assert held(store) == indexed(reels, tmp_path / "undisturbed")
    assert list(store.problems()) == []
    assert store.catalog.leased() == {}


def test_a_server_that_crashes_while_somebody_indexes_loses_nothing(
    machine: Open, server: Qdrant, postgres: Postgres, tmp_path: Path, reels: Path
) -> None:
    store = machine("c")
    with child(server, postgres, tmp_path / "a", "index", str(reels)) as writer:
        wait_for(lambda: held(store)["media"] != {} or writer.poll() is not None)
        postgres.crash()
        postgres.start()
        writer.wait()
    with child(server, postgres, tmp_path / "b", "index", str(reels)) as writer:
        assert writer.wait() == 0
    assert held(store) == indexed(reels, tmp_path / "undisturbed")
    assert list(store.problems()) == []


def test_what_one_machine_commits_the_others_see_at_once(machine: Open) -> None:
    one, two = machine("a"), machine("b")
    one.add(entry("a"))
    assert held(two) == held(one) == plain(("a", 0))
    two.add(entry("b"))
    assert two.delete(["a"]) == 1
    assert held(one) == held(two)
    one.compact()
    assert list(held(two)["media"]) == ["b"]
    one.catalog.set_recipe("r", "{}")
    assert two.catalog.recipe() == ("r", "{}")
    assert one.catalog.claim("me", "t", "asked") is None
    assert two.catalog.claim("me", "t", "asked") == ("asked", "")


def test_dead_points_wait_for_readers_elsewhere(machine: Open, server: Qdrant) -> None:
    one, two = machine("a"), machine("b")
    for key in "ab":
        one.add(entry(key))
    with two.snapshot() as snapshot:
        before = contents(snapshot)
        one.delete(["a"])
        one.compact()
        one.refresh()
        assert contents(snapshot) == before
    one.refresh()
    points, _ = server.client.scroll(f"clips.{SEEN.id}", limit=100)
    assert {(point.payload or {})["media"] for point in points} == {2}


def test_who_holds_the_lock_is_told(machine: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = machine("a"), machine("b")
    monkeypatch.setattr(_lock, "COMMIT", Work("a commit", 0.05))
    monkeypatch.setattr(_writer, "COMMIT", Work("a commit", 0.05))
    with one.lock.held(COMPACTION):
        assert two.catalog.lease("job", "x:1:2", 60)  # leases go on beside long work
        with pytest.raises(StoreLocked, match=rf"compaction of process {os.getpid()} on .* since 2\d{{3}}-") as raised:
            two.add(entry("a"))
        assert "run it again" in one_line(raised)
        with pytest.raises(StoreLocked, match="another thread of this process"):
            one.add(entry("a"))
    two.add(entry("a"))


def test_a_lease_ends_with_its_holder_on_whatever_machine(
    machine: Open, server: Qdrant, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_postgres, "RETURN_S", 0.0)
    store = machine()
    with child(server, postgres, tmp_path / "b", "hold") as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert store.catalog.leased() == {"job": "another-host:1:2"}
        assert not store.catalog.lease("job", "me:1:1", 60)
        other.kill()
    wait_for(lambda: store.catalog.leased() == {})
    assert store.catalog.lease("job", "me:1:1", 60)


def test_leases_outlast_a_restart_of_the_server(machine: Open, postgres: Postgres) -> None:
    """Who holds one may be at work, and come back two minutes later."""
    one, two = machine("a"), machine("b")
    assert one.catalog.lease("job", "another-host:1:2", 600)
    postgres.crash()
    postgres.start()
    assert not two.catalog.lease("job", "me:1:1", 60)
    assert one.catalog.lease("job", "another-host:1:2", 600)


def wait_for(done: Callable[[], bool]) -> None:
    """A server takes a moment to see that somebody went."""
    for _ in range(500):
        if done():
            return
        subprocess.run(["sleep", "0.02"], check=True)
    raise AssertionError("it did not come to that")


@pytest.mark.parametrize("point", ["qdrant-sent:2", "store-add-written:2", "qdrant-marked:1", "store-create-written"])
def test_what_a_killed_coordinator_began_is_taken_back(
    point: str, machine: Open, server: Qdrant, postgres: Postgres, nursery: Nursery, tmp_path: Path
) -> None:
    words = ("add", f"{server.url}/clips", postgres.place, "b", "2")
    home = str(tmp_path / "b")
    code, said = nursery.run(CHILD, *words, crash_at=point, XDG_DATA_HOME=home)
    assert code == -9, said
    store = machine()
    store.add(entry("c", 7))
    assert set(held(store)["media"]) <= {"b0", "b1", "shared", "c"}
    assert "c" in held(store)["media"]
    assert list(store.problems()) == []
    code, said = nursery.run(CHILD, *words, XDG_DATA_HOME=home)
    assert code == 0, said
    assert list(held(store)["media"]) == ["b0", "b1", "c", "shared"]
    assert list(store.problems()) == []


# ------------------------------------------------------------------------------------------------ sessions and crashes


@pytest.mark.parametrize("when", ["appended", pytest.param("written", marks=pytest.mark.slow)])
def test_without_the_lock_nothing_is_sent_and_nothing_committed(
    when: str, machine: Open, server: Qdrant, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator ends the session that has the lock, and another machine goes on."""
    one, two = machine("a"), machine("b")
    one.add(entry("a"))
    asked: list[int] = []

    def reached(name: str) -> None:
        if name == f"store-add-{when}" and not asked:
            asked.append(0)
            postgres.disconnect("a commit|%")
            two.add(entry("b", 5))
            asked.append(len(server.asked))

    monkeypatch.setattr(_writer, "reached", reached)
    with pytest.raises(StoreUnavailable, match=r"lost|does not answer") as raised:
        one.add(entry("c", 1))
    assert PASSWORD not in one_line(raised)
    assert len(server.asked) == asked[1], "it went on"
    assert held(one) == held(two) == plain(("a", 0), ("b", 5))
    one.add(entry("c", 1))
    assert held(two) == plain(("a", 0), ("b", 5), ("c", 1))
    assert list(two.problems()) == []


def test_a_writer_that_lost_the_lock_is_waited_for(
    machine: Open, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request of it may be on its way, as long as its process lives."""
    one, two = machine("a"), machine("b")
    one.add(entry("a"))
    waited: list[float] = []
    monkeypatch.setattr(_server, "sleep", waited.append)
    two.add(entry("b"))
    assert set(waited) <= {0.0}

    def lost(*_: object) -> None:
        postgres.disconnect("a commit|%")

    monkeypatch.setattr(one.points, "put", lost)
    with pytest.raises(StoreUnavailable):
        one.add(entry("c"))
    two.add(entry("d"))
    assert waited[-1] == 65.0
    assert list(held(two)["media"]) == ["a", "b", "d"]


POINTS = ["locked", "appended", "synced", "written", "committed"]


@pytest.mark.parametrize("point", POINTS)
def test_a_server_that_crashes_in_a_commit_loses_nothing(
    point: str, machine: Open, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = machine()
    store.add(entry("a", 0))
    crashed: list[str] = []

    def reached(name: str) -> None:
        if name == f"store-add-{point}" and not crashed:
            crashed.append(name)
            postgres.crash()
            postgres.start()

    monkeypatch.setattr(_writer, "reached", reached)
    with suppress(StoreUnavailable):
        store.add(entry("a", 1))
    assert crashed
    assert held(store) in (plain(("a", 0)), plain(("a", 1)))
    store.add(entry("a", 1))
    store.add(entry("b", 2))
    assert held(store) == plain(("a", 1), ("b", 2))
    assert list(store.problems()) == []
    store.compact()
    assert held(store) == plain(("a", 1), ("b", 2))


def test_sessions_that_end_at_any_time_cost_nothing_but_tries(
    machine: Open, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_server, "sleep", lambda seconds: time.sleep(min(seconds, 0.3)))
    stores = {name: machine(name) for name in "abc"}
    wrong: list[str] = []

    def tried(what: Callable[[], object]) -> None:
        for _ in range(500):
            with suppress(StoreUnavailable):
                what()
                return
        wrong.append("it gave up")

    def write(name: str) -> None:
        for seed in range(6):
            tried(lambda seed=seed: stores[name].add(entry(f"{name}{seed % 3}", seed)))

    def look() -> None:
        with stores["c"].snapshot() as snapshot:
            if SEEN.id in snapshot.spaces:
                (ranking,) = snapshot.nearest(directions(1, 5), SEEN.id, 1000)
                if sorted(ranking.segments.tolist()) != snapshot.numbers().tolist():
                    wrong.append("it saw a part of something")

    writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for writer in writers:
        writer.start()
    dice, rest = random.Random(4), 0.3
    while any(writer.is_alive() for writer in writers):
        tried(look)
        postgres.disconnect(dice.choice(["a commit|%", "%", "reelseek"]))
        time.sleep(dice.uniform(0.05, rest))
        rest *= 1.05  # on a busy machine a commit takes longer than its session would ever live
    assert wrong == []
    wanted = [(f"{name}{seed % 3}", seed) for name in "ab" for seed in range(6)]
    tried(lambda: held(stores["c"]))
    assert held(stores["c"]) == plain(*wanted)
    assert list(stores["c"].problems()) == []


def test_a_server_that_is_gone_is_one_line_and_is_found_again(machine: Open, postgres: Postgres) -> None:
    store = machine()
    store.add(entry("a"))
    with store.snapshot() as snapshot:
        postgres.crash()
        try:
            with pytest.raises(StoreUnavailable, match=f"{PLAIN} does not answer") as raised:
                snapshot.media()
            one_line(raised)
            for asks in (store.catalog.runs, lambda: store.add(entry("b")), lambda: held(store), machine):
                with pytest.raises(StoreUnavailable, match=f"{PLAIN} does not answer") as raised:
                    asks()
                assert "run the same again" in one_line(raised)
        finally:
            postgres.start()
        with pytest.raises(StoreUnavailable):
            snapshot.media()  # what it showed is gone with its transaction
    assert held(store) == plain(("a", 0))
    store.add(entry("b", 0))
    assert held(machine("b")) == plain(("a", 0), ("b", 0))


# -------------------------------------------------------------------------------------------------- what a machine has


def test_the_copy_of_the_segment_table_is_derived(machine: Open, tmp_path: Path) -> None:
    store = machine()
    for seed, key in enumerate("abc"):
        store.add(entry(key, seed))
    wanted = held(store)
    folder = store.folder
    assert {each.name for each in folder.iterdir()} >= {"segments.json"}
    store.close()
    note = folder / "segments.json"
    for damage in ("{", json.dumps({**json.loads(note.read_text()), "chain": "00"})):
        note.write_text(damage)
        again = machine()
        assert held(again) == wanted
        again.close()
        assert len(list(folder.glob("segments-*.rows"))) == 1
    shutil.rmtree(folder)
    assert held(machine()) == wanted


def test_a_catalog_of_the_past_takes_out_what_came_since(machine: Open, postgres: Postgres, tmp_path: Path) -> None:
    """As docs/qdrant.md says it for one that was restored from a dump."""
    store = machine()
    store.add(entry("a", 0))
    dump = tmp_path / "dump.sql"
    with dump.open("wb") as file:
        subprocess.run([postgres.bin / "pg_dump", f"--dbname={postgres.place}"], stdout=file, check=True)
    for key, seed in (("a", 1), ("b", 2), ("c", 3)):
        store.add(entry(key, seed))
    store.close()
    postgres.clear()
    subprocess.run(
        [postgres.bin / "psql", f"--dbname={postgres.place}", "-q", "-v", "ON_ERROR_STOP=1", f"--file={dump}"],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    postgres.ask(f"INSERT INTO \"{schema_of('clips')}\".unsettled VALUES (1, '', '', 0)")
    store = machine()
    store.add(entry("d", 4))
    assert held(store) == plain(("a", 0), ("d", 4))
    assert list(store.problems()) == []
    store.compact()
    assert held(machine("b")) == held(store)


def test_an_older_catalog_is_upgraded(machine: Open, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    store = machine()
    store.add(entry("a"))
    place, now = store.points.place, _format.current()
    newest = (*_format.migrations(), (now + 1, scribe.NEXT_MIGRATION))
    monkeypatch.setattr(_format, "migrations", lambda: newest)
    with pytest.raises(WrongFormat, match=f"run reelseek upgrade --library {place}$"):
        machine()
    assert qdrant.upgrade(place, postgres.place) == now
    assert qdrant.upgrade(place, postgres.place) == now + 1
    assert list(held(machine())["media"]) == ["a"]
    monkeypatch.setattr(_format, "migrations", lambda: newest[:-1])
    with pytest.raises(WrongFormat, match="or newer"):
        qdrant.upgrade(place, postgres.place)


def test_one_catalog_a_library(machine: Open, server: Qdrant, postgres: Postgres, tmp_path: Path) -> None:
    machine().add(entry("a"))
    with pytest.raises(StoreUnavailable, match="its catalog elsewhere") as raised:
        qdrant.build(f"{server.url}/clips", catalog=tmp_path / "folder")
    assert "--store-catalog" in one_line(raised)
    with serving() as another, pytest.raises(StoreUnavailable, match="nothing is left at"):
        qdrant.build(f"{another.url}/clips", catalog=postgres.place)
    with pytest.raises(StoreUnavailable, match="there is no library"):
        qdrant.build(f"{server.url}/none", catalog=postgres.place, create=False)
    assert postgres.ask("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'reelseek%'") == [(1,)]
    with pytest.raises(StoreUnavailable, match="nothing to upgrade"):
        qdrant.upgrade(f"{server.url}/none", postgres.place)
    with closing(qdrant.build(f"{server.url}/more", catalog=postgres.place)) as other:
        assert held(other) == plain()


def test_what_no_text_of_a_catalog_holds_is_found_nowhere(machine: Open) -> None:
    store = machine()
    store.add(entry("a"))
    for where in (
        Filter(tags=frozenset({"\0"})),
        Filter(media=frozenset({"\0", "\udcff"})),
        Filter(path="*\0*"),
    ):
        with store.snapshot() as snapshot:
            assert list(snapshot.media(where)) == []
    with store.snapshot() as snapshot:
        assert len(snapshot.media(Filter(without=frozenset({"\0"})))) == 1
        with pytest.raises(ValueError, match="cannot keep this"):
            snapshot.media(Filter(collection="\0"))
        assert len(snapshot.media()) == 1


def test_a_database_that_may_lose_commits_is_told(machine: Open, postgres: Postgres) -> None:
    store = machine()
    postgres.ask("ALTER SYSTEM SET fsync TO off")
    postgres.ask("SELECT pg_reload_conf()")
    try:
        wait_for(lambda: any("fsync off" in line for line in store.problems()))
    finally:
        postgres.ask("ALTER SYSTEM RESET fsync")
        postgres.ask("SELECT pg_reload_conf()")
    wait_for(lambda: list(store.problems()) == [])


# --------------------------------------------------------------------------------------------- addresses and passwords


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("postgresql://me@db.example/reels", "postgresql://me@db.example/reels"),
        ("postgres://me@db.example:5433/reels?sslmode=verify-full", "postgresql://me@db.example:5433/reels"),
        ("postgresql://me@one,two:5433/reels", "postgresql://me@one,two:5433/reels"),
        ("postgresql:///reels?host=/run/postgresql", "postgresql:///run/postgresql/reels"),
    ],
)
def test_an_address_is_read(address: str, place: str) -> None:
    assert Server.parse(address, "clips", {}).place == place


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:s3cret@host/reels",
        "postgresql://me:a@s3cret@host/reels",
        "postgresql://me@host/reels?password=s3cret",
        "postgresql://me@host/reels?options=-csearch_path%3Ds3cret",
        "postgresql://me@host:x/reels",
        "postgresql://me@host",
        "postgresql://[host/reels",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(StoreUnavailable, match="is no address of a catalog in PostgreSQL") as raised:
        Server.parse(address, "clips", {})
    assert "s3cret" not in one_line(raised)
    assert raised.value.__cause__ is None


def test_a_password_goes_to_other_machines_behind_tls() -> None:
    given = {CATALOG_PASSWORD: PASSWORD}
    assert Server.parse("postgresql://me@db.example/reels", "clips", given).asked["sslmode"] == "require"
    assert (
        Server.parse("postgresql://me@db.example/reels?sslmode=disable", "clips", given).asked["sslmode"] == "disable"
    )
    for here in ("localhost", "127.0.0.1", ""):
        assert "sslmode" not in Server.parse(f"postgresql://me@{here}/reels", "clips", given).asked
    assert "password" not in Server.parse("postgresql://me@db.example/reels", "clips", {}).asked


def test_a_password_is_used_and_never_shown(
    server: Qdrant,
    postgres: Postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv(CATALOG_PASSWORD, raising=False)
    place = f"{server.url}/clips"
    with pytest.raises(StoreUnavailable, match="password") as raised:
        qdrant.build(place, catalog=postgres.far)
    one_line(raised)
    monkeypatch.setenv(CATALOG_PASSWORD, "wr0ng")
    with pytest.raises(StoreUnavailable, match="authentication failed") as raised:
        qdrant.build(place, catalog=postgres.far)
    assert "wr0ng" not in one_line(raised)
    monkeypatch.setenv(CATALOG_PASSWORD, PASSWORD)
    with closing(qdrant.build(place, catalog=postgres.far)) as store:
        store.add(entry("a"))
        assert held(store) == plain(("a", 0))
        kept = postgres.ask(f'SELECT * FROM "{schema_of("clips")}".library')
        assert PASSWORD not in str(kept) + str(postgres.ask("SELECT * FROM pg_stat_activity")) + store._ground.place
    assert PASSWORD not in "".join(capsys.readouterr())
    postgres.clear()


def test_a_client_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("retriever.stores._postgres", "retriever.stores._server"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"pip install 'reelseek\[postgres\]'") as raised:
        qdrant.build("http://127.0.0.1:9/clips", catalog="postgresql://me@127.0.0.1/reels")
    one_line(raised)


def test_long_names_have_schemas_of_their_own() -> None:
    names = ["clips", "Clips", "x" * 100, "x" * 99, f"{'x' * 99}y"]
    schemas = {schema_of(name) for name in names}
    assert len(schemas) == len(names)
    assert max(map(len, schemas)) <= 63


def test_a_folder_is_no_place_for_it(tmp_path: Path) -> None:
    """A library in a folder has its own catalog, whatever is said of those in Qdrant."""
    with closing(local.build(tmp_path / "lib")) as store:
        assert held(store) == plain()
    with pytest.raises(StoreError):
        qdrant.build("http://127.0.0.1:9/clips", catalog="postgresql://me@127.0.0.1:9/reels")
