"""The index of words: BM25 by its definition, kept through every commit, tolerant of lost spaces."""

import sqlite3
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.stores import _bm25, _words
from retriever.types import Modality, Ranking, WordQuery
from retriever.words import line_forms, query_words

SPEECH, TEXT = Modality.SPEECH, Modality.TEXT
Lines = list[tuple[int, Modality, str]]

WORDS = ["dog", "dogs", "the", "parrot", "street", "streets", "talking", "talk", "jean", "coutu", "jeancoutu", "café"]
SENTENCES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
DOCUMENTS = st.dictionaries(st.integers(0, 40_000), st.lists(SENTENCES, max_size=3), max_size=12)
QUESTIONS = st.tuples(SENTENCES, st.lists(SENTENCES.map('"{}"'.format), max_size=2)).map(
    lambda parts: " ".join([parts[0], *parts[1]])
)


@pytest.fixture
def catalog() -> Iterator[sqlite3.Connection]:
    connection = library([])
    yield connection
    connection.close()


def library(lines: Lines) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    _words.create(connection)
    _words.add(connection, lines)
    return connection


def lines_of(documents: dict[int, list[str]], modality: Modality = SPEECH) -> Lines:
    return [(segment, modality, text) for segment, texts in documents.items() for text in texts]


def found(ranking: Ranking) -> list[int]:
    return [int(segment) for segment in ranking.segments]


def ask(connection: sqlite3.Connection, question: str, modality: Modality = SPEECH, depth: int = 10) -> list[int]:
    return found(_words.matching(connection, query_words(question), modality, depth))


def agree(fast: Ranking, plain: Ranking) -> None:
    """The same scores; the same order, but for what rounding may turn round."""
    np.testing.assert_allclose(fast.scores, plain.scores, rtol=1e-5)
    scores = dict(zip(found(plain), plain.scores.tolist(), strict=True))
    assert fast.scores.tolist() == pytest.approx([scores[segment] for segment in found(fast)], rel=1e-5)


@given(documents=DOCUMENTS, question=QUESTIONS, modality=st.sampled_from([SPEECH, TEXT]), data=st.data())
def test_ranking_agrees_with_the_definition(
    documents: dict[int, list[str]], question: str, modality: Modality, data: st.DataObject
) -> None:
    connection = library(lines_of(documents, modality))
    words = query_words(question)
    running = {
        segment: [form for text in texts for form in line_forms(text, modality)[0]]
        for segment, texts in documents.items()
        if texts
    }
    allowed = None
    if data.draw(st.booleans()):
        allowed = np.zeros(40_001, np.bool_)
        allowed[data.draw(st.lists(st.integers(0, 40_000))) + list(documents)[:5]] = True
    agree(
        _words.matching(connection, words, modality, 50, allowed),
        _bm25.plain(running, words, 50, allowed),
    )
    connection.close()


@given(kept=DOCUMENTS, gone=DOCUMENTS)
def test_answers_depend_on_what_is_there_and_not_on_how_it_came(
    kept: dict[int, list[str]], gone: dict[int, list[str]]
) -> None:
    gone = {segment: texts for segment, texts in gone.items() if segment not in kept}
    never, removed = library(lines_of(kept)), library(lines_of(gone))
    for segment, texts in kept.items():
        _words.add(removed, [(segment, SPEECH, text) for text in texts])
    _words.remove(removed, gone)
    for question in ("dog parrot talking", '"jean coutu"', "the"):
        words = query_words(question)
        first, second = (_words.matching(connection, words, SPEECH, 50) for connection in (never, removed))
        assert found(first) == found(second)
        np.testing.assert_array_equal(first.scores, second.scores)
    for connection in (never, removed):
        connection.close()


def test_a_commit_that_is_taken_back_leaves_nothing(catalog: sqlite3.Connection) -> None:
    _words.add(catalog, [(0, SPEECH, "a parrot")])
    catalog.commit()
    _words.add(catalog, [(1, SPEECH, "two parrots")])
    _words.remove(catalog, [0])
    catalog.rollback()
    assert ask(catalog, "parrot") == [0]


def test_modalities_are_apart(catalog: sqlite3.Connection) -> None:
    _words.add(catalog, [(0, SPEECH, "parrot"), (1, TEXT, "parrot")])
    assert ask(catalog, "parrot", SPEECH) == [0]
    assert ask(catalog, "parrot", TEXT) == [1]
    assert ask(catalog, "parrot", Modality.VISION) == []


@pytest.mark.parametrize("question", ["shoppers drug mart", "shoppers", "drug", '"drug mart"', "shoppersdrugmart"])
def test_words_are_found_where_their_spaces_were_lost(catalog: sqlite3.Connection, question: str) -> None:
    _words.add(catalog, [(0, TEXT, "art fair"), (1, TEXT, "SHOPPERSDRUGMART"), (2, TEXT, "smart heart")])
    assert ask(catalog, question, TEXT) == [1]
    assert ask(catalog, "art", TEXT) == [0]


def test_a_name_nobody_listed_is_found_written_as_one(catalog: sqlite3.Connection) -> None:
    _words.add(catalog, [(0, TEXT, "JEANCOUTU"), (1, TEXT, "jean"), (2, TEXT, "COUTU JEAN")])
    assert ask(catalog, '"jean coutu"', TEXT) == [0]
    assert set(ask(catalog, "jean coutu", TEXT)) == {0, 1, 2}


def test_a_phrase_runs_on_over_lines_but_not_over_other_words(catalog: sqlite3.Connection) -> None:
    _words.add(catalog, [(0, SPEECH, "over the lazy"), (0, SPEECH, "dog again"), (1, SPEECH, "the lazy old dog")])
    assert ask(catalog, '"lazy dog"') == [0]
    assert ask(catalog, '"lazy dogs"') == []


def test_ties_go_to_the_lower_segment(catalog: sqlite3.Connection) -> None:
    _words.add(catalog, [(segment, SPEECH, "a parrot") for segment in (9_000, 3, 70_000, 5)])
    assert ask(catalog, "parrot") == [3, 5, 9_000, 70_000]
    assert ask(catalog, "parrot", depth=2) == [3, 5]


def test_a_filter_takes_room_from_nobody(catalog: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bm25, "CANDIDATES", 20)
    _words.add(catalog, [(segment, SPEECH, "parrot parrot") for segment in range(300)])
    _words.add(catalog, [(segment, SPEECH, "a parrot in a street") for segment in range(300, 310)])
    allowed = np.arange(310) >= 300
    ranking = _words.matching(catalog, query_words("parrot street"), SPEECH, 10, allowed)
    assert found(ranking) == list(range(300, 310))


def test_common_words_only_score_what_rare_words_chose(
    catalog: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bm25, "CANDIDATES", 20)
    lines = [(segment, SPEECH, "street") for segment in range(100)] + [
        (100, SPEECH, "parrot"),
        (101, SPEECH, "parrot street"),
    ]
    _words.add(catalog, lines)
    ranking = _words.matching(catalog, query_words("parrot street"), SPEECH, 30)
    whole = _bm25.plain({segment: text.split() for segment, _, text in lines}, query_words("parrot street"), 200)
    scores = dict(zip(whole.segments.tolist(), whole.scores.tolist(), strict=True))
    assert found(ranking)[:2] == found(whole)[:2] == [100, 101]
    assert len(ranking) == 20
    assert ranking.scores.tolist() == pytest.approx([scores[segment] for segment in found(ranking)])


@pytest.mark.parametrize("words", [WordQuery(()), WordQuery(("nothing",)), WordQuery((), (("no", "such"),))])
def test_no_match_is_an_empty_ranking(catalog: sqlite3.Connection, words: WordQuery) -> None:
    assert len(_words.matching(catalog, words, SPEECH, 10)) == 0
    _words.add(catalog, [(0, SPEECH, "a parrot"), (1, SPEECH, " … ")])
    assert len(_words.matching(catalog, words, SPEECH, 10)) == 0


def test_a_document_longer_than_a_posting_can_say_is_held_back_as_much(catalog: sqlite3.Connection) -> None:
    _words.add(catalog, [(0, SPEECH, "parrot " * 70_000), (1, SPEECH, "parrot")])
    assert ask(catalog, "parrot") == [0, 1]


def test_removing_what_is_not_there_changes_nothing(catalog: sqlite3.Connection) -> None:
    _words.add(catalog, [(0, SPEECH, "a parrot")])
    _words.remove(catalog, [7, 8])
    assert ask(catalog, "parrot") == [0]
