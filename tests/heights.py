"""Made-up tracks and questions for tests of moment heads: what is seen tells, what is heard misleads.

In every media something is heard for a long while; in a media that a caption is true of something is seen as well, for
a shorter while, within.  So the longer one stands out more and is in every media alike.
"""

import numpy as np

from retriever.tracks import CHANGING, MODALITIES, Track
from retriever.training.moments import Question, Sight
from retriever.types import TimeSpan

STEP = 0.5
SEEN, HEARD = 0, 1
SHARES = np.array([-0.7, -0.7, -9.0, -9.0], np.float32)


def track(draw: np.random.Generator, count: int = 120, first: int | None = None, last: int = 0) -> Track:
    """Something heard for 10 to 15 s, around what is seen from cell `first` to before `last`."""
    heights = np.full((len(MODALITIES), count), -np.inf, np.float32)
    heights[SEEN] = draw.normal(0, 0.4, count)
    heights[HEARD] = draw.normal(0, 0.4, count)
    begin = first - int(draw.integers(4, 12)) if first is not None else int(draw.integers(0, max(1, count - 30)))
    end = max(begin + int(draw.integers(20, 30)), last + 4)
    heights[HEARD, max(0, begin) : end] += 6
    if first is not None:
        heights[SEEN, first:last] += 7.5
    change = np.abs(draw.normal(0, 0.3, (len(CHANGING), count))).astype(np.float32)
    return Track(0.0, STEP, heights, change, np.zeros(count, bool))


def sight(made: Track, group: int) -> Sight:
    return Sight(made, int(np.argmax(made.heights.max(axis=0))), group)


def questions(count: int, seed: int, *, timed: bool = True, others: int = 4) -> list[Question]:
    """Each of a media of its own, which is a group."""
    draw = np.random.default_rng(seed)
    made = []
    for number in range(count):
        length, first = int(draw.integers(5, 14)), int(draw.integers(15, 85))
        own = sight(track(draw, 120, first, first + length), number)
        beside = tuple(sight(track(draw), int((number + 1 + at) % count)) for at in range(others))
        span = TimeSpan(first * STEP, (first + length) * STEP) if timed else None
        made.append(Question(own, beside, span, 0.0, SHARES))
    return made
