"""How often a catalog is asked: each of these ways as often for many media as for few.  Over a network that is what a
search costs."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from libraries import SEEN, directions, entry
from postgres import Postgres
from qdrants import serving
from statements import counting
from zoo import ZOO, Words

from retriever import calibrating, calibration
from retriever.ports import Store
from retriever.search import Searcher
from retriever.stores import _together, local, memory, qdrant
from retriever.types import FileStat, Filter, Line, Modality, TimeSpan, WordQuery

FEW, MANY = 3, 12


@pytest.fixture(params=["memory", "local", "qdrant and postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    if request.param == "memory":
        with closing(memory.build()) as store:
            yield store
    elif request.param == "local":
        with closing(local.build(tmp_path / "lib", create=True)) as store:
            yield store
    else:
        server: Postgres = request.getfixturevalue("postgres")
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        with serving() as vectors, closing(qdrant.build(f"{vectors.url}/clips", catalog=server.place)) as store:
            yield store
        server.clear()


def paths_of(count: int) -> list[str]:
    return [f"/{copy}/{number}.mp4" for number in range(count) for copy in "ab"]


def fill(store: Store, count: int) -> None:
    """Media of two paths and some lines, until there are so many."""
    with store.snapshot() as snapshot:
        there = len(snapshot.media())
    for number in range(there, count):
        said = [Line(TimeSpan(at, at + 1.0), "the quick brown fox", Modality.SPEECH, 1.0) for at in (1.0, 5.0, 9.0)]
        store.add(entry(f"k{number:03}", number, paths=[f"/{copy}/{number}.mp4" for copy in "ab"], lines=said))
    store.catalog.remember_all({path: FileStat(1, 2, 3, "k") for path in paths_of(count)})
    for number in range(count):
        store.catalog.lease(f"job{number}", "there:1:1", 60.0)


def files(store: Store) -> list[int]:
    with store.snapshot() as snapshot:
        paths = [path for media in snapshot.media() for path in media.paths]
    return [len(store.catalog.stats(paths)), len(store.catalog.owners(paths)), len(store.catalog.paths("", 1_000))]


def listing(store: Store) -> list[int]:
    with store.snapshot() as snapshot:
        media = snapshot.media(Filter(path="/a/*"))
        assert [*snapshot.kinds(), *snapshot.held(), *snapshot.counts()]
        return [len(media), len(snapshot.media_at(snapshot.segments(snapshot.numbers()).media))]


def lines(store: Store) -> list[int]:
    with store.snapshot() as snapshot:
        keys = [media.key for media in snapshot.media()]
        found = snapshot.lines(snapshot.numbers()), snapshot.lines_over([(key, TimeSpan(0.0, 99.0)) for key in keys])
    return [len(found[0]), len(found[1])]


def words(store: Store) -> list[int]:
    with store.snapshot() as snapshot:
        return [len(snapshot.matching(WordQuery((), (("quick", "brown"),)), Modality.SPEECH, 1_000).segments)]


def rows(store: Store) -> list[int]:
    with store.snapshot() as snapshot:
        (ranking,) = snapshot.nearest(directions(1, 5), SEEN.id, 1_000)
        return [len(ranking.segments), len(snapshot.tokens(snapshot.numbers(), SEEN.id).offsets) - 1]


def leases(store: Store) -> list[int]:
    return [len(store.catalog.leased())]


@pytest.mark.parametrize("way", [files, listing, lines, words, rows, leases], ids=lambda way: way.__name__)
def test_many_are_asked_for_as_few_are(opened: Store, way: Callable[[Store], list[int]]) -> None:
    asked, found = [], []
    for count in (FEW, MANY):
        fill(opened, count)
        way(opened)  # what is worked out once a commit
        with counting() as statements:
            found.append(way(opened))
        asked.append(len(statements))
    assert found[1] == [number * MANY // FEW for number in found[0]], "all of them were found"
    assert asked[0] == asked[1]


def test_a_media_goes_at_once_however_many_segments_it_has(opened: Store) -> None:
    opened.add(entry("few", segments=2))
    opened.add(entry("many", segments=60))
    asked = []
    for key in ("few", "many"):
        with counting() as statements:
            assert opened.delete([key]) == 1
        asked.append(len(statements))
    assert asked[0] == asked[1]


@pytest.mark.parametrize("question", ["parrot branch", "never do it for free"])
def test_a_search_asks_as_often_in_a_large_library(
    opened: Store, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    every = calibration.background()
    few = calibration.Background(every.sentences[::20], every.modalities[::20])
    monkeypatch.setattr(calibrating, "background", lambda: few)
    asked = []
    for copy in range(3):
        for each in ZOO:
            media = replace(each.media, key=f"{each.media.key}{copy}", paths=(f"/{copy}/{each.media.key}",))
            opened.add(replace(each, media=media))
        searcher = Searcher(opened, Words())
        searcher.search(question, min_confidence=0, limit=2)  # what chance does to this commit
        with counting() as statements:
            assert len(searcher.search(question, min_confidence=0, limit=2)) == 2
        asked.append(len(statements))
    assert asked[0] == asked[1] == asked[2]


def test_what_is_asked_in_blocks_is_whole_and_in_order(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_together, "TOGETHER", 4)
    fill(opened, 11)
    paths = [*paths_of(11), "/nobody", "/a/1.mp4"]
    with counting() as statements:
        assert opened.catalog.owners(paths) == {path: f"k{int(path[3:-4]):03}" for path in paths_of(11)}
    assert len(statements) == 6
    with opened.snapshot() as snapshot:
        numbers = snapshot.numbers()[::-1].copy()
        found = snapshot.lines(numbers)
        assert [len(each) for each in found] == [1] * 33
        assert [each[0].span.start for each in found] == [9.0, 5.0, 1.0] * 11
        assert snapshot.lines(numbers[:0]) == []
