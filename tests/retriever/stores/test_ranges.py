"""Arithmetic over ranges, against what it means."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retriever.stores import _compaction, _entries, _snapshot
from retriever.types import Segment, TimeSpan

COUNT = 40
edges = st.lists(st.integers(0, COUNT), max_size=12).map(sorted)


def pairs(found: list[int]) -> np.ndarray:
    """Ranges that do not overlap; some are empty, some touch."""
    return np.array(found[: len(found) // 2 * 2], np.int64).reshape(-1, 2)


@given(edges)
def test_covered_is_the_sum_of_the_ranges(found: list[int]) -> None:
    ranges = np.random.default_rng(0).permutation(pairs(found))
    inside = {number for lo, hi in ranges.tolist() for number in range(lo, hi)}
    assert _snapshot._covered(ranges, COUNT).tolist() == [number in inside for number in range(COUNT)]


@given(edges)
def test_runs_are_the_ranges_in_pieces(found: list[int]) -> None:
    ranges = pairs(found)
    lo, hi = ranges.T
    expected = [number for low, high in ranges.tolist() for number in range(low, high)]
    assert [number for low, high in _compaction._runs(lo, hi) for number in range(low, high)] == expected
    assert _compaction._counted(lo, hi - lo).tolist() == expected
    laid = _compaction._packed(lo, hi)
    assert [number for at, size in zip(laid, hi - lo, strict=True) for number in range(at, at + size)] == list(
        range(len(expected))
    )


@given(edges, st.lists(st.floats(-1, COUNT + 1), max_size=10))
def test_the_holder_of_a_second_is_the_segment_it_lies_in(found: list[int], seconds: list[float]) -> None:
    spans = [(float(lo), float(hi)) for lo, hi in pairs(found).tolist() if lo < hi]
    segments = _entries._segments([Segment(TimeSpan(*span)) for span in spans], "key")
    expected = [next((at for at, (lo, hi) in enumerate(spans) if lo <= second < hi), -1) for second in seconds]
    assert _entries.holder(np.array(seconds, np.float64), segments).tolist() == expected
