"""Which media of a library hold the same footage, and how much of it.

    for found in duplicates(library):
        print(found.relation, found.one.path, found.span, found.other.path, found.elsewhere)

Every segment asks for those of other media that are nearest to it.  Media that are named so are laid side by side
(`retriever.copies`) and, where they are the same, followed as far as they go on being so.  That is one nearest search a
segment, and one comparison a pair of media that lie near each other: the cost grows as the library does, not with its
square.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from heapq import nlargest
from math import inf

import numpy as np

from retriever.alike import means
from retriever.copies import JUDGES, NEAR, STEP, Alignment, Footage, Numbers, Strangers, aligned, filmed, strangers
from retriever.moments import Curve
from retriever.ports import Snapshot
from retriever.types import EVERYTHING, Filter, Floats, Ids, Matrix, Media, MediaKind, Modality, TimeSpan

AT_ONCE = 256
"""Segments that ask together, and pairs of media that are compared together."""
NEAREST = 20
"""Segments that one names; those of its own media are among them."""
SEEDS = 4
"""Pairs of segments by which two media are compared, the nearest first, until one shows that they are the same."""
GOES_ON = 0.4
"""Nearness above which footage goes on being the same: less than it takes to be told, since much is told by now."""
BLOCK = 300.0
"""Seconds that are followed at once."""
WHOLE = 0.9
"""A media is all there if so much of it is."""


class Tie(StrEnum):
    """What the shorter of two media is to the longer."""

    COPY = "copy"
    PART = "part"
    OVERLAP = "overlap"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two media with footage in common.  Of several stretches that they share this is one."""

    one: Media  # the shorter
    other: Media
    span: TimeSpan  # of the one
    elsewhere: TimeSpan  # the same in the other
    nearness: float
    concord: float

    @property
    def relation(self) -> Tie:
        if self.span.length < WHOLE * self.one.duration:
            return Tie.OVERLAP
        return Tie.COPY if self.elsewhere.length >= WHOLE * self.other.duration else Tie.PART


@dataclass(frozen=True, slots=True)
class Group:
    """Media that hang together by their footage."""

    media: tuple[Media, ...]  # the longest first, then by path
    pairs: tuple[Pair, ...]  # by path


def groups(pairs: Sequence[Pair]) -> list[Group]:
    """The largest first, then by path."""
    leader: dict[str, str] = {}

    def first(key: str) -> str:
        while leader.setdefault(key, key) != key:
            key = leader[key]
        return key

    for pair in pairs:
        leader[first(pair.one.key)] = first(pair.other.key)
    together: dict[str, list[Pair]] = {}
    for pair in pairs:
        together.setdefault(first(pair.one.key), []).append(pair)
    made = [_group(own) for own in together.values()]
    return sorted(made, key=lambda group: (-len(group.media), group.media[0].path, group.media[0].key))


def _group(pairs: Sequence[Pair]) -> Group:
    media = {item.key: item for pair in pairs for item in (pair.one, pair.other)}
    longest = sorted(media.values(), key=lambda item: (-item.duration, item.path, item.key))
    return Group(tuple(longest), tuple(sorted(pairs, key=lambda pair: (pair.one.path, pair.other.path))))


def duplicates(library: Snapshot, where: Filter = EVERYTHING) -> Iterator[Pair]:
    """Every two media, among those that pass, that hold the same footage."""
    apart = strangers(library)
    found = sorted(_candidates(library, apart, where).items())
    for begin in range(0, len(found), AT_ONCE):
        part = found[begin : begin + AT_ONCE]
        numbers = np.array([number for _, seeds in part for _, pair in seeds for number in pair], np.int64)
        footage = iter(filmed(library, _moments(library, numbers), apart))
        for _, seeds in part:
            read = [(next(footage), next(footage)) for _ in seeds]
            pair = _of_media(library, read, apart)
            if pair is not None:
                yield pair


Seed = tuple[float, tuple[int, int]]
"""How near two segments are, and which."""


def _candidates(library: Snapshot, apart: Strangers, where: Filter) -> dict[tuple[int, int], list[Seed]]:
    """By two media numbers, the smaller first, the nearest segments of both.

    Segments ask by what is seen; by what is heard only where nothing is seen, since what is seen decides elsewhere, and
    all silence is alike.
    """
    numbers = library.numbers(where)
    found: dict[tuple[int, int], list[Seed]] = {}
    for begin in range(0, len(numbers), AT_ONCE):
        left = numbers[begin : begin + AT_ONCE]
        for modality in JUDGES:
            asking = [space for space, stranger in apart.items() if stranger.modality is modality]
            seeing = np.zeros(len(left), bool)
            for space in asking:
                tokens = library.tokens(left, space)
                there = np.diff(tokens.offsets) > 0
                seeing |= there
                if there.any():
                    _ask(library, left[there], means(tokens)[there], space, apart, where, found)
            left = left[~seeing]
    return {pair: nlargest(SEEDS, set(seeds)) for pair, seeds in found.items()}


def _ask(
    library: Snapshot,
    numbers: Ids,
    rows: Matrix,
    space: str,
    apart: Strangers,
    where: Filter,
    found: dict[tuple[int, int], list[Seed]],
) -> None:
    rankings = library.nearest(rows, space, NEAREST, where)
    owners = library.segments(numbers).media.tolist()
    named = np.unique(np.concatenate([ranking.segments for ranking in rankings]))
    holders = dict(zip(named.tolist(), library.segments(named).media.tolist(), strict=True))
    for number, owner, ranking in zip(numbers.tolist(), owners, rankings, strict=True):
        near = apart[space].nearness(ranking.scores.astype(np.float64))
        for segment, nearness in zip(ranking.segments.tolist(), near.tolist(), strict=True):
            if holders[segment] == owner or nearness < NEAR:
                continue
            ours, theirs = sorted([(owner, number), (holders[segment], segment)])
            seeds = found.setdefault((ours[0], theirs[0]), [])
            seeds.append((nearness, (ours[1], theirs[1])))
            if len(seeds) > 4 * SEEDS:
                seeds[:] = nlargest(SEEDS, set(seeds))


def _moments(library: Snapshot, numbers: Ids) -> list[tuple[str, TimeSpan]]:
    """Of segments, each its media's key and its span."""
    table = library.segments(numbers)
    media, place = np.unique(table.media, return_inverse=True)
    keys = [item.key for item in library.media_at(media)]
    return [(keys[at], TimeSpan(*span)) for at, span in zip(place.tolist(), table.spans.tolist(), strict=True)]


def _of_media(
    library: Snapshot, seeds: Sequence[tuple[Footage | None, Footage | None]], apart: Strangers
) -> Pair | None:
    """What two media share, by the first of their seeds that shows it."""
    for one, other in seeds:
        if one is None or other is None:
            continue
        one, other = sorted((one, other), key=lambda it: (it.media.duration, it.media.path, it.media.key))
        found = aligned(one, other, apart)
        if found is not None:
            return _followed(library, one, other, found, apart)
    return None


def _followed(library: Snapshot, one: Footage, other: Footage, found: Alignment, apart: Strangers) -> Pair:
    """As far as both go on being the same, from where they were compared."""
    judge = next(modality for modality in JUDGES if modality in found.figures)
    told = found.figures[judge]
    if one.media.kind is MediaKind.IMAGE:
        return Pair(one.media, other.media, one.span, other.span, told.nearness, told.concord)
    start = max(0.0, -found.offset)
    end = max(start + STEP, min(one.media.duration, other.media.duration - found.offset))
    heights: list[Floats] = []
    for begin in np.arange(start, end, BLOCK).tolist():
        stop = max(begin + STEP, min(begin + BLOCK, end))
        both = [(one.media.key, TimeSpan(begin, stop))]
        both.append((other.media.key, TimeSpan(begin + found.offset, stop + found.offset)))
        footage = filmed(library, both, apart, context=0.0, longest=inf)
        heights.append(_near(footage, apart, judge, stop - begin))
    near = np.concatenate(heights)
    curve = Curve(start + STEP * np.arange(len(near) + 1, dtype=np.float64), near)
    peak = curve.highest(found.shared.start, found.shared.end)
    first, last = curve.around(found.shared.start, found.shared.end, peak - GOES_ON) or (start, end)
    span = TimeSpan(first, min(last, end))
    elsewhere = TimeSpan(span.start + found.offset, span.end + found.offset)
    return Pair(one.media, other.media, span, elsewhere, told.nearness, told.concord)


def _near(both: Sequence[Footage | None], apart: Strangers, judge: Modality, seconds: float) -> Floats:
    """How near two stretches are, cell by cell; nothing is known where one of them has nothing."""
    near = np.full(max(1, round(seconds / STEP)), -np.inf, np.float32)
    one, other = both
    if one is None or other is None:
        return near
    told: list[Numbers] = []
    count = min(len(near), one.count, other.count)
    for space, stranger in apart.items():
        if stranger.modality is judge and space in one.cells and space in other.cells:
            rows, others = (it.cells[space].rows[:count] for it in (one, other))
            told.append(stranger.nearness((rows * others).sum(axis=1).astype(np.float64)))
    if told:
        near[:count] = np.mean(told, axis=0)
    return near
