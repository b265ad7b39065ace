"""Answers that are the same footage stand together, and no media fills the list."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import zoo
from zoo import media

from retriever import distinct
from retriever.copies import Stranger, strangers
from retriever.distinct import Distinct, Wanted
from retriever.ports import Snapshot
from retriever.search import Searcher
from retriever.types import Answer, Entry

MOVING = [(1.0, f"boat wave{number}") for number in (1, 2, 3, 1, 4, 2, 5, 3)]
"""A film in which something happens every second."""
ELSE = [(1.0, f"boat rock{number}") for number in (3, 1, 4, 1, 5, 9, 2, 6)]
COPIES = (
    media("first", seen=MOVING),
    media("again", seen=MOVING),
    media("once", seen=[(6, "iron bridge"), *MOVING]),
    media("other", seen=ELSE),
)


def _searcher(entries: Sequence[Entry] = (*COPIES, *zoo.ZOO)) -> Searcher:
    return Searcher(zoo.library(entries), zoo.Words())


@pytest.fixture(scope="module")
def boats() -> Searcher:
    return _searcher()


def shown(answer: Answer) -> list[str]:
    return [moment.media.key for moment in answer]


def hidden(answer: Answer) -> list[str]:
    return [ref.partition("@")[0] for moment in answer for ref in moment.copies]


@pytest.mark.parametrize("by", ["moment", "video"])
@pytest.mark.parametrize("query", ["boat", "seen:boat", "boat then wave2"])
def test_the_best_of_the_same_footage_names_the_others(boats: Searcher, query: str, by: str) -> None:
    every = boats.search(query, by=by, limit=20, copies="show")
    assert (
        {"first", "again", "once", "other"} <= set(shown(every)) if query != "boat then wave2" else {"first", "again"}
    )
    assert every.copies_hidden == 0
    few = boats.search(query, by=by, limit=20)
    same = {"first", "again", "once"}
    assert few.copies_hidden > 0
    assert set(hidden(few)) <= same
    assert few.copies_hidden == len(every) - len(few)
    assert {moment.ref for moment in every} == {moment.ref for moment in few} | {
        ref for moment in few for ref in moment.copies
    }
    assert few[0].ref == every[0].ref


def test_the_places_of_copies_go_to_the_next_answers(boats: Searcher) -> None:
    best = boats.search("boat", by="video", limit=2, min_confidence=0)
    assert len(best) == 2
    assert {"other"} < set(shown(best))
    alone = boats.search("boat", by="video", limit=1, min_confidence=0)
    assert len(alone) == 1
    assert alone[0].copies == best[0].copies


def test_a_long_list_is_filled_however_many_copies_there_are() -> None:
    many = _searcher([*(media(f"copy{number:02}", seen=MOVING) for number in range(30)), *COPIES[3:], *zoo.ZOO])
    best = many.search("boat", by="video", limit=3, min_confidence=0)
    assert len(best) == 3
    assert max(len(moment.copies) for moment in best) == 29


def test_how_far_strangers_are_apart_is_looked_up_once_a_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def counted(snapshot: Snapshot) -> dict[str, Stranger]:
        looked.append(snapshot.generation)
        return strangers(snapshot)

    monkeypatch.setattr(distinct, "strangers", counted)
    searcher = _searcher()
    for _ in range(2):
        searcher.search("boat", min_confidence=0)
    searcher.store.add(media("one more", seen=[(6, "iron bridge")]))
    searcher.search("boat", min_confidence=0)
    with searcher.store.snapshot() as snapshot:
        assert looked[-1] == snapshot.generation
    assert len(looked) == len(set(looked)) == 2


def test_near_misses_are_different_too(boats: Searcher) -> None:
    missed = boats.search("boat", min_confidence=1)
    assert not missed.moments
    assert missed.copies_hidden == 0
    assert len({moment.media.key for moment in missed.misses} & {"first", "again", "once"}) == 1
    assert any(moment.copies for moment in missed.misses)


def test_of_one_media_there_are_no_more_than_wanted() -> None:
    scenes = [(4, "sailing boat"), (4, "iron bridge")] * 4
    regatta = _searcher((media("regatta", seen=scenes), *zoo.ZOO))
    for query in ("sailing boat", "seen:(sailing boat)"):
        every = [moment for moment in regatta.search(query, min_confidence=0) if moment.media.key == "regatta"]
        assert len(every) >= 4
        for most in (1, 2):
            capped = regatta.search(query, min_confidence=0, limit=5, most_per_media=most)
            assert shown(capped).count("regatta") == most
            assert len(capped) == 5
            assert [moment.ref for moment in capped if moment.media.key == "regatta"] == [
                moment.ref for moment in every[:most]
            ]


def test_what_is_only_alike_stays_apart() -> None:
    """Two films of one flat scene each are as near as copies, and nobody can tell that they are any."""
    still = _searcher((media("one", seen=[(8, "grey wall")]), media("two", seen=[(9, "grey wall")]), *zoo.ZOO))
    assert set(shown(still.search("grey wall", limit=2, min_confidence=0))) == {"one", "two"}


def test_an_answer_does_not_hide_behind_a_near_miss(boats: Searcher) -> None:
    """Who scores best is not always the surest, and people get answers first."""
    every = boats.search("boat", by="video", copies="show", min_confidence=0)
    first, second, third = (moment for moment in every if moment.media.key in ("first", "again", "once"))
    found = [replace(first, confidence=0.2), replace(second, confidence=0.95), replace(third, confidence=0.3)]
    with boats.store.snapshot() as library:
        (best,) = Distinct().of(library, lambda limit: found[:limit], Wanted(10, 0.9))
    assert best.ref == second.ref
    assert best.copies == ()


@pytest.mark.parametrize("copies", ["collapse", "show"])
def test_near_misses_take_no_place_of_an_answer(boats: Searcher, copies: str) -> None:
    moments = boats.search("boat", by="video", copies="show", min_confidence=0, limit=20).moments
    first, second, third, fourth = (one for one in moments if one.media.key in ("first", "other", "parrot", "tower"))
    found = [replace(one, confidence=sure) for one, sure in ((first, 0.2), (second, 0.3), (third, 0.95), (fourth, 0.1))]
    with boats.store.snapshot() as library:
        best = Distinct().of(library, lambda limit: found[:limit], Wanted(1, 0.9, copies))
    assert [one.ref for one in best] == [first.ref, third.ref]


@pytest.mark.parametrize(("copies", "most", "said"), [("some", 0, "collapse or show"), ("show", -1, "0 for no cap")])
def test_what_is_wanted_is_said_rightly(boats: Searcher, copies: str, most: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        boats.search("boat", copies=copies, most_per_media=most)


def test_a_library_of_nothing_but_copies_has_one_answer() -> None:
    """Most pairs of media are copies, and do not say how far strangers are apart."""
    scenes = [(2, "street crowd"), (3, "parrot branch"), (2, "pancake pan"), (3, "tower cloud"), (2, "office desk")]
    copies = [zoo.media(f"copy{number}", seen=scenes) for number in range(5)]
    answer = Searcher(zoo.library(copies), zoo.Words()).search("parrot branch", min_confidence=0)
    assert len(answer[0].copies) == 4
