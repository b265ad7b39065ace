"""What is spared in questions in steps and of several terms, by turns with sparing nothing of it.

python benchmarks/steps.py --at FOLDER                  # 100,000 made-up segments (as service.py), kept there
python benchmarks/steps.py --library lib/

For each question the processor's time as it is, and how many times that where all media are gone through, not those
alone that can be among the best; and where every term widens the rows for itself and no levels of chance are
remembered.  Questions come one after the other, so what is kept for the same question again spares nothing here.  The
answers have to be the same.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from time import process_time
from typing import Any

import _library
import machine
import numpy as np

from api import Library
from retriever import compound, kernels
from retriever.chances import Remembered
from retriever.types import Answer

QUESTIONS = (
    "a man opens a door then a dog barks",
    "people dance then a car drives away",
    "someone sings and then the audience claps",
    "rain falls then the sun shines on a field",
    "a red car within 10s then a crash",
    "seen:bird heard:birds",
    "a dog but not a cat",
    "a frog -water",
    "said:water seen:river",
)
WAYS = ("as it is", "all media", "each term alone")
ROUNDS = 5
lazily, together, remembering = compound._best_first, kernels.asked, Remembered.levels


class Counted:
    """Which way is taken, and how many media give an answer."""

    def __init__(self) -> None:
        self.media, self.whole = 0, False

    def __call__(self, by_media: Sequence[Iterator[Any]], most: Sequence[float], **options: Any) -> Iterator[Any]:
        bounds = [inf] * len(most) if self.whole else most
        return lazily([self._through(answers) for answers in by_media], bounds, **options)

    def _through(self, answers: Iterator[Any]) -> Iterator[Any]:
        self.media += 1
        yield from answers

    def take(self, way: str) -> None:
        self.whole = way == "all media"
        alone = way == "each term alone"
        kernels.asked = (lambda tokens, _: tokens) if alone else together
        Remembered.levels = _anew if alone else remembering  # type: ignore[method-assign]


def _anew(_: Remembered, __: str, ___: Any, ____: Any, tokens: Mapping[str, Any], make: Any) -> Any:
    return make(tokens)


def asked(library: Library, question: str, way: Counted) -> tuple[Answer, int, float]:
    way.media = 0
    begun = process_time()
    answer = library.search(question, min_confidence=0)
    return answer, way.media, 1000 * (process_time() - begun)


def told(answer: Answer) -> list[tuple[str, float]]:
    """But for rounding."""
    return [(one.ref, round(one.score, 4)) for one in answer.moments]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _library.arguments(parser)
    args = parser.parse_args()
    print(machine.describe())
    counted = compound._best_first = Counted()  # type: ignore[assignment]
    found: dict[tuple[str, str], list[tuple[Answer, int, float]]] = {}
    with Library.open(_library.chosen(parser, args)) as library:
        for number in range(1 + ROUNDS):  # the first is for what is worked out once
            for way in WAYS:
                counted.take(way)
                for question in QUESTIONS:
                    one = asked(library, question, counted)
                    found.setdefault((question, way), []).extend([one] if number else [])
    for question in QUESTIONS:
        rounds = [found[question, way] for way in WAYS]
        (answer, few, _), (other, every, _), (third, _, _) = (each[0] for each in rounds)
        assert told(answer) == told(other) == told(third), question
        ms = [float(np.median([took for _, _, took in each])) for each in rounds]
        beside = ", ".join(f"{way} {each / ms[0]:.2f} ×" for way, each in zip(WAYS[1:], ms[1:], strict=True))
        print(f"{ms[0]:4.0f} ms, {few:3} of {every:3} media; {beside}  {question}")


if __name__ == "__main__":
    main()
