"""What every store promises, run over all that are found."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import libraries
import numpy as np
import pytest
from engines import Engine
from libraries import HEARD, NEW, OLD, SEEN, SEEN_AGAIN, contents, directions, entry, more, only
from postgres import Postgres
from qdrants import Server, serving

from retriever import processes
from retriever.errors import BadSettings, NoSuchMedia, SpaceMismatch, WrongRecipe
from retriever.notices import Delivery, DeliveryState, Hook, Kind
from retriever.ports import Snapshot, Store
from retriever.quotas import Deposit, Quota, Use, Whose
from retriever.registry import Registry
from retriever.stores import qdrant
from retriever.stores._postgres import PostgresDatabase
from retriever.types import (
    EVERYTHING,
    ApiKey,
    Entry,
    FileStat,
    Filter,
    Line,
    MediaKind,
    Metadata,
    Modality,
    Quarantined,
    Ranking,
    RunRecord,
    RunState,
    Searched,
    Segment,
    SegmentVectors,
    TimeSpan,
    Tokens,
    Wish,
    WordQuery,
)

STORES = Registry("retriever.stores")
FOX = WordQuery(("fox",))


SERVER = os.environ.get("REELSEEK_QDRANT_URL", "")
"""Of a real Qdrant that these tests may write to, below names of their own."""
OVER_HTTP, ON_A_SERVER = "qdrant over http", "qdrant on a server"
IN_POSTGRES = "qdrant and postgres"


@pytest.fixture(params=[*STORES.names(), OVER_HTTP, IN_POSTGRES, *([ON_A_SERVER] if SERVER else [])])
def name(request: pytest.FixtureRequest) -> str:
    if request.param == IN_POSTGRES:
        request.getfixturevalue("in_postgres")
    return str(request.param)


@pytest.fixture
def in_postgres(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("REELSEEK_STORE_CATALOG", postgres.place)
    yield
    postgres.clear()


@contextmanager
def opened(name: str, folder: Path) -> Iterator[Store]:
    """An empty library.  One in Qdrant is in the client's own engine, or in that of a server, over HTTP; its catalog
    is in SQLite, or in PostgreSQL."""
    if name == IN_POSTGRES:
        with (
            serving() as server,
            closing(qdrant.build(f"{server.url}/{folder.name}", catalog=os.environ["REELSEEK_STORE_CATALOG"])) as made,
        ):
            yield made
    elif name == OVER_HTTP:
        with (
            closing(Engine()) as engine,
            serving(server=Server(engine)) as server,
            closing(qdrant.build(f"{server.url}/clips", catalog=folder)) as made,
        ):
            yield made
    elif name == ON_A_SERVER:
        with closing(qdrant.build(f"{SERVER.rstrip('/')}/tests-{uuid4().hex}", catalog=folder)) as made:
            try:
                yield made
            finally:
                made.points.clear()
    else:
        with closing(STORES.load(name).build(":memory:" if name == "qdrant" else folder)) as made:
            yield made


@pytest.mark.skipif(not SERVER, reason="no Qdrant server: set REELSEEK_QDRANT_URL to the address of one")
def test_all_of_this_holds_on_a_real_server() -> None:
    version = qdrant.Points.at(
        qdrant.Address.parse(f"{SERVER}/tests"), os.environ.get(qdrant.API_KEY), qdrant.Options()
    )
    assert version.version()


@pytest.fixture
def store(name: str, tmp_path: Path) -> Iterator[Store]:
    with opened(name, tmp_path / "library") as made:
        yield made


@pytest.fixture
def other(name: str, tmp_path: Path) -> Iterator[Store]:
    with opened(name, tmp_path / "other") as made:
        yield made


def held(store: Store) -> dict[str, object]:
    with store.snapshot() as snapshot:
        return contents(snapshot)


def keys(snapshot: Snapshot, where: Filter = EVERYTHING) -> list[str]:
    return sorted(media.key for media in snapshot.media(where))


# ------------------------------------------------------------------------------------------------------- in and out


def test_what_goes_in_comes_out(store: Store) -> None:
    given = {key: entry(key, seed) for seed, key in enumerate("abc")}
    for each in given.values():
        store.add(each)
    with store.snapshot() as snapshot:
        assert list(snapshot.media()) == [given[key].media for key in "abc"]
        assert snapshot.spaces == libraries.SPACES
        for key, each in given.items():
            numbers = snapshot.numbers(only(key))
            table = snapshot.segments(numbers)
            assert table.segments.tolist() == numbers.tolist()
            assert [TimeSpan(*span) for span in table.spans.tolist()] == [cut.span for cut in each.segments]
            assert {media.key for media in snapshot.media_at(table.media)} == {key}
            assert [line for lines in snapshot.lines(numbers) for line in lines] == list(each.lines)
            for space, tokens in each.tokens.items():
                found = snapshot.tokens(numbers, space)
                assert found.offsets[-1] == len(found.rows) == len(tokens)
                np.testing.assert_array_equal(found.rows, tokens.rows.astype(np.float16))
                np.testing.assert_array_equal(found.spans, tokens.spans)
                np.testing.assert_array_equal(found.norms, tokens.norms)
                np.testing.assert_array_equal(found.probabilities, tokens.probabilities)
                assert tuple(found.labels) == tokens.labels


def test_an_empty_library_answers_nothing(store: Store) -> None:
    with store.snapshot() as snapshot:
        assert list(snapshot.media()) == []
        assert snapshot.spaces == {}
        assert len(snapshot.numbers()) == 0
        assert len(snapshot.matching(FOX, Modality.SPEECH, 10)) == 0
        assert snapshot.counts()["segments"] == 0
        assert snapshot.lines(np.zeros(0, np.int64)) == []


def test_tokens_come_in_the_order_that_is_asked_for(store: Store) -> None:
    for key in "abc":
        store.add(entry(key))
    with store.snapshot() as snapshot:
        numbers = snapshot.numbers()
        mixed = np.random.default_rng(0).permutation(np.concatenate([numbers, numbers[:2]]))
        together = snapshot.tokens(mixed, SEEN.id)
        lines = snapshot.lines(mixed)
        table = snapshot.segments(mixed)
        for at, number in enumerate(mixed):
            alone = np.array([number])
            lo, hi = together.offsets[at : at + 2]
            np.testing.assert_array_equal(together.rows[lo:hi], snapshot.tokens(alone, SEEN.id).rows)
            assert lines[at] == snapshot.lines(alone)[0]
            assert table.spans[at].tolist() == snapshot.segments(alone).spans[0].tolist()


def test_a_token_belongs_where_its_middle_lies(store: Store) -> None:
    rows = directions(4, 1)
    spans = np.array([[0.0, 1.0], [1.0, 3.0], [1.5, 3.0], [3.0, 4.0]])  # middles 0.5, 2, 2.25, 3.5
    store.add(
        Entry(
            replace(entry("a").media, duration=4.0),
            (Segment(TimeSpan(0, 2)), Segment(TimeSpan(2, 4))),
            {SEEN.id: SEEN},
            {SEEN.id: Tokens(rows, spans, np.ones(4, np.float32))},
            {},
            (
                Line(TimeSpan(0, 4), "in the second half", Modality.SPEECH, 1.0),
                Line(TimeSpan(0, 3.9), "in the first half", Modality.SPEECH, 1.0),
            ),
        )
    )
    with store.snapshot() as snapshot:
        numbers = snapshot.numbers()
        found = snapshot.tokens(numbers, SEEN.id)
        assert found.offsets.tolist() == [0, 1, 4]
        assert list(found.labels) == [()] * 4
        assert [[line.text for line in lines] for lines in snapshot.lines(numbers)] == [
            ["in the first half"],
            ["in the second half"],
        ]
        assert snapshot.matching(WordQuery(("first",)), Modality.SPEECH, 5).segments.tolist() == [numbers[0]]
        assert len(snapshot.nearest(rows, SEEN.id, 5)[0]) == 0  # it has no first-stage rows


def test_a_media_may_lack_a_space(store: Store) -> None:
    store.add(entry("both"))
    store.add(entry("seen", spaces=[SEEN]))
    store.add(entry("heard", spaces=[HEARD]))
    with store.snapshot() as snapshot:
        found = snapshot.tokens(snapshot.numbers(), HEARD.id)
        lengths = np.diff(found.offsets).reshape(3, 3).sum(axis=1)
        assert lengths[1] == 0 < min(lengths[0], lengths[2])
        table = snapshot.segments(snapshot.nearest(directions(1, 0), HEARD.id, 100)[0].segments)
        assert {media.key for media in snapshot.media_at(table.media)} == {"both", "heard"}


def test_a_space_may_be_there_before_anything_is_in_it(store: Store) -> None:
    silent = replace(entry("a", spaces=[SEEN]), spaces=libraries.SPACES)
    store.add(replace(silent, tokens={**silent.tokens, HEARD.id: Tokens.none(HEARD.dimension)}))
    with store.snapshot() as snapshot:
        assert HEARD.id in snapshot.spaces
        assert len(snapshot.nearest(directions(1, 0), HEARD.id, 5)[0]) == 0
        assert len(snapshot.tokens(snapshot.numbers(), HEARD.id).rows) == 0


# ----------------------------------------------------------------------------------------------- replaced and deleted


def test_the_same_key_is_replaced(store: Store, other: Store) -> None:
    store.add(entry("a", 0))
    store.add(entry("b", 0))
    store.add(entry("a", 1, segments=5))
    other.add(entry("b", 0))
    other.add(entry("a", 1, segments=5))
    assert held(store) == held(other)


def test_deleted_is_as_if_it_never_was(store: Store, other: Store) -> None:
    for key in "abc":
        store.add(entry(key))
    assert store.delete(["b", "nobody"]) == 1
    assert store.delete([]) == 0
    for key in "ca":
        other.add(entry(key))
    assert held(store) == held(other)
    store.delete(["a", "c"])
    with store.snapshot() as snapshot:
        assert snapshot.spaces == {}
        assert snapshot.generation == "0" * 64


def test_generation_is_of_content_and_not_of_history(store: Store, other: Store) -> None:
    store.add(entry("a"))
    alone = held(store)["generation"]
    store.add(entry("b"))
    other.add(entry("b"))
    other.add(entry("a"))
    assert held(store)["generation"] == held(other)["generation"] != alone
    store.delete(["b"])
    assert held(store)["generation"] == alone
    store.set_metadata({"a": Metadata(title="another")})
    assert held(store)["generation"] != alone
    store.add(entry("a"))
    assert held(store)["generation"] == alone


def test_within_one_numbering_a_number_is_one_thing(store: Store) -> None:
    known: dict[tuple[int, str, int], object] = {}
    changes: list[Callable[[], object]] = [
        *(partial(store.add, entry(key)) for key in "abc"),
        partial(store.delete, ["c", "a"]),
        partial(store.add, entry("d", 1, segments=4)),
        partial(store.add, entry("b", 1)),
        store.compact,
        partial(store.add, entry("c")),
    ]
    for change in changes:
        change()
        with store.snapshot() as snapshot:
            table = snapshot.segments(snapshot.numbers())
            for number, media, span in zip(table.segments, table.media, table.spans.tolist(), strict=True):
                (item,) = snapshot.media_at(np.array([media]))
                is_of = known.setdefault((snapshot.numbering, "media", int(media)), item.key)
                segment = known.setdefault((snapshot.numbering, "segment", int(number)), (int(media), span))
                assert (is_of, segment) == (item.key, (int(media), span))


def test_the_same_again_changes_nothing(store: Store) -> None:
    store.add(entry("a"))
    before = held(store)
    store.add(entry("a"))
    assert held(store) == before


def test_compaction_changes_no_answer(store: Store) -> None:
    for key in "abcdef":
        store.add(entry(key))
    store.add(entry("c", 1, segments=4))
    store.add(entry("g", spaces=[HEARD]))
    store.delete(["a", "e"])
    before = held(store)
    store.compact()
    assert held(store) == before
    store.compact()
    store.refresh()
    assert held(store) == before
    store.add(entry("h"))
    store.delete(["h"])
    assert held(store) == before


def room(store: Store) -> int:
    """Bytes that a library takes; without its catalog where PostgreSQL keeps the room for rows to come."""
    database = getattr(store, "database", None)
    with store.snapshot() as snapshot:
        size = snapshot.counts()["bytes"]
    if not isinstance(database, PostgresDatabase):
        return size
    with database.reading() as catalog:
        return size - database.bytes(catalog)


def test_compaction_gives_room_back(store: Store) -> None:
    for key in "abcdefgh":
        store.add(entry(key, segments=40))
    full = room(store)
    store.delete(list("bcdefgh"))
    store.compact()
    assert room(store) < 0.6 * full


def test_a_snapshot_stands_still(store: Store) -> None:
    for key in "abc":
        store.add(entry(key))
    with store.snapshot() as snapshot:
        before = contents(snapshot)
        store.add(entry("a", 1))
        store.delete(["b"])
        store.add(entry("d"))
        store.set_metadata({"c": Metadata(title="new")})
        assert contents(snapshot) == before
        store.compact()
        store.add(entry("e"))
        assert contents(snapshot) == before
    assert set(held(store)["media"]) == set("acde")  # type: ignore[call-overload]


def test_a_snapshot_that_is_over_answers_no_more(store: Store) -> None:
    with store.snapshot() as snapshot:
        pass
    with pytest.raises(ValueError, match="over"):
        snapshot.media()


# ------------------------------------------------------------------------------------------------ paths and metadata


def test_paths_and_metadata_can_change(store: Store) -> None:
    store.add(entry("a", paths=["/one.mp4", "/two.mp4"]))
    store.set_paths({"a": ["/three.mp4", "/one.mp4"]})
    said = Metadata("A title", ("x", "y"), "2026-11-22T10:00:00+01:00", "user", "holidays")
    store.set_metadata({"a": said})
    with store.snapshot() as snapshot:
        (media,) = snapshot.media()
    assert media == replace(entry("a").media, paths=("/three.mp4", "/one.mp4"), metadata=said)
    for change in (partial(store.set_paths, {"nobody": ["/x"]}), partial(store.set_metadata, {"nobody": said})):
        with pytest.raises(NoSuchMedia, match="nobody"):
            change()
    with pytest.raises(ValueError, match="delete"):
        store.set_paths({"a": []})


def test_what_is_known_of_many_changes_in_one_step(store: Store) -> None:
    given = {key: entry(key) for key in "abc"}
    for each in given.values():
        store.add(each)
    said = {"a": Metadata("one", ("x",)), "c": Metadata("two", collection="home")}
    with pytest.raises(NoSuchMedia, match="nobody"):
        store.set_metadata({**said, "nobody": Metadata("three")})
    with store.snapshot() as snapshot:
        assert {media.metadata for media in snapshot.media()} == {Metadata()}
    store.set_metadata(said)
    with store.snapshot() as snapshot:
        assert {media.key: media.metadata for media in snapshot.media()} == {"b": Metadata(), **said}
    generation = held(store)["generation"]
    for key, each in given.items():
        store.add(replace(each, media=replace(each.media, metadata=said.get(key, Metadata()))))
    assert held(store)["generation"] == generation


def test_a_path_names_one_media(store: Store) -> None:
    store.add(entry("a", paths=["/1", "/2", "/3"]))
    store.add(entry("b", paths=["/4"]))
    store.add(entry("c", paths=["/1", "/4"]))  # the file at /4 has another content now: b is gone
    with store.snapshot() as snapshot:
        assert {media.key: media.paths for media in snapshot.media()} == {"a": ("/2", "/3"), "c": ("/1", "/4")}
        assert [media.key for media in snapshot.media()] == ["c", "a"]
    store.set_paths({"a": ["/1"], "c": ["/2", "/4"]})  # two files changed places
    with store.snapshot() as snapshot:
        assert {media.key: media.paths for media in snapshot.media()} == {"a": ("/1",), "c": ("/2", "/4")}
    with pytest.raises(ValueError, match="two media"):
        store.set_paths({"a": ["/7"], "c": ["/7"]})
    store.set_paths({"a": ["/2", "/4"]})
    with store.snapshot() as snapshot:
        assert keys(snapshot) == ["a"]


def test_paths_that_are_gone_go_from_what_is_there_now(store: Store, other: Store) -> None:
    for each in (store, other):
        each.add(entry("a", paths=["/1"]))
        each.add(entry("b", paths=["/2", "/3", "/4"]))
        each.add(entry("c", paths=["/5"]))
        each.add(entry("d", paths=["/6"]))
    asked = {"a": ["/1"], "b": ["/2", "/4"], "c": ["/5"], "d": ["/7"], "nobody": ["/8"]}
    store.set_paths({"c": ["/elsewhere"]})  # somebody found the file there meanwhile
    assert store.drop_paths(asked) == ["a"]
    other.delete(["a"])
    other.set_paths({"b": ["/3"], "c": ["/elsewhere"]})
    assert held(store) == held(other)
    before = held(store)
    assert store.drop_paths(asked) == store.drop_paths({}) == []
    assert held(store) == before


def test_paths_that_two_find_at_once_are_kept_both(store: Store) -> None:
    store.add(entry("a", paths=["/1", "/2"]))
    store.add(entry("b", paths=["/3"]))
    before = {"a": ["/1", "/2"], "b": ["/3"]}
    store.set_paths({"a": ["/1", "/2", "/theirs"], "b": ["/3", "/6"]})  # by another
    store.set_paths({"a": ["/2", "/mine", "/6"], "b": ["/3", "/4"]}, before)
    with store.snapshot() as snapshot:
        have = {media.key: media.paths for media in snapshot.media()}
    assert have == {"a": ("/2", "/mine", "/6", "/theirs"), "b": ("/3", "/4")}


def test_a_path_need_not_be_text(store: Store) -> None:
    path = b"/clips/caf\xe9.mp4".decode("utf-8", "surrogateescape")
    store.add(entry("a", paths=[path]))
    store.catalog.remember(path, FileStat(1, 2, 2**64 - 1, "a"))
    store.catalog.quarantine(Quarantined(path, f"{path} is empty", 1.0, 2, 3))
    with store.snapshot() as snapshot:
        assert snapshot.media(Filter(path="*caf*"))[0].path == path
    assert store.catalog.stat(path) == FileStat(1, 2, 2**64 - 1, "a")
    (shut,) = store.catalog.quarantined()
    assert shut.path == path
    assert shut.reason == r"/clips/caf\udce9.mp4 is empty"


# ------------------------------------------------------------------------------------------------------- searching


def plainly(snapshot: Snapshot, entries: list[Entry], query: np.ndarray, space: str) -> list[tuple[float, str, float]]:
    """Every segment by its best row: score, media, start; best first."""
    found = []
    for each in entries:
        if space in each.vectors:
            scores = each.vectors[space].rows.astype(np.float16).astype(np.float32) @ query
            for number, cut in enumerate(each.segments):
                mine = scores[each.vectors[space].segment == number]
                if len(mine):
                    found.append((round(float(mine.max()), 3), each.media.key, cut.span.start))
    return sorted(found, key=lambda hit: -hit[0])


def test_nearest_is_the_plain_maximum(store: Store) -> None:
    entries = [entry(key, seed, segments=4) for seed, key in enumerate("abcdefgh")]
    for each in [entry("c", 99), *entries, entry("gone")]:
        store.add(each)
    store.delete(["gone"])
    queries = directions(5, 3)
    with store.snapshot() as snapshot:
        for depth in (1, 7, 1000):
            for query, ranking in zip(queries, snapshot.nearest(queries, SEEN.id, depth), strict=True):
                expected = plainly(snapshot, entries, query, SEEN.id)[:depth]
                assert [round(float(score), 3) for score in ranking.scores] == [hit[0] for hit in expected]
                assert (np.diff(ranking.scores) <= 0).all()
                table = snapshot.segments(ranking.segments)
                places = zip(snapshot.media_at(table.media), table.spans[:, 0], strict=True)
                assert {(m.key, s) for m, s in places} == {hit[1:] for hit in expected}


def test_a_media_without_a_date_is_of_no_time(store: Store) -> None:
    store.add(entry("a", metadata=Metadata(recorded="2026-01-02", recorded_source="manifest")))
    store.add(entry("b", 1))
    where = Filter(after="2026-01-01")
    with store.snapshot() as snapshot:
        assert keys(snapshot, where) == ["a"]
        (ranking,) = snapshot.nearest(directions(1, 5), SEEN.id, 100, where)
        assert sorted(ranking.segments.tolist()) == snapshot.numbers(only("a")).tolist()


def test_a_filter_starves_no_ranking(store: Store) -> None:
    for number in range(20):
        store.add(entry(f"m{number}", number, metadata=Metadata(collection="few" if number in (3, 11) else "many")))
    few = Filter(collection="few")
    with store.snapshot() as snapshot:
        assert keys(snapshot, few) == ["m11", "m3"]
        assert len(snapshot.numbers(few)) == 6
        for _ in range(2):  # the second time from memory
            (ranking,) = snapshot.nearest(directions(1, 1), SEEN.id, 6, few)
            assert sorted(ranking.segments.tolist()) == snapshot.numbers(few).tolist()
        said = snapshot.matching(FOX, Modality.TEXT, 100)
        allowed = snapshot.matching(FOX, Modality.TEXT, 100, few)
        passes = np.isin(said.segments, snapshot.numbers(few))
        assert allowed.segments.tolist() == said.segments[passes].tolist()
        assert len(snapshot.nearest(directions(1, 1), SEEN.id, 6, Filter(collection="none"))[0]) == 0


METADATA = {
    "a": Metadata("A", ("x", "y"), "2026-01-01T00:00:00+00:00", "user", "one"),
    "b": Metadata("B", ("x",), "2026-01-01T00:30:00+01:00", "user", "two"),
    "c": Metadata("C", (), "", "", "one"),
}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Filter(shortest=12), "bc"),
        (Filter(longest=12), "ab"),
        (Filter(shortest=13, longest=13), ""),
        (Filter(tags=frozenset({"x"})), "ab"),
        (Filter(tags=frozenset({"x", "y"})), "a"),
        (Filter(path="/clips/*"), "abc"),
        (Filter(path="*/[!ab].mp4"), "c"),
        (Filter(path="/elsewhere/a*"), "a"),
        (Filter(path="clips"), ""),
        (Filter(collection="one"), "ac"),
        (Filter(after="2026-01-01"), "a"),
        (Filter(before="2026-01-01T00:00:00Z"), "b"),
        (Filter(after="2025-12-31T23:30:00Z", before="2026-01-01T00:00:01Z"), "ab"),
        (Filter(kinds=frozenset({MediaKind.SOUND})), "c"),
        (Filter(kinds=frozenset({MediaKind.SOUND, MediaKind.VIDEO})), "abc"),
        (Filter(media=frozenset("ab")), "ab"),
        (Filter(without=frozenset("ab")), "c"),
        (Filter(media=frozenset("ab"), without=frozenset("a")), "b"),
        (Filter(collection="one", tags=frozenset("x")), "a"),
    ],
)
def test_each_filter_asks_what_it_says(where: Filter, expected: str) -> None:
    store: Store = STORES.load("memory").build()  # what passes is decided in the catalog, which all of ours share
    store.add(entry("a", segments=2, paths=["/clips/a.mp4", "/elsewhere/a.mp4"], metadata=METADATA["a"]))
    store.add(entry("b", segments=3, metadata=METADATA["b"]))
    store.add(entry("c", segments=4, metadata=METADATA["c"], kind=MediaKind.SOUND))
    with store.snapshot() as snapshot:
        assert keys(snapshot, where) == list(expected)
        numbers = snapshot.numbers(where)
        assert {media.key for media in snapshot.media_at(snapshot.segments(numbers).media)} == set(expected)
    store.close()


def test_a_time_that_is_none_is_refused(store: Store) -> None:
    with store.snapshot() as snapshot, pytest.raises(ValueError, match="yesterday"):
        snapshot.media(Filter(after="yesterday"))
    with pytest.raises(ValueError, match="yesterday"):
        store.add(entry("a", metadata=Metadata(recorded="yesterday")))


def test_words_are_found_and_forgotten(store: Store) -> None:
    store.add(entry("a"))
    store.add(entry("b", lines=[Line(TimeSpan(5, 6), "a zebra crosses", Modality.SPEECH, 0.9)]))
    zebra = WordQuery(("zebra",))
    with store.snapshot() as snapshot:
        (number,) = snapshot.matching(zebra, Modality.SPEECH, 5).segments
        assert snapshot.lines(np.array([number]))[0][0].text == "a zebra crosses"
        assert len(snapshot.matching(zebra, Modality.TEXT, 5)) == 0
    store.add(entry("b", 1, lines=[]))
    with store.snapshot() as snapshot:
        assert len(snapshot.matching(zebra, Modality.SPEECH, 5)) == 0


# ------------------------------------------------------------------------------------------------------ two recipes


def begun(store: Store, *names: str) -> list[Entry]:
    """Media of the old recipe, in a library that is about to go over to the new one."""
    made = [entry(key, seed) for seed, key in enumerate(names)]
    for each in made:
        store.add(each)
    store.catalog.set_recipe(OLD.digest, OLD.recipe)
    store.begin(OLD, NEW)
    return made


def extended(each: Entry) -> Entry:
    return more(each, SEEN_AGAIN)


def test_more_spaces_change_nothing_until_they_are_chosen(store: Store) -> None:
    made = begun(store, *"abc")
    before = held(store)
    with store.snapshot() as snapshot:
        numbers = snapshot.numbers().tolist()
        assert {media.key: lacks for media, lacks in snapshot.lacking()} == {key: {SEEN_AGAIN.id} for key in "abc"}
    for each in reversed(made):  # as jobs end, and not as media came
        assert store.extend(extended(each))
        assert held(store) == before
    with store.snapshot() as snapshot:
        assert snapshot.numbers().tolist() == numbers
        assert snapshot.lacking() == []
        assert set(snapshot.held()) == {SEEN.id, HEARD.id, SEEN_AGAIN.id}
        assert snapshot.held()[SEEN_AGAIN.id].media == 3
        with pytest.raises(SpaceMismatch, match="no space"):
            snapshot.tokens(snapshot.numbers(), SEEN_AGAIN.id)
    store.compact()
    assert held(store) == before


def test_what_was_chosen_is_searched(store: Store) -> None:
    made = begun(store, *"abcd")
    before = held(store)
    for each in (made[2], made[0], made[3], made[1]):
        store.extend(extended(each))
    queries = directions(3, 5, SEEN_AGAIN.dimension)
    expected = [plainly_of(made, query) for query in queries]
    generations = {before["generation"]}
    for searched, spaces in ((Searched.NEW, {SEEN_AGAIN.id, HEARD.id}), (Searched.BOTH, {*NEW.spaces, SEEN.id})):
        store.choose(searched)
        assert store.catalog.recipe() == (NEW.digest, NEW.recipe)
        with store.snapshot() as snapshot:
            generations.add(snapshot.generation)
            assert set(snapshot.spaces) == spaces
            assert {media.recipe for media in snapshot.media()} == {NEW.digest}
            for _ in range(2):
                found = [answered(snapshot, one) for one in snapshot.nearest(queries, SEEN_AGAIN.id, 5)]
                assert found == expected
            for each in made:
                numbers = snapshot.numbers(only(each.media.key))[::-1]
                rows = snapshot.tokens(numbers, SEEN_AGAIN.id)
                given = extended(each).tokens[SEEN_AGAIN.id]
                assert len(rows.rows) == len(given)
                parts = [given.within(cut.span).rows.astype(np.float16) for cut in reversed(each.segments)]
                np.testing.assert_array_equal(rows.rows, np.concatenate(parts))
        store.compact()
    assert len(generations) == 3
    store.choose(Searched.OLD)
    assert held(store) == before
    assert store.catalog.recipe() == (OLD.digest, OLD.recipe)


def test_a_media_that_lacks_a_space_shows_no_tokens_of_others(store: Store) -> None:
    for each in reversed(begun(store, *"ab")):  # the rows of the second come first
        store.extend(extended(each))
    store.add(entry("c"))
    store.choose(Searched.BOTH)
    for _ in range(2):
        with store.snapshot() as snapshot:
            assert len(snapshot.tokens(snapshot.numbers(only("c")), SEEN_AGAIN.id).rows) == 0
            assert len(snapshot.tokens(snapshot.numbers(only("b")), SEEN_AGAIN.id).rows) > 0
        store.delete(["a"])  # and with it all that lies out of order


def answered(snapshot: Snapshot, ranking: Ranking) -> list[tuple[float, str, float]]:
    table = snapshot.segments(ranking.segments)
    places = zip(snapshot.media_at(table.media), table.spans[:, 0].tolist(), strict=True)
    scores = [round(float(score), 3) for score in ranking.scores]
    return [(score, media.key, start) for score, (media, start) in zip(scores, places, strict=True)]


def plainly_of(made: list[Entry], query: np.ndarray) -> list[tuple[float, str, float]]:
    newer = [extended(each) for each in made]
    found = []
    for each in newer:
        vectors = each.vectors[SEEN_AGAIN.id]
        scores = vectors.rows.astype(np.float16).astype(np.float32) @ query
        for number, cut in enumerate(each.segments):
            best = float(scores[vectors.segment == number].max())
            found.append((round(best, 3), each.media.key, cut.span.start))
    return sorted(found, key=lambda hit: -hit[0])[:5]


def test_a_snapshot_does_not_see_the_switch(store: Store) -> None:
    for each in begun(store, *"ab"):
        store.extend(extended(each))
    with store.snapshot() as snapshot:
        before = contents(snapshot)
        store.choose(Searched.NEW)
        assert contents(snapshot) == before
        store.drop(Searched.OLD)
        store.add(more(entry("c"), SEEN_AGAIN))
        assert contents(snapshot) == before


def test_the_new_recipe_alone_is_a_library_like_any_other(store: Store, other: Store) -> None:
    made = begun(store, *"abc")
    for each in made:
        store.extend(extended(each))
    store.choose(Searched.NEW)
    switched, full = held(store), room(store)
    store.drop(Searched.OLD)
    assert held(store) == switched
    assert store.catalog.reembedding() is None
    for each in made:
        new, heard = extended(each), each.tokens[HEARD.id]
        other.add(
            replace(
                new,
                spaces={**new.spaces, HEARD.id: HEARD},
                tokens={**new.tokens, HEARD.id: heard},
                vectors={**new.vectors, HEARD.id: each.vectors[HEARD.id]},
                lines=each.lines,
            )
        )
    assert held(other) == switched
    with store.snapshot() as snapshot:
        assert set(snapshot.held()) == NEW.spaces
    assert room(store) < full
    with pytest.raises(SpaceMismatch, match="another library"):
        store.add(entry("d"))


def test_calling_it_off_leaves_no_trace(store: Store) -> None:
    for key in "abc":
        store.add(entry(key))
    before = held(store)
    made = begun(store)
    for key in "ab":
        store.extend(extended(entry(key)))
    store.choose(Searched.BOTH)
    store.choose(Searched.OLD)
    store.drop(Searched.NEW)
    assert made == []
    assert held(store) == before
    with store.snapshot() as snapshot:
        assert set(snapshot.held()) == {SEEN.id, HEARD.id}
    with pytest.raises(WrongRecipe, match="one recipe"):
        store.extend(extended(entry("c")))


def test_media_change_while_two_recipes_are_held(store: Store, other: Store) -> None:
    """Metadata and paths are of a media, whoever embedded it; what is deleted or indexed again has the new no more."""
    made = begun(store, *"abcd")
    for each in made:
        store.extend(extended(each))
    store.set_metadata({"a": Metadata(title="another")})
    store.set_paths({"b": ["/elsewhere.mp4"]})
    store.delete(["c"])
    store.add(entry("d", 9))
    store.add(entry("e"))
    with store.snapshot() as snapshot:
        assert [media.key for media, _ in snapshot.lacking()] == ["d", "e"]
    for key, seed in (("d", 9), ("e", 0)):
        store.extend(extended(entry(key, seed)))
    store.choose(Searched.NEW)
    store.drop(Searched.OLD)
    begun_other = begun(other, *"ab")
    for each in begun_other:
        other.extend(extended(each))
    for each in (entry("d", 9), entry("e")):
        other.add(each)
        other.extend(extended(each))
    other.choose(Searched.NEW)
    other.drop(Searched.OLD)
    other.set_metadata({"a": Metadata(title="another")})
    other.set_paths({"b": ["/elsewhere.mp4"]})
    assert held(store) == held(other)


def test_a_media_that_is_gone_or_cut_otherwise_gets_nothing(store: Store) -> None:
    begun(store, *"ab")
    before = held(store)
    assert not store.extend(extended(entry("nobody")))
    assert not store.extend(extended(entry("a", segments=5)))
    assert held(store) == before
    assert store.extend(extended(entry("a")))
    assert store.extend(extended(entry("a")))  # another process was quicker
    with store.snapshot() as snapshot:
        assert snapshot.held()[SEEN_AGAIN.id].media == 1


def test_two_recipes_refuse_what_would_lose_media(store: Store) -> None:
    with pytest.raises(WrongRecipe, match="of recipe None"):
        store.begin(OLD, NEW)
    for refused in (partial(store.choose, Searched.NEW), partial(store.drop, Searched.OLD)):
        with pytest.raises(WrongRecipe, match="one recipe"):
            refused()
    made = begun(store, *"ab")
    store.begin(OLD, NEW)  # again: nothing new
    with pytest.raises(WrongRecipe, match="from recipe r1 to r2"):
        store.begin(OLD, replace(NEW, digest="r3"))
    with pytest.raises(WrongRecipe, match="not r9"):
        store.catalog.set_recipe("r9", "{}")
    with pytest.raises(WrongRecipe, match="goes over to r2"):
        store.extend(more(made[0], SEEN_AGAIN, recipe="r9"))
    with pytest.raises(SpaceMismatch, match="another library"):
        store.extend(more(made[0], replace(SEEN, media_side="seen:3")))
    store.extend(extended(made[0]))
    with pytest.raises(WrongRecipe, match="1 media lack"):
        store.choose(Searched.NEW)
    with pytest.raises(WrongRecipe, match="while old is searched"):
        store.drop(Searched.OLD)
    store.choose(Searched.BOTH)
    for each in Searched:
        with pytest.raises(WrongRecipe, match="while both is searched"):
            store.drop(each)
    store.extend(extended(made[1]))
    store.choose(Searched.NEW)
    store.add(replace(more(entry("c"), SEEN_AGAIN), lines=()))
    store.choose(Searched.OLD)
    with store.snapshot() as snapshot:
        assert [media.key for media in snapshot.foreign()] == ["c"]
    with pytest.raises(WrongRecipe, match="1 media would be left"):
        store.drop(Searched.NEW)
    store.catalog.set_recipe(NEW.digest, "{moved}")
    two = store.catalog.reembedding()
    assert two
    assert (two.new.recipe, two.old.recipe) == ("{moved}", OLD.recipe)
    assert store.catalog.recipe() == (OLD.digest, OLD.recipe)


# -------------------------------------------------------------------------------------------------------- refusals


def test_spaces_never_mix(store: Store) -> None:
    store.add(entry("a"))
    before = held(store)
    newer = replace(SEEN, media_side="seen:2")
    with pytest.raises(SpaceMismatch, match="another library"):
        store.add(entry("b", spaces=[newer]))
    wider = directions(1, 0, dimension=20)
    with store.snapshot() as snapshot:
        with pytest.raises(SpaceMismatch, match="20"):
            snapshot.nearest(wider, SEEN.id, 5)
        with pytest.raises(SpaceMismatch, match="no space"):
            snapshot.nearest(wider, newer.id, 5)
        with pytest.raises(SpaceMismatch, match="no space"):
            snapshot.tokens(snapshot.numbers(), newer.id)
    good = entry("b")
    with pytest.raises(SpaceMismatch, match="numbers a row"):
        store.add(replace(good, vectors={SEEN.id: SegmentVectors(wider, np.zeros(1, np.int32))}))
    with pytest.raises(SpaceMismatch, match="not among its spaces"):
        store.add(replace(good, spaces={SEEN.id: SEEN}))
    with pytest.raises(SpaceMismatch):
        store.add(replace(good, spaces={SEEN.id: newer, HEARD.id: HEARD}))
    assert held(store) == before
    store.add(entry("a", spaces=[newer]))  # nobody else has the old one
    with store.snapshot() as snapshot:
        assert set(snapshot.spaces) == {newer.id}


def broken() -> dict[str, Entry]:
    good = entry("a")
    tokens = good.tokens[SEEN.id]
    vectors = good.vectors[SEEN.id]

    def with_tokens(**changes: object) -> Entry:
        return replace(good, tokens={SEEN.id: replace(tokens, **changes)})  # type: ignore[arg-type]

    def with_vectors(**changes: object) -> Entry:
        return replace(good, vectors={SEEN.id: replace(vectors, **changes)})  # type: ignore[arg-type]

    late = vectors.segment.copy()
    late[-1] = 7
    return {
        "length": with_tokens(rows=tokens.rows * 2),
        "not a number": with_vectors(rows=np.full_like(vectors.rows, np.nan)),
        "order of time": with_tokens(spans=tokens.spans[::-1]),
        "span is empty": with_tokens(spans=np.zeros_like(tokens.spans)),
        "rise together": with_vectors(segment=vectors.segment[::-1]),
        "name segment 7": with_vectors(segment=late),
        "labels": with_tokens(labels=(tuple("abcdef"),) * len(tokens)),
        "overlap": replace(good, segments=(Segment(TimeSpan(0, 5)), Segment(TimeSpan(4, 12)))),
        "needs a key": replace(good, media=replace(good.media, key="")),
    }


@pytest.mark.parametrize("reason", broken())
def test_an_entry_that_contradicts_itself_is_refused(reason: str) -> None:
    store: Store = STORES.load("memory").build()  # what is refused is the same code for all of ours
    with pytest.raises(ValueError, match=reason):
        store.add(broken()[reason])
    with store.snapshot() as snapshot:
        assert list(snapshot.media()) == []
    store.close()


def test_asking_wrongly_is_the_callers_slip(store: Store) -> None:
    store.add(entry("a"))
    with store.snapshot() as snapshot:
        for number in (-1, 3):
            with pytest.raises(ValueError, match="segment numbers"):
                snapshot.segments(np.array([number]))
        with pytest.raises(ValueError, match="media numbers"):
            snapshot.media_at(np.array([17]))
        for depth in (0, -1):
            with pytest.raises(ValueError, match="depth"):
                snapshot.nearest(directions(1, 0), SEEN.id, depth)
            with pytest.raises(ValueError, match="depth"):
                snapshot.matching(FOX, Modality.SPEECH, depth)


# -------------------------------------------------------------------------------------------------------- catalog


def test_the_catalog_remembers(store: Store) -> None:
    catalog = store.catalog
    assert catalog.recipe() is None
    catalog.set_recipe("abc", '{"pack": "offline"}')
    assert catalog.recipe() == ("abc", '{"pack": "offline"}')

    assert catalog.stat("/x") is None
    catalog.remember("/x", FileStat(1, 2, 3, "k"))
    catalog.remember("/x", FileStat(1, 2, 3, "l"))
    assert catalog.stat("/x") == FileStat(1, 2, 3, "l")

    bad = [Quarantined(path, "broken", 1.5, 2, 3) for path in ("/z", "/x")]
    for each in bad:
        catalog.quarantine(each)
    assert catalog.quarantined() == bad[::-1]
    catalog.forget(["/x", "/nobody"])
    assert catalog.stat("/x") is None
    assert catalog.quarantined() == bad[:1]


def test_the_catalog_remembers_many_files_in_one_step_and_whose_they_are(store: Store) -> None:
    catalog = store.catalog
    odd = "/clips/\udcff.mp4"
    stats = {"/x": FileStat(1, 2, 2**64 - 1, "a"), odd: FileStat(3, 4, 5, "b")}
    catalog.remember_all(stats)
    catalog.remember_all({})
    assert catalog.stats(["/x", "/nobody", odd]) == stats
    catalog.remember_all({"/x": FileStat(9, 2, 3, "c")})
    assert catalog.stats(["/x"]) == {"/x": FileStat(9, 2, 3, "c")}
    assert catalog.stats([]) == catalog.owners([]) == {}
    store.add(entry("a", paths=["/one.mp4", odd]))
    store.add(entry("b", paths=["/two.mp4"]))
    assert catalog.owners(["/two.mp4", odd, "/x"]) == {"/two.mp4": "b", odd: "a"}
    store.delete(["a"])
    assert catalog.owners(["/one.mp4", "/two.mp4"]) == {"/two.mp4": "b"}


def test_media_are_counted_by_kind(store: Store) -> None:
    with store.snapshot() as snapshot:
        assert snapshot.kinds() == {}
    for key, kind in (("a", MediaKind.VIDEO), ("b", MediaKind.SOUND), ("c", MediaKind.VIDEO)):
        store.add(entry(key, kind=kind, metadata=Metadata(collection=key)))
    with store.snapshot() as snapshot:
        assert list(snapshot.kinds().items()) == [(MediaKind.SOUND, (1, 12.0)), (MediaKind.VIDEO, (2, 24.0))]
        assert snapshot.kinds(Filter(collection="b")) == {MediaKind.SOUND: (1, 12.0)}


def test_the_paths_of_all_media_are_told_a_page_at_a_time(store: Store) -> None:
    odd = "/clips/\udcff.mp4"
    for key, paths in (("b", ["/z.mp4", odd]), ("a", ["/y.mp4"]), ("c", ["/x.mp4"])):
        store.add(entry(key, paths=paths))
    assert store.catalog.paths("", 2) == {"a": ("/y.mp4",), "b": ("/z.mp4", odd)}
    assert list(store.catalog.paths("", 2)) == ["a", "b"]
    assert store.catalog.paths("b", 2) == {"c": ("/x.mp4",)}
    assert store.catalog.paths("c", 2) == {}


def test_quarantine_keeps_how_often_and_until_when(store: Store) -> None:
    catalog = store.catalog
    catalog.quarantine(Quarantined("/x", "its decoder died", 1.5, 2, 3, 1, 61.5))
    catalog.quarantine(Quarantined("/x", "its decoder died", 61.5, 2, 3, 2, 661.5))
    catalog.quarantine(Quarantined("/y", "no media", 1.5, 2, 3))
    assert [(entry.tries, entry.again) for entry in catalog.quarantined()] == [(2, 661.5), (1, None)]


def test_runs_are_kept_in_order_and_replaced_whole(store: Store) -> None:
    catalog = store.catalog
    assert catalog.runs() == []
    asked = '{"paths": ["/clips/\\udcff"]}'
    first, second = RunRecord("f0", asked, 9.0), RunRecord("a1", "{}", 5.0)
    for each in (first, second):
        catalog.write_run(each)
    assert catalog.runs() == [first, second]
    first = replace(first, state=RunState.FAILED, began=10.0, ended=11.5, counts={"files": 3.0}, error="\udcff is bad")
    catalog.write_run(first)
    kept = catalog.runs()
    assert kept == [replace(first, error="\\udcff is bad"), second]
    assert kept[0].lease == "run-f0"


def test_a_wish_waits_until_it_is_taken_back(store: Store) -> None:
    catalog = store.catalog
    run = RunRecord("f0", "{}", 9.0)
    catalog.write_run(run)
    assert catalog.wished("f0") is Wish.NONE
    assert catalog.wish("f0", Wish.PAUSE)
    assert catalog.wished("f0") is Wish.PAUSE
    catalog.write_run(replace(run, state=RunState.RUNNING))  # whoever works on it knows nothing of the wish
    assert catalog.runs() == [replace(run, state=RunState.RUNNING, wish=Wish.PAUSE)]
    assert catalog.wish("f0", Wish.NONE)
    assert catalog.wished("f0") is Wish.NONE
    assert not catalog.wish("nobody", Wish.CANCEL)
    assert catalog.wished("nobody") is Wish.NONE


def test_old_runs_are_forgotten_and_open_ones_are_not(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retriever.stores._catalog.RUNS_KEPT", 2)
    for number in range(6):
        state = RunState.PAUSED if number == 0 else RunState.DONE
        store.catalog.write_run(RunRecord(f"run{number}", "{}", float(number), state))
    assert [run.id for run in store.catalog.runs()] == ["run0", "run4", "run5"]


@pytest.mark.parametrize("span", [(0.0, 1.0), (0.5, 2.0), (2.0, 4.5), (3.9, 100.0), (50.0, 60.0)])
def test_lines_over_a_span_are_those_that_it_overlaps(store: Store, span: tuple[float, float]) -> None:
    """One that lasts for long lies over spans that its middle is far from."""
    long = Line(TimeSpan(0.0, 11.0), "it stands there all the time", Modality.TEXT, 1.0)
    twin = Line(TimeSpan(0.0, 11.0), "and so does this", Modality.SPEECH, 1.0)
    store.add(entry("a", lines=[*entry("a").lines, long, twin]))
    store.add(entry("b"))
    with store.snapshot() as snapshot:
        every = [line for lines in snapshot.lines(snapshot.numbers(only("a"))) for line in lines]
        (found, none) = snapshot.lines_over([("a", TimeSpan(*span)), ("nobody", TimeSpan(0, 9))])
        plain = [line for line in every if line.span.overlaps(TimeSpan(*span))]
        assert sorted(found, key=repr) == sorted(plain, key=repr)
        assert [line.span for line in found] == sorted(line.span for line in found)
        assert none == []


def test_keys_are_kept_by_name_and_forgotten(store: Store) -> None:
    catalog = store.catalog
    assert catalog.api_keys() == []
    writer = ApiKey("b", "writer", b"\x00\xff", frozenset({"search", "write"}), "", 0.5, 2.0)
    reader = ApiKey("a", "reader", b"\x01", frozenset(), "home", 0.0, 1.0)
    for key in (writer, reader):
        catalog.write_key(key)
    assert catalog.api_keys() == [reader, writer]
    with pytest.raises(BadSettings, match="named 'reader' already"):
        catalog.write_key(replace(reader, id="c"))
    assert catalog.forget_key("a")
    assert not catalog.forget_key("a")
    assert catalog.api_keys() == [writer]


def test_a_request_that_comes_twice_is_answered_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = store.catalog
    assert catalog.claim("me", "t", "asked") is None
    assert catalog.claim("me", "t", "asked") == ("asked", "")  # somebody is at it
    assert catalog.claim("you", "t", "other") is None
    catalog.settle("me", "t", '{"job": 1}')
    assert catalog.claim("me", "t", "another") == ("asked", '{"job": 1}')
    catalog.settle("me", "t", "")  # what was answered stays so
    assert catalog.claim("me", "t", "asked") == ("asked", '{"job": 1}')
    catalog.settle("you", "t", "")
    assert catalog.claim("you", "t", "again") is None
    now = time.time()
    assert catalog.claim("dead", "t", "asked") is None
    monkeypatch.setattr("retriever.stores._catalog.time", lambda: now + 601)
    assert catalog.claim("dead", "t", "asked") is None
    for later in (86_401.0, -86_401.0):  # also where the clock was set back
        monkeypatch.setattr("retriever.stores._catalog.time", lambda later=later: now + later)
        assert catalog.claim("me", "t", "new") is None


def test_a_lease_has_one_owner(store: Store) -> None:
    catalog, me = store.catalog, processes.me()
    elsewhere = "another-host:1:2"
    assert catalog.lease("job", me, 60)
    assert catalog.lease("job", me, 60)  # longer
    assert not catalog.lease("job", elsewhere, 60)
    assert catalog.leased() == {"job": me}
    catalog.release("job", elsewhere)
    assert catalog.leased() == {"job": me}
    catalog.release("job", me)
    assert catalog.leased() == {}
    assert catalog.lease("job", elsewhere, 60)
    assert not catalog.lease("job", me, 60)
    assert catalog.lease("other", elsewhere, -1)  # ran out
    assert catalog.leased() == {"job": elsewhere}
    assert catalog.lease("other", me, 60)


def test_the_lease_of_a_dead_process_is_over(store: Store) -> None:
    host, pid, _ = processes.me().split(":")
    for dead in (f"{host}:{pid}:1", f"{host}:4194305:7"):  # of this number, but older; beyond the largest number
        assert store.catalog.lease("job", dead, 600)
        assert store.catalog.leased() == {}
        assert store.catalog.lease("job", processes.me(), 600)
        store.catalog.release("job", processes.me())


def test_staging_folders_come_and_go(store: Store) -> None:
    catalog = store.catalog
    assert catalog.staged() == []
    folder = catalog.staging("b-1")
    (folder / "chapter").write_bytes(b"x")
    assert (catalog.staging("b-1") / "chapter").read_bytes() == b"x"
    catalog.staging("a-2")
    assert catalog.staged() == ["a-2", "b-1"]
    catalog.unstage("b-1")
    catalog.unstage("b-1")
    assert catalog.staged() == ["a-2"]
    for job in ("", "..", "a/b", ".hidden"):
        with pytest.raises(ValueError, match="cannot name a folder"):
            catalog.staging(job)


# ---------------------------------------------------------------------------------------------- who is told, and quotas

HOOK = Hook("h1", "https://a.example/hook", "whsec_AAAA", frozenset({Kind.JOB_DONE}), "home", created=1.0)


def test_what_happens_is_kept_for_those_who_listen(store: Store) -> None:
    store.add(entry("a"))
    notices = store.catalog.notices
    assert notices.happenings(9) == []  # nobody listens
    notices.write_hook(HOOK)
    notices.write_hook(replace(HOOK, url="https://b.example", active=False))
    assert notices.hooks() == [replace(HOOK, url="https://b.example", active=False)]
    store.add(entry("c"))
    assert notices.happenings(9) == []  # nor does this one
    notices.write_hook(HOOK)
    store.add(entry("a"))  # as it is
    store.add(entry("b", metadata=Metadata(collection="home")))
    store.set_metadata({"b": Metadata("x", collection="home")})
    store.delete(["b"])
    store.catalog.write_run(RunRecord("r", "{}", 1.0))
    for state in (RunState.RUNNING, RunState.PAUSED, RunState.FAILED, RunState.RUNNING, RunState.DONE, RunState.DONE):
        store.catalog.write_run(RunRecord("r", "{}", 1.0, state))
    found = notices.happenings(99)
    assert [(one.kind, one.about["id"]) for one in sorted(found, key=lambda one: one.at)] == [
        (Kind.MEDIA_INDEXED, "b"),
        (Kind.MEDIA_DELETED, "b"),
        (Kind.JOB_FAILED, "r"),
        (Kind.JOB_DONE, "r"),
    ]
    assert next(one for one in found if one.kind == Kind.MEDIA_DELETED).about["collection"] == "home"
    assert len(notices.happenings(2)) == 2


def test_a_run_comes_with_whom_it_tells(store: Store) -> None:
    """Of a key that is none any more nobody is told; the run is there all the same."""
    catalog = store.catalog
    catalog.write_run(RunRecord("r", "{}", 1.0), HOOK)
    catalog.write_run(RunRecord("s", "{}", 1.0), replace(HOOK, id="h2", owner="nobody"))
    assert ([run.id for run in catalog.runs()], catalog.notices.hooks()) == (["r", "s"], [HOOK])


def test_a_happening_is_told_of_once(store: Store) -> None:
    notices = store.catalog.notices
    notices.write_hook(HOOK)
    store.catalog.write_run(RunRecord("r", "{}", 1.0, RunState.DONE))
    (found,) = notices.happenings(9)
    message = Delivery("m1", HOOK.id, found.kind, "{}", 1.0)
    assert notices.tell(found, [message])
    assert not notices.tell(found, [replace(message, id="m2")])
    assert notices.happenings(9) == []
    assert notices.deliveries(HOOK.id, 9) == [message]


def test_a_message_is_sent_by_one_at_a_time(store: Store) -> None:
    notices, now = store.catalog.notices, time.time()
    hooks = [replace(HOOK, id=f"h{number}", created=float(number)) for number in range(2)]
    for hook in hooks:
        notices.write_hook(hook)
        own = [Delivery(f"{hook.id}-{n}", hook.id, Kind.PING, "{}", float(n), due=float(n)) for n in range(2)]
        notices.tell(None, own)
    notices.tell(None, [Delivery("later", "h0", Kind.PING, "{}", 9.0, due=now + 1_000)])
    first, second = notices.claim(processes.me(), 60.0), notices.claim(processes.me(), 60.0)
    assert first
    assert second
    assert {first[0].id, second[0].id} == {"h0-0", "h1-0"}  # one to each
    assert first[1].id == first[0].hook
    assert notices.claim(processes.me(), 60.0) is None
    notices.settle(replace(first[0], state=DeliveryState.DELIVERED, tries=1, status=204, told="taken", due=now))
    again = notices.claim(processes.me(), 60.0)
    assert again
    assert again[0].id == f"{first[0].hook}-1"
    assert [one.state for one in notices.deliveries(first[0].hook, 9) if one.id == first[0].id] == ["delivered"]
    assert notices.again(first[0].hook, first[0].id)
    assert not notices.again(again[0].hook, again[0].id)  # somebody is at it
    assert notices.forget_hook(second[0].hook)
    assert not notices.forget_hook(second[0].hook)
    assert notices.deliveries(second[0].hook, 9) == []


def test_a_hook_that_was_forgotten_meanwhile_stays_so(store: Store) -> None:
    notices = store.catalog.notices
    notices.write_hook(HOOK)
    off = replace(HOOK, active=False)
    assert notices.change_hook(HOOK.id, lambda now: replace(now, active=False)) == off
    assert notices.hooks() == [off]
    notices.forget_hook(HOOK.id)
    assert notices.change_hook(HOOK.id, lambda now: HOOK) is None
    assert notices.hooks() == []
    notices.tell(None, [Delivery("m", HOOK.id, Kind.PING, "{}", 1.0)])  # it was made before
    notices.tidy()
    assert notices.deliveries(HOOK.id, 9) == []


def test_of_two_who_change_a_hook_neither_undoes_what_the_other_did(store: Store) -> None:
    notices = store.catalog.notices
    notices.write_hook(HOOK)

    def change(letter: str) -> None:
        for _ in range(20):
            notices.change_hook(HOOK.id, lambda now: replace(now, url=now.url + letter))

    with ThreadPoolExecutor(2) as crew:
        list(crew.map(change, "xy"))
    (found,) = notices.hooks()
    assert sorted(found.url.removeprefix(HOOK.url)) == ["x"] * 20 + ["y"] * 20


def test_hooks_end_with_the_key_that_set_them(store: Store) -> None:
    catalog, notices = store.catalog, store.catalog.notices
    for id in ("mine", "other"):
        catalog.write_key(ApiKey(id, id, b"", frozenset(), "", 0.0, 1.0))
        assert notices.write_hook(replace(HOOK, id=id, owner=id))
    assert notices.write_hook(HOOK)
    notices.tell(None, [Delivery("m", "mine", Kind.PING, "{}", 1.0)])
    assert catalog.forget_key("mine")
    assert {hook.id for hook in notices.hooks()} == {HOOK.id, "other"}
    assert notices.deliveries("mine", 9) == []
    assert not notices.write_hook(replace(HOOK, id="late", owner="mine"))  # asked for just before
    notices.tidy()
    assert {hook.id for hook in notices.hooks()} == {HOOK.id, "other"}


def test_a_message_that_is_not_sent_in_time_is_sent_by_another(store: Store) -> None:
    notices = store.catalog.notices
    notices.write_hook(HOOK)
    notices.tell(None, [Delivery("m", HOOK.id, Kind.PING, "{}", 1.0)])
    for seconds in (-1.0, 60.0):
        found = notices.claim(processes.me(), seconds)
        assert found
        assert found[0].id == "m"
    assert notices.claim(processes.me(), 60.0) is None


def test_what_is_long_over_is_forgotten(store: Store) -> None:
    notices, now = store.catalog.notices, time.time()
    for run, state in (("over", RunState.DONE), ("open", RunState.RUNNING)):
        store.catalog.write_run(RunRecord(run, "{}", 1.0, state))
        notices.write_hook(replace(HOOK, id=run, job=run, created=1.0))
    notices.write_hook(HOOK)
    notices.tell(None, [Delivery(name, HOOK.id, Kind.PING, "{}", 1.0, due=1.0) for name in ("old", "new", "waiting")])
    for name, due in (("old", 1.0), ("new", now)):
        notices.settle(Delivery(name, HOOK.id, Kind.PING, "{}", 1.0, DeliveryState.DELIVERED, 1, due))
    notices.tidy()
    assert {one.id for one in notices.deliveries(HOOK.id, 9)} == {"new", "waiting"}
    assert {hook.id for hook in notices.hooks()} == {HOOK.id, "open"}


def test_what_was_sent_counts_until_it_is_gone(store: Store) -> None:
    quotas = store.catalog.quotas
    quotas.set(Quota(Whose.KEY, "k", most_bytes=100, most_media=2))
    quotas.set(Quota(Whose.COLLECTION, "c", most_seconds=5.0))
    at = time.time()

    def sends(name: str, size: int, owner: str = "k", collection: str = "") -> str:
        short = quotas.take(Deposit(name, owner, collection, f"/sent/{name}\udcff", size, at))
        return short.what if short else ""

    assert [sends("a", 60), sends("b", 50), sends("c", 40), sends("d", 0)] == ["", "bytes", "", "media"]
    assert sends("other", 10**9, owner="l") == ""
    assert quotas.use(Whose.KEY, "k") == Use(100, 2)
    quotas.moved("/sent/a\udcff", "/kept/a")
    quotas.gone(["/kept/a"])
    assert quotas.use(Whose.KEY, "k") == Use(40, 1)
    assert sends("e", 60) == ""
    quotas.withdraw("/sent/e\udcff")
    quotas.moved("/sent/c\udcff", "/kept/c")
    assert sends("f", 40) == ""
    quotas.moved("/sent/f\udcff", "/kept/c")  # the same bytes
    assert [one.path for one in quotas.deposits() if one.owner == "k"] == ["/kept/c"]
    assert sends("g", 1, collection="c") == ""
    quotas.lasts({"/sent/g\udcff": 6.0})
    assert sends("h", 1, owner="l", collection="c") == "seconds"
    quotas.gone(["/sent/g\udcff"])
    assert quotas.use(Whose.COLLECTION, "c") == Use(0, 0, 6.0, at)
    quotas.set(Quota(Whose.COLLECTION, "c"))
    assert [quota.name for quota, _ in quotas.all()] == ["k"]
    assert sends("h", 1, owner="l", collection="c") == ""
