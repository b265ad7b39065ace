"""What is a negative, and what is held out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.errors import TrainingError
from retriever.training.batches import Batches, Padded, Pairs, mined, split
from retriever.types import Ids

WIDTH = 4


def pairs(
    items: list[int],
    owners: list[int],
    said: list[int] | None = None,
    also: list[tuple[int, int]] | None = None,
    groups: list[int] | None = None,
) -> Pairs:
    draw = np.random.default_rng(len(items))
    rows = draw.standard_normal((len(owners), 2, WIDTH))
    frames = Padded.of([(row / np.linalg.norm(row, axis=1, keepdims=True), np.ones(2)) for row in rows], WIDTH)
    texts = draw.standard_normal((len(items), WIDTH)).astype(np.float32)
    return Pairs(
        texts / np.linalg.norm(texts, axis=1, keepdims=True),
        np.array(range(len(items)) if said is None else said, np.int64),
        np.array(items, np.int64),
        frames,
        None,
        np.array(owners, np.int64),
        np.array(also or [], np.int64).reshape(-1, 2),
        groups=None if groups is None else np.array(groups, np.int64),
    )


def everything(some: Pairs) -> np.ndarray:
    return some.true(np.arange(len(some)), np.arange(len(some.owners)))


def test_a_caption_is_true_of_its_media_of_its_words_and_of_what_is_said_beside() -> None:
    some = pairs(items=[0, 2, 3], owners=[0, 0, 1, 2, 3], said=[7, 8, 8], also=[(7, 4)])
    np.testing.assert_array_equal(
        everything(some),
        [
            [True, True, False, False, True],  # its item, the other item of its media, and the one said beside
            [False, False, True, True, False],  # the same words are told of item 3
            [False, False, True, True, False],
        ],
    )


def test_some_captions_keep_what_they_are_true_of() -> None:
    some = pairs(items=[0, 2, 3], owners=[0, 0, 1, 2, 3], said=[7, 8, 8], also=[(7, 4), (7, 3)])
    np.testing.assert_array_equal(everything(some.only(np.array([0, 2]))), [[True, True], [False, True]])


@given(st.data())
def test_no_negative_is_true(data: st.DataObject) -> None:
    media = data.draw(st.integers(3, 7))
    owners = data.draw(st.lists(st.integers(0, media - 1), min_size=media, max_size=2 * media))
    items = data.draw(st.lists(st.integers(0, len(owners) - 1), min_size=2, max_size=12))
    said = data.draw(st.lists(st.integers(0, 5), min_size=len(items), max_size=len(items)))
    also = data.draw(st.lists(st.tuples(st.sampled_from(said), st.integers(0, len(owners) - 1)), max_size=4))
    some = pairs(items, owners, said, also)
    true = everything(some)
    near = mined(some)
    assert not np.take_along_axis(true, np.maximum(near, 0), axis=1)[near >= 0].any()
    for batch in Batches(some, 4, 3, seed=data.draw(st.integers(0, 9))).epoch(1):
        own = np.eye(*batch.skip.shape, dtype=bool)
        np.testing.assert_array_equal(batch.skip, true[np.ix_(batch.captions, batch.items)] & ~own)


@given(st.permutations([0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5]), st.integers(0, 99))
def test_no_group_is_on_both_sides_of_a_split(groups: list[int], seed: int) -> None:
    some = pairs(items=list(range(12)), owners=list(range(12)), groups=groups)
    learnt, held = split(some, 0.2, seed)
    assert len(learnt) + len(held) == 12
    assert len(held) >= 2
    assert not set(learnt.together.tolist()) & set(held.together.tolist())


def test_without_groups_no_media_is_on_both_sides() -> None:
    owners: Ids = np.arange(12) // 2
    learnt, held = split(pairs(items=list(range(12)), owners=owners.tolist()), 0.3, seed=1)
    assert not set(learnt.owners.tolist()) & set(held.owners.tolist())
    assert sorted({*learnt.owners.tolist(), *held.owners.tolist()}) == list(range(6))


def test_one_group_of_all_cannot_be_split() -> None:
    with pytest.raises(TrainingError, match="12 media leave 0 to train on beside 12 held out"):
        split(pairs(items=list(range(12)), owners=list(range(12)), groups=[1] * 12), 0.2, seed=1)
