"""Every kernel agrees with its plain twin."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever import kernels
from retriever.types import Floats, Ids, RaggedTokens

SEEDS = st.integers(0, 2**32 - 1)
COUNTS = st.lists(st.integers(0, 6), max_size=12)


def unit_rows(generator: np.random.Generator, rows: int, dimension: int) -> Floats:
    values: Floats = generator.standard_normal((rows, dimension)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values


def ragged(seed: int, counts: list[int]) -> tuple[Floats, Ids]:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    values = np.random.default_rng(seed).integers(-3, 4, offsets[-1]).astype(np.float32)
    return values, offsets


@given(seed=SEEDS, rows=st.integers(0, 600), dimension=st.integers(1, 40))
def test_cosines_agree_with_their_twin(seed: int, rows: int, dimension: int) -> None:
    generator = np.random.default_rng(seed)
    stored = unit_rows(generator, rows, dimension).astype(np.float16)
    query = unit_rows(generator, 1, dimension)[0]
    np.testing.assert_allclose(kernels.cosines(stored, query), kernels.cosines_plain(stored, query), atol=1e-6)


@pytest.mark.parametrize("count", [1, 5, 8, 16, 40, 64, 70])
@pytest.mark.parametrize(("rows", "dimension"), [(777, 384), (3, 384), (300, 20_000), (0, 8)])
def test_products_are_the_cosines_of_each_query(count: int, rows: int, dimension: int) -> None:
    generator = np.random.default_rng(1)
    stored = unit_rows(generator, rows, dimension).astype(np.float16)
    queries = unit_rows(generator, count, dimension)
    together = kernels.products(stored, queries)
    assert together.shape == (rows, count)
    for column, query in enumerate(queries):
        np.testing.assert_allclose(together[:, column], kernels.cosines_plain(stored, query), atol=1e-6)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_tokens_that_are_asked_several_questions_at_once_answer_each(count: int) -> None:
    generator = np.random.default_rng(4)
    rows = unit_rows(generator, 300, 384).astype(np.float16)
    blank = np.zeros((300, 2))
    tokens = RaggedTokens(rows, np.array([0, 300]), blank, blank[:, 0], [()] * 300, blank)
    queries = unit_rows(generator, count, 384)
    together = kernels.asked(tokens, queries)
    for query in queries:
        np.testing.assert_allclose(kernels.relevance(together, query), kernels.cosines_plain(rows, query), atol=1e-6)
        np.testing.assert_array_equal(kernels.relevance(tokens, query), kernels.cosines(rows, query))
    other = unit_rows(generator, 1, 384)[0]
    np.testing.assert_array_equal(kernels.relevance(together, other), kernels.cosines(rows, other))


def test_every_finite_half_is_widened_exactly() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)].reshape(-1, 2)
    np.testing.assert_array_equal(kernels.singles(finite), finite.astype(np.float32))


def test_rows_of_a_mapped_file_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.f16"
    stored = unit_rows(np.random.default_rng(2), 300, 8).astype(np.float16)
    stored.tofile(path)
    mapped = np.memmap(path, np.float16, "r", shape=(300, 8))
    np.testing.assert_array_equal(kernels.cosines(mapped, stored[3].astype(np.float32)).argmax(), 3)


@given(seed=SEEDS, counts=COUNTS)
def test_segment_max_agrees_with_its_twin(seed: int, counts: list[int]) -> None:
    values, offsets = ragged(seed, counts)
    np.testing.assert_array_equal(kernels.segment_max(values, offsets), kernels.segment_max_plain(values, offsets))


@given(seed=SEEDS, counts=COUNTS, most=st.integers(1, 5))
def test_segment_top_mean_agrees_with_its_twin(seed: int, counts: list[int], most: int) -> None:
    values, offsets = ragged(seed, counts)
    fast = kernels.segment_top_mean(values, offsets, most)
    np.testing.assert_allclose(fast, kernels.segment_top_mean_plain(values, offsets, most), rtol=1e-6)


def test_offsets_may_begin_within_the_values() -> None:
    values = np.array([9, 1, 2, 3, 9], np.float32)
    offsets = np.array([1, 3, 4], np.int64)
    assert kernels.segment_max(values, offsets).tolist() == [2, 3]
    assert kernels.segment_top_mean(values, offsets, 2).tolist() == [1.5, 3]


def test_a_mean_of_no_values_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        kernels.segment_top_mean(np.zeros(1, np.float32), np.array([0, 1]), 0)


@given(values=st.lists(st.floats(-3, 3).map(lambda value: round(value, 1)), max_size=30))
def test_rising_numbers_come_once_each(values: list[float]) -> None:
    held = np.array(values, np.float64)
    np.testing.assert_array_equal(kernels.rising(held), np.unique(held))
