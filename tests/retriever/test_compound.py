"""Answers of several terms and steps come best first, and media that cannot be among the best are not gone through."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zoo import Words, library, media

from retriever import calibrating, calibration, compound
from retriever.compound import Found
from retriever.search import Searcher
from retriever.types import Answer, Entry, TimeSpan

WORDS = ("parrot", "piano", "pancake", "river", "drum", "horse", "storm", "train")
QUESTIONS = (
    "parrot then piano",
    "river then drum then horse",
    "pancake then storm within 4s",
    "horse while train",
    "parrot before river",
    "seen:drum heard:piano",
    "parrot -river",
    "river^2 said:horse",
    "said:parrot then seen:parrot",
    "he sees a parrot and then he hears a drum and then he leaves",
)
SCORES = st.lists(st.floats(-5, 5, width=16), max_size=5).map(lambda scores: sorted(scores, reverse=True))
MEDIA = st.lists(st.tuples(SCORES, st.floats(0, 3, width=16)), max_size=8)


def answer(media: int, score: float) -> Found:
    return Found(media, TimeSpan(0, 1), score, (), (), (score,), 1)


@given(given=MEDIA, again=st.booleans())
def test_the_best_of_all_come_first(given: list[tuple[list[float], float]], again: bool) -> None:
    def streams() -> list[Iterator[Found]]:
        return [iter([answer(place, score) for score in scores]) for place, (scores, _) in enumerate(given)]

    most = [max(scores, default=0.0) + above for scores, above in given]
    every = [(-score, place) for place, (scores, _) in enumerate(given) for score in scores[: None if again else 1]]
    for bounds in (most, [inf] * len(most)):
        found = list(compound._best_first(streams(), bounds, again=again))
        assert [(-one.score, one.media) for one in found] == sorted(every)


def test_only_who_could_be_better_is_asked() -> None:
    asked: list[int] = []

    def answers(place: int, score: float) -> Iterator[Found]:
        asked.append(place)
        yield answer(place, score)

    scores, most = [1.0, 5.0, 3.0, 2.0], [1.5, 6.0, 5.5, 4.0]
    best = compound._best_first([answers(*each) for each in enumerate(scores)], most, again=True)
    assert [next(best).media, next(best).media] == [1, 2]
    assert asked == [1, 2, 3]


@pytest.fixture(scope="module")
def crowd() -> Iterator[Searcher]:
    """Forty films of eight things, in all orders, some of which somebody talks about."""
    whole = calibration.background()
    few = calibration.Background(whole.sentences[::7], whole.modalities[::7])
    rng = np.random.default_rng(3)
    entries: list[Entry] = []
    for number in range(40):
        scenes = [(2.0, " ".join(rng.choice(WORDS, rng.integers(1, 3)))) for _ in range(6)]
        heard = [(3.0, str(rng.choice(WORDS))) for _ in range(4)]
        said = [(at, at + 1.5, f"a {rng.choice(WORDS)} is there") for at in (1.0, 7.0)]
        entries.append(media(f"film{number:02d}", seen=scenes, heard=heard, said=said))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrating, "background", lambda: few)
        yield Searcher(library(entries), Words())


@pytest.mark.parametrize("by", ["moment", "video"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_nothing_is_lost_by_not_looking(
    crowd: Searcher, question: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> Answer:
        return crowd.search(question, min_confidence=0, by=by, limit=7)

    def all_at_once(by_media: Sequence[Iterator[Found]], most: Sequence[float], **options: Any) -> Iterator[Found]:
        firsts = [list(islice(answers, 1)) for answers in by_media]
        assert all(first[0].score <= bound for first, bound in zip(firsts, most, strict=True) if first)
        streams = [chain(first, answers) for first, answers in zip(firsts, by_media, strict=True)]
        return lazily(streams, [inf] * len(most), **options)

    lazily, fast = compound._best_first, found()
    monkeypatch.setattr(compound, "_best_first", all_at_once)
    assert fast.moments == found().moments
    assert fast.moments
