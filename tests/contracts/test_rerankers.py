"""What every reranker promises, run over all that are found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.ports import Reranker
from retriever.registry import Registry
from retriever.types import LABELS_KEPT, RaggedTokens

RERANKERS = Registry("retriever.rerankers")


@pytest.fixture(params=RERANKERS.names())
def reranker(request: pytest.FixtureRequest) -> Reranker:
    return RERANKERS.load(request.param).build()


def ragged(counts: list[int], seed: int = 0, dimension: int = 8) -> RaggedTokens:
    rng = np.random.default_rng(seed)
    total = sum(counts)
    rows = rng.normal(size=(total, dimension)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    starts = np.arange(total, dtype=np.float64)
    return RaggedTokens(
        rows.astype(np.float16),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.stack([starts, starts + 1], axis=1),
        np.ones(total, np.float32),
        [()] * total,
        np.zeros((total, LABELS_KEPT), np.float32),
    )


def unit(seed: int, dimension: int = 8) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=dimension).astype(np.float32)
    return vector / np.linalg.norm(vector)


def test_a_score_a_segment_and_a_relevance_a_token(reranker: Reranker) -> None:
    scores, relevance = reranker.rerank(unit(1), ragged([3, 0, 5]))
    assert scores.shape == (3,)
    assert scores.dtype == np.float32
    assert relevance.shape == (8,)
    assert relevance.dtype == np.float32
    assert np.isfinite(relevance).all()


def test_a_segment_without_tokens_scores_minus_infinity_and_no_other_does(reranker: Reranker) -> None:
    scores, _ = reranker.rerank(unit(1), ragged([0, 3, 0, 1, 0]))
    assert np.isneginf(scores).tolist() == [True, False, True, False, True]


def test_no_segments_and_no_tokens_are_fine(reranker: Reranker) -> None:
    for counts in ([], [0], [0, 0]):
        scores, relevance = reranker.rerank(unit(1), ragged(counts))
        assert len(scores) == len(counts)
        assert len(relevance) == 0


def test_a_segment_scores_the_same_whatever_stands_beside_it(reranker: Reranker) -> None:
    together = ragged([4, 2, 7])
    scores, _ = reranker.rerank(unit(2), together)
    for place in range(3):
        start, end = together.offsets[place], together.offsets[place + 1]
        alone = RaggedTokens(
            together.rows[start:end],
            np.array([0, end - start]),
            together.spans[start:end],
            together.norms[start:end],
            together.labels[start:end],
            together.probabilities[start:end],
        )
        np.testing.assert_allclose(reranker.rerank(unit(2), alone)[0], scores[place : place + 1], atol=1e-6)


def test_relevance_is_highest_where_the_token_is_the_query_itself(reranker: Reranker) -> None:
    tokens = ragged([6])
    _, relevance = reranker.rerank(tokens.rows[4].astype(np.float32), tokens)
    assert relevance.argmax() == 4


@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=8), seed=st.integers(0, 99), top=st.integers(1, 4))
def test_maxsim_is_the_mean_of_the_best_cosines(counts: list[int], seed: int, top: int) -> None:
    tokens, view = ragged(counts, seed), unit(seed + 1)
    scores, _ = RERANKERS.load("maxsim").build(top=top).rerank(view, tokens)
    plain = tokens.rows.astype(np.float32) @ view
    for score, start, end in zip(scores, tokens.offsets, tokens.offsets[1:], strict=False):
        best = np.sort(plain[start:end])[::-1][:top]
        assert score == pytest.approx(best.mean() if len(best) else -np.inf, abs=1e-5)


def test_none_leaves_the_first_stage_its_say() -> None:
    scores, _ = RERANKERS.load("none").build().rerank(unit(1), ragged([2, 0]))
    assert np.isnan(scores[0])
    assert np.isneginf(scores[1])


def test_maxsim_wants_at_least_one_token() -> None:
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        RERANKERS.load("maxsim").build(top=0)
