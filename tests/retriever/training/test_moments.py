"""Moment heads learn what training-free windows get wrong, and nothing leaks from what they are judged by."""

from dataclasses import replace

import heights
import numpy as np
import pytest
import torch

from retriever import windows
from retriever.errors import TrainingError
from retriever.spanning import MomentHead, allowed, question
from retriever.tracks import REACH, WIDTH, channels, proposals
from retriever.training import moments
from retriever.training.moments import Options, Question
from retriever.types import TimeSpan

QUICK = Options("spans", epochs=6, steps=25, seed=3)


def overlap(question: Question, start: float, end: float) -> float:
    assert question.span is not None
    return TimeSpan(start, end).iou(question.span)


def placed(head: MomentHead, made: list[Question]) -> float:
    """Mean overlap of a head's answers."""
    answers = [head.place(one.own.track, one.own.peak, one.rest, one.shares) for one in made]
    return float(np.mean([overlap(one, *answer) for one, answer in zip(made, answers, strict=True)]))


def training_free(made: list[Question]) -> float:
    found = []
    for one in made:
        cells = one.own.track.cells(one.rest)
        none = np.zeros(len(cells) + 1, bool)
        first, last = windows.around(cells, one.own.peak, one.rest, none).tolist()
        found.append(overlap(one, first * heights.STEP, last * heights.STEP))
    return float(np.mean(found))


def test_spans_are_learnt_from_times() -> None:
    """What is heard is longer than what is right; windows take it, as it stands out more."""
    unseen = heights.questions(40, seed=2)
    head = moments.train(heights.questions(60, seed=1), replace(QUICK, joined=0.0, epochs=5)).head
    assert training_free(unseen) < 0.5
    assert placed(head, unseen) > 0.85
    told = head.options["held_out"]["captions"]
    assert told["head"]["miou"] > told["windows"]["miou"] + 0.3


def test_windows_are_learnt_from_captions_without_times() -> None:
    """What is heard is in every media alike, so it does not tell the right one."""
    unseen = heights.questions(40, seed=2)
    head = moments.train(heights.questions(60, seed=1, timed=False), replace(QUICK, family="weak", epochs=15)).head
    assert placed(head, unseen) > training_free(unseen) + 0.2


@pytest.mark.slow
def test_captions_of_whole_clips_teach_in_joined_films() -> None:
    """Clips in which all is seen; no caption has a time, and yet films of several are parted where they were joined."""
    draw = np.random.default_rng(0)
    made = []
    for number in range(30):
        clip = heights.track(draw, 30)
        own = replace(clip, heights=clip.heights + np.array([[5.0], [0.0], [0.0], [0.0]], np.float32))
        others = tuple(heights.sight(heights.track(draw, 60), (number + at) % 30) for at in (1, 2, 3))
        made.append(Question(heights.sight(own, number), others, None, 0.0, heights.SHARES))
    head = moments.train(made, replace(QUICK, epochs=8)).head
    told = head.options["held_out"]
    assert "captions" not in told
    assert told["joined"]["head"]["miou"] > 0.8
    assert told["joined"]["head"]["miou"] > told["joined"]["windows"]["miou"]


def test_the_same_seed_makes_the_same_head() -> None:
    made = heights.questions(12, seed=1)
    short = replace(QUICK, epochs=1, steps=3)
    one, same, other = (moments.train(made, replace(short, seed=seed)).head.digest for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize("family", ["spans", "weak"])
def test_numpy_says_what_torch_says(family: str) -> None:
    torch.manual_seed(5)
    model = moments.Spans(24) if family == "spans" else moments.Weak()
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn_like(value) * (0.15 if family == "spans" else 1.0))
    head = moments.head_of(model, family, {})
    for one in heights.questions(6, seed=4):
        view = one.view(one.own)
        if family == "spans":
            possible = torch.from_numpy(allowed(view.known))[None]
            with torch.no_grad():
                logits = model(torch.from_numpy(channels(view))[None], possible)[0].numpy()
            assert head.logits(view) == pytest.approx(logits, rel=1e-4, abs=1e-4)
            continue
        held = proposals(view)
        asked = torch.from_numpy(question(one.shares).T.copy())[None]
        with torch.no_grad():
            scores = model(asked, torch.from_numpy(held.parts)[None, None])
        assert head.scores(held, one.shares) == pytest.approx(scores[0, 0].numpy(), abs=1e-4)


def test_a_joined_film_has_its_caption_where_it_says() -> None:
    draw = np.random.default_rng(1)
    found = [film for one in heights.questions(20, seed=1) for _ in range(10) if (film := moments.joined(one, draw))]
    assert len(found) > 100
    for film in found:
        assert 0 <= film.first <= film.peak < film.last <= len(film.track)
        assert film.last - film.first < len(film.track)
        seen = film.track.heights[heights.SEEN, film.first : film.last]
        assert seen.mean() > 4  # of the caption's own stretch, and of no other
        assert film.view().heights.shape == (4, WIDTH)
        assert np.isfinite(film.view().heights[:, REACH]).any()


def test_no_group_is_on_both_sides() -> None:
    made = heights.questions(40, seed=1)
    learnt, held = moments.split(made, 0.25, seed=1)
    sides = [{one.own.group for one in part} for part in (learnt, held)]
    assert len(sides[1]) == 10
    assert not sides[0] & sides[1]
    assert not {sight.group for one in learnt for sight in one.others} & sides[1]
    assert len(learnt) + len(held) == 40


def test_too_little_to_train_on_is_said() -> None:
    with pytest.raises(TrainingError, match="captions of 2 groups of media leave 1 to train on; at least 2 are wanted"):
        moments.train(heights.questions(2, seed=1), QUICK)
    alone = [replace(one, others=(), span=None) for one in heights.questions(6, seed=1)]
    with pytest.raises(TrainingError, match="nothing to judge a head by"):
        moments.train(alone, QUICK)
    with pytest.raises(TrainingError, match="no caption has another media to be told from"):
        moments.train(alone, replace(QUICK, family="weak"))


def test_a_loss_that_is_no_number_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments._Spans, "epoch", lambda self, number: float("nan"))
    with pytest.raises(TrainingError, match="the loss is nan in epoch 1: train with a smaller --lr"):
        moments.train(heights.questions(8, seed=1), QUICK)
