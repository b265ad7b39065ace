"""How relevant each second of a media is to a question, by modality: what `search` looks at before it decides.

    (strip,) = relevance(searcher, "a parrot", ["1d3f0a9b7c2e4f68"])
    strip.curves[Modality.VISION].heights     # on the scale of the odds

A query of several terms has, in each modality, the highest of those that it wants.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from retriever.grammar import Clause, Sentence, Term
from retriever.moments import Curve
from retriever.ports import Snapshot
from retriever.query import Query, parse
from retriever.scoring import Scored
from retriever.search import Searcher
from retriever.terms import Asked, looked
from retriever.types import Filter, Floats, Ids, Modality, Times, WordQuery
from retriever.words import matched

Tokens = tuple[Times, Floats]
"""Spans `(N, 2)` and heights `(N,)`."""


@dataclass(frozen=True, slots=True)
class Relevance:
    """What a question finds in one media, over all of its time."""

    media: str  # key
    curves: Mapping[Modality, Curve]  # of the modalities that have anything there; heights are logarithms of odds
    chance: float  # what the best answer to a question without an answer has, in the middle: below it is noise

    @property
    def peak(self) -> float:
        """The highest point of all; -inf if there is none."""
        return max((float(curve.heights.max(initial=-np.inf)) for curve in self.curves.values()), default=-np.inf)


def relevance(searcher: Searcher, query: str | Query, keys: Sequence[str]) -> list[Relevance]:
    """Of each media, by key; a key that the library does not have, and a still, have no curves.

    Raises:
        QueryError, SpaceMismatch: as `Searcher.search`.
    """
    asked = parse(query) if isinstance(query, str) else query
    with searcher.store.snapshot() as library:
        known = searcher.calibrator.of(library)
        terms, _, _ = searcher.terms(library, known, asked.said or _plain(asked))
        wanted = [one for one in terms if not one.term.unwanted]
        return [Relevance(key, curves(library, wanted, key), known.tail.middle) for key in dict.fromkeys(keys)]


def curves(library: Snapshot, asked: Sequence[Asked], key: str) -> dict[Modality, Curve]:
    """What terms find in all segments of one media."""
    where = Filter(media=frozenset({key}))
    numbers = library.numbers(where)
    numbers = numbers[~library.segments(numbers).still]
    if not len(numbers):
        return {}
    found: dict[Modality, list[Tokens]] = {}
    for scored, one in zip(looked(asked, numbers, where), asked, strict=True):
        for modality, spans, heights in _held(library, scored, one.words, numbers):
            found.setdefault(modality, []).append((spans, heights))
    return {modality: made for modality, parts in found.items() if (made := _curve(parts)) is not None}


def _plain(asked: Query) -> Sentence:
    """A query of one thing, in whichever way."""
    return Sentence((Clause((Term(asked.typed_plain),)),))


def _held(
    library: Snapshot, scored: Scored, words: WordQuery, numbers: Ids
) -> Iterator[tuple[Modality, Times, Floats]]:
    """What each source has to say, as spans with heights."""
    lines = library.lines(numbers)
    for place, source in enumerate(scored.sources):
        if source.space:
            seen = scored.seen[source.space]
            yield source.modality, seen.tokens.spans, seen.heights
            continue
        odds = scored.scores[place] + scored.gates[place]  # (S,)
        hits = [
            (line.span.start, line.span.end, float(height))
            for height, each in zip(odds, lines, strict=True)
            if np.isfinite(height)
            for line in each
            if line.modality is source.modality and matched(words, line.text, line.modality)
        ]
        table = np.array(hits, np.float64).reshape(-1, 3)
        yield source.modality, table[:, :2], table[:, 2].astype(np.float32)


def _curve(parts: Sequence[Tokens]) -> Curve | None:
    """The highest of all of them over time; None where nothing is known."""
    spans, heights = (np.concatenate(each) for each in zip(*parts, strict=True))
    known = np.isfinite(heights)
    return Curve.of(spans[known], heights[known]) if known.any() else None
