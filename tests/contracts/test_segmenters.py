"""What holds for every segmenter in the folder."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.ports import Segmenter
from retriever.registry import Registry
from retriever.types import Tokens

SEGMENTERS = Registry("indexer.segmenters")
LONGEST, SHORTEST = 30.0, 2.0


def built(name: str) -> Segmenter:
    segmenter: Segmenter = SEGMENTERS.load(name).build()
    return segmenter


@st.composite
def any_tokens(draw: st.DrawFn) -> Tokens:
    """Tokens as wild as the type allows: gaps, overlaps, a late start, spans past the end, equal and opposite rows."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    count = draw(st.integers(0, 60))
    rows = np.round(random.normal(size=(count, 4)) * draw(st.sampled_from([0.6, 1, 5])))
    rows[~rows.any(axis=1)] = [1, 0, 0, 0]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    starts = np.sort(random.uniform(0, 120, count))
    spans = np.stack([starts, starts + random.uniform(0.01, 9, count)], axis=1)
    return Tokens(rows.astype(np.float32), spans, np.ones(count, np.float32))


durations = st.one_of(
    st.floats(1e-3, 200.0),
    st.sampled_from([1.0, 2.0, 3.999, 4.0, 29.99, 30.0, 30.01, 31.9, 60.0, 60.1, 61.999, 90.25, 1800.3]),
)


@pytest.mark.parametrize("name", SEGMENTERS.names())
@settings(deadline=None, max_examples=40)
@given(duration=durations, tokens=st.dictionaries(st.sampled_from("abc"), any_tokens()))
def test_spans_are_a_partition(name: str, duration: float, tokens: dict[str, Tokens]) -> None:
    spans = built(name).segment(duration, tokens)
    assert spans[0].start == 0
    assert spans[-1].end == duration
    assert all(before.end == after.start for before, after in pairwise(spans))


@pytest.mark.parametrize("name", [name for name in SEGMENTERS.names() if name != "whole"])
@settings(deadline=None, max_examples=40)
@given(duration=durations, tokens=st.dictionaries(st.sampled_from("abc"), any_tokens()))
def test_what_cuts_cuts_neither_glances_nor_minutes(name: str, duration: float, tokens: dict[str, Tokens]) -> None:
    spans = built(name).segment(duration, tokens)
    assert len(spans) == 1 or min(span.length for span in spans) >= SHORTEST - 1e-9
    assert max(span.length for span in spans) <= max(LONGEST, 1e-9) + 1e-9


@pytest.mark.parametrize("name", SEGMENTERS.names())
@settings(deadline=None, max_examples=40)
@given(tokens=st.dictionaries(st.sampled_from("abc"), any_tokens()))
def test_the_same_tokens_give_the_same_spans(name: str, tokens: dict[str, Tokens]) -> None:
    turned_round = dict(reversed(tokens.items()))
    assert built(name).segment(100.0, tokens) == built(name).segment(100.0, turned_round)


@pytest.mark.parametrize("name", SEGMENTERS.names())
def test_an_image_is_one_segment(name: str) -> None:
    token = Tokens(np.eye(1, 4, dtype=np.float32), np.array([[0.0, 1.0]]), np.ones(1, np.float32))
    (span,) = built(name).segment(1.0, {"seen": token})
    assert (span.start, span.end) == (0.0, 1.0)
