"""Sentences of several threads share batches, and each thread gets its own."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.sharing import MOST, Shared
from retriever.types import Matrix


class Letters:
    """Counts letters, notes each batch, and waits at the gate if it is shut."""

    name, digest, dimension = "letters", "0" * 64, 2

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def encode(self, sentences: Sequence[str]) -> Matrix:
        self.batches.append(list(sentences))
        self.entered.release()
        assert self.gate.wait(60)
        if "bad" in sentences:
            raise ValueError("bad")
        return np.array([(len(one), sum(map(ord, one))) for one in sentences], np.float32).reshape(-1, 2)


def asked(shared: Shared, *questions: list[str], letters: Letters) -> list[Matrix | BaseException]:
    """What each of several threads gets, that all come while a first one is at work."""
    letters.gate.clear()
    with ThreadPoolExecutor(len(questions) + 1) as pool:
        first = pool.submit(shared.encode, ["first"])
        assert letters.entered.acquire(timeout=60)
        futures = []
        for place, question in enumerate(questions):
            futures.append(pool.submit(shared.encode, question))
            while len(shared._waiting) <= place:
                pass
        letters.gate.set()
        np.testing.assert_array_equal(first.result(10), Letters().encode(["first"]))
        return [one.exception(10) or one.result(10) for one in futures]


def test_alone_it_is_the_encoder_within() -> None:
    letters = Letters()
    shared = Shared(letters)
    np.testing.assert_array_equal(shared.encode(["a", "bb"]), Letters().encode(["a", "bb"]))
    assert shared.encode([]).shape == (0, 2)
    assert (shared.name, shared.digest, shared.dimension) == ("letters", "0" * 64, 2)


def test_those_that_come_meanwhile_share_a_batch() -> None:
    letters = Letters()
    got = asked(Shared(letters), ["a"], ["bb", "ccc"], [], ["d"], letters=letters)
    assert letters.batches == [["first"], ["a", "bb", "ccc", "d"]]
    for rows, question in zip(got, (["a"], ["bb", "ccc"], [], ["d"]), strict=True):
        np.testing.assert_array_equal(rows, Letters().encode(question))


def test_a_batch_has_an_end_and_a_large_question_goes_alone() -> None:
    letters = Letters()
    large = [f"{number}" for number in range(2 * MOST)]
    half = [f"{number}" for number in range(MOST // 2)]
    asked(Shared(letters), large, half, half, ["a"], letters=letters)
    assert [len(batch) for batch in letters.batches] == [1, 2 * MOST, MOST, 1]


def test_an_error_is_told_to_whom_it_belongs() -> None:
    letters = Letters()
    good, bad, other = asked(Shared(letters), ["a"], ["bad"], ["b"], letters=letters)
    assert isinstance(bad, ValueError)
    np.testing.assert_array_equal(good, Letters().encode(["a"]))
    np.testing.assert_array_equal(other, Letters().encode(["b"]))


def test_who_is_interrupted_leaves_the_others_to_the_next() -> None:
    class Interrupted(Letters):
        def encode(self, sentences: Sequence[str]) -> Matrix:
            rows = super().encode(sentences)
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return rows

    letters = Interrupted()
    stopped, other = asked(Shared(letters), ["a"], ["b"], letters=letters)
    assert sorted(map(type, (stopped, other)), key=str) == [KeyboardInterrupt, np.ndarray]


def test_after_an_error_it_goes_on() -> None:
    shared = Shared(Letters())
    with pytest.raises(ValueError, match="bad"):
        shared.encode(["bad"])
    assert shared.encode(["a"]).shape == (1, 2)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.text(max_size=5).filter(lambda text: text != "bad"), max_size=5), min_size=1, max_size=24))
def test_every_thread_gets_its_own(questions: list[list[str]]) -> None:
    shared = Shared(Letters())
    with ThreadPoolExecutor(8) as pool:
        for rows, question in zip(pool.map(shared.encode, questions), questions, strict=True):
            np.testing.assert_array_equal(rows, Letters().encode(question))
