"""A sentence becomes moments.

    answer = Searcher(store, encode).search("a parrot", limit=3)

question ─▶ its vector and its words ─▶ every source names its best segments ─▶ all of them look at those, through
their tokens ─▶ scores against chance, gated by what the question is about, fused ─▶ spans in time ─▶ confidence
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from retriever import alike
from retriever.calibrating import Calibration, Calibrator
from retriever.calibration import Tail
from retriever.compound import Compound, Found
from retriever.distinct import Distinct, Wanted, order
from retriever.doubt import of_place
from retriever.errors import QueryError
from retriever.evidence import Stretch, Witness
from retriever.grammar import Clause, Sentence, Term
from retriever.levels import Levels, sides
from retriever.looking import Looking
from retriever.ports import EncodeSentences, Reranker, ShowExample, Snapshot, Store
from retriever.query import Query, both, parse
from retriever.registry import Registry
from retriever.scoring import BestTokens, Kept, Scored, Scorer
from retriever.settings import Settings
from retriever.terms import Asked, terms_of
from retriever.terms import words_of as words_of_term
from retriever.types import (
    EVERYTHING,
    Answer,
    Example,
    Filter,
    Matrix,
    Moment,
    TimeSpan,
    WordQuery,
    parse_reference,
)
from retriever.words import asked_words, query_words

RERANKERS = Registry("retriever.rerankers")
BY = ("moment", "video")
DEFAULTS = Settings()
MISSES = 3
"""Near misses that an answer shows."""


class Searcher:
    """Answers questions about one library, from what is committed when they are asked; several threads may ask."""

    def __init__(
        self,
        store: Store,
        encode: EncodeSentences,
        reranker: Reranker | Looking | None = None,
        cache: Path | None = None,
        asks: str = "",
        examples: ShowExample | None = None,
    ) -> None:
        """
        Args:
            examples: what `image:`, `sound:`, `clip:` and `like:` in a query show; without it only moments of the
                library, by their whole references.
            reranker: looks at every space; a `Looking` may also have a trained head and an adapter.
            cache: a folder for what is derived from the library; it is made if its parent is there.
            asks: how `encode` puts questions, where that can be chosen: what is kept of other ways is not taken.
        """
        self.store = store
        self.cache = cache
        self.asks = asks
        self.encode = encode
        self.examples = examples or of_library
        chosen = reranker or RERANKERS.load(DEFAULTS.reranker).build()
        self.looking = chosen if isinstance(chosen, Looking) else Looking(chosen)
        self._looked = Kept()
        self._shown_looked: tuple[Levels | None, Kept] = None, Kept()
        self.calibrator = Calibrator(encode, self.looking, cache, asks)
        self.distinct = Distinct()

    def search(
        self,
        query: str | Query,
        *,
        by: str = DEFAULTS.by,
        limit: int = DEFAULTS.limit,
        depth: int = DEFAULTS.depth,
        min_confidence: float | None = None,
        where: Filter = EVERYTHING,
        copies: str = DEFAULTS.copies,
        most_per_media: int = DEFAULTS.most_per_media,
    ) -> Answer:
        """The moments that answer `query`, best first; with `by="video"` the best one of each media.

        `depth` segments are looked at closely.  What has less than `min_confidence` is a near miss.  Of moments that
        are the same footage (`retriever.copies`) the best one names the others, unless `copies` is `"show"`; of one
        media there are `most_per_media` at most, or as many as there are with 0.

        Raises:
            QueryError: the query is empty or too long, or a filter in it cannot be read.
            SpaceMismatch: the encoder does not make vectors such as the library holds.
        """
        _check(by, limit, depth)
        asked = parse(query) if isinstance(query, str) else query
        where = both(where, asked.where)
        least = DEFAULTS.min_confidence if min_confidence is None else min_confidence
        wanted = Wanted(limit, least, copies, most_per_media)
        with self.store.snapshot() as library:
            known = self.calibrator.of(library)
            part = known.part(library, where)
            if asked.said is not None:
                return self._compound(library, asked, known, part, by, depth, where, wanted)
            scorer = Scorer(library, self.looking, known.levels, self._looked)
            words = words_of(asked)
            views = self.views(library, [asked.sentence])
            (scored,) = scorer.score(views, [words], depth, where)
            witness = Witness(library, scored, words, self.looking.moments)
            usual = known.doubt.of_question(views[known.levels.gate_side][0])

            def best(limit: int) -> list[Moment]:
                picked = _picked(scored, witness, by, limit)
                rows = [stretch.row for stretch in picked]
                media = library.media_at(scored.table.media[rows])
                left = np.array([stretch.score for stretch in picked], np.float32) - usual - of_place(scored, rows)
                told = zip(media, picked, known.sure.confidences(left, part).tolist(), strict=True)
                return [Moment(one, it.span, it.score, how, witness.evidence(it)) for one, it, how in told]

            found = self.distinct.of(library, best, wanted)
        return _answer(library, asked, found, known, known.sure, least)

    def _compound(
        self,
        library: Snapshot,
        asked: Query,
        known: Calibration,
        part: float,
        by: str,
        depth: int,
        where: Filter,
        wanted: Wanted,
    ) -> Answer:
        """A query of several terms or steps."""
        assert asked.said is not None
        terms, whole, leaving = self.terms(library, known, asked.said)
        tail = self.calibrator.tail(library, known, asked.said, [term.only for term in terms])
        steps = self._steps(library, known, asked.said, terms)
        answers = Compound(library, asked.said, terms, whole, leaving).answers(depth, where, by)
        picked: list[Found] = []

        def best(limit: int) -> list[Moment]:
            picked.extend(islice(answers, limit - len(picked)))
            media = library.media_at(np.array([one.media for one in picked], np.int64))
            scores = np.array([one.score for one in picked], np.float32)
            sure = zip(media, picked, tail.confidences(scores, part).tolist(), strict=True)
            return [
                Moment(one, it.span, it.score, min(how, known.step(it, steps)), it.evidence, it.parts)
                for one, it, how in sure
            ]

        return _answer(library, asked, self.distinct.of(library, best, wanted), known, tail, wanted.least)

    def terms(
        self, library: Snapshot, known: Calibration, said: Sentence
    ) -> tuple[list[Asked], Asked | None, list[tuple[str, TimeSpan]]]:
        """The terms of a query as they are asked, the whole of a told one, and what is no answer to what is shown.

        Raises:
            QueryError, MediaError: what a term shows is not there, or cannot be compared.
        """
        scorer = BestTokens(library, self.looking, known.levels, self._looked)
        terms = terms_of(said)
        told = said.told if said.is_told else ""
        sentences = [*(term.sentence for term in terms if not term.example), *([told] if told else [])]
        views = self.views(library, sentences) if sentences else {}
        rows = iter(range(len(sentences)))
        beside: list[Scorer] = []  # that of examples, made when there is one
        asked: list[Asked] = []
        leaving: list[tuple[str, TimeSpan]] = []
        for term in terms:
            if not term.example:
                row = next(rows)
                own = {side: each[row] for side, each in views.items()}
                asked.append(Asked(term, words_of_term(term), term.modality, own, scorer, known.tail.middle))
                continue
            example = self.examples(library, term.example, term.said)
            levels = self.calibrator.shown(library, known)
            beside = beside or [BestTokens(library, self.looking.plain, levels, self._looked_with(levels))]
            asked.append(self._shown(library, known, term, example, beside[0]))
            if example.itself and not term.unwanted:
                leaving.append(example.itself)
        if not told:
            return asked, None, leaving
        own = {side: each[-1] for side, each in views.items()}
        return asked, Asked(Term(told), query_words(told), None, own, scorer, known.tail.middle), leaving

    def _looked_with(self, levels: Levels) -> Kept:
        """What was looked at with the levels of examples.  They follow from the library, so lent ones are others."""
        held = self._shown_looked
        if held[0] is not levels:
            held = self._shown_looked = levels, Kept()
        return held[1]

    def _shown(self, library: Snapshot, known: Calibration, term: Term, example: Example, scorer: Scorer) -> Asked:
        only = frozenset(example.views)
        alone = Sentence((Clause((Term(term.said, example=term.example),)),))
        chance = self.calibrator.tail(library, known, alone, [only]).middle
        return Asked(term, WordQuery(()), only, alike.laid(example.views, library), scorer, chance)

    def _steps(self, library: Snapshot, known: Calibration, said: Sentence, asked: Sequence[Asked]) -> list[Tail]:
        """Of each clause the tail that its step is held against: that of plain sentences, or where something is shown
        that of such a clause."""
        tails: list[Tail] = []
        left = list(asked)
        for clause in said.clauses:
            ours, left = left[: len(clause.terms)], left[len(clause.terms) :]
            shows = any(one.term.example and not one.term.unwanted for one in ours)
            single = Sentence((clause,))
            only = [one.only for one in ours]
            tails.append(self.calibrator.tail(library, known, single, only) if shows else known.tail)
        return tails

    def scores(
        self, queries: Sequence[Query], *, depth: int = DEFAULTS.depth, where: Filter = EVERYTHING
    ) -> Iterator[Mapping[str, float]]:
        """For each question the media that its first stage names, by key, with the score of their best segment: what
        `search` ranks by video, for judging it.  Filters of the questions themselves are left aside.
        """
        _check(BY[0], 1, depth)
        with self.store.snapshot() as library:
            scorer = Scorer(library, self.looking, self.calibrator.of(library).levels)
            views = self.views(library, [query.sentence for query in queries])
            for scored in scorer.score(views, [words_of(query) for query in queries], depth, where):
                numbers, place = np.unique(scored.table.media, return_inverse=True)
                best = np.full(len(numbers), -np.inf, np.float32)
                np.maximum.at(best, place, scored.fused)
                keys = [media.key for media in library.media_at(numbers)]
                yield dict(zip(keys, best.tolist(), strict=True))

    def views(self, library: Snapshot, sentences: Sequence[str]) -> dict[str, Matrix]:
        """Questions by query side, `(Q, D)` each."""
        return {side: self.encode(sentences, side) for side in sides(library)}


def of_library(library: Snapshot, kind: str, value: str) -> Example:
    """Moments of a library by their whole references; of files nothing is known.

    Raises:
        QueryError: it is no such reference.
    """
    try:
        key, span = parse_reference(value) if kind == "like" else ("", None)
    except ValueError as error:
        raise QueryError(f"like:{value}: {error}") from error
    found = library.media(Filter(media=frozenset({key})))
    if not found:
        raise QueryError(f"{kind}:{value} is no moment of this library: it wants like:MEDIA@START-END")
    return alike.moment(library, key, span or TimeSpan(0.0, found[0].duration))


def words_of(query: Query) -> WordQuery:
    """The words of a plain question."""
    return asked_words(query.sentence, query.phrases)


def _answer(
    library: Snapshot, asked: Query, found: Sequence[Moment], known: Calibration, tail: Tail, least: float
) -> Answer:
    """The moments that are sure enough, best first, and the nearest misses."""
    ordered = sorted(found, key=order)
    sure = tuple(moment for moment in ordered if moment.confidence >= least)
    misses = tuple(moment for moment in ordered if moment.confidence < least)
    alarms = tail.rate(least) if known.segments else 0.0  # where nothing is, no question gets an answer
    return Answer(asked.typed, sure, misses[:MISSES], alarms, asked.notes, asked.explained, library.generation)


def _check(by: str, limit: int, depth: int) -> None:
    if by not in BY:
        raise ValueError(f"by is {by!r}; it wants {' or '.join(BY)}")
    if limit < 1 or depth < 1:
        raise ValueError(f"limit and depth must be at least 1, got {limit} and {depth}")


def _picked(scored: Scored, witness: Witness, by: str, limit: int) -> list[Stretch]:
    """The best candidates as stretches of time, best first, none over another: `limit` of them, of each media one if
    they are wanted by video.

    A stretch may score less than its candidate, since a better one has taken its best part; so candidates are looked
    at until none is left that could still be among the best, and no more than twice as many as are wanted.
    """
    picked: list[Stretch] = []
    taken: dict[int, list[TimeSpan]] = {}
    for row in np.argsort(-scored.fused, kind="stable").tolist():
        last = sorted((stretch.score for stretch in picked), reverse=True)[limit - 1 : limit]
        if not np.isfinite(scored.fused[row]) or len(picked) == 2 * limit or (last and scored.fused[row] <= last[0]):
            break
        before = taken.setdefault(int(scored.table.media[row]), [])
        middle = float(scored.table.spans[row].mean())
        if before and (by == "video" or any(span.holds(middle) for span in before)):
            continue
        stretch = witness.stretch(row, before)
        if stretch:
            before.append(stretch.span)
            picked.append(stretch)
    return sorted(picked, key=lambda stretch: -stretch.score)[:limit]
