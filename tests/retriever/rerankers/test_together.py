"""A head of two spaces looks at what a store gives of both."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pools import HEARD, WIDTH, array, padded, placed, ragged, tefal, xpool

from retriever.errors import HeadError
from retriever.heads import Head
from retriever.rerankers import _plain
from retriever.rerankers._ragged import MOST, Ragged
from retriever.rerankers.textpool import TextPool
from retriever.types import Floats, RaggedTokens, Vector

LOUD = [(3, 2), (0, 3), (4, 0), (16, 5), (1, 1), (0, 0), (7, 16)]
Counts = list[tuple[int, int]]


def square(draw: np.random.Generator) -> Head:
    """Its map leaves the width as it is."""
    return replace(tefal(draw, WIDTH), audio_map=(array(draw, WIDTH, WIDTH), array(draw, WIDTH)))


def ungated(draw: np.random.Generator) -> Head:
    return replace(tefal(draw), gate=None)


HEADS = {"mapped": tefal, "as it is": lambda draw: tefal(draw, WIDTH), "square map": square, "no gate": ungated}
Make = Callable[[np.random.Generator], Head]


def unit(draw: np.random.Generator) -> Vector:
    view = array(draw, WIDTH)
    return np.asarray(view / np.linalg.norm(view), np.float32)


def given_by_a_store(draw: np.random.Generator, counts: Counts, width: int) -> list[RaggedTokens]:
    frames, sounds = ([pair[place] for pair in counts] for place in (0, 1))
    longest = max([1, *frames, *sounds])
    return [ragged(placed(draw, frames, longest)), ragged(placed(draw, sounds, longest, width))]


def plain(head: Head, view: Vector, spaces: list[RaggedTokens]) -> Floats:
    thinned = [padded(Ragged.of(own)) for own in spaces]
    return _plain.scores(head, view[None], *(part for made in thinned for part in made))[0]


@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    counts=st.lists(st.tuples(st.integers(0, MOST), st.integers(0, 6)), min_size=1, max_size=12),
)
@example(seed=1, counts=LOUD)
@example(seed=2, counts=[(1, 1)])
@example(seed=3, counts=[(0, 2)])
@example(seed=4, counts=[(40, 33), (17, 16)])
def test_scores_are_those_of_the_plain_form(make: Make, seed: int, counts: Counts) -> None:
    draw = np.random.default_rng(seed)
    head, view = make(draw), unit(draw)
    spaces = given_by_a_store(draw, counts, head.audio_dimension)
    scores = TextPool(head).together(view, spaces)
    np.testing.assert_allclose(scores, plain(head, view, spaces), atol=2e-5)
    ready = TextPool(head).prepare_ragged(spaces)
    np.testing.assert_allclose(TextPool(head).score_prepared(view[None], ready)[0], scores, atol=2e-5)


@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)
def test_a_candidate_without_sound_is_xpools_to_the_bit_whoever_stands_beside_it(make: Make) -> None:
    draw = np.random.default_rng(5)
    head, view = make(draw), unit(draw)
    spaces = given_by_a_store(draw, LOUD * 3, head.audio_dimension)
    alone = TextPool(Head("xpool", "", ("seen",), head.blocks[:1]))
    silent = np.diff(spaces[1].offsets) == 0
    mute, _ = alone.rerank(view, spaces[0])
    both = TextPool(head).together(view, spaces)
    assert both[silent].tobytes() == mute[silent].tobytes()
    heard = ~silent & np.isfinite(mute)
    assert (both[heard] != mute[heard]).all()
    folded, mute = (pool.prepare_ragged(spaces[:many]) for pool, many in ((TextPool(head), 2), (alone, 1)))
    one, other = TextPool(head).score_prepared(view[None], folded), alone.score_prepared(view[None], mute)
    assert one[:, silent].tobytes() == other[:, silent].tobytes()


def test_a_head_that_hears_is_xpools_over_frames_alone() -> None:
    draw = np.random.default_rng(6)
    head, view = tefal(draw), unit(draw)
    frames, _ = given_by_a_store(draw, LOUD, HEARD)
    alone = TextPool(Head("xpool", "", ("seen",), head.blocks[:1]))
    scores, relevance = TextPool(head).rerank(view, frames)
    other, near = alone.rerank(view, frames)
    assert scores.tobytes() == other.tobytes()
    assert relevance.tobytes() == near.tobytes()


def test_sound_without_a_picture_scores_minus_infinity() -> None:
    draw = np.random.default_rng(7)
    scores = TextPool(tefal(draw)).together(unit(draw), given_by_a_store(draw, LOUD, HEARD))
    assert np.isneginf(scores).tolist() == [frames == 0 for frames, _ in LOUD]


def test_relevance_is_the_cosine_of_each_token_with_the_text() -> None:
    draw = np.random.default_rng(8)
    view = unit(draw)
    seen, _ = given_by_a_store(draw, LOUD, HEARD)
    _, relevance = TextPool(tefal(draw)).rerank(view, seen)
    np.testing.assert_allclose(relevance, seen.rows.astype(np.float64) @ view, atol=1e-6)


def test_spaces_that_do_not_belong_together_are_refused() -> None:
    draw = np.random.default_rng(10)
    pool, view = TextPool(tefal(draw)), unit(draw)
    seen, heard = given_by_a_store(draw, LOUD, HEARD)
    (fewer, _) = given_by_a_store(draw, LOUD[:2], HEARD)
    with pytest.raises(HeadError, match=r"takes audio tokens of 20 numbers, got 32"):
        pool.together(view, [seen, seen])
    with pytest.raises(HeadError, match=r"takes tokens of 32 numbers, got 20"):
        pool.together(view, [heard, seen])
    with pytest.raises(ValueError, match="frames are of 2 candidates, sounds of 7"):
        pool.together(view, [fewer, heard])
    with pytest.raises(ValueError, match="looks at 2 spaces, got 3"):
        pool.together(view, [seen, heard, heard])
    with pytest.raises(ValueError, match="looks at 2 spaces, got 0"):
        pool.together(view, [])
    with pytest.raises(ValueError, match="looks at 1 spaces, got 2"):
        TextPool(xpool(draw)).together(view, [seen, heard])


@pytest.mark.parametrize("bias", [-500.0, 500.0])
def test_a_gate_that_is_quite_shut_or_open_is_the_plain_ones(bias: float) -> None:
    draw = np.random.default_rng(11)
    head, view = tefal(draw), unit(draw)
    assert head.gate
    head = replace(head, gate=replace(head.gate, bias=bias))
    spaces = given_by_a_store(draw, LOUD, HEARD)
    wanted = plain(head, view, spaces)
    pool = TextPool(head)
    np.testing.assert_allclose(pool.together(view, spaces), wanted, atol=2e-5)
    ready = pool.prepare_ragged(spaces)
    for count in (1, 9):
        np.testing.assert_allclose(pool.score_prepared(np.stack([view] * count), ready)[-1], wanted, atol=2e-5)
