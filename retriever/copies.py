"""Whether two moments are the same footage: encoded again, of another size, in a frame, cropped, cut out or cut in.

    apart = strangers(library)
    one, other = filmed(library, [("1d3f0a9b7c2e4f68", TimeSpan(4, 7)), ("9a0b7c1d3f2e4f68", TimeSpan(12, 15))], apart)
    aligned(one, other, apart)      # how they lie to each other, and by which figures; None: not the same

The tokens of both, and of what lies around them, are laid side by side at every offset.  Two figures say which offset
is best, and whether it is good enough, in every space that both have:

    nearness   the mean cosine of tokens that meet, on a scale where media that have nothing to do with each other are
               at 0 and equal ones at 1; so it means alike in spaces where all cosines are high
    concord    the correlation of what changes: (mean cosine of tokens that meet - mean cosine of all pairs), over
               what that would be for equal changes.  Encoding again, another size, a frame and a crop shift all tokens
               alike, and leave changes as they are; two takes of one scene have the scene in common, not its changes

Where nothing changes there is no concord: two takes of what stands still cannot be told from copies, and are not called
so.  Pictures can only be compared as they are, and have to be as good as equal.  All of it is arithmetic over tokens
that are there: nothing is decoded, and nothing is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from retriever import kernels
from retriever.ports import Snapshot
from retriever.types import Filter, Ids, Matrix, Media, MediaKind, Modality, RaggedTokens, Times, TimeSpan

STEP = 0.5
"""Seconds a cell: as often as pictures are looked at."""
CONTEXT = 10.0
"""Seconds on both sides of a moment that are looked at with it: one of two seconds says too little by itself."""
LONGEST = 60.0
"""Seconds that are looked at in all."""
SHARED = 0.7
"""Of the shorter of two stretches so much has to meet.  So a shot that two films have in common, both of which go on
otherwise on both sides, is not found."""
MEETS = 0.5
"""Of the shorter of two moments so much has to meet, where their stretches meet best."""
LEAST = 2.0
"""Seconds that have to meet for changes to say anything."""
NEAR = 0.65
CONCORD = {Modality.VISION: 0.3, Modality.SOUND: 0.4}
BRIEF = 1.0
"""What copies have at least: this nearness, and a concord of `CONCORD + BRIEF / seconds that meet`, since what is brief
agrees more easily by chance.  All were chosen on one half of the clips; docs/experiments.md has the other."""
EQUAL = 0.98
"""Nearness of stills."""
NOISE = {Modality.VISION: 0.1, Modality.SOUND: 0.15}
"""Changes smaller than this are those of encoding (strangers are 1 apart)."""
EDGE = 0.05
"""Seconds that a container may claim more than its sound has."""
SAMPLE = 256
"""Segments by which a library says how far strangers are apart."""
JUDGES = (Modality.VISION, Modality.SOUND)
"""Modalities that footage is compared in; the first that both have decides."""

Numbers = NDArray[np.float64]


MOST_ALIKE = 0.8
"""Cosine of strangers that is not believed.  In the offline pack they lie at 0; that no space has them this near is an
assumption."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """How alike media that have nothing to do with each other are, in one space of a library."""

    modality: Modality
    cosine: float

    def nearness(self, cosines: Numbers) -> Numbers:
        near: Numbers = (cosines - self.cosine) / self.room
        return near

    @property
    def room(self) -> float:
        """How much more alike equals are."""
        return max(1e-6, 1 - self.cosine)


Strangers = Mapping[str, Stranger]
"""By space."""


@dataclass(frozen=True)
class Cells:
    """A stretch in one space, a row every `STEP` seconds; a token that is on show for longer is held once."""

    tokens: Matrix  # (T, D)
    shown: Ids  # (N,) which of them each row is

    @classmethod
    def of(cls, rows: Matrix) -> "Cells":
        """Rows `(N, D)` that are a token each."""
        return cls(rows, np.arange(len(rows)))

    @cached_property
    def rows(self) -> Matrix:
        """`(N, D)`"""
        return self.tokens[self.shown]

    @cached_property
    def sums(self) -> Numbers:
        """`(N + 1, D)` of the rows before; most stretches are near nothing, and are never asked for them."""
        return np.concatenate([np.zeros((1, self.rows.shape[1])), np.cumsum(self.rows, axis=0, dtype=np.float64)])

    def __len__(self) -> int:
        return len(self.shown)

    def means(self, first: Ids, count: Ids) -> Numbers:
        """Of `count` rows from `first` on, `(O, D)`."""
        means: Numbers = (self.sums[first + count] - self.sums[first]) / count[:, None]
        return means


@dataclass(frozen=True, slots=True)
class Footage:
    """A moment and what lies around it."""

    media: Media
    span: TimeSpan  # the moment
    start: float  # of the first cell, in seconds
    cells: Mapping[str, Cells]  # by space, all as many

    @property
    def count(self) -> int:
        return len(next(iter(self.cells.values()), ()))

    @property
    def is_still(self) -> bool:
        return self.media.kind is MediaKind.IMAGE


@dataclass(frozen=True, slots=True)
class Figures:
    """What one modality says of two stretches where they meet."""

    nearness: float  # 0 for strangers, 1 for equals
    concord: float  # -1 to 1


@dataclass(frozen=True, slots=True)
class Alignment:
    """How two stretches of the same footage lie to each other."""

    offset: float  # what is at t in the one is at t + offset in the other, in seconds
    shared: TimeSpan  # what was compared, on the clock of the one
    met: float  # share of the shorter moment that meets the other one
    figures: Mapping[Modality, Figures]

    def proves(self, modality: Modality) -> bool:
        """They are alike in this modality, and change alike."""
        told = self.figures.get(modality)
        bar = CONCORD[modality] + BRIEF / self.shared.length
        return told is not None and told.nearness >= NEAR and told.concord >= bar


def strangers(library: Snapshot) -> dict[str, Stranger]:
    """The lower quartile of cosines between media of this library, from some of its segments: copies are among the
    pairs, and must not set the scale; where most pairs are copies, `MOST_ALIKE`.  Of fewer than three media nothing is
    known, and 0 is taken."""
    numbers = library.numbers()
    if len(numbers) > SAMPLE:
        numbers = numbers[np.linspace(0, len(numbers) - 1, SAMPLE).round().astype(np.int64)]
    judged = {key: space.modality for key, space in library.spaces.items() if space.modality in JUDGES}
    return {key: Stranger(modality, _between(library, numbers, key)) for key, modality in judged.items()}


def _between(library: Snapshot, numbers: Ids, space: str) -> float:
    tokens = library.tokens(numbers, space)
    there = np.flatnonzero(np.diff(tokens.offsets))
    media = library.segments(numbers[there]).media
    if len(np.unique(media)) < 3:
        return 0.0
    rows = tokens.rows[(tokens.offsets[there] + tokens.offsets[there + 1]) // 2].astype(np.float32)
    return min(MOST_ALIKE, float(np.quantile((rows @ rows.T)[media[:, None] != media], 0.25)))


# ------------------------------------------------------------------------------------------------------------- reading


def filmed(
    library: Snapshot,
    moments: Sequence[tuple[str, TimeSpan]],
    apart: Strangers,
    *,
    context: float = CONTEXT,
    longest: float = LONGEST,
) -> list[Footage | None]:
    """The footage of moments, each a media's key and a span, with `context` seconds on both sides and `longest` in all;
    None where a media has nothing to compare."""
    keys = frozenset(key for key, _ in moments)
    numbers = library.numbers(Filter(media=keys)) if keys else np.zeros(0, np.int64)
    if not len(numbers):
        return [None] * len(moments)
    table = library.segments(numbers)
    first = [0, *(np.flatnonzero(np.diff(table.media)) + 1).tolist(), len(numbers)]
    every = library.media_at(table.media[first[:-1]])
    held = {media.key: (media, slice(*bounds)) for media, bounds in zip(every, pairwise(first), strict=True)}
    windows: list[_Window] = []
    for key, span in moments:
        if key not in held:
            windows.append(_Window(None, span, span, numbers[:0]))
            continue
        media, at = held[key]
        seen = _around(span, media.duration, context, longest)
        near = (table.spans[at, 0] < seen.end) & (table.spans[at, 1] > seen.start)
        windows.append(_Window(media, span, seen, numbers[at][near]))
    together = np.unique(np.concatenate([window.segments for window in windows]))
    tokens = {space: library.tokens(together, space) for space in apart}
    return [_footage(window, together, tokens, apart) for window in windows]


@dataclass(frozen=True, slots=True)
class _Window:
    """What is looked at for one moment."""

    media: Media | None
    span: TimeSpan
    seen: TimeSpan
    segments: Ids


def _around(span: TimeSpan, duration: float, context: float, longest: float) -> TimeSpan:
    """A moment with its context, and no more than is looked at."""
    start, end = max(0.0, span.start - context), min(max(duration, span.end), span.end + context)
    spare = max(0.0, end - start - longest) / 2
    return TimeSpan(start + spare, end - spare)


def _footage(window: _Window, together: Ids, tokens: Mapping[str, RaggedTokens], apart: Strangers) -> Footage | None:
    if window.media is None:
        return None
    count = 1 if window.media.kind is MediaKind.IMAGE else max(1, round(window.seen.length / STEP))
    middles: Times = window.seen.start + (np.arange(count, dtype=np.float64) + 0.5) * STEP
    places = np.searchsorted(together, window.segments)
    cells: dict[str, Cells] = {}
    for space, held in tokens.items():
        rows = _held(held.offsets, places)
        if apart[space].modality is Modality.SOUND:
            rows = rows[_inside(held.spans[rows], window.media.duration)]
        if len(rows):
            showing = rows[_on_show(held.spans[rows], middles)]
            new = np.concatenate([[True], showing[1:] != showing[:-1]])
            cells[space] = Cells(kernels.singles(held.rows[showing[new]]), np.cumsum(new) - 1)
    return Footage(window.media, window.span, window.seen.start, cells) if cells else None


def _held(offsets: Ids, places: Ids) -> Ids:
    """The tokens of these segments, one segment after the other."""
    first, counts = offsets[places], offsets[places + 1] - offsets[places]
    begin = np.cumsum(counts) - counts
    tokens: Ids = np.arange(counts.sum()) + np.repeat(first - begin, counts)
    return tokens


def _inside(spans: Times, duration: float) -> NDArray[np.bool_]:
    """Which windows of sound `(N, 2)` to look at: where a media begins and ends they reach into silence that is not in
    it, and all steady sounds would change there alike.  All of them, if there are no others."""
    inside: NDArray[np.bool_] = (spans[:, 0] > 0) & (spans[:, 1] < duration - EDGE)
    return inside if inside.any() else np.ones(len(spans), bool)


def _on_show(spans: Times, middles: Times) -> Ids:
    """For each time the token `(N, 2)` that is on show then, or the last one before it, or the first."""
    order = np.argsort(spans[:, 0], kind="stable")
    places = np.searchsorted(spans[order, 0], middles, side="right") - 1
    found: Ids = order[np.maximum(places, 0)]
    return found


# ----------------------------------------------------------------------------------------------------------- comparing


def aligned(one: Footage, other: Footage, apart: Strangers) -> Alignment | None:
    """How two moments lie to each other if they are the same footage, else None.

    What is seen decides where both have pictures: a copy may be mute, or dubbed.  What is heard decides where one of
    them has none, and where what is seen is near and changes too little to tell.  A still is a copy of a still only,
    and no moment is a copy of another one of the same media.
    """
    if one.is_still != other.is_still or one.media.key == other.media.key:
        return None
    found = laid(one, other, apart)
    if found is None or found.met < MEETS:
        return None
    return found if (_equal if one.is_still else _same)(found) else None


def laid(one: Footage, other: Footage, apart: Strangers) -> Alignment | None:
    """How two moments lie to each other where they agree best, the same footage or not; None where the modality that
    decides has nothing near at all."""
    offsets, first, count = _meets(one.count, other.count)
    shared = [key for key in one.cells if key in other.cells]
    told: dict[Modality, Numbers] = {}
    for modality in JUDGES:
        ours = [key for key in shared if apart[key].modality is modality]
        if not ours:
            continue
        products = {key: one.cells[key].tokens @ other.cells[key].tokens.T for key in ours}
        if not told and max(apart[key].nearness(products[key].max()) for key in ours) < NEAR:
            return None  # no mean is above what is highest: nothing has to be laid out
        meeting = {key: _meeting(one.cells[key], other.cells[key], products[key], offsets) / count for key in ours}
        if not told and max(apart[key].nearness(meeting[key]).max() for key in ours) < NEAR:
            return None  # most pairs end here
        figures = [_figures(one.cells[key], other.cells[key], meeting[key], apart[key]) for key in ours]
        told[modality] = np.mean(figures, axis=0)
    if not told:
        return None
    seconds: Numbers = count.astype(np.float64) * STEP
    ahead: Numbers = other.start - one.start + offsets.astype(np.float64) * STEP
    met = _met(one.span, other.span, ahead)
    worth = np.sum(list(told.values()), axis=(0, 1)) * np.sqrt(seconds / (seconds + LEAST))
    best = int(np.argmax(worth + 1e-3 * met.clip(0)))  # where all offsets are alike, that at which the moments meet
    start = one.start + float(first[best]) * STEP
    return Alignment(
        float(ahead[best]),
        TimeSpan(start, start + float(seconds[best])),
        float(met[best]),
        {modality: Figures(*figures[:, best].tolist()) for modality, figures in told.items()},
    )


def _same(found: Alignment) -> bool:
    seen = found.figures.get(Modality.VISION)
    if seen is None:
        return found.proves(Modality.SOUND)
    return found.proves(Modality.VISION) or (seen.nearness >= NEAR and found.proves(Modality.SOUND))


def _equal(found: Alignment) -> bool:
    """Of stills."""
    seen = found.figures.get(Modality.VISION)
    return seen is not None and seen.nearness >= EQUAL


def _met(one: TimeSpan, other: TimeSpan, ahead: Numbers) -> Numbers:
    """How much of the shorter moment meets the other one at each offset in seconds; negative where none does."""
    both = np.minimum(one.end + ahead, other.end) - np.maximum(one.start + ahead, other.start)
    met: Numbers = both / min(one.length, other.length)
    return met


@lru_cache(maxsize=1024)
def _meets(one: int, other: int) -> tuple[Ids, Ids, Ids]:
    """Every offset in cells, rising, at which enough of the shorter meets the longer; for each the first cell of the
    one that meets the other, and how many do."""
    least = max(1, int(np.ceil(SHARED * min(one, other))))
    offsets = np.arange(least - one, other - least + 1)
    first = np.maximum(0, -offsets)
    return offsets, first, np.minimum(one - first, other - np.maximum(0, offsets))


def _meeting(one: Cells, other: Cells, products: Matrix, offsets: Ids) -> Numbers:
    """The sum of cosines of the rows that meet at each offset, `(O,)`, of the `products` of their tokens.

    Those of all rows lie in a table that is one column wider than they are laid out in, so that each of its columns
    is a diagonal of theirs; the plain twin is `_meeting_plain`.
    """
    laid_out = products.take(one.shown, axis=0).take(other.shown, axis=1)
    wide = len(one) + len(other)
    table = np.zeros((len(one), wide + 1), np.float32)
    table.reshape(-1)[: len(one) * wide].reshape(len(one), wide)[:, : len(other)] = laid_out
    sums: Numbers = table.sum(axis=0, dtype=np.float64)[offsets]  # those before the beginning stand at the end
    return sums


def _meeting_plain(one: Cells, other: Cells, offsets: Ids) -> Numbers:
    """The twin of `_meeting`, by its definition."""
    products = one.rows @ other.rows.T
    return np.array([np.trace(products, offset) for offset in offsets.tolist()], np.float64)


def _figures(one: Cells, other: Cells, meeting: Numbers, stranger: Stranger) -> Numbers:
    """Nearness and concord at each offset, `(2, O)`; `meeting` are the mean cosines of rows that meet."""
    offsets, first, count = _meets(len(one), len(other))
    ours, theirs = one.means(first, count), other.means(first + offsets, count)
    scatter = np.stack([np.maximum(0, 1 - _products(rows, rows)) for rows in (ours, theirs)]) / stranger.room
    changes = np.sqrt(np.maximum(scatter, NOISE[stranger.modality] ** 2).prod(axis=0))
    concord = (meeting - _products(ours, theirs)) / stranger.room / changes
    concord[count * STEP < LEAST] = 0
    return np.stack([stranger.nearness(meeting), concord.clip(-1, 1)])


def _products(one: Numbers, other: Numbers) -> Numbers:
    """Row by row."""
    products: Numbers = (one * other).sum(axis=1)
    return products
