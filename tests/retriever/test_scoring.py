"""What is looked at is kept for the next question, and changes no answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoo import ZOO, Words, library, media

from retriever import scoring
from retriever.search import Searcher
from retriever.stores import local
from retriever.types import Answer, RaggedTokens


class Counted:
    """A store whose snapshots count how often tokens are read."""

    def __init__(self) -> None:
        self.reads = 0
        self._store = library()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @contextmanager
    def snapshot(self) -> Iterator[Any]:
        with self._store.snapshot() as snapshot:
            read = snapshot.tokens

            def tokens(numbers: Any, space: str) -> RaggedTokens:
                self.reads += 1
                return read(numbers, space)

            snapshot.tokens = tokens
            yield snapshot


def told(answer: Answer) -> list[tuple[str, float]]:
    return [(one.ref, round(one.score, 4)) for one in answer]


@pytest.mark.parametrize(
    "query", ["parrot branch", "parrot branch THEN street crowd", "like:parrot@5-10", "-lamp piano"]
)
def test_the_next_question_reads_no_tokens_and_is_answered_as_ever(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "LARGE", 3)
    store = Counted()
    searcher = Searcher(store, Words())
    first = told(searcher.search(query, min_confidence=0))
    before = store.reads
    assert told(searcher.search(query, min_confidence=0)) == first
    assert store.reads - before <= (len(ZOO) if "like" in query else 8)  # of what is shown, and of copies
    assert told(Searcher(library(), Words()).search(query, min_confidence=0)) == first


def test_a_library_that_changed_is_looked_at_again() -> None:
    store = library()
    searcher = Searcher(store, Words())
    searcher.search("parrot branch", min_confidence=0)
    store.add(media("parrot", seen=[(5, "parrot branch"), (15, "street crowd")], tags=("birds",)))
    best = searcher.search("parrot branch", min_confidence=0)[0]
    assert (best.media.key, best.start_s) == ("parrot", 0)


@pytest.mark.parametrize("large", [0, scoring.LARGE])
def test_numbers_that_come_again_with_a_copy_that_is_put_back(
    large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "LARGE", large)
    store = local.build(tmp_path / "lib")
    searcher, entries = Searcher(store, Words()), ZOO[1:3]  # of as many segments
    store.back_up(tmp_path / "copy")
    for one in entries:
        store.add(one)
    before = searcher.search("pancake pan", min_confidence=0)
    store.restore(tmp_path / "copy")
    for one in reversed(entries):
        store.add(one)
    after = searcher.search("pancake pan", min_confidence=0)
    assert after.generation == before.generation
    assert told(after) == told(Searcher(store, Words()).search("pancake pan", min_confidence=0)) == told(before)
    store.close()


def test_sets_of_both_sizes_are_held_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "LARGE", 3)
    kept = scoring.Kept()
    few, many = np.arange(2), np.arange(5)
    asked: list[int] = []

    def look(numbers: Any) -> Any:
        return lambda: asked.append(len(numbers)) or {}

    for numbers in (few, many, few, many, few + 1, many):
        kept.looked("g", numbers, look(numbers))
    assert asked == [2, 5, 2]
    kept.looked("h", many, look(many))
    assert asked[-1] == 5
