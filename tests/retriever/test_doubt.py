"""What speaks against an answer: that its question is one of many, and that it stands on one token."""

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zoo import DIMENSION, Words, library, media, unit

from retriever.calibrating import Calibrator
from retriever.doubt import Doubt, of_place
from retriever.looking import Looking
from retriever.rerankers import maxsim
from retriever.scoring import Scored, Seen
from retriever.search import Searcher
from retriever.types import Matrix, RaggedTokens, SegmentTable

NOTHING = np.zeros(0, np.float32)


def background(count: int = 60, seed: int = 0) -> Matrix:
    """Vectors around one direction, some near to it and some far."""
    draw = np.random.default_rng(seed)
    common = draw.standard_normal(DIMENSION)
    return unit(draw.standard_normal((count, DIMENSION)) + common * draw.uniform(0, 1, (count, 1)))


def scored(*segments: Sequence[float], other: Sequence[Sequence[float]] = ()) -> Scored:
    """Candidates by the heights of their tokens, in one space or two."""
    spaces = {"seen": _seen(segments)} | ({"heard": _seen(other)} if other else {})
    count = len(segments)
    blank = np.zeros(count, np.int64)
    table = SegmentTable(np.arange(count), blank, np.zeros((count, 2)), np.zeros(count, bool))
    none = np.zeros((0, count), np.float32)
    return Scored((), NOTHING, table, none, np.zeros(count, np.float32), none, spaces)


def _seen(segments: Sequence[Sequence[float]]) -> Seen:
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in segments])]).astype(np.int64)
    count = int(offsets[-1])
    empty = np.zeros(count, np.float32)
    rows = np.zeros((count, DIMENSION), np.float16)
    tokens = RaggedTokens(rows, offsets, np.zeros((count, 2)), empty, [()] * count, np.zeros((count, 5), np.float32))
    return Seen(tokens, np.array([height for one in segments for height in one], np.float32))


# ----------------------------------------------------------------------------------------------------------- a question


def test_what_is_near_to_all_that_people_ask_is_doubted_more() -> None:
    rows = background()
    common = unit(rows.mean(axis=0))
    strange = unit(np.random.default_rng(5).standard_normal(DIMENSION))
    strange = unit(strange - common * float(strange @ common))
    doubt = Doubt.of(rows)
    assert doubt.of_question(common) > 0 > doubt.of_question(strange)


def test_the_background_doubts_itself_neither_more_nor_less_than_it_should() -> None:
    doubt = Doubt.of(background())
    assert abs(float(doubt.own.mean())) < 1e-4
    assert float(doubt.own.std()) > 0.1


def test_a_sentence_of_the_background_is_not_held_against_itself() -> None:
    """As if it had been left out from the beginning."""
    rows = background()
    others = np.delete(rows, 7, axis=0)
    near = np.sort(others @ rows[7])[-10:].mean()
    doubt = Doubt.of(rows)
    expected = 0.5 * (near - doubt.scale.middle) / doubt.scale.spread
    np.testing.assert_allclose(doubt.own[7], expected, rtol=1e-4)
    assert doubt.of_question(rows[7]) > doubt.own[7]  # asked by somebody, it has itself among the nearest


@given(st.integers(1, 40), st.integers(0, 50))
def test_any_background_will_do_and_its_order_does_not_matter(count: int, seed: int) -> None:
    rows = background(count, seed)
    view = background(1, seed + 1)[0]
    turned = np.random.default_rng(seed).permutation(count)
    one, other = Doubt.of(rows).of_question(view), Doubt.of(rows[turned]).of_question(view)
    assert np.isfinite(one)
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


# -------------------------------------------------------------------------------------------------------------- a place


def test_one_high_token_among_low_ones_is_doubted_and_three_high_ones_are_not() -> None:
    alone, borne = of_place(scored([3, 0, 0, 0], [3, 3, 3, 0]), [0, 1])
    assert alone == 1.0
    assert borne == 0.0


def test_it_is_the_space_with_the_best_token_that_is_asked() -> None:
    (found,) = of_place(scored([3, 0, 0], other=[[5, 5, 5]]), [0])
    assert found == 0.0
    (found,) = of_place(scored([5, 2, 2], other=[[4, 4, 4]]), [0])
    assert found == 1.0


def test_one_token_or_none_has_no_neighbours() -> None:
    np.testing.assert_array_equal(of_place(scored([], [2.0], [2.0, 2.0]), [0, 1, 2]), np.zeros(3))
    np.testing.assert_array_equal(of_place(scored([-np.inf, 1.0]), [0]), np.zeros(1))  # where nothing is known
    assert len(of_place(scored([1.0]), [])) == 0


heights = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=12)


@given(heights, st.floats(-5, 5), st.randoms(use_true_random=False))
def test_only_differences_of_heights_count_in_whichever_order(own: list[float], more: float, chance: Random) -> None:
    turned = sorted(own, key=lambda _: chance.random())
    first, second = of_place(scored(own, [one + more for one in turned]), [0, 1])
    np.testing.assert_allclose(first, second, atol=1e-4)
    assert -1e-4 <= first <= 0.5 * (max(own) - min(own)) + 1e-4


# --------------------------------------------------------------------------------------------------------- a confidence


@pytest.fixture(scope="module")
def birds() -> Searcher:
    """Two media with a parrot: in one for long, among other things; in the other for one token, and nothing beside."""
    short = [(2, "river stone"), (0.5, "parrot branch"), (2.5, "river stone"), (5, "street crowd")]
    return Searcher(
        library(
            [
                media("long", seen=[(5, "parrot branch leaf"), (5, "street crowd")]),
                media("short", seen=short),
                media("zoo", seen=[(10, "zebra meadow")]),
            ]
        ),
        Words(),
    )


def test_what_stands_on_one_token_may_score_more_and_be_less_sure(birds: Searcher) -> None:
    answer = birds.search("parrot on a high branch sings", by="video", min_confidence=0)
    found = {moment.media.key: moment for moment in answer}
    assert [moment.media.key for moment in answer][:2] == ["short", "long"]  # the order is that of scores
    assert found["short"].score > found["long"].score
    assert found["short"].confidence < found["long"].confidence


def test_a_question_like_many_may_score_more_and_be_less_sure(birds: Searcher) -> None:
    usual, strange = (
        birds.search(question, by="video", limit=1, min_confidence=0)[0]
        for question in ("parrot of the a", "parrot pelican toucan heron")
    )
    assert usual.media.key == strange.media.key == "long"
    assert usual.score > strange.score
    assert usual.confidence < strange.confidence


def test_the_background_s_own_answers_are_doubted_too() -> None:
    """So what is stated of false alarms is true of sentences that nobody's media answer."""
    store = library(
        [
            media(f"m{number}", seen=[(0.5, f"thing{number} place{place}") for place in range(20)])
            for number in range(12)
        ]
    )
    calibrator = Calibrator(Words(), Looking(maxsim.build()))
    with store.snapshot() as snapshot:
        known = calibrator.of(snapshot)
    assert len(known.sure.best) == len(known.tail.best)
    assert np.mean(known.tail.best - known.sure.best) > 0.1  # single tokens stand out here
    for stated in (0.5, 0.8, 0.9):
        assert abs(known.sure.rate(stated) - (1 - stated)) < 0.02
