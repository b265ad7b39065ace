"""What was asked of late is known, and nothing else is."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retriever.recent import Recent
from retriever.remembering import FEW, Remembering, Rows
from retriever.types import Matrix


class Letters:
    """Counts letters, and notes what it is asked."""

    name, digest, dimension = "letters", "0" * 64, 2

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, sentences: Sequence[str]) -> Matrix:
        self.asked += sentences
        return np.array([(len(one), sum(map(ord, one))) for one in sentences], np.float32).reshape(-1, 2)


texts = st.lists(st.text("abc", max_size=2), max_size=FEW + 2)


@given(st.lists(texts, max_size=6), st.integers(1, 8))
def test_it_answers_as_the_one_within(questions: list[list[str]], most: int) -> None:
    rows: Rows = Recent(most)
    remembering, plain = Remembering(Letters(), rows), Letters()
    for each in questions:
        np.testing.assert_array_equal(remembering.encode(each), plain.encode(each))
        assert len(rows) <= most


def test_a_sentence_is_encoded_once() -> None:
    letters, rows = Letters(), Rows(8)
    remembering = Remembering(letters, rows)
    remembering.encode(["a", "b"])
    first = remembering.encode(["b", "c", "a"])
    assert letters.asked == ["a", "b", "c"]
    assert (rows.hits, rows.misses) == (2, 3)
    first[:] = 0  # whoever asked may do with it what they like
    np.testing.assert_array_equal(remembering.encode(["c"]), Letters().encode(["c"]))
    assert letters.asked == ["a", "b", "c"]


def test_two_encoders_do_not_take_each_other_for_one() -> None:
    rows = Rows(8)
    one, other = Letters(), Letters()
    other.digest = "1" * 64
    Remembering(one, rows).encode(["a"])
    Remembering(other, rows).encode(["a"])
    assert other.asked == ["a"]


def test_a_corpus_drives_no_question_out() -> None:
    letters, rows = Letters(), Rows(2)
    remembering = Remembering(letters, rows)
    remembering.encode(["a"])
    remembering.encode(["b"] * (FEW + 1))
    remembering.encode(["a"])
    assert letters.asked.count("a") == 1


def test_the_newest_stay() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert recent.get("b") is None
    assert (recent.get("a"), recent.get("c"), len(recent)) == (1, 3, 2)
    assert (recent.hits, recent.misses) == (3, 1)
