"""Confidences of questions with an answer against those without."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.errors import BenchmarkError
from retriever.evaluation import absence
from retriever.evaluation.absence import Judged


def judged(present: list[float], absent: list[float], right: list[bool] | None = None) -> Judged:
    """Every absent question is the twin of the present one at its place, if there is one."""
    twins = [at if at < len(present) else -1 for at in range(len(absent))]
    known = right if right is not None else [True] * len(present)
    return Judged(np.array(present), np.array(known, bool), np.array(absent), np.array(twins, np.int64))


def test_counted_by_hand() -> None:
    made = judged([0.9, 0.8, 0.3], [0.7, 0.3, 0.1, 0.95], [True, False, True])
    # 0.9 beats .7 .3 .1; .8 beats .7 .3 .1; .3 beats .1 and ties with .3: 3 + 3 + 1.5 of 12.
    assert made.auroc().value == pytest.approx(7.5 / 12)
    assert made.auroc(made.left_out).value == pytest.approx(7.5 / 9)
    assert made.auroc(~made.left_out).value == 0
    point = made.point(0.8)
    assert (point.false_alarms, point.misses) == (pytest.approx(1 / 4), pytest.approx(1 / 3))
    assert point.rightly.value == pytest.approx(1 / 3)  # .8 is sure, and wrong
    assert made.point(0).rightly.value == pytest.approx(2 / 3)


def test_the_lowest_threshold_that_keeps_a_rate() -> None:
    made = judged([0.9, 0.8, 0.3], [0.7, 0.3, 0.1, 0.95])
    quarter = made.at_rate(0.25)
    assert quarter.false_alarms == 0.25
    assert 0.7 < quarter.min_confidence < 0.7 + 1e-6
    assert made.at_rate(0).false_alarms == 0
    assert made.at_rate(0).misses == 1  # nothing is surer than what is not there
    assert made.at_rate(1).min_confidence == 0
    tied = judged([0.9], [0.5, 0.5, 0.5, 0.1])
    assert tied.at_rate(0.5).false_alarms == 0  # equal ones are let through together or not at all


def test_curves_go_one_way() -> None:
    alarms, misses, rightly = judged([0.9, 0.4], [0.5, 0.0]).curve(np.array([0.0, 0.5, 0.6, 1.0]))
    assert alarms.tolist() == [1, 0.5, 0, 0]
    assert misses.tolist() == [0, 0.5, 0.5, 1]
    assert rightly.tolist() == [1, 0.5, 0.5, 0]


def test_both_kinds_of_questions_are_wanted() -> None:
    with pytest.raises(BenchmarkError, match="no question without an answer"):
        judged([0.5], [])
    with pytest.raises(BenchmarkError, match="no question with an answer"):
        judged([], [0.5])
    with pytest.raises(BenchmarkError, match="not a number"):
        judged([np.nan], [0.5])
    made = judged([0.5], [0.5])
    with pytest.raises(BenchmarkError, match="of this kind"):
        made.auroc(~made.left_out)
    with pytest.raises(ValueError, match="do not fit"):
        Judged(np.zeros(2), np.zeros(1, bool), np.zeros(1), np.zeros(1, np.int64))


shares = st.floats(0, 1).map(lambda value: round(value, 2))


@given(st.lists(shares, min_size=1, max_size=8), st.lists(shares, min_size=1, max_size=8))
def test_what_holds_of_any_confidences(present: list[float], absent: list[float]) -> None:
    made = judged(present, absent)
    area = made.auroc()
    assert 0 <= area.low <= area.high <= 1
    assert area.value + judged(absent, present).auroc().value == pytest.approx(1)
    alarms, misses, _ = made.curve()
    assert (np.diff(alarms) <= 0).all()
    assert (np.diff(misses) >= 0).all()
    for rate in (0.0, 0.1, 0.5, 1.0):
        point = made.at_rate(rate)
        assert point.false_alarms <= rate
        assert point.rightly.value <= 1 - point.misses + 1e-12


def test_what_is_apart_is_told_apart() -> None:
    assert absence.area(np.array([2.0, 3.0]), np.array([-np.inf, 1.0])).value == 1
    assert absence.area(np.array([1.0]), np.array([1.0, 1.0])).value == 0.5
