"""The terms of a query as they are asked: each by the scorer for its kind, all of them answered in their order.

asked = [Asked(term, words, only, views, scorer, chance), …]
scored = looked(asked, numbers, where)          # what each term sees of the same segments
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from retriever.grammar import Sentence, Term
from retriever.scoring import Only, Scored, Scorer
from retriever.types import Filter, Ids, Matrix, Vector, WordQuery
from retriever.words import asked_words


@dataclass(frozen=True, eq=False)
class Asked:
    """One term, or the whole of a told sentence."""

    term: Term
    words: WordQuery
    only: Only
    views: Mapping[str, Vector]  # by what its scorer's levels ask with; alike for all terms of one scorer
    scorer: Scorer
    chance: float  # the score that the best answer to such a term without an answer has, in the middle


def terms_of(sentence: Sentence) -> tuple[Term, ...]:
    """All terms, clause by clause."""
    return tuple(term for clause in sentence.clauses for term in clause.terms)


def words_of(term: Term) -> WordQuery:
    """What is looked for word by word."""
    words = asked_words(term.sentence, term.phrases)
    return replace(words, terms=()) if term.exact else words


def named(asked: Sequence[Asked], depth: int, where: Filter) -> list[Scored]:
    """What each term finds, `depth` segments at most."""
    return _each(asked, lambda scorer, views, words, only: scorer.score(views, words, depth, where, only))


def looked(asked: Sequence[Asked], numbers: Ids, where: Filter) -> list[Scored]:
    """What each term sees of these segments, which rise and pass `where`."""
    return _each(asked, lambda scorer, views, words, only: scorer.look(views, words, numbers, where, only))


_Ask = Callable[[Scorer, Mapping[str, Matrix], Sequence[WordQuery], Sequence[Only]], Iterator[Scored]]


def _each(asked: Sequence[Asked], ask: _Ask) -> list[Scored]:
    """Terms of one scorer are asked together."""
    found: dict[int, Scored] = {}
    for scorer in dict.fromkeys(one.scorer for one in asked):
        places = [place for place, one in enumerate(asked) if one.scorer is scorer]
        ours = [asked[place] for place in places]
        views = {view: np.stack([one.views[view] for one in ours]) for view in ours[0].views}
        scored = ask(scorer, views, [one.words for one in ours], [one.only for one in ours])
        found.update(zip(places, scored, strict=True))
    return [found[place] for place in range(len(asked))]
