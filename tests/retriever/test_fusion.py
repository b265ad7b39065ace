"""Scores of several sources become one, and a gate knows what a question is about."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retriever.fusion import Gate, fuse, log_sum
from retriever.types import Modality

scores = st.one_of(st.floats(-30, 30, width=32), st.just(-np.inf))
tables = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=scores)


@given(tables)
def test_log_sum_is_what_its_name_says(table: np.ndarray) -> None:
    with np.errstate(divide="ignore"):
        plain = np.log(np.exp(table.astype(np.float64)).sum(axis=0))
    np.testing.assert_allclose(log_sum(table, axis=0), plain, rtol=1e-4, atol=1e-4)


@given(tables)
def test_shares_sum_to_one_wherever_anything_is_known(table: np.ndarray) -> None:
    fused, shares = fuse(table, np.zeros(len(table), np.float32))
    known = np.isfinite(table).any(axis=0)
    np.testing.assert_allclose(shares.sum(axis=0), known.astype(float), atol=1e-4)
    assert (np.isfinite(fused) == known).all()
    assert (shares[~np.isfinite(table)] == 0).all()


@given(tables)
def test_fused_is_at_least_the_best_source_and_no_more_than_all_alike(table: np.ndarray) -> None:
    fused, _ = fuse(table, np.zeros(len(table), np.float32))
    best = table.max(axis=0)
    assert (fused >= best - 1e-4).all()
    assert (fused <= best + np.log(len(table)) + 1e-4).all()


def test_the_gate_adds_to_its_source_alone() -> None:
    table = np.array([[2.0, 0.0], [0.0, 2.0]], np.float32)
    open_to_both, _ = fuse(table, np.log(np.array([0.5, 0.5], np.float32)))
    first, shares = fuse(table, np.log(np.array([0.99, 0.01], np.float32)))
    assert open_to_both[0] == pytest.approx(open_to_both[1])
    assert first[0] > first[1]
    assert shares[0, 1] > 0.9  # the second source likes the second segment, and is hardly heard


def test_several_questions_at_once_are_what_each_of_them_is() -> None:
    rng = np.random.default_rng(0)
    tables_, gates = rng.normal(size=(4, 3, 7)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    together = fuse(tables_, gates)
    for number in range(4):
        for one, all_of in zip(fuse(tables_[number], gates[number]), together, strict=True):
            np.testing.assert_allclose(one, all_of[number], rtol=1e-5)


def clouds(seed: int, each: int = 40) -> tuple[np.ndarray, list[Modality]]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, 16)) * 2
    rows = np.concatenate([rng.normal(size=(each, 16)) + centre for centre in centres])
    return rows.astype(np.float32), [modality for modality in Modality for _ in range(each)]


def test_a_gate_knows_what_it_was_shown() -> None:
    rows, modalities = clouds(1)
    gate = Gate.fit(rows, modalities)
    found = [gate.modalities[number] for number in gate.log_shares(rows).argmax(axis=1)]
    assert np.mean([one is other for one, other in zip(found, modalities, strict=True)]) > 0.95


def test_a_gate_s_shares_sum_to_one_and_stay_apart_from_certain() -> None:
    rows, modalities = clouds(2)
    shares = np.exp(Gate.fit(rows, modalities).log_shares(rows * 0.1))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-4)
    assert np.isfinite(np.log(shares)).all()


def test_a_gate_does_not_depend_on_the_order_of_its_examples() -> None:
    rows, modalities = clouds(3)
    order = np.random.default_rng(0).permutation(len(rows))
    one = Gate.fit(rows, modalities)
    other = Gate.fit(rows[order], [modalities[number] for number in order])
    assert one.modalities == other.modalities
    np.testing.assert_allclose(one.log_shares(rows), other.log_shares(rows), atol=1e-2)
