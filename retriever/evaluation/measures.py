"""How well scores put what is right before what is not.

    ranked = Ranked.of(scores, Truth.of([[0], [2, 3]], media=4))   # text to media
    ranked.recall(1).mean(), ranked.reciprocal().mean(), ranked.precision.mean()
    Ranked.of(scores.T, truth.flipped())                           # media to text

The rank of a question is that of the best of its right answers: 1 + those wrong ones above it + half of those that
are equal.  Breaking ties by position would give a constant score a perfect rank or the worst one, as the data lie.
What was not answered (-inf) is not found at all, as in trec_eval, and not somewhere among the rest.
Average precision and nDCG are the expected values over all orders of the equal ones (McSherry & Najork 2008, §3).
Several captions a media: text to media asks each of them; media to text takes the best of a media's captions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.errors import BenchmarkError
from retriever.types import Ids

DRAWS = 10_000
"""Of the bootstrap and of the paired permutation test."""
FEWEST = 1_000
"""Draws for many questions: the interval of a mean over tens of thousands is narrow whatever the draws."""
AT_ONCE = 10_000_000
"""Numbers that are drawn at once: some 80 MB."""
MOST = 100_000_000
"""Numbers drawn altogether for one interval, as long as `FEWEST` draws are kept."""
DEPTHS = (1, 5, 10, 50, 100)

Numbers = NDArray[np.float64]
Scores = NDArray[np.floating[Any]]  # (Q, M) questions against candidates; -inf where a candidate was not answered


@dataclass(frozen=True, slots=True)
class Truth:
    """Which candidates are right for which questions, as pairs sorted by question."""

    rows: Ids  # (P,) questions
    columns: Ids  # (P,) candidates
    queries: int
    media: int

    @classmethod
    def of(cls, relevant: Sequence[Sequence[int]], media: int) -> "Truth":
        """From the right columns of each question.

        Raises:
            BenchmarkError: a question has none, or one that is not there.
        """
        for number, columns in enumerate(relevant, 1):
            if not len(columns):
                raise BenchmarkError(f"question {number} has no right answer; leave it out")
            wrong = [column for column in columns if not 0 <= column < media]
            if wrong:
                raise BenchmarkError(f"question {number} names column {wrong[0]}; there are 0 to {media - 1}")
        sizes = [len(set(columns)) for columns in relevant]
        flat = [column for columns in relevant for column in sorted(set(columns))]
        return cls(np.repeat(np.arange(len(relevant)), sizes), np.array(flat, np.int64), len(relevant), media)

    def flipped(self) -> "Truth":
        """Media ask, questions answer.  Media that nothing asks for ask nothing: see `asking`."""
        order = np.lexsort((self.rows, self.columns))
        return Truth(self.columns[order], self.rows[order], self.media, self.queries)

    @property
    def sizes(self) -> Ids:
        """How many right answers each question has `(Q,)`."""
        return np.bincount(self.rows, minlength=self.queries).astype(np.int64)

    @property
    def asking(self) -> NDArray[np.bool_]:
        """Questions that have a right answer at all `(Q,)`."""
        return self.sizes > 0

    def only(self, queries: NDArray[np.bool_], media: NDArray[np.bool_]) -> "Truth":
        """Of these questions and these media alone, numbered anew."""
        kept = queries[self.rows] & media[self.columns]
        row, column = np.cumsum(queries) - 1, np.cumsum(media) - 1
        return Truth(row[self.rows[kept]], column[self.columns[kept]], int(queries.sum()), int(media.sum()))


@dataclass(frozen=True, slots=True)
class Ranked:
    """How each question fared; those that nothing is right for are left out."""

    ranks: Numbers  # (Q,) of the best right answer; inf where none was found
    pessimistic: Numbers  # (Q,) with every tie lost
    precision: Numbers  # (Q,) average precision
    gain: Numbers  # (Q,) nDCG of the whole ranking, right is 1 and wrong is 0
    candidates: int

    @classmethod
    def of(
        cls,
        scores: Scores,
        truth: Truth,
        *,
        missing: NDArray[np.bool_] | None = None,
    ) -> "Ranked":
        """From scores `(Q, M)`.  Candidates that are `missing` `(M,)` are never found, whatever stands there.

        Raises:
            BenchmarkError: a score is not a number, or the shape is not that of the truth.
        """
        if scores.shape != (truth.queries, truth.media):
            wanted = (truth.queries, truth.media)
            raise BenchmarkError(f"scores have the shape {scores.shape}; the truth wants {wanted}: (questions, media)")
        gone = np.zeros(truth.media, bool) if missing is None else missing
        asking = np.flatnonzero(truth.asking)
        starts = np.searchsorted(truth.rows, asking)
        ends = np.searchsorted(truth.rows, asking, side="right")
        tables = _Tables.of(truth.media)
        found = np.array(
            [
                _one(row, scores[row], truth.columns[start:end], gone, tables)
                for row, start, end in zip(asking.tolist(), starts.tolist(), ends.tolist(), strict=True)
            ],
            np.float64,
        ).reshape(-1, 4)
        ranks, pessimistic, precision, gain = found.T
        return cls(ranks, pessimistic, precision, gain, truth.media)

    def __len__(self) -> int:
        return len(self.ranks)

    def recall(self, depth: int) -> Numbers:
        """1 where a right answer is among the first `depth` `(Q,)`."""
        return (self.ranks <= depth).astype(np.float64)

    def reciprocal(self) -> Numbers:
        """`(Q,)`, 0 where no right answer was found."""
        return 1 / self.ranks

    def places(self) -> Numbers:
        """Ranks `(Q,)` for means and medians: what was not found comes after the last."""
        return np.where(np.isinf(self.ranks), self.candidates + 1.0, self.ranks)

    def lost_ties(self) -> "Ranked":
        """The same with every tie lost."""
        return Ranked(self.pessimistic, self.pessimistic, self.precision, self.gain, self.candidates)


@dataclass(frozen=True, slots=True)
class _Tables:
    """Sums over ranks 1 … n, for n = 0 … M."""

    reciprocals: Numbers  # Σ 1/i
    discounts: Numbers  # Σ 1/log₂(1+i)

    @classmethod
    def of(cls, candidates: int) -> "_Tables":
        ranks = np.arange(1, candidates + 1)
        return cls(*(np.concatenate([[0.0], np.cumsum(each)]) for each in (1 / ranks, 1 / np.log2(1 + ranks))))


def _one(
    number: int, row: NDArray[np.floating[Any]], right: Ids, gone: NDArray[np.bool_], tables: _Tables
) -> tuple[float, float, float, float]:
    """Rank, pessimistic rank, average precision and nDCG of one question."""
    if np.isnan(row).any():
        column = int(np.flatnonzero(np.isnan(row))[0])
        raise BenchmarkError(f"the score of question {number + 1} for column {column} is not a number (NaN)")
    all_right = len(right)
    right = right[~gone[right] & (row[right] > -np.inf)]
    if not len(right):
        return np.inf, np.inf, 0.0, 0.0
    ordered = np.sort(row[~gone] if gone.any() else row)
    good = np.sort(row[right])
    low, high = np.searchsorted(ordered, good), np.searchsorted(ordered, good, side="right")
    above, equal = len(ordered) - high, high - low  # (R,) wrong and right ones, each among its equals
    good_low, good_high = np.searchsorted(good, good), np.searchsorted(good, good, side="right")
    good_above, good_equal = len(good) - good_high, good_high - good_low
    ties = int(equal[-1] - good_equal[-1])  # the best right one has no right one above it
    # One of `equal` places after `above`, each as likely; of the right ones equal to it, the share before it.
    share = np.where(equal > 1, (good_equal - 1) / np.maximum(equal - 1, 1), 0.0)
    sums = tables.reciprocals[above + equal] - tables.reciprocals[above]  # Σ 1/(above+i)
    hits = (good_above + 1) * sums + share * (equal - (above + 1) * sums)  # Σ (… + (i-1) share)/(above+i)
    gains = (tables.discounts[above + equal] - tables.discounts[above]) / equal
    return (
        1 + float(above[-1]) + ties / 2,
        1 + float(above[-1]) + ties,
        float((hits / equal).sum()) / all_right,
        float(gains.sum()) / float(tables.discounts[all_right]),
    )


# ------------------------------------------------------------------------------------------------------------ summaries


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over questions and its 95 % interval."""

    value: float
    low: float
    high: float


Statistic = Callable[[NDArray[Any]], NDArray[Any]]  # (…, Q) -> (…)


def mean(values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(values.mean(axis=-1))


def median(values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.median(values, axis=-1))


def interval(values: Numbers, statistic: Statistic = mean) -> Estimate:
    """A statistic of `values` `(Q,)` and its bootstrap interval over questions (Efron 1979, percentiles)."""
    rng, count = np.random.default_rng(1), len(values)
    if not count:
        raise BenchmarkError("there are no questions to take a mean of")
    draws = max(FEWEST, min(DRAWS, MOST // count))
    found = [statistic(values[rng.integers(0, count, (part, count))]) for part in _parts(draws, count)]
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975])
    return Estimate(float(statistic(values)), float(low), float(high))


@dataclass(frozen=True, slots=True)
class Difference:
    """One run less another, by question, and how likely chance makes such a difference either way."""

    value: float
    p: float


def paired(one: Numbers, other: Numbers) -> Difference:
    """Mean difference and two-sided p of a sign-flip permutation test, paired by question (Fisher 1935).  What was
    seen counts as one of the draws, so that p is never 0 (Phipson & Smyth 2010).

    Raises:
        BenchmarkError: the runs do not have as many questions.
    """
    if len(one) != len(other) or not len(one):
        raise BenchmarkError(f"the runs have {len(one)} and {len(other)} questions; they want the same ones")
    gap, rng = one - other, np.random.default_rng(2)
    least = abs(gap.mean()) - 1e-12
    draws = max(FEWEST, min(DRAWS, MOST // len(gap)))
    beaten = sum(
        int((np.abs((rng.choice([-1, 1], (part, len(gap))) * gap).mean(axis=1)) >= least).sum())
        for part in _parts(draws, len(gap))
    )
    return Difference(float(gap.mean()), (beaten + 1) / (draws + 1))


def _parts(draws: int, count: int) -> list[int]:
    """`draws` in portions that fit in memory."""
    size = max(1, AT_ONCE // count)
    return [min(size, draws - done) for done in range(0, draws, size)]


MEASURES: Mapping[str, tuple[Callable[[Ranked], Numbers], Statistic]] = {
    **{f"R@{depth}": (lambda ranked, depth=depth: ranked.recall(depth), mean) for depth in DEPTHS},  # type: ignore[misc]
    "median_rank": (Ranked.places, median),
    "mean_rank": (Ranked.places, mean),
    "MRR": (Ranked.reciprocal, mean),
    "mAP": (lambda ranked: ranked.precision, mean),
    "nDCG": (lambda ranked: ranked.gain, mean),
}
"""By name: what a question contributes, and how the contributions become one number."""
BY_RANK = tuple(name for name in MEASURES if name not in ("mAP", "nDCG"))
"""Those that ranks alone decide, so that they are known with every tie lost as well."""
PAIRED = ("R@1", "R@5", "R@10", "MRR")
"""What two runs are compared by."""


def summary(ranked: Ranked) -> dict[str, Estimate]:
    """Every measure with its interval."""
    return {name: interval(of(ranked), statistic) for name, (of, statistic) in MEASURES.items()}


def ties_lost(ranked: Ranked) -> dict[str, float]:
    """Measures by rank if every tie were lost."""
    lost = ranked.lost_ties()
    return {name: float(MEASURES[name][1](MEASURES[name][0](lost))) for name in BY_RANK}


# ------------------------------------------------------------------------------------------------------------- controls


def chance(truth: Truth, depths: Sequence[int] = DEPTHS) -> dict[str, float]:
    """R@k and mean rank of whoever does not look at the media at all: exactly 1 - C(M-r, k)/C(M, k) for a question
    with r right ones among M, and 1 + (M-r)/(r+1)."""
    sizes = truth.sizes[truth.asking]
    kinds, counts = np.unique(sizes, return_counts=True)
    weights = counts / counts.sum()

    def over(each: Callable[[int], float]) -> float:
        return float(sum(weight * each(int(size)) for size, weight in zip(kinds, weights, strict=True)))

    found = {f"R@{depth}": over(lambda size, depth=depth: 1 - _all_wrong(truth.media, size, depth)) for depth in depths}  # type: ignore[misc]
    return {**found, "mean_rank": over(lambda size: 1 + (truth.media - size) / (size + 1))}


def _all_wrong(media: int, right: int, depth: int) -> float:
    """The chance that the first `depth` of `media` hold none of the `right` ones."""
    if media - right < depth:
        return 0.0
    before = np.arange(depth)
    return float(np.prod((media - right - before) / (media - before)))
