"""What is known of a library a moment ago is lent to whoever asks now, and made good soon."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoo import SEEN, ZOO, Words, library, media

from retriever import calibrating, lending
from retriever.calibrating import Calibration, Calibrator
from retriever.grammar import read
from retriever.lending import Lender
from retriever.looking import Looking
from retriever.ports import Snapshot
from retriever.registry import Registry
from retriever.scoring import Only
from retriever.search import Searcher

LOOKING = Looking(Registry("retriever.rerankers").load("maxsim").build())


def known(calibrator: Calibrator, store: Any) -> Calibration:
    with store.snapshot() as snapshot:
        return calibrator.of(snapshot)


def generation(store: Any) -> str:
    with store.snapshot() as snapshot:
        return str(snapshot.generation)


@pytest.fixture
def store() -> Any:
    return library(ZOO)


@pytest.fixture
def lender(store: Any) -> Iterator[Lender]:
    made = Lender(store.snapshot, Words(), LOOKING)
    yield made
    made.close()


def settled(lender: Lender) -> None:
    if lender._worker is not None:
        lender._worker.join()


def test_a_little_more_changes_little_and_nobody_waits(store: Any, lender: Lender) -> None:
    first = known(lender, store)
    store.add(media("more", seen=[(6, "iron bridge")]))
    assert known(lender, store) is first
    settled(lender)
    now = known(lender, store)
    assert now.generation == generation(store) != first.generation
    fresh = known(Calibrator(Words(), LOOKING), store)
    np.testing.assert_array_equal(now.tail.best, fresh.tail.best)
    assert now.levels.seen == fresh.levels.seen


def test_who_looks_at_an_older_state_has_what_is_known_of_that(store: Any, lender: Lender) -> None:
    with store.snapshot() as older:
        first = lender.of(older)
        store.add(media("more", seen=[(6, "iron bridge")]))
        known(lender, store)
        settled(lender)
        assert known(lender, store).generation == generation(store)
        assert lender.of(older) is first


def test_what_has_changed_much_is_worked_out_at_once(store: Any, lender: Lender) -> None:
    first = known(lender, store)
    for number in range(4 * len(ZOO)):
        store.add(media(f"more{number}", seen=[(6, f"iron{number} bridge")]))
    now = known(lender, store)
    assert now.generation == generation(store) != first.generation
    assert lender._worker is None


def test_what_has_other_sources_is_worked_out_at_once() -> None:
    store = library([media(f"seen{number}", seen=[(6, f"thing{number}")]) for number in range(12)])
    lender = Lender(store.snapshot, Words(), LOOKING)
    before = set(known(lender, store).levels.chances)
    store.add(media("heard", heard=[(6, "bell")]))
    assert set(known(lender, store).levels.chances) > before
    assert lender._worker is None


def test_one_at_a_time_and_with_rests_between(store: Any, lender: Lender, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    gate = threading.Event()
    whole = Lender.made

    def slow(self: Lender, snapshot: Snapshot) -> Calibration:
        made.append(snapshot.generation)
        if len(made) > 1:
            assert gate.wait(30)
        return whole(self, snapshot)

    monkeypatch.setattr(Lender, "made", slow)
    monkeypatch.setattr(lending, "ALIKE", 10.0)
    clock = [0.0]
    monkeypatch.setattr(lending, "monotonic", lambda: clock[0])
    first = known(lender, store)
    for number in range(3):
        store.add(media(f"more{number}", seen=[(6, "iron bridge")]))
        assert known(lender, store) is first
    clock[0] = 1.0
    gate.set()
    settled(lender)
    assert len(made) == 2
    store.add(media("later", seen=[(6, "iron bridge")]))
    second = known(lender, store)
    assert second.generation == made[1]
    assert len(made) == 2  # it took a second, and nine are rested
    clock[0] = 10.5
    assert known(lender, store) is second
    settled(lender)
    assert len(made) == 3
    assert known(lender, store).generation == generation(store) == made[2]


def test_what_was_lent_leaves_nothing_behind(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept on the disk is that of one state of the library, and not of two."""
    monkeypatch.setattr(Lender, "_renew", lambda self: None)
    lender = Lender(store.snapshot, Words(), LOOKING, tmp_path)
    known(lender, store)
    store.add(media("more", seen=[(6, "iron bridge")]))
    sentence = read("parrot THEN bridge")

    def tail(calibrator: Calibrator) -> np.ndarray:
        with store.snapshot() as snapshot:
            return calibrator.tail(snapshot, calibrator.of(snapshot), sentence, [None, None]).best

    tail(lender)
    np.testing.assert_array_equal(tail(Calibrator(Words(), LOOKING, tmp_path)), tail(Calibrator(Words(), LOOKING)))


def test_what_was_worked_out_of_both_is_taken_for_neither(
    store: Any, lender: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lender, "_renew", lambda self: None)
    drawn: list[object] = []
    best = calibrating._best
    monkeypatch.setattr(calibrating, "_best", lambda *asked: drawn.append(asked) or best(*asked))

    def tail(calibrator: Calibrator, sentence: str, *only: Only) -> np.ndarray:
        with store.snapshot() as snapshot:
            return calibrator.tail(snapshot, calibrator.of(snapshot), read(sentence), only).best

    seen = frozenset({SEEN.id})
    asked = [("parrot THEN bridge", None, None), ("like:parrot@0-5", seen)]
    known(lender, store)
    for number in range(2):
        store.add(media(f"more{number}", seen=[(5, "iron bridge")]))
        lent = [tail(lender, *one) for one in asked]
    assert len(drawn) == len(asked)  # what is lent is lent to the next state, too
    store.delete(["more0", "more1"])
    for one, other in zip(asked, lent, strict=True):
        np.testing.assert_array_equal(tail(lender, *one), tail(Calibrator(Words(), LOOKING), *one))
        assert not np.array_equal(tail(lender, *one), other)


def test_what_is_shown_is_looked_at_with_its_own_levels_again(store: Any, lender: Lender) -> None:
    searcher = Searcher(store, Words(), LOOKING)
    searcher.calibrator = lender

    def scores(searcher: Searcher) -> list[float]:
        return [one.score for one in searcher.search("like:parrot@5-10", min_confidence=0)]

    scores(searcher)
    store.add(media("more", seen=[(6, "iron bridge")]))
    lent = scores(searcher)
    settled(lender)
    assert scores(searcher) == scores(Searcher(store, Words(), LOOKING)) != lent


def test_tails_of_few_queries_are_held(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight can be any number."""
    monkeypatch.setattr(calibrating, "TAILS", 2)
    drawn: list[object] = []
    best = calibrating._best
    monkeypatch.setattr(calibrating, "_best", lambda *asked: drawn.append(asked) or best(*asked))
    calibrator = Calibrator(Words(), LOOKING)
    counts: list[int] = []
    with store.snapshot() as snapshot:
        for weight in (2, 3, 3, 4, 4, 2):
            calibrator.tail(snapshot, calibrator.of(snapshot), read(f"boat^{weight} desk"), [None, None])
            counts.append(len(drawn))
    assert counts == [1, 2, 2, 3, 3, 4]


def test_answers_are_those_of_the_library_now(store: Any, lender: Lender) -> None:
    """What is lent says how sure an answer is, and not which."""
    searcher = Searcher(store, Words(), LOOKING)
    searcher.calibrator = lender
    searcher.search("boat")
    store.add(media("new", seen=[(6, "golden submarine")]))
    best = searcher.search("golden submarine", min_confidence=0)[0]
    assert best.media.key == "new"
    assert best.confidence > 0.5
