"""Measures by hand, by trec_eval, and by what must hold whatever the scores."""

from itertools import pairwise, permutations

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from retriever.errors import BenchmarkError
from retriever.evaluation import measures
from retriever.evaluation.measures import Ranked, Truth

LOG3 = 1 / np.log2(3)


def ranked(rows: list[list[float]], right: list[list[int]], missing: list[int] | None = None) -> Ranked:
    scores = np.array(rows, np.float64)
    gone = np.isin(np.arange(scores.shape[1]), missing or [])
    return Ranked.of(scores, Truth.of(right, scores.shape[1]), missing=gone)


# ---------------------------------------------------------------------------------------------------------------- ranks


def test_the_rank_is_the_place_of_the_right_answer() -> None:
    found = ranked([[0.9, 0.1, 0.5], [0.9, 0.1, 0.5], [0.9, 0.1, 0.5]], [[0], [1], [2]])
    assert found.ranks.tolist() == [1, 3, 2]
    assert found.recall(1).tolist() == [1, 0, 0]
    assert found.recall(2).tolist() == [1, 0, 1]
    assert found.reciprocal().tolist() == [1, 1 / 3, 1 / 2]


def test_a_tie_costs_half_a_place_for_each_of_the_equal_ones() -> None:
    found = ranked([[0.5, 0.5, 0.1], [0.5, 0.5, 0.9], [0.3, 0.3, 0.3]], [[0], [1], [1]])
    assert found.ranks.tolist() == [1.5, 2.5, 2.0]
    assert found.pessimistic.tolist() == [2, 3, 3]
    assert found.recall(1).tolist() == [0, 0, 0]
    assert found.lost_ties().recall(2).tolist() == [1, 0, 0]


def test_a_constant_score_is_worth_what_chance_is_worth_wherever_the_right_answer_stands() -> None:
    for right in range(5):
        assert ranked([[7.0] * 5], [[right]]).ranks.tolist() == [3.0]


def test_of_several_right_answers_the_best_counts_and_the_others_are_not_in_its_way() -> None:
    found = ranked([[0.9, 0.8, 0.7, 0.1], [0.9, 0.8, 0.7, 0.1]], [[1, 2], [0, 1]])
    assert found.ranks.tolist() == [2, 1]
    tied = ranked([[0.5, 0.5, 0.5, 0.1]], [[0, 1]])  # one wrong one is as good as the two right ones
    assert tied.ranks.tolist() == [1.5]


def test_both_directions_with_several_captions_a_media() -> None:
    # Captions 0 and 1 tell of media 0, caption 2 of media 1, nothing of media 2.
    scores = np.array([[0.9, 0.2, 0.1], [0.3, 0.8, 0.0], [0.1, 0.7, 0.9]])
    truth = Truth.of([[0], [0], [1]], 3)
    assert Ranked.of(scores, truth).ranks.tolist() == [1, 2, 2]
    back = Ranked.of(scores.T, truth.flipped())
    assert len(back) == 2  # media 2 asks nothing
    assert back.ranks.tolist() == [1, 2]  # the best caption of media 0 is first; 0.8 stands before media 1's own
    assert back.candidates == 3


def test_ties_both_ways_with_several_captions_a_media() -> None:
    # Captions 0 and 1 tell of media 0, caption 2 of media 1.
    scores = np.array([[0.5, 0.5], [0.2, 0.6], [0.5, 0.5]])
    truth = Truth.of([[0], [0], [1]], 2)
    forth, back = Ranked.of(scores, truth), Ranked.of(scores.T, truth.flipped())
    assert forth.ranks.tolist() == [1.5, 2, 1.5]
    assert forth.pessimistic.tolist() == [2, 2, 2]
    # Media 0 sees 0.5, 0.2 and a wrong 0.5; media 1 sees its own 0.5 below 0.6 and beside 0.5.
    assert back.ranks.tolist() == [1.5, 2.5]
    assert back.pessimistic.tolist() == [2, 3]


def test_missing_media_are_misses_however_high_their_score() -> None:
    found = ranked([[0.9, 0.1], [0.9, 0.1]], [[0], [1]], missing=[0])
    assert found.ranks.tolist() == [np.inf, 1]
    assert found.recall(100).tolist() == [0, 1]
    assert found.reciprocal().tolist() == [0, 1]
    assert found.places().tolist() == [3, 1]  # after the last of two
    assert found.precision.tolist() == [0, 1]
    assert found.gain.tolist() == [0, 1]


def test_missing_media_left_out_leave_their_questions_out() -> None:
    truth = Truth.of([[0], [1], [1, 2]], 3).only(np.array([True, False, True]), np.array([True, False, True]))
    assert (truth.queries, truth.media) == (2, 2)
    assert list(zip(truth.rows.tolist(), truth.columns.tolist(), strict=True)) == [(0, 0), (1, 1)]


def test_what_is_no_number_is_an_error_and_minus_infinity_is_none() -> None:
    with pytest.raises(BenchmarkError, match="question 2 for column 1 is not a number"):
        ranked([[0.1, 0.2], [0.1, np.nan]], [[0], [0]])


def test_what_was_not_answered_is_not_found_whoever_else_was_not() -> None:
    found = ranked([[-np.inf, 0.2, -np.inf], [0.1, 0.2, -np.inf]], [[0], [0, 2]])
    assert found.ranks.tolist() == [np.inf, 2]
    assert found.pessimistic.tolist() == [np.inf, 2]
    assert found.recall(100).tolist() == [0, 1]
    assert found.places().tolist() == [4, 2]
    assert found.precision.tolist() == [0, pytest.approx(1 / 2 / 2)]
    assert found.gain.tolist() == [0, pytest.approx(LOG3 / (1 + LOG3))]


def test_truth_that_cannot_be() -> None:
    with pytest.raises(BenchmarkError, match="question 2 has no right answer"):
        Truth.of([[0], []], 3)
    with pytest.raises(BenchmarkError, match="question 1 names column 3; there are 0 to 2"):
        Truth.of([[3]], 3)
    with pytest.raises(BenchmarkError, match=r"shape \(1, 2\); the truth wants \(1, 3\)"):
        Ranked.of(np.zeros((1, 2)), Truth.of([[0]], 3))


# ------------------------------------------------------------------------------------------- precision and gain


def test_average_precision_and_gain_by_hand() -> None:
    found = ranked([[0.9, 0.8, 0.7, 0.6]], [[0, 2]])
    assert found.precision[0] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert found.gain[0] == pytest.approx((1 + 1 / 2) / (1 + LOG3))


def test_ties_give_the_mean_over_all_orders() -> None:
    # Right and wrong are equal: half of the time first (1), half of the time second (1/2; 1/log2(3)).
    found = ranked([[0.5, 0.5]], [[0]])
    assert found.precision[0] == pytest.approx(0.75)
    assert found.gain[0] == pytest.approx((1 + LOG3) / 2)
    # Two right ones and a wrong one, all equal: the wrong one is first, second or third.
    found = ranked([[0.5, 0.5, 0.5]], [[0, 1]])
    assert found.precision[0] == pytest.approx(((1 / 2 + 2 / 3) / 2 + (1 + 2 / 3) / 2 + 1) / 3)


scores_of = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(2, 7)), elements=st.sampled_from([0, 1, 2, 3])
)


def right_of(data: st.DataObject, shape: tuple[int, int]) -> list[list[int]]:
    some = st.lists(st.integers(0, shape[1] - 1), min_size=1, max_size=shape[1], unique=True)
    return [data.draw(some) for _ in range(shape[0])]


@settings(deadline=None, max_examples=50)
@given(row=st.lists(st.integers(0, 2), min_size=2, max_size=6), data=st.data())
def test_precision_and_gain_are_the_mean_over_all_orders_of_equals(row: list[int], data: st.DataObject) -> None:
    right = data.draw(st.lists(st.integers(0, len(row) - 1), min_size=1, max_size=len(row), unique=True))
    found = ranked([[float(score) for score in row]], [right])
    orders = [order for order in permutations(range(len(row))) if all(row[a] >= row[b] for a, b in pairwise(order))]
    hits = np.isin(np.array(orders), right)  # (orders, places)
    places = np.arange(1, len(row) + 1)
    precision = (np.cumsum(hits, axis=1) / places * hits).sum(axis=1) / len(right)
    gain = (hits / np.log2(1 + places)).sum(axis=1) / (1 / np.log2(1 + places[: len(right)])).sum()
    assert found.precision[0] == pytest.approx(precision.mean())
    assert found.gain[0] == pytest.approx(gain.mean())


@settings(deadline=None)
@given(scores=scores_of, data=st.data())
def test_what_holds_for_any_scores(scores: np.ndarray, data: st.DataObject) -> None:
    truth = Truth.of(right_of(data, scores.shape), scores.shape[1])
    found = Ranked.of(scores, truth)
    assert (found.ranks >= 1).all()
    assert (found.ranks <= found.pessimistic).all()
    assert (found.pessimistic <= scores.shape[1]).all()
    assert (found.precision <= 1 + 1e-9).all()
    assert (found.gain <= 1 + 1e-9).all()
    recalls = [found.recall(depth).mean() for depth in measures.DEPTHS]
    assert recalls == sorted(recalls)
    # Only the order counts, and columns may stand in any.
    same = Ranked.of(np.exp(scores) * 3 - 1, truth)
    assert np.array_equal(same.ranks, found.ranks)
    turned = Truth.of(
        [[scores.shape[1] - 1 - c for c in truth.columns[truth.rows == q]] for q in range(truth.queries)],
        scores.shape[1],
    )
    mirrored = Ranked.of(scores[:, ::-1], turned)
    assert np.array_equal(mirrored.ranks, found.ranks)
    np.testing.assert_allclose(mirrored.precision, found.precision)
    assert np.array_equal(truth.flipped().flipped().columns, truth.columns)


def test_agrees_with_trec_eval_where_nothing_is_equal() -> None:
    rng = np.random.default_rng(4)
    scores = rng.permuted(np.tile(np.arange(30.0), (12, 1)), axis=1)
    right = [sorted(rng.choice(30, size=rng.integers(1, 6), replace=False).tolist()) for _ in range(12)]
    found = Ranked.of(scores, Truth.of(right, 30))
    qrels = {f"q{q}": {f"d{d}": 1 for d in columns} for q, columns in enumerate(right)}
    run = {f"q{q}": {f"d{d}": float(score) for d, score in enumerate(row)} for q, row in enumerate(scores)}
    theirs = ir_measures.calc_aggregate(
        [ir_measures.AP, ir_measures.nDCG, ir_measures.RR, ir_measures.Success @ 5], qrels, run
    )
    assert found.precision.mean() == pytest.approx(theirs[ir_measures.AP])
    assert found.gain.mean() == pytest.approx(theirs[ir_measures.nDCG])
    assert found.reciprocal().mean() == pytest.approx(theirs[ir_measures.RR])
    assert found.recall(5).mean() == pytest.approx(theirs[ir_measures.Success @ 5])


# ---------------------------------------------------------------------------------------------- intervals and controls


def test_an_interval_holds_the_mean_and_shrinks_with_questions() -> None:
    values = np.tile([0.0, 1.0], 50)
    few, many = measures.interval(values[:10]), measures.interval(values)
    assert few.low <= few.value <= few.high
    assert many.high - many.low < few.high - few.low
    # A share of one half among 100: 1.96 * sqrt(.25/100) to either side.
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.05, abs=0.021)
    assert measures.interval(np.ones(7)) == measures.Estimate(1.0, 1.0, 1.0)
    with pytest.raises(BenchmarkError, match="no questions"):
        measures.interval(np.zeros(0))


def test_draws_in_portions_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(37)
    whole = measures.interval(values), measures.paired(values, values[::-1])
    monkeypatch.setattr(measures, "AT_ONCE", 1000)
    assert (measures.interval(values), measures.paired(values, values[::-1])) == whole


def test_a_paired_test_knows_a_difference_from_none() -> None:
    one = np.array([1.0] * 12 + [0.0] * 8)
    assert measures.paired(one, one) == measures.Difference(0.0, 1.0)
    better = measures.paired(np.ones(20), one)
    assert better.value == pytest.approx(0.4)
    assert better.p == pytest.approx(2 / 2**8, abs=0.004)  # eight gaps, all of one sign
    assert measures.paired(np.ones(60), np.zeros(60)).p == 1 / (measures.DRAWS + 1)  # small, and never 0
    with pytest.raises(BenchmarkError, match="20 and 19 questions"):
        measures.paired(one, one[1:])


def test_chance_is_exact() -> None:
    found = measures.chance(Truth.of([[0], [1, 2]], 4), (1, 2, 4))
    assert found["R@1"] == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert found["R@2"] == pytest.approx((2 / 4 + (1 - 1 / 6)) / 2)  # C(2,2)/C(4,2)
    assert found["R@4"] == 1
    assert found["mean_rank"] == pytest.approx(((1 + 3 / 2) + (1 + 2 / 3)) / 2)


def test_chance_is_what_random_scores_reach() -> None:
    rng = np.random.default_rng(3)
    truth = Truth.of([[0, 1, 2], [5]] * 1500, 20)
    found = Ranked.of(rng.random((3000, 20)), truth)
    expected = measures.chance(truth)
    assert found.recall(5).mean() == pytest.approx(expected["R@5"], abs=0.03)
    assert found.ranks.mean() == pytest.approx(expected["mean_rank"], abs=0.3)


def test_a_summary_has_every_measure() -> None:
    found = measures.summary(ranked([[0.9, 0.1], [0.9, 0.1]], [[0], [1]]))
    assert {name: estimate.value for name, estimate in found.items()} == {
        "R@1": 0.5,
        "R@5": 1,
        "R@10": 1,
        "R@50": 1,
        "R@100": 1,
        "median_rank": 1.5,
        "mean_rank": 1.5,
        "MRR": 0.75,
        "mAP": 0.75,
        "nDCG": pytest.approx((1 + LOG3) / 2),
    }
