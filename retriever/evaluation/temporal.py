"""Sentences held against one another on the media that only one of them is true of: pairs, questions, groups.

    told = summary(items, scores)        # scores[i][o]: option o of item i on its media

A pair is the right option of an item against one wrong one; a tie is wrong.  An item is right if all of its pairs are,
and a group if all of its items are (multiple binary accuracy: TemporalBench, Cai et al. 2024).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from retriever.evaluation._temporal import Item
from retriever.evaluation.absence import area
from retriever.evaluation.measures import Estimate, interval
from retriever.evaluation.order import clustered
from retriever.types import Ids

Scores = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Told:
    """What several items come to."""

    items: int
    pairs: Estimate  # by chance one half
    questions: Estimate
    groups: Estimate
    ties: float


def summary(items: Sequence[Item], scores: Scores) -> Told | None:
    """Of the items that have options to choose among; None where there are none.  Intervals draw groups."""
    kept = [(item, own) for item, own in zip(items, scores, strict=True) if len(item.options) > 1]
    if not kept:
        return None
    groups = _numbers([item.group for item, _ in kept])
    won = [[own[item.right] > own[at] for at in range(len(own)) if at != item.right] for item, own in kept]
    tied = [[own[item.right] == own[at] for at in range(len(own)) if at != item.right] for item, own in kept]
    owners = np.repeat(groups, [len(each) for each in won])
    right = np.array([all(each) for each in won], np.float64)
    whole = np.ones(int(groups.max()) + 1)
    np.minimum.at(whole, groups, right)
    return Told(
        len(kept),
        clustered(np.concatenate(won).astype(np.float64), owners),
        clustered(right, groups),
        interval(whole),
        float(np.concatenate(tied).mean()),
    )


def conflicts(items: Sequence[Item], scores: Scores) -> Estimate | None:
    """Of twins, which ask the same of two media with different answers: whether each answer scores more on the media
    that it is right for.  What a sentence alone says cancels out.  None where there are no twins."""
    by_name: dict[str, list[int]] = {}
    for at, item in enumerate(items):
        if item.twin:
            by_name.setdefault(item.twin, []).append(at)
    won: list[float] = []
    owners: list[str] = []
    for name, places in by_name.items():
        for one in places:
            for other in places:
                right = items[one].right
                if items[other].media != items[one].media and items[other].right != right:
                    won.append(float(scores[one][right] > scores[other][right]))
                    owners.append(name.partition("\n")[0])
    return clustered(np.array(won), _numbers(owners)) if won else None


def yet(items: Sequence[Item], scores: Scores) -> Estimate | None:
    """The area under the curve of what is there against what is not there yet; None where nobody asks."""
    there = np.array([own[0] for item, own in zip(items, scores, strict=True) if item.present is True])
    absent = np.array([own[0] for item, own in zip(items, scores, strict=True) if item.present is False])
    return area(there, absent) if len(there) and len(absent) else None


def by_mode(found: Mapping[str, float], modes: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The mean over the aspects of each mode that were asked, and `all`, the mean over modes."""
    told = {
        mode: float(np.mean([found[aspect] for aspect in aspects if aspect in found]))
        for mode, aspects in modes.items()
        if any(aspect in found for aspect in aspects)
    }
    return {**told, "all": float(np.mean(list(told.values())))} if told else {}


def _numbers(names: Sequence[str]) -> Ids:
    known: dict[str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], np.int64)
