"""Whether the order of two events is understood: A then B against B then A, on a media that shows one of them.

    told = summary(Trials(right, wrong, groups))       # accuracy, both orders of a pair, ties, with intervals

An order set has media that were stitched of two events each, A then B and B then A, and of each media a sentence
that is true of it and its twin that is not.  Its measures are those of Chronologically Accurate Retrieval (Fujiwara
et al., ECCV 2024: the events of a text against the same ones shuffled), of Test of Time (Bagad et al., CVPR 2023:
before and after) and of TeminAL (2024: stitched
sounds).  They count alike: right is a true sentence that
scores more than its twin, and a tie is wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.errors import BenchmarkError
from retriever.evaluation._formats import lines, record
from retriever.evaluation.measures import DRAWS, Estimate, Numbers
from retriever.grammar import Relation, quoted, read
from retriever.types import Ids, MediaKind

PHRASINGS: Mapping[str, str] = {
    "then": "{first} then {second}",
    "before": "{first} before {second}",
    "after": "{second} after {first}",
    "followed by": "{first}, followed by {second}",
    "BEFORE": "{first} BEFORE {second}",
    "AFTER": "{second} AFTER {first}",
}
"""Ways to say that one event comes first.  Those in capitals always bind in the query language; `before` and `after` in
small letters do only where somebody does something on both sides of them."""
CHRONOLOGY = ("then",)
TEST_OF_TIME = ("before", "after")
TEST_OF_TIME_LOUD = ("BEFORE", "AFTER")
SET = "set.jsonl"
KINDS = (MediaKind.VIDEO.value, MediaKind.SOUND.value)


# ---------------------------------------------------------------------------------------------------------------- a set


@dataclass(frozen=True, slots=True)
class Stitched:
    """One media of an order set: `before` is shown, then `after`."""

    id: str
    pair: str  # its media show the same two events, in one order or the other
    kind: str  # video or sound
    media: str  # from the folder of the set
    before: str
    after: str
    join: float  # seconds: where the one ends and the other begins
    spans: tuple[tuple[float, float], tuple[float, float]]
    queries: Mapping[str, tuple[str, str]]  # by phrasing: the one that is true, and its twin


def said(phrasing: str, first: str, second: str) -> str:
    """A sentence that says that `first` comes before `second`."""
    return PHRASINGS[phrasing].format(first=first, second=second)


def twins(first: str, second: str) -> dict[str, tuple[str, str]]:
    """In every phrasing the sentence that is true of `first` before `second`, and its twin."""
    return {name: (said(name, first, second), said(name, second, first)) for name in PHRASINGS}


def is_read(sentence: str, first: str, second: str) -> bool:
    """Whether the query language takes a sentence for these two steps, in this order."""
    found = read(sentence)
    texts = [clause.terms[0].sentence for clause in found.clauses if len(clause.terms) == 1]
    return texts == [first, second] and [link.relation for link in found.links] == [Relation.THEN]


def usable(text: str) -> bool:
    """Whether an event's text is one thing to the query language, so that it can be a part of a sentence."""
    return bool(text) and quoted(text) == (text, ()) and read(text).is_plain


def read_set(folder: Path) -> list[Stitched]:
    """What `reelseek make order-set` wrote.

    Raises:
        BenchmarkError: it is none; the message has the line.
    """
    file = folder / SET
    if not file.is_file():
        raise BenchmarkError(f"{folder} holds no {SET}: make one with reelseek make order-set --out {folder}")
    found = [_stitched(record(line, f"{file}:{number}"), f"{file}:{number}") for number, line in lines(file)]
    if not found:
        raise BenchmarkError(f"{file} has no lines: make it again")
    seen: set[str] = set()
    for one in found:
        if one.id in seen:
            raise BenchmarkError(f"{file}: the id {one.id!r} is there twice")
        seen.add(one.id)
    return found


def _stitched(one: Mapping[str, Any], where: str) -> Stitched:
    names = ("id", "pair", "kind", "media", "before", "after")
    absent = next((name for name in names if not isinstance(one.get(name), str) or not one[name].strip()), "")
    if absent:
        raise BenchmarkError(f"{where}: {absent!r} is {one.get(absent)!r}; it wants text")
    if one["kind"] not in KINDS:
        raise BenchmarkError(f"{where}: 'kind' is {one['kind']!r}; it wants {' or '.join(KINDS)}")
    try:
        join = float(one["join_s"])
        ((a, b), (c, d)) = one["spans"]
        spans = ((float(a), float(b)), (float(c), float(d)))
        queries = {str(each["phrasing"]): (str(each["true"]), str(each["false"])) for each in one["queries"]}
    except (KeyError, TypeError, ValueError) as error:
        wanted = "join_s, two spans, and queries of phrasing, true and false"
        raise BenchmarkError(f"{where}: it wants {wanted}; this line lacks them, or has others") from error
    if not 0 <= spans[0][0] < spans[0][1] <= join <= spans[1][0] < spans[1][1] < np.inf:
        raise BenchmarkError(
            f"{where}: the spans are {one['spans']} around {join:g}; they want to lie on its two sides"
        )
    if not queries:
        raise BenchmarkError(f"{where}: no queries; it wants one or more")
    name, pair, kind, media, before, after = (str(one[each]) for each in names)
    return Stitched(name, pair, kind, media, before, after, join, spans, queries)


# ------------------------------------------------------------------------------------------------------------- measures


@dataclass(frozen=True)
class Trials:
    """Scores of true sentences and of their twins, on the same media.  What was not found at all scores -inf."""

    true: Numbers  # (T,)
    false: Numbers  # (T,)
    media: Ids  # (T,) which media
    pairs: Ids  # (T,) which pair: its trials hang together, so intervals are by pair
    phrasings: NDArray[np.str_]  # (T,)
    runs: Ids = field(default_factory=lambda: np.zeros(0, np.int64))  # (T,) which run; empty: there was one

    def __post_init__(self) -> None:
        sizes = {len(each) for each in (self.true, self.false, self.media, self.pairs, self.phrasings)}
        if len(sizes) != 1:
            raise ValueError(f"trials do not fit together: {sorted(sizes)}")
        if np.isnan(self.true).any() or np.isnan(self.false).any():
            raise BenchmarkError("a score is not a number")

    def __len__(self) -> int:
        return len(self.true)

    def only(self, kept: NDArray[np.bool_] | Ids) -> "Trials":
        """Those that are kept: a mask `(T,)`, or places."""
        runs = self.runs[kept] if len(self.runs) else self.runs
        return Trials(self.true[kept], self.false[kept], self.media[kept], self.pairs[kept], self.phrasings[kept], runs)

    @property
    def right(self) -> NDArray[np.bool_]:
        """`(T,)`: the true sentence scores more; a tie is wrong."""
        return np.asarray(self.true > self.false)

    @property
    def ties(self) -> NDArray[np.bool_]:
        return np.asarray(self.true == self.false)

    def joint(self) -> tuple[Ids, NDArray[np.bool_]]:
        """Of each pair, phrasing and run with trials on two media or more: its pair, and whether all are right."""
        _, phrasing = np.unique(self.phrasings, return_inverse=True)
        runs = self.runs if len(self.runs) else np.zeros(len(self), np.int64)
        keys, place = np.unique(np.stack([self.pairs, phrasing.reshape(-1), runs]), axis=1, return_inverse=True)
        place = place.reshape(-1)
        all_right = np.ones(keys.shape[1], bool)
        np.logical_and.at(all_right, place, self.right)
        media = [len(np.unique(self.media[place == at])) for at in range(keys.shape[1])]
        several = np.array(media, np.int64) > 1
        return keys[0][several].astype(np.int64), all_right[several]

    def by_media(self) -> "Trials":
        """The same scores asked the other way round: of one sentence, the media of a pair that it is true of against
        the one that it is not.  What the sentence alone says weighs nothing there."""
        place = {
            (pair, phrasing, media): at
            for at, (pair, phrasing, media) in enumerate(
                zip(self.pairs.tolist(), self.phrasings.tolist(), self.media.tolist(), strict=True)
            )
        }
        others: dict[tuple[int, str], list[int]] = {}
        for pair, phrasing, media in place:
            others.setdefault((pair, phrasing), []).append(media)
        kept: list[int] = []
        false: list[float] = []
        for (pair, phrasing, media), at in place.items():
            twin = [one for one in others[pair, phrasing] if one != media]
            if len(twin) == 1:  # the twin's false sentence is this one's true sentence
                kept.append(at)
                false.append(float(self.false[place[pair, phrasing, twin[0]]]))
        chosen = self.only(np.array(kept, np.int64))
        return Trials(chosen.true, np.array(false, np.float64), chosen.media, chosen.pairs, chosen.phrasings)


@dataclass(frozen=True, slots=True)
class Told:
    """What a set of trials comes to."""

    trials: int
    media: int
    pairs: int
    accuracy: Estimate  # share of trials that are right; by chance one half
    joint: Estimate | None  # share of pairs with both orders right; by chance a quarter.  None: no pair has both
    ties: float


def summary(trials: Trials) -> Told | None:
    """None where nothing was tried."""
    if not len(trials):
        return None
    pairs, both = trials.joint()
    return Told(
        len(trials),
        len(np.unique(trials.media)),
        len(np.unique(trials.pairs)),
        clustered(trials.right.astype(np.float64), trials.pairs),
        clustered(both.astype(np.float64), pairs) if len(pairs) else None,
        float(trials.ties.mean()),
    )


def joined(several: Sequence[Trials]) -> Trials:
    """Several runs over the same media, those of several shuffles, say."""
    return Trials(
        np.concatenate([one.true for one in several]),
        np.concatenate([one.false for one in several]),
        np.concatenate([one.media for one in several]),
        np.concatenate([one.pairs for one in several]),
        np.concatenate([one.phrasings for one in several]),
        np.repeat(np.arange(len(several)), [len(one) for one in several]).astype(np.int64),
    )


def clustered(values: Numbers, groups: Ids) -> Estimate:
    """A mean of `(T,)` and its bootstrap interval over groups: values of one group are drawn together, since they are
    not independent of one another (Efron & Tibshirani 1993, §8.6; percentiles)."""
    _, place = np.unique(groups, return_inverse=True)
    place = place.reshape(-1)
    count = int(place.max(initial=-1)) + 1
    if not count:
        raise BenchmarkError("there is nothing to take a mean of")
    sums, sizes = np.bincount(place, values, count), np.bincount(place, minlength=count)
    drawn = np.random.default_rng(1).integers(0, count, (min(DRAWS, max(1000, 10_000_000 // count)), count))
    low, high = np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high))


@dataclass(frozen=True, slots=True)
class Alone:
    """How the two parts of each media fare on their own: an order can only be told where both are found."""

    ranks: Numbers  # (M,) of the first media of the set that holds the part, of the part that fares worse; ties lost
    side: NDArray[np.bool_]  # (M,) both peak on their side of the join

    def kept(self, within: int) -> NDArray[np.bool_]:
        """Media `(M,)` whose parts are both found among the first so many, and on the right side."""
        return np.asarray((self.ranks <= within) & self.side)
