"""Whether it is told that nothing is here: confidences of questions that have an answer against those that have none.

    judged = Judged(present, right, absent, twins)
    judged.auroc(), judged.at_rate(0.05), judged.curve(np.linspace(0, 1, 101))

`present` are confidences of the best answer to questions that have one here, `absent` to questions that have none: the
same ones with their media taken away, and those that never had any.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retriever.errors import BenchmarkError
from retriever.evaluation.measures import Estimate, Numbers, interval
from retriever.types import Ids

DRAWS = 2_000
AT_ONCE = 5_000_000
"""Numbers that are drawn at once."""
GRID = np.round(np.linspace(0.0, 1.0, 101), 2)
"""Values of `min_confidence` that curves are told at."""


@dataclass(frozen=True, slots=True)
class Point:
    """What one `min_confidence` comes to."""

    min_confidence: float
    false_alarms: float  # share of questions without an answer that are answered
    misses: float  # share of questions with an answer that are not answered
    rightly: Estimate  # share of questions with an answer that are answered, and rightly


@dataclass(frozen=True)
class Judged:
    """Confidences from 0 to 1; 0 where nothing at all was found."""

    present: Numbers  # (P,)
    right: NDArray[np.bool_]  # (P,) the best answer is a right one
    absent: Numbers  # (N,)
    twins: Ids  # (N,) the question of `present` that this is again without its media; -1 for one that has no answer

    def __post_init__(self) -> None:
        if len(self.present) != len(self.right) or len(self.absent) != len(self.twins):
            raise ValueError("confidences do not fit what is known of them")
        if not len(self.present) or not len(self.absent):
            side = "with" if not len(self.present) else "without"
            raise BenchmarkError(f"there is no question {side} an answer: absence is told by comparing both")
        if np.isnan(self.present).any() or np.isnan(self.absent).any():
            raise BenchmarkError("a confidence is not a number")

    def auroc(self, of: NDArray[np.bool_] | None = None) -> Estimate:
        """The chance that a question with an answer is more confident than one without, ties counted half (Hanley &
        McNeil 1982), over all that have none or those `of` `(N,)` alone.  The interval draws questions: one goes
        together with its twin."""
        chosen = np.arange(len(self.absent)) if of is None else np.flatnonzero(of)
        absent, twins = self.absent[chosen], self.twins[chosen]
        if not len(absent):
            raise BenchmarkError("there is no question without an answer of this kind")
        wins = (self.present[:, None] > absent) + 0.5 * (self.present[:, None] == absent)  # (P, N)
        rng = np.random.default_rng(1)
        count, single = len(self.present), np.flatnonzero(twins < 0)
        found: list[Numbers] = []
        for draws in _parts(max(count, len(absent))):
            ours = rng.multinomial(count, np.full(count, 1 / count), draws).astype(
                np.float64
            )  # how often each is drawn
            theirs = np.where(twins >= 0, ours[:, np.maximum(twins, 0)], 0.0)
            if len(single):
                theirs[:, single] = rng.multinomial(len(single), np.full(len(single), 1 / len(single)), draws)
            weight = ours.sum(axis=1) * theirs.sum(axis=1)
            drawn = weight > 0
            found.append(((ours @ wins) * theirs).sum(axis=1)[drawn] / weight[drawn])
        low, high = np.quantile(np.concatenate(found), [0.025, 0.975])
        return Estimate(float(wins.mean()), float(low), float(high))

    @property
    def left_out(self) -> NDArray[np.bool_]:
        """Questions `(N,)` that were asked again without their media."""
        return np.asarray(self.twins >= 0)

    def point(self, least: float) -> Point:
        """What is answered with at least this confidence."""
        answered = self.present >= least
        return Point(
            least,
            float((self.absent >= least).mean()),
            float((~answered).mean()),
            interval((answered & self.right).astype(np.float64)),
        )

    def curve(self, grid: Numbers = GRID) -> tuple[Numbers, Numbers, Numbers]:
        """False alarms, misses and those rightly answered, each `(G,)`, at each `min_confidence` of the grid: the first
        falls along it, the second rises."""
        alarms = (self.absent >= grid[:, None]).mean(axis=1)
        answered = self.present >= grid[:, None]
        return alarms, (~answered).mean(axis=1), (answered & self.right).mean(axis=1)

    def at_rate(self, rate: float) -> Point:
        """The lowest `min_confidence` that keeps false alarms at this rate or below it."""
        falling = np.sort(self.absent)[::-1]
        allowed = int(np.floor(rate * len(falling) + 1e-9))
        least = 0.0 if allowed >= len(falling) else float(np.nextafter(falling[allowed], np.inf))
        return self.point(least)


def _parts(size: int) -> list[int]:
    """The draws in portions that fit in memory."""
    most = max(1, AT_ONCE // max(1, size))
    return [min(most, DRAWS - done) for done in range(0, DRAWS, most)]


def area(present: Numbers, absent: Numbers) -> Estimate:
    """The chance that one of `present` `(P,)` is above one of `absent` `(N,)`, ties counted half, where neither belongs
    to the other; -inf is below everything."""
    never = np.full(len(absent), -1, np.int64)
    return Judged(present, np.ones(len(present), bool), absent, never).auroc()
