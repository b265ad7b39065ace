"""Every form of a text-conditioned pooling gives the scores of the plain one."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import HEARD, WIDTH, array, placed, ragged, tefal, tokens, xpool

from retriever.errors import HeadError
from retriever.heads import Block, Head
from retriever.rerankers import _plain
from retriever.rerankers._folding import SHORTLIST
from retriever.rerankers.textpool import TextPool, build
from retriever.types import Floats, Matrix


def one_by_one(pool: TextPool, text: Matrix, *given: np.ndarray) -> Floats:
    """Pooled first: nothing is made ready for one text."""
    return np.concatenate([pool.scores(one[None], *given) for one in text])


def at_once(pool: TextPool, text: Matrix, *given: np.ndarray) -> Floats:
    return pool.scores(np.concatenate([text, text, text]), *given)[: len(text)]


def folded(pool: TextPool, text: Matrix, *given: np.ndarray) -> Floats:
    ready = pool.prepare(*given)
    return np.concatenate([pool.score_prepared(one[None], ready) for one in text])


def in_blocks(pool: TextPool, text: Matrix, *given: np.ndarray) -> Floats:
    ready = pool.prepare(*given)
    return pool.score_prepared(np.concatenate([text] * 9), ready)[: len(text)]


def shortlisted(pool: TextPool, text: Matrix, *given: np.ndarray) -> Floats:
    """A first look at bytes; of no more candidates than are looked at again all are exact."""
    ready = pool.prepare(*given).in_bytes()
    assert len(ready) <= SHORTLIST
    return pool.score_prepared(text, ready)


FORMS = (one_by_one, at_once, folded, in_blocks)
FEW_FORMS = (*FORMS, shortlisted)
Form = Callable[..., Floats]


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), longest=st.integers(1, 16))
def test_every_form_scores_as_the_plain_one(form: Form, seed: int, count: int, longest: int) -> None:
    draw = np.random.default_rng(seed)
    head, text, given = xpool(draw), array(draw, 3, WIDTH), tokens(draw, count, longest)
    np.testing.assert_allclose(form(TextPool(head), text, *given), _plain.scores(head, text, *given), atol=2e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("heard", [HEARD, WIDTH])
def test_every_form_hears_as_the_plain_one(form: Form, heard: int) -> None:
    draw = np.random.default_rng(heard)
    head, text, seen = tefal(draw, heard), array(draw, 3, WIDTH), tokens(draw, 30, 16)
    sounds = tokens(draw, 30, 5, heard, fewest=0)
    plain = _plain.scores(head, text, *seen, *sounds)
    np.testing.assert_allclose(form(TextPool(head), text, *seen, *sounds), plain, atol=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_what_hears_nothing_is_xpool_to_the_bit(form: Form) -> None:
    draw = np.random.default_rng(3)
    head, text, seen = tefal(draw), array(draw, 3, WIDTH), tokens(draw, 20, 12)
    alone = Head("xpool", "", ("seen",), head.blocks[:1])
    rows, _ = tokens(draw, 20, 4, HEARD)
    deaf = form(TextPool(head), text, *seen, rows, np.zeros((20, 4), np.bool_))
    assert deaf.tobytes() == form(TextPool(alone), text, *seen).tobytes()


@pytest.mark.parametrize("form", FORMS)
def test_ten_thousand_candidates(form: Form) -> None:
    draw = np.random.default_rng(4)
    head, text, (rows, mask) = xpool(draw), array(draw, 1, WIDTH), tokens(draw, 10_000, 12)
    found = form(TextPool(head), text, rows, mask)
    some = np.linspace(0, 9_999, 50).astype(int)
    np.testing.assert_allclose(found[:, some], _plain.scores(head, text, rows[some], mask[some]), atol=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_ten_thousand_candidates_with_sounds(form: Form) -> None:
    draw = np.random.default_rng(14)
    head, text = tefal(draw), array(draw, 1, WIDTH)
    given = (*tokens(draw, 10_000, 4, fewest=0), *tokens(draw, 10_000, 3, HEARD, fewest=0))
    found = form(TextPool(head), text, *given)
    some = np.linspace(0, 9_999, 50).astype(int)
    np.testing.assert_allclose(found[:, some], _plain.scores(head, text, *(each[some] for each in given)), atol=2e-5)


LENGTHS = {
    "every length": list(range(1, 17)),
    "one frame each": [1] * 20,
    "one candidate": [7],
    "one frame of one candidate": [1],
    "sixteen frames": [16] * 3,
    "some without": [0, 16, 0, 1, 2, 0],
    "one without": [0],
    "none has any": [0, 0, 0],
    "no candidates": [],
}


@pytest.mark.parametrize("form", FEW_FORMS)
@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("counts", LENGTHS.values(), ids=LENGTHS)
def test_any_lengths_of_anything_as_long_as_ten_score_as_plain(form: Form, kind: type, counts: list[int]) -> None:
    """Tokens and texts as an encoder gives them, of length about ten; a candidate without frames scores -inf."""
    draw = np.random.default_rng(len(counts))
    head, text, (rows, mask) = xpool(draw), array(draw, 2, WIDTH, by=10 / np.sqrt(WIDTH)), placed(draw, counts, 16)
    seen = (rows.astype(kind), mask)
    found = form(TextPool(head), text, *seen)
    assert found.shape == (2, len(counts))
    np.testing.assert_allclose(found, _plain.scores(head, text, *seen), atol=2e-5)
    assert np.isneginf(found).tolist() == [[count == 0 for count in counts]] * 2


@pytest.mark.parametrize("form", FEW_FORMS)
@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("counts", LENGTHS.values(), ids=LENGTHS)
def test_with_sounds_beside_they_score_as_plain(form: Form, kind: type, counts: list[int]) -> None:
    """Every number of frames meets none, one, a few and sixteen sounds; sound without frames scores -inf."""
    draw = np.random.default_rng(len(counts))
    counts = [count for count in counts for _ in range(4)][: SHORTLIST - SHORTLIST % 4]
    head, text, (rows, mask) = tefal(draw), array(draw, 2, WIDTH, by=10 / np.sqrt(WIDTH)), placed(draw, counts, 16)
    sounds, heard = placed(draw, [0, 1, 5, 16] * (len(counts) // 4), 16, HEARD)
    given = (rows.astype(kind), mask, sounds.astype(kind), heard)
    found = form(TextPool(head), text, *given)
    np.testing.assert_allclose(found, _plain.scores(head, text, *given), atol=2e-5)
    assert np.isneginf(found).tolist() == [[count == 0 for count in counts]] * 2


@pytest.mark.parametrize("form", FEW_FORMS)
def test_tokens_and_texts_off_their_centre_score_as_plain(form: Form) -> None:
    """Three deviations off, as no encoder's are: the mean is taken off in single precision."""
    draw = np.random.default_rng(13)
    head, text, (rows, mask) = xpool(draw), 1 + array(draw, 2, WIDTH), placed(draw, list(range(1, 17)), 16)
    seen = (rows.astype(np.float32) + np.float32(30 / np.sqrt(WIDTH)), mask)
    np.testing.assert_allclose(form(TextPool(head), text, *seen), _plain.scores(head, text, *seen), atol=2e-5)


@pytest.mark.parametrize("form", FEW_FORMS)
def test_what_a_mask_hides_is_never_looked_at(form: Form) -> None:
    draw = np.random.default_rng(5)
    pool, text, (rows, mask) = TextPool(xpool(draw)), array(draw, 2, WIDTH), placed(draw, [1, 3, 0, 8], 8)
    found = form(pool, text, rows, mask)
    assert np.array_equal(found, form(pool, text, np.where(mask[..., None], rows, np.float16(np.nan)), mask))


def test_rows_from_a_store_count_with_their_norms() -> None:
    draw = np.random.default_rng(6)
    pool, made, view = TextPool(xpool(draw)), tokens(draw, 12, 8), array(draw, WIDTH)
    scores, relevance = pool.rerank(view, ragged(made))
    np.testing.assert_allclose(scores, _plain.scores(pool.head, view[None], *made)[0], atol=2e-3)
    assert relevance.shape == (made[1].sum(),)


def test_bytes_find_the_same_best() -> None:
    draw = np.random.default_rng(7)
    pool, (rows, mask), text = TextPool(xpool(draw)), tokens(draw, 3_000, 12), array(draw, 8, WIDTH)
    ready = pool.prepare(rows, mask)
    exact, rough = pool.score_prepared(text, ready), pool.score_prepared(text, ready.in_bytes())
    for one, other in zip(exact, rough, strict=True):
        assert set(np.argsort(-one)[:10]) == set(np.argsort(-other)[:10])


def test_the_best_by_bytes_are_scored_as_if_all_had_been() -> None:
    draw = np.random.default_rng(12)
    pool, seen = TextPool(tefal(draw)), tokens(draw, 600, 16, fewest=0)
    ready = pool.prepare(*seen, *tokens(draw, 600, 4, HEARD, fewest=0))
    text = array(draw, 4, WIDTH)
    for exact, rough in zip(pool.score_prepared(text, ready), pool.score_prepared(text, ready.in_bytes()), strict=True):
        there = np.isfinite(exact)
        assert np.array_equal(there, np.isfinite(rough))
        exact, rough = exact[there], rough[there]
        best = np.argsort(-rough)[:10]
        np.testing.assert_allclose(rough[best], exact[best], atol=1e-6)
        assert SHORTLIST <= (np.abs(rough - exact) < 1e-6).sum() < len(exact) / 2
        np.testing.assert_allclose(rough, exact, atol=0.05)


def test_a_text_of_another_width_is_refused() -> None:
    draw = np.random.default_rng(9)
    with pytest.raises(HeadError, match="takes texts of 32 numbers, got"):
        TextPool(xpool(draw)).rerank(array(draw, 7), ragged(tokens(draw, 2, 2)))
    with pytest.raises(HeadError, match="takes tokens of 32 numbers, got 7"):
        TextPool(xpool(draw)).scores(array(draw, 1, WIDTH), *tokens(draw, 2, 2, 7))


def test_untrained_it_is_a_softmax_over_standardised_tokens() -> None:
    draw = np.random.default_rng(10)
    view, made = array(draw, WIDTH), tokens(draw, 5, 6)
    scores, _ = build().rerank(view, ragged(made))
    head = Head("xpool", "", ("",), (Block.identity(WIDTH),))
    np.testing.assert_allclose(scores, _plain.scores(head, view[None], *made)[0], atol=2e-3)
