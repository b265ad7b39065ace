"""What stays of a segment for the first stage."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.representatives import EQUAL, NO_DIRECTION, SAME, segment_vectors
from retriever.types import Segment, SegmentVectors, TimeSpan, Tokens


def tokens_of(rows: np.ndarray, spans: np.ndarray) -> Tokens:
    return Tokens(rows.astype(np.float32), spans, np.ones(len(rows), np.float32))


def every_second(rows: np.ndarray) -> Tokens:
    starts = np.arange(len(rows), dtype=np.float64)
    return tokens_of(rows, np.stack([starts, starts + 1], axis=1).reshape(-1, 2))


def cut_at(*edges: float) -> list[Segment]:
    return [Segment(TimeSpan(start, end)) for start, end in pairwise(edges)]


def plain(tokens: Tokens, segments: list[Segment], most: int) -> SegmentVectors:
    """The same, a token at a time."""
    rows, owners = [], []
    for number, segment in enumerate(segments):
        own = list(tokens.within(segment.span).rows.astype(np.float64))
        kept = []
        if own:
            mean = np.mean(own, axis=0)
            if np.linalg.norm(mean) > NO_DIRECTION:
                kept.append(mean / np.linalg.norm(mean))
        for _ in range(most):
            closeness = [max((float(row @ other) for other in kept), default=-1.0) for row in own]
            if not own or min(closeness) > SAME:
                break
            kept.append(own[next(i for i, near in enumerate(closeness) if near <= min(closeness) + EQUAL)])
        rows += kept
        owners += [number] * len(kept)
    return SegmentVectors(np.array(rows).reshape(-1, tokens.rows.shape[1]), np.array(owners, np.int32))


@st.composite
def some_tokens(draw: st.DrawFn) -> Tokens:
    count, seed = draw(st.integers(0, 25)), draw(st.integers(0, 10_000))
    random = np.random.default_rng(seed)
    shots = random.normal(size=(3, 8))
    rows = shots[random.integers(0, 3, count)] + draw(st.sampled_from([0.0, 0.3, 2.0])) * random.normal(size=(count, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    starts = np.sort(random.uniform(0, 20, count))
    return tokens_of(rows, np.stack([starts, starts + random.uniform(0.1, 2, count)], axis=1))


@settings(deadline=None)
@given(some_tokens(), st.lists(st.integers(1, 19), unique=True, max_size=6), st.integers(0, 5))
def test_fast_and_plain_agree(tokens: Tokens, cuts: list[int], most: int) -> None:
    segments = cut_at(0, *sorted(cuts), 20)
    fast, slow = segment_vectors(tokens, segments, most), plain(tokens, segments, most)
    assert fast.segment.tolist() == slow.segment.tolist()
    np.testing.assert_allclose(fast.rows, slow.rows, atol=1e-5)


@settings(deadline=None)
@given(some_tokens(), st.integers(0, 5))
def test_rows_are_units_in_order_and_few(tokens: Tokens, most: int) -> None:
    vectors = segment_vectors(tokens, cut_at(0, 5, 10, 30), most)
    np.testing.assert_allclose(np.linalg.norm(vectors.rows, axis=1), 1, atol=1e-5)
    assert vectors.rows.dtype == np.float32
    assert (np.diff(vectors.segment) >= 0).all()
    assert all((vectors.segment == number).sum() <= most + 1 for number in range(3))


def test_a_segment_without_tokens_has_no_row() -> None:
    vectors = segment_vectors(every_second(np.eye(2)), cut_at(0, 2, 4, 6), most=4)
    assert set(vectors.segment.tolist()) == {0}


def test_a_token_between_two_segments_belongs_to_neither() -> None:
    segments = [Segment(TimeSpan(0, 1)), Segment(TimeSpan(2, 3))]
    assert segment_vectors(every_second(np.eye(3)), segments, most=0).segment.tolist() == [0, 1]


def test_a_still_scene_keeps_one_row() -> None:
    still = np.tile(np.eye(4)[0], (30, 1))
    assert len(segment_vectors(every_second(still), cut_at(0, 30), most=4).rows) == 1


def test_the_rare_shot_is_kept_before_the_common_one() -> None:
    rows = np.repeat(np.eye(4)[[0, 1]], [19, 1], axis=0)
    kept = segment_vectors(every_second(rows), cut_at(0, 20), most=1).rows
    np.testing.assert_allclose(kept[1], np.eye(4)[1], atol=1e-6)


def test_tokens_that_cancel_out_have_no_mean() -> None:
    rows = np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert segment_vectors(every_second(rows), cut_at(0, 2), most=4).rows.tolist() == [[1, 0], [-1, 0]]


def test_no_tokens_and_no_segments_are_no_rows() -> None:
    assert segment_vectors(Tokens.none(8), cut_at(0, 5), most=2).rows.shape == (0, 8)
    assert segment_vectors(every_second(np.eye(3)), [], most=2).rows.shape == (0, 3)


def test_fewer_than_none_are_refused() -> None:
    with pytest.raises(ValueError, match="most must be 0 or more, got -1"):
        segment_vectors(Tokens.none(8), [], most=-1)
