"""Every form of a text-conditioned pooling gives the scores of the plain one."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.errors import HeadError
from retriever.heads import Block, Gate, Head
from retriever.rerankers import _plain
from retriever.rerankers._records import prepared
from retriever.rerankers.textpool import TextPool, build
from retriever.types import LABELS_KEPT, Floats, Matrix, RaggedTokens

WIDTH, HEARD = 32, 20
Made = tuple[np.ndarray, np.ndarray]  # tokens (V, F, D), mask (V, F)


def array(draw: np.random.Generator, *shape: int, around: float = 0.0, by: float = 0.3) -> Floats:
    return (around + by * draw.standard_normal(shape)).astype(np.float32)


def block(draw: np.random.Generator) -> Block:
    norms = {f"ln{n}_{part}": array(draw, WIDTH, around=float(part == "g")) for n in (1, 2, 3) for part in "gb"}
    maps = {f"{part}{name}": array(draw, *[WIDTH] * (2 if part == "w" else 1)) for name in "qkvol" for part in "wb"}
    return Block(**norms, **maps)


def xpool(draw: np.random.Generator) -> Head:
    return Head("xpool", "", ("seen",), (block(draw),))


def tefal(draw: np.random.Generator, heard: int = HEARD) -> Head:
    mapped = None if heard == WIDTH else (array(draw, WIDTH, heard), array(draw, WIDTH))
    gate = Gate(array(draw, 3 * WIDTH), -0.5)
    return Head("tefal", "", ("seen", "heard"), (block(draw), block(draw)), mapped, gate)


def tokens(draw: np.random.Generator, count: int, longest: int, width: int = WIDTH, fewest: int = 1) -> Made:
    """Candidates of `fewest` to `longest` tokens of length about ten, in any places of the mask, in half precision."""
    rows = array(draw, count, longest, width, by=10 / np.sqrt(width)).astype(np.float16)
    counts = draw.integers(fewest, longest + 1, (count, 1))
    mask = draw.random((count, longest)).argsort(axis=1) < counts
    return rows, mask


def ragged(made: Made) -> RaggedTokens:
    """As a store gives them: rows of length one, their norms beside."""
    rows, mask = made
    kept = rows[mask].astype(np.float32)
    norms = np.linalg.norm(kept, axis=1)
    return RaggedTokens(
        (kept / norms[:, None]).astype(np.float16),
        np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int64),
        np.zeros((len(kept), 2)),
        norms.astype(np.float32),
        [()] * len(kept),
        np.zeros((len(kept), LABELS_KEPT), np.float32),
    )


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


FORMS = (one_by_one, at_once, folded, in_blocks)
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
def test_a_candidate_without_frames_scores_minus_infinity(form: Form) -> None:
    draw = np.random.default_rng(5)
    rows, mask = tokens(draw, 6, 4)
    mask[2] = False
    found = form(TextPool(xpool(draw)), array(draw, 2, WIDTH), rows, mask)
    assert np.isneginf(found).tolist() == [[False, False, True, False, False, False]] * 2


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


def test_what_is_made_ready_is_kept_by_head_and_tokens(tmp_path) -> None:
    draw = np.random.default_rng(8)
    pool, other, view = TextPool(xpool(draw)), TextPool(xpool(draw)), array(draw, 1, WIDTH)
    held = [ragged(tokens(draw, 12, 8))]
    first = pool.score_prepared(view, prepared(tmp_path, pool, held))
    (file,) = tmp_path.iterdir()
    assert pool.score_prepared(view, prepared(tmp_path, pool, held)).tobytes() == first.tobytes()
    assert list(tmp_path.iterdir()) == [file]
    prepared(tmp_path, other, held)
    prepared(tmp_path, pool, [ragged(tokens(draw, 12, 8))])
    assert len(list(tmp_path.iterdir())) == 3


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
