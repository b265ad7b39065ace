"""What chance does, and how sure that makes us."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.calibration import TAIL, Background, Chance, Scale, Tail, background, parse
from retriever.types import LABELS_KEPT, Modality, RaggedTokens


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def ragged(rows: np.ndarray, counts: list[int]) -> RaggedTokens:
    count = len(rows)
    return RaggedTokens(
        rows.astype(np.float16),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.stack([np.arange(count), np.arange(count) + 1.0], axis=1),
        np.ones(count, np.float32),
        [()] * count,
        np.zeros((count, LABELS_KEPT), np.float32),
    )


# ------------------------------------------------------------------------------------------------------ the background


def test_the_shipped_background_is_large_diverse_and_plain() -> None:
    shipped = background()
    assert len(shipped) >= 200
    assert len(set(shipped.sentences)) == len(shipped)
    for modality in Modality:
        assert shipped.modalities.count(modality) >= 50
    for sentence in shipped.sentences:
        assert 1 <= len(sentence.split()) <= 20
        assert sentence == sentence.strip()


def test_headings_name_the_modality_and_comments_are_for_people() -> None:
    assert parse("# note\n[sound]\na bell\n\n[text]\n a sign \n") == Background(
        ("a bell", "a sign"), (Modality.SOUND, Modality.TEXT)
    )


def test_a_sentence_without_a_heading_is_refused() -> None:
    with pytest.raises(ValueError, match="before the first"):
        parse("a bell\n[sound]\n")


def test_another_background_has_another_digest() -> None:
    one, other = parse("[sound]\na bell\n"), parse("[text]\na bell\n")
    assert one.digest != other.digest
    assert one.digest == parse("# hello\n[sound]\na bell").digest


# ---------------------------------------------------------------------------------------------------------- the levels


def test_centres_stand_for_the_background() -> None:
    rows = unit(np.random.default_rng(0).normal(size=(200, 12)))
    chance = Chance.of(rows)
    assert chance.weights.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(chance.weights @ chance.centres, rows.mean(axis=0), atol=1e-5)


def test_a_token_s_level_is_its_mean_cosine_with_the_background() -> None:
    rng = np.random.default_rng(1)
    rows, tokens = unit(rng.normal(size=(100, 12))), unit(rng.normal(size=(9, 12)))
    _, each = Chance.of(rows).levels(ragged(tokens, [4, 0, 5]))
    np.testing.assert_allclose(each, (tokens @ rows.T).mean(axis=1), atol=2e-3)


def test_a_segment_near_to_everything_has_a_high_level() -> None:
    rng = np.random.default_rng(2)
    rows = unit(rng.normal(size=(300, 12)) + 1)
    hub, ordinary = unit(np.ones((1, 12))), unit(rng.normal(size=(1, 12)))
    levels, _ = Chance.of(rows).levels(ragged(np.concatenate([hub, ordinary]), [1, 1]))
    assert levels[0] > levels[1]


def test_more_tokens_never_lower_a_segment_s_level_and_none_is_zero() -> None:
    rng = np.random.default_rng(3)
    rows, tokens = unit(rng.normal(size=(100, 12))), unit(rng.normal(size=(6, 12)))
    chance = Chance.of(rows)
    few, _ = chance.levels(ragged(tokens[:3], [3]))
    more, _ = chance.levels(ragged(tokens, [6, 0]))
    assert more[0] >= few[0]
    assert more[1] == 0


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_background_of_a_few_sentences_is_enough_to_run(count: int) -> None:
    rows = unit(np.random.default_rng(4).normal(size=(count, 12)))
    assert np.isfinite(Chance.of(rows).levels(ragged(rows, [count]))[0]).all()


def test_scales_make_sources_comparable() -> None:
    rng = np.random.default_rng(5)
    narrow, wide = rng.normal(0.1, 0.05, 1000).astype(np.float32), rng.normal(5, 2, 1000).astype(np.float32)
    assert np.abs(Scale.of(narrow)(narrow).mean() - Scale.of(wide)(wide).mean()) < 1e-3
    assert Scale.of(wide)(wide).std() == pytest.approx(1, abs=1e-3)


def test_a_scale_keeps_what_is_unknown_unknown_and_survives_too_little() -> None:
    scale = Scale.of(np.array([1.0, 3.0, -np.inf], np.float32))
    assert scale(np.array([2.0, -np.inf], np.float32)).tolist() == [0.0, -np.inf]
    assert Scale.of(np.array([], np.float32)) == Scale(0.0, 1.0)
    assert Scale.of(np.full(3, 0.5, np.float32)) == Scale(0.5, 1.0)


# ------------------------------------------------------------------------------------------------------------ the tail


def test_the_stated_rate_is_the_rate() -> None:
    rng = np.random.default_rng(6)
    tail = Tail.of(rng.gumbel(size=500))
    fresh = tail.confidences(rng.gumbel(size=20_000).astype(np.float32))
    for wanted in (0.5, 0.8, 0.9, 0.99):
        assert np.mean(fresh >= wanted) == pytest.approx(1 - wanted, abs=0.06)
        assert tail.rate(wanted) == pytest.approx(1 - wanted, abs=0.03)


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=60), st.lists(st.floats(-80, 80, width=32), min_size=2)
)
def test_a_better_score_is_never_less_sure(best: list[float], scores: list[float]) -> None:
    found = Tail.of(best).confidences(np.sort(np.array(scores, np.float32)))
    assert ((found >= 0) & (found <= 1)).all()
    assert all(one <= other + 1e-6 for one, other in pairwise(found.tolist()))


def test_beyond_all_of_the_background_scores_still_differ() -> None:
    tail = Tail.of(np.random.default_rng(7).gumbel(size=400))
    beyond = tail.best[-1] + np.array([0.1, 1.0, 2.0], np.float32)
    low, middle, high = tail.confidences(beyond).tolist()
    assert 1 - TAIL < low < middle < high <= 1


def test_part_of_a_library_gives_chance_fewer_tries() -> None:
    tail = Tail.of(np.random.default_rng(8).gumbel(size=400))
    scores = np.array([0.0, 2.0, 5.0], np.float32)
    assert (tail.confidences(scores, part=0.01) > tail.confidences(scores)).all()


def test_a_filter_s_effect_on_chance_is_right_for_tries_that_hang_together() -> None:
    """Best of 50 against best of 5, in groups of alike segments: the rate stays near the stated one."""
    rng = np.random.default_rng(9)
    tries = rng.normal(size=(4000, 50)) + np.repeat(rng.normal(size=(4000, 10)), 5, axis=1)
    tail = Tail.of(tries[:1000].max(axis=1))
    few = tail.confidences(tries[1000:, :5].max(axis=1).astype(np.float32), part=0.1)
    assert 0.02 < np.mean(few >= 0.9) < 0.2


def test_without_a_background_nothing_is_sure() -> None:
    tail = Tail.of([])
    assert tail.confidences(np.array([3.0], np.float32)).tolist() == [0.0]
    assert (tail.rate(0.9), tail.rate(0.0)) == (0.0, 1.0)


def test_what_was_not_found_is_not_sure() -> None:
    assert Tail.of([1.0, 2.0]).confidences(np.array([-np.inf], np.float32)).tolist() == [0.0]
