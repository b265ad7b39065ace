"""Levels of chance of media that are looked at from end to end, remembered for whoever does so next.

They do not depend on the question, and of questions in steps most ask the same media again.  What is taken of one media
is taken of it alone, so it is the same numbers whatever it was looked at beside.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock

import numpy as np

from retriever.types import Floats, Ids, RaggedTokens

Levels = dict[str, tuple[Floats, Floats]]
"""By space: of each segment `(S,)`, of each token `(N,)`."""

HELD = 1 << 22
"""Tokens whose levels are held, 16 MB of them; four hundred thousand segments are some two million."""


@dataclass(frozen=True, slots=True)
class _Media:
    numbers: Ids  # its segments that were looked at
    levels: Levels

    @property
    def tokens(self) -> int:
        return sum(len(each) for _, each in self.levels.values())


class Remembered:
    """Of one state of a library at a time, as `scoring.Kept` has it; several threads may ask."""

    def __init__(self, held: int = HELD) -> None:
        self._most = held
        self._state: Hashable = ""
        self._held: dict[int, _Media] = {}  # by number, the one that was asked for last at the end
        self._tokens = 0
        self._guard = Lock()

    def levels(
        self,
        state: Hashable,
        media: Ids,
        numbers: Ids,
        tokens: Mapping[str, RaggedTokens],
        make: Callable[[Mapping[str, RaggedTokens]], Levels],
    ) -> Levels:
        """Those of segments `(S,)` of these `media` `(S,)`, which stand in order; `make` gives what is not known."""
        bounds = [0, *(np.flatnonzero(np.diff(media)) + 1).tolist(), len(numbers)]
        found: list[_Media] = []
        for first, last in pairwise(bounds):
            number, ours = int(media[first]), numbers[first:last]
            one = self._known(state, number)
            if one is None or not np.array_equal(one.numbers, ours):
                own = {space: part(every, first, last) for space, every in tokens.items()}
                one = _Media(ours.copy(), make(own))
            self._keep(state, number, one)
            found.append(one)
        return {space: _joined([one.levels[space] for one in found]) for space in tokens}

    def _known(self, state: Hashable, number: int) -> _Media | None:
        with self._guard:
            return self._held.get(number) if self._state == state else None

    def _keep(self, state: Hashable, number: int, one: _Media) -> None:
        with self._guard:
            if self._state != state:
                self._state, self._tokens = state, 0
                self._held.clear()
            if before := self._held.pop(number, None):
                self._tokens -= before.tokens
            self._held[number] = one
            self._tokens += one.tokens
            while self._tokens > self._most:
                self._tokens -= self._held.pop(next(iter(self._held))).tokens


def part(tokens: RaggedTokens, first: int, last: int) -> RaggedTokens:
    """Those of the segments from `first` to before `last`, not copied."""
    begin, end = tokens.offsets[[first, last]].tolist()
    return RaggedTokens(
        tokens.rows[begin:end],
        tokens.offsets[first : last + 1] - begin,
        tokens.spans[begin:end],
        tokens.norms[begin:end],
        tokens.labels[begin:end],
        tokens.probabilities[begin:end],
    )


def _joined(levels: list[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    segments, each = zip(*levels, strict=True)
    return np.concatenate(segments), np.concatenate(each)
