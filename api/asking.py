"""Sentences asked of single media: what every evaluation by pairs needs.

    asker = Asker(searcher)
    asker.score("a dog barks, then a man laughs", key)      # as the query language reads it
    asker.plain(["a dog barks, then a man laughs"], key)    # as one vector

Filters and quotes of the query language are left aside: what looks like one in a caption is none.
"""

from collections.abc import Sequence

import numpy as np

from retriever.errors import QueryError
from retriever.evaluation.measures import Numbers
from retriever.grammar import quoted, read
from retriever.query import Query
from retriever.search import Searcher
from retriever.types import Filter, Moment

OTHERS = 20
"""Media that a sentence is asked of where it is to say nothing but how likely it sounds."""


def grammatical(text: str) -> Query:
    """A sentence with its steps and terms as the query language reads them, and as plain words where it cannot."""
    try:
        said = read(text)
    except QueryError:
        return Query(text, text)
    if said.is_plain or any(term.example for clause in said.clauses for term in clause.terms):
        return Query(text, text)  # nobody who labels media means a file of ours
    sentence, phrases = quoted(text)
    return Query(text, sentence, phrases, said=said)


class Asker:
    """Scores of sentences on single media.  Sentences that mean the same to the query language are asked once."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self._known: dict[tuple[str, str], float] = {}

    def score(self, text: str, key: str) -> float:
        """The best score of a sentence on a media, as it is read; -inf where it is not found at all."""
        query = grammatical(text)
        place = (key, str(query.said) if query.said else text)
        if place not in self._known:
            found = self.moment(query, frozenset({key}))
            self._known[place] = found.score if found else -np.inf
        return self._known[place]

    def moment(self, query: Query, keys: frozenset[str]) -> Moment | None:
        """The best moment among these media."""
        where = Filter(media=keys)
        found = self._searcher.search(query, by="video", limit=1, min_confidence=0.0, where=where, copies="show")
        return found.moments[0] if found.moments else None

    def mean(self, text: str, keys: Sequence[str]) -> float:
        """How high a sentence scores on media that have nothing to do with it: the mean over those that it was found
        on; what is not found anywhere scores -inf."""
        where = Filter(media=frozenset(keys))
        found = self._searcher.search(
            grammatical(text), by="video", limit=max(1, len(keys)), min_confidence=0.0, where=where, copies="show"
        )
        return float(np.mean([one.score for one in found.moments])) if found.moments else -np.inf

    def plain(self, texts: Sequence[str], keys: Sequence[str]) -> Numbers:
        """Scores `(T, M)` of sentences as one vector each; -inf where a sentence does not find a media."""
        found = np.full((len(texts), len(keys)), -np.inf)
        column = {key: place for place, key in enumerate(keys)}
        asked = [Query(text, text) for text in texts]
        for row, scores in zip(found, self._searcher.scores(asked, where=Filter(media=frozenset(keys))), strict=True):
            for key, score in scores.items():
                row[column[key]] = score
        return found
