"""Levels of chance are remembered by media, and are those that nobody remembered."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.chances import Levels, Remembered
from retriever.types import Ids, RaggedTokens

TOKENS = 3
"""Of every segment in one space; in the other a segment has as many as its number says, or none."""


def tokens(numbers: Ids, counts: Ids) -> RaggedTokens:
    """Rows that say which segment they are of."""
    rows = np.repeat(numbers, counts).astype(np.float16)[:, np.newaxis]
    blank = np.zeros((len(rows), 2), np.float32)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return RaggedTokens(rows, offsets, blank.astype(np.float64), blank[:, 0], [()] * len(rows), blank)


def of(numbers: Ids) -> dict[str, RaggedTokens]:
    return {"all": tokens(numbers, np.full(len(numbers), TOKENS)), "some": tokens(numbers, numbers % TOKENS)}


class Made:
    """Who gives levels, and counts the segments that it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, own: Mapping[str, RaggedTokens]) -> Levels:
        self.asked.append(len(own["all"].offsets) - 1)
        return {space: (sums(one), one.rows[:, 0].astype(np.float32)) for space, one in own.items()}


def sums(one: RaggedTokens) -> np.ndarray:
    ends = np.concatenate([[0.0], np.cumsum(one.rows[:, 0], dtype=np.float32)]).astype(np.float32)
    return ends[one.offsets[1:]] - ends[one.offsets[:-1]]


def same(found: Levels, wanted: Levels) -> None:
    assert found.keys() == wanted.keys()
    for space, (segments, each) in wanted.items():
        np.testing.assert_array_equal(found[space][0], segments)
        np.testing.assert_array_equal(found[space][1], each)


@given(st.lists(st.sets(st.integers(0, 39), min_size=1), min_size=1, max_size=6), st.sampled_from([0, 30, 10_000]))
def test_they_are_what_they_were_whatever_was_asked_before(sets: list[set[int]], held: int) -> None:
    remembered = Remembered(held)
    for chosen in sets:
        numbers = np.array(sorted(chosen))
        found = remembered.levels("g", numbers // 10, numbers, of(numbers), Made())
        same(found, Made()(of(numbers)))


def test_a_media_is_looked_at_once_until_something_changes() -> None:
    remembered, made = Remembered(), Made()

    def ask(generation: str, *numbers: int) -> None:
        chosen = np.array(numbers)
        remembered.levels(generation, chosen // 10, chosen, of(chosen), made)

    ask("g", 10, 11, 12, 20, 21)
    assert made.asked == [3, 2]
    ask("g", 20, 21, 30)
    assert made.asked == [3, 2, 1]
    ask("g", 10, 11, 12, 30)
    assert made.asked == [3, 2, 1]
    ask("g", 10, 12)  # a part of it: a filter by time
    assert made.asked == [3, 2, 1, 2]
    ask("h", 30)
    assert made.asked == [3, 2, 1, 2, 1]
    ask("h", 10, 12)
    assert made.asked[-1] == 2


@pytest.mark.parametrize("held", [0, 20])
def test_no_more_are_held_than_there_is_room_for(held: int) -> None:
    remembered, made = Remembered(held), Made()
    for media in (1, 2, 3, 3, 1):
        numbers = np.array([media * 10, media * 10 + 1])
        remembered.levels("g", numbers // 10, numbers, of(numbers), made)
    assert len(made.asked) == (
        5 if not held else 4
    )  # the last two, with room for two: of the first one nothing is left
