"""Sets of stitched media, and what is counted on them."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.errors import BenchmarkError
from retriever.evaluation import order
from retriever.evaluation.order import Trials


def trials(*rows: tuple[float, float, int, int, str]) -> Trials:
    """True and false score, media, pair, phrasing."""
    return Trials(
        np.array([row[0] for row in rows], np.float64),
        np.array([row[1] for row in rows], np.float64),
        np.array([row[2] for row in rows], np.int64),
        np.array([row[3] for row in rows], np.int64),
        np.array([row[4] for row in rows], np.str_),
    )


# ------------------------------------------------------------------------------------------------------------- measures


def test_counted_by_hand() -> None:
    told = order.summary(
        trials(
            (2.0, 1.0, 0, 0, "then"),  # right
            (3.0, 1.0, 1, 0, "then"),  # right, so both orders of pair 0 are
            (1.0, 2.0, 2, 1, "then"),  # wrong
            (2.0, 1.0, 3, 1, "then"),
            (1.0, 1.0, 4, 2, "then"),  # a tie is wrong
            (-np.inf, -np.inf, 5, 2, "then"),  # not found, either of them: a tie as well
        )
    )
    assert told is not None
    assert (told.trials, told.media, told.pairs) == (6, 6, 3)
    assert told.accuracy.value == pytest.approx(3 / 6)
    assert told.joint is not None
    assert told.joint.value == pytest.approx(1 / 3)
    assert told.ties == pytest.approx(2 / 6)
    assert told.accuracy.low <= told.accuracy.value <= told.accuracy.high


def test_both_orders_are_counted_phrasing_by_phrasing() -> None:
    told = order.summary(
        trials(
            (2, 1, 0, 0, "then"),
            (2, 1, 1, 0, "then"),
            (2, 1, 0, 0, "after"),
            (1, 2, 1, 0, "after"),
        )
    )
    assert told is not None
    assert told.joint is not None
    assert told.joint.value == 0.5
    assert told.accuracy.value == 0.75


def test_both_orders_are_counted_run_by_run() -> None:
    right, wrong = ((2, 1), (1, 2))
    runs = [
        trials((*right, 0, 0, "then"), (*right, 1, 0, "then")),
        trials((*right, 0, 0, "then"), (*wrong, 1, 0, "then")),
    ]
    told = order.summary(order.joined(runs))
    assert told is not None
    assert told.joint is not None
    assert (told.trials, told.joint.value, told.accuracy.value) == (4, 0.5, 0.75)
    second = order.joined(runs).only(np.array([False, False, True, True]))
    assert second.joint()[1].tolist() == [False]


def test_a_pair_with_one_media_has_no_both() -> None:
    told = order.summary(trials((2, 1, 0, 0, "then"), (2, 1, 0, 0, "after")))
    assert told is not None
    assert told.joint is None
    assert order.summary(trials()) is None


def test_one_sentence_on_two_media() -> None:
    # Media 0 shows A then B, media 1 B then A.  "A then B" scores 5 and 4 there, "B then A" 6 and 7.
    both = trials((5, 6, 0, 0, "then"), (7, 4, 1, 0, "then"))
    turned = both.by_media()
    assert turned.true.tolist() == [5, 7]
    assert turned.false.tolist() == [4, 6]
    assert order.summary(both).accuracy.value == 0.5  # type: ignore[union-attr]
    assert order.summary(turned).accuracy.value == 1  # type: ignore[union-attr]
    assert len(trials((5, 6, 0, 0, "then")).by_media()) == 0


def test_what_is_no_score() -> None:
    with pytest.raises(BenchmarkError, match="is not a number"):
        trials((np.nan, 1, 0, 0, "then"))
    with pytest.raises(ValueError, match="do not fit"):
        Trials(np.zeros(2), np.zeros(1), np.zeros(2, np.int64), np.zeros(2, np.int64), np.array(["then"] * 2))


scores = st.floats(-5, 5, allow_nan=False).map(lambda value: round(value, 1))


@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=12))
def test_what_swapping_and_scaling_do(pairs: list[tuple[float, float]]) -> None:
    made = trials(*((true, false, at, at // 2, "then") for at, (true, false) in enumerate(pairs)))
    swapped = trials(*((false, true, at, at // 2, "then") for at, (true, false) in enumerate(pairs)))
    higher = trials(*((2 * true + 3, 2 * false + 3, at, at // 2, "then") for at, (true, false) in enumerate(pairs)))
    told, other, scaled = (order.summary(one) for one in (made, swapped, higher))
    assert told is not None
    assert other is not None
    assert scaled is not None
    assert told.accuracy.value + other.accuracy.value + told.ties == pytest.approx(1)
    assert (scaled.accuracy, scaled.joint, scaled.ties) == (told.accuracy, told.joint, told.ties)
    assert 0 <= told.accuracy.low <= told.accuracy.high <= 1
    if told.joint and len(pairs) % 2 == 0:
        assert told.joint.value <= told.accuracy.value + 1e-12


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_whoever_hears_the_words_alone_is_right_half_of_the_time(one: float, other: float) -> None:
    """Each of both orders has each sentence once as the true one, so a preference for a sentence gains nothing."""
    told = order.summary(trials((one, other, 0, 0, "then"), (other, one, 1, 0, "then")))
    assert told is not None
    assert told.accuracy.value == (0.5 if one != other else 0)
    assert told.joint is not None
    assert told.joint.value == 0


def test_an_interval_draws_pairs_and_not_trials() -> None:
    values, groups = np.array([1.0] * 50 + [0.0] * 50), np.repeat([0, 1], 50)
    alone = order.clustered(values, np.arange(100))
    together = order.clustered(values, groups)
    assert (together.low, together.high) == (0, 1)
    assert 0.3 < alone.low < alone.high < 0.7
    with pytest.raises(BenchmarkError, match="nothing to take a mean of"):
        order.clustered(np.zeros(0), np.zeros(0, np.int64))


# ---------------------------------------------------------------------------------------------------------------- words


def test_every_phrasing_says_the_same() -> None:
    for name, (true, false) in order.twins("a dog barks", "a man laughs").items():
        assert order.is_read(true, "a dog barks", "a man laughs"), name
        assert order.is_read(false, "a man laughs", "a dog barks"), name
        assert not order.is_read(true, "a man laughs", "a dog barks"), name
        assert sorted(true.split()) == sorted(false.split()) or name == "followed by"


def test_what_can_be_a_part_of_a_sentence() -> None:
    assert order.usable("a dog on a beach")
    for text in ("", "a dog barks, then a man laughs", 'a "dog"', "a dog -cat", "seen:dog"):
        assert not order.usable(text), text


# ----------------------------------------------------------------------------------------------------------------- sets

LINE = {
    "id": "0001a",
    "pair": "0001",
    "kind": "video",
    "media": "media/0001a.mp4",
    "before": "red",
    "after": "blue",
    "join_s": 4.0,
    "spans": [[0, 4.0], [4.0, 8.0]],
    "queries": [{"phrasing": "then", "true": "red then blue", "false": "blue then red"}],
}


def written(folder: Path, *lines: object) -> Path:
    (folder / "set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_set_is_read(tmp_path: Path) -> None:
    (one,) = order.read_set(written(tmp_path, LINE))
    assert (one.before, one.after, one.join, one.spans) == ("red", "blue", 4.0, ((0.0, 4.0), (4.0, 8.0)))
    assert one.queries == {"then": ("red then blue", "blue then red")}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"before": ""}, "set.jsonl:1: 'before' is ''"),
        ({"media": 3}, "set.jsonl:1: 'media' is 3"),
        ({"kind": "image"}, "it wants video or sound"),
        ({"join_s": "late"}, "it wants join_s, two spans, and queries"),
        ({"spans": [[0, 4]]}, "it wants join_s, two spans"),
        ({"join_s": 5.0}, "they want to lie on its two sides"),
        ({"queries": []}, "no queries"),
        ({"queries": [{"true": "x"}]}, "it wants join_s"),
    ],
)
def test_a_line_that_is_wrong(tmp_path: Path, change: dict[str, object], complaint: str) -> None:
    with pytest.raises(BenchmarkError, match=complaint):
        order.read_set(written(tmp_path, {**LINE, **change}))


def test_a_set_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"holds no set\.jsonl: make one with reelseek make order-set"):
        order.read_set(tmp_path)
    with pytest.raises(BenchmarkError, match="has no lines"):
        order.read_set(written(tmp_path))
    with pytest.raises(BenchmarkError, match="'0001a' is there twice"):
        order.read_set(written(tmp_path, LINE, LINE))
