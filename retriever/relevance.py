"""How relevant each second of a media is to a question, by modality: what `search` looks at before it decides.

    (strip,) = relevance(searcher, "a parrot", ["1d3f0a9b7c2e4f68"])
    strip.curves[Modality.VISION].heights     # on the scale of the odds

A query of several terms has, in each modality, the highest of those that it wants.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from retriever.compound import terms_of
from retriever.compound import words_of as words_of_term
from retriever.moments import Curve
from retriever.ports import Snapshot
from retriever.query import Query, parse
from retriever.scoring import Scored, Scorer
from retriever.search import Searcher, words_of
from retriever.types import Filter, Floats, Ids, Matrix, Modality, Times, WordQuery
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
        scorer = Scorer(library, searcher.looking, known.levels)
        sentences, words, only = _terms(asked)
        views = searcher.views(library, sentences)
        return [
            Relevance(key, curves(library, scorer, views, words, only, key), known.tail.middle)
            for key in dict.fromkeys(keys)
        ]


def curves(
    library: Snapshot,
    scorer: Scorer,
    views: Mapping[str, Matrix],
    words: Sequence[WordQuery],
    only: Sequence[Modality | None],
    key: str,
) -> dict[Modality, Curve]:
    """What terms, as their vectors `(T, D)` by query side and their words, find in all segments of one media."""
    where = Filter(media=frozenset({key}))
    numbers = library.numbers(where)
    numbers = numbers[~library.segments(numbers).still]
    if not len(numbers):
        return {}
    found: dict[Modality, list[Tokens]] = {}
    for scored, asked in zip(scorer.look(views, words, numbers, where, only), words, strict=True):
        for modality, spans, heights in _held(library, scored, asked, numbers):
            found.setdefault(modality, []).append((spans, heights))
    return {modality: made for modality, parts in found.items() if (made := _curve(parts)) is not None}


def _terms(asked: Query) -> tuple[list[str], list[WordQuery], list[Modality | None]]:
    """Sentences, words and modalities of what is wanted."""
    if asked.said is None:
        return [asked.sentence], [words_of(asked)], [None]
    terms = [term for term in terms_of(asked.said) if not term.unwanted]
    return [term.sentence for term in terms], [words_of_term(term) for term in terms], [term.modality for term in terms]


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
