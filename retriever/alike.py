"""Queries that show something instead of saying it: what chance does where a moment is compared with moments.

Two frames lie nearer to each other than any frame to any sentence, so what is shown has levels of its own.  Nothing is
shipped that could be shown to every library; so moments of the library itself are: each is asked of all other media,
and how well those answer is what a moment finds by chance.  Where the library has but one media, of all other segments.

    example = moment(library, key, span)                              # like this one
    shown = levels(library, words, measure(library, looking))         # levels of chance, for a `Scorer`
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from retriever.calibration import Chance, Scale
from retriever.derived import Arrays
from retriever.errors import QueryError
from retriever.levels import ASKED, LEAST_SAMPLED, SAMPLED, Levels, Source, sample, sources
from retriever.looking import Looking, nearest_tokens
from retriever.ports import Snapshot
from retriever.types import (
    EVERYTHING,
    Example,
    Filter,
    Ids,
    Matrix,
    RaggedTokens,
    TimeSpan,
    Vector,
    touching,
)

Rows = Mapping[str, Matrix]


def moment(library: Snapshot, key: str, span: TimeSpan) -> Example:
    """A moment of the library as something to compare with: in each space the mean of its tokens.

    Raises:
        QueryError: no token of it lies in any space.
    """
    numbers = library.numbers(Filter(media=frozenset({key})))
    table = library.segments(numbers)
    inside = numbers[(table.spans[:, 0] < span.end) & (table.spans[:, 1] > span.start)]
    views: dict[str, Vector] = {}
    for space in sorted(library.spaces):
        tokens = library.tokens(inside, space)
        within = touching(tokens.spans, span)
        if within.any():
            views[space] = unit(tokens.rows[within].astype(np.float32).mean(axis=0))
    if not views:
        raise QueryError(
            f"like:{key}@{span.start:g}-{span.end:g} holds no frame and no sound that this library compares: "
            "name a longer span"
        )
    return Example(views, (key, span))


def unit(row: Vector) -> Vector:
    """Of length one, if it has any length."""
    length = float(np.linalg.norm(row))
    return row if length == 0 else (row / np.float32(length)).astype(np.float32)


def laid(views: Mapping[str, Vector], library: Snapshot) -> dict[str, Vector]:
    """The views of an example in every space; zeros where it has none."""
    return {
        space: views.get(space, np.zeros(one.dimension, np.float32)) for space, one in sorted(library.spaces.items())
    }


@dataclass(frozen=True, slots=True)
class Background:
    """Moments of a library that are shown to it."""

    keys: Sequence[str]  # (B,) their media
    segments: Ids  # (B,)
    views: Sequence[Mapping[str, Vector]]  # (B,) by space, of those that it has

    def others(self, number: int, alone: bool) -> Filter:
        """The media that one of them is asked of; `alone`: there is but one."""
        return EVERYTHING if alone else Filter(without=frozenset({self.keys[number]}))


def background(library: Snapshot, spaces: frozenset[str], count: int) -> Background:
    """Segments that have tokens in one of these spaces, spread over the library, as examples."""
    numbers = _holding(library, spaces)
    numbers = numbers[_spread(len(numbers), count)]
    table = library.segments(numbers)
    keys = [media.key for media in library.media_at(table.media)]
    rows_of = {space: means(library.tokens(numbers, space)) for space in sorted(spaces)}
    views = [
        {space: rows[place] for space, rows in rows_of.items() if rows[place].any()} for place in range(len(numbers))
    ]
    return Background(keys, numbers, views)


def levels(library: Snapshot, words: Levels, measured: Arrays) -> Levels:
    """What chance does to examples, from what `measure` gave; whoever only listens for words has the `words`' own."""
    spaces = [source for source in sources(library) if source.space]
    seen, named = (
        {source: Scale(*scale) for source, scale in zip(spaces, each.tolist(), strict=True)}
        for each in measured["scales"]
    )
    chances = {source.space: Chance.of(measured[f"rows {source.space}"]) for source in spaces}
    asks = {source.space: source.space for source in spaces}
    return replace(words, asks=asks, chances=chances, seen={**words.seen, **seen}, named={**words.named, **named})


def measure(library: Snapshot, looking: Looking) -> Arrays:
    """Of each space the moments that are shown, `rows SPACE` `(B, D)`, and `scales` `(2, K, 2)`: middle and spread of
    how segments of other media are seen, their own chance level taken off, and of how the first stage names them."""
    found: dict[str, Matrix] = {}
    scales: list[tuple[Scale, Scale]] = []
    for source in sources(library):
        if source.space:
            rows, one = _of_space(library, looking, source)
            found[f"rows {source.space}"] = rows
            scales.append(one)
    pairs = np.array([[(scale.middle, scale.spread) for scale in each] for each in zip(*scales, strict=True)])
    return {**found, "scales": pairs.reshape(2, len(scales), 2)}


def _of_space(library: Snapshot, looking: Looking, source: Source) -> tuple[Matrix, tuple[Scale, Scale]]:
    numbers = _holding(library, frozenset({source.space}))
    if not len(numbers):
        nothing = np.zeros((1, library.spaces[source.space].dimension), np.float32)
        return nothing, (Scale(0.0, 1.0), Scale(0.0, 1.0))
    tokens = library.tokens(numbers, source.space)
    chosen = _spread(len(numbers), ASKED)
    rows = means(tokens)[chosen]
    near = np.stack(nearest_tokens(rows, tokens))  # (B, S)
    own, _ = Chance.of(rows).levels(tokens)
    scores = np.stack([looking.look({source.space: row}, {source.space: tokens}, {})[source.space][0] for row in rows])
    media = library.segments(numbers).media
    strange = _strange(media[chosen], media, numbers[chosen], numbers)
    return rows, (Scale.of((scores - own)[strange]), Scale.of(near[strange]))


def _strange(media: Ids, others: Ids, segments: Ids, all_segments: Ids) -> NDArray[np.bool_]:
    """Which pairs `(B, S)` are of two media; where there is but one, of two segments."""
    apart: NDArray[np.bool_] = media[:, None] != others[None]
    return apart if apart.any() else np.asarray(segments[:, None] != all_segments[None])


def _holding(library: Snapshot, spaces: frozenset[str]) -> Ids:
    """Segments that stand for those with tokens in one of these spaces, at most `SAMPLED`: by media key and time, so
    that they are the same ones wherever the content is the same."""
    found = _with_tokens(library, sample(library), spaces)
    if len(found) < LEAST_SAMPLED:
        found = _with_tokens(library, library.numbers(), spaces)
    table = library.segments(found)
    media, place = np.unique(table.media, return_inverse=True)
    keys = np.array([one.key for one in library.media_at(media)], str)[place]
    ordered: Ids = found[np.lexsort((table.spans[:, 0], keys))]
    return ordered[_spread(len(ordered), SAMPLED)]


def _with_tokens(library: Snapshot, numbers: Ids, spaces: frozenset[str]) -> Ids:
    held = np.zeros(len(numbers), bool)
    for space in sorted(spaces):
        held |= np.diff(library.tokens(numbers, space).offsets) > 0
    return numbers[held]


def _spread(count: int, most: int) -> Ids:
    """`most` of `count` places, evenly."""
    places: Ids = np.unique(np.linspace(0, max(0, count - 1), min(most, count)).round().astype(np.int64))
    return places


def means(tokens: RaggedTokens) -> Matrix:
    """`(S, D)` of length one: the mean of each segment's tokens; zeros where it has none."""
    means = np.zeros((len(tokens.offsets) - 1, tokens.rows.shape[1]), np.float32)
    for row, (start, end) in zip(means, pairwise(tokens.offsets.tolist()), strict=True):
        if end > start:
            row[:] = unit(tokens.rows[start:end].astype(np.float32).mean(axis=0))
    return means
