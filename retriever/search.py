"""A sentence becomes moments.

    answer = Searcher(store, encode).search("a parrot", limit=3)

question ─▶ its vector and its words ─▶ every source names its best segments ─▶ all of them look at those, through
their tokens ─▶ scores against chance, gated by what the question is about, fused ─▶ spans in time ─▶ confidence
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retriever.calibration import Chance, Scale, Tail, background
from retriever.derived import Arrays, kept
from retriever.evidence import Stretch, Witness
from retriever.fusion import Gate
from retriever.levels import Levels, Question, measure, sides, sources
from retriever.looking import Looking
from retriever.ports import EncodeSentences, Reranker, Snapshot, Store
from retriever.query import Query, both, parse
from retriever.registry import Registry
from retriever.scoring import Scored, Scorer
from retriever.settings import Settings
from retriever.types import EVERYTHING, Answer, Filter, Matrix, Moment, TimeSpan, WordQuery
from retriever.words import forms, query_words

RERANKERS = Registry("retriever.rerankers")
BY = ("moment", "video")
DEFAULTS = Settings()
MISSES = 3
"""Near misses that an answer shows."""
REVISION = 1
"""Of how a library is calibrated; another one makes what is kept worthless."""
KEPT = 2
"""Calibrations that a searcher keeps; each belongs to one generation of the library."""
BACKGROUND_DEPTH = 200
"""Candidates for a background sentence.  Only the best score is wanted, and 20 find the same one; but in a small
library 200 are all there is, which is quickest."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is derived from one generation of a library."""

    levels: Levels
    tail: Tail
    segments: int  # of the whole library

    def part(self, library: Snapshot, where: Filter) -> float:
        """The share of the library that may answer."""
        return len(library.numbers(where)) / max(1, self.segments) if where.asks else 1.0


class Searcher:
    """Answers questions about one library, from what is committed when they are asked."""

    def __init__(
        self,
        store: Store,
        encode: EncodeSentences,
        reranker: Reranker | Looking | None = None,
        cache: Path | None = None,
    ) -> None:
        """`reranker` looks at every space, a `Looking` may also have a trained head and an adapter; `cache` is a folder
        for what is derived from the library; it is made if its parent is there."""
        self._store = store
        self._cache = cache
        self._encode = encode
        chosen = reranker or RERANKERS.load(DEFAULTS.reranker).build()
        self._looking = chosen if isinstance(chosen, Looking) else Looking(chosen)
        self._calibrations: dict[str, Calibration] = {}

    def search(
        self,
        query: str | Query,
        *,
        by: str = DEFAULTS.by,
        limit: int = DEFAULTS.limit,
        depth: int = DEFAULTS.depth,
        min_confidence: float | None = None,
        where: Filter = EVERYTHING,
    ) -> Answer:
        """The moments that answer `query`, best first; with `by="video"` the best one of each media.

        `depth` segments are looked at closely.  What has less than `min_confidence` is a near miss.

        Raises:
            QueryError: the query is empty or too long, or a filter in it cannot be read.
            SpaceMismatch: the encoder does not make vectors such as the library holds.
        """
        _check(by, limit, depth)
        asked = parse(query) if isinstance(query, str) else query
        where = both(where, asked.where)
        least = DEFAULTS.min_confidence if min_confidence is None else min_confidence
        with self._store.snapshot() as library:
            known = self._calibrated(library)
            words = words_of(asked)
            scorer = Scorer(library, self._looking, known.levels)
            (scored,) = scorer.score(self._views(library, [asked.sentence]), [words], depth, where)
            witness = Witness(library, scored, words)
            picked = _picked(scored, witness, by, limit)
            media = library.media_at(scored.table.media[[stretch.row for stretch in picked]])
            part = known.part(library, where)
        scores = np.array([stretch.score for stretch in picked], np.float32)
        told = zip(media, picked, known.tail.confidences(scores, part).tolist(), strict=True)
        found = sorted((Moment(one, it.span, it.score, how, witness.evidence(it)) for one, it, how in told), key=_order)
        sure = tuple(moment for moment in found if moment.confidence >= least)
        misses = tuple(moment for moment in found if moment.confidence < least)
        return Answer(asked.typed, sure, misses[:MISSES], known.tail.rate(least), asked.notes)

    def scores(
        self, queries: Sequence[Query], *, depth: int = DEFAULTS.depth, where: Filter = EVERYTHING
    ) -> Iterator[Mapping[str, float]]:
        """For each question the media that its first stage names, by key, with the score of their best segment: what
        `search` ranks by video, for judging it.  Filters of the questions themselves are left aside.
        """
        _check(BY[0], 1, depth)
        with self._store.snapshot() as library:
            scorer = Scorer(library, self._looking, self._calibrated(library).levels)
            views = self._views(library, [query.sentence for query in queries])
            for scored in scorer.score(views, [words_of(query) for query in queries], depth, where):
                numbers, place = np.unique(scored.table.media, return_inverse=True)
                best = np.full(len(numbers), -np.inf, np.float32)
                np.maximum.at(best, place, scored.fused)
                keys = [media.key for media in library.media_at(numbers)]
                yield dict(zip(keys, best.tolist(), strict=True))

    def _views(self, library: Snapshot, sentences: Sequence[str]) -> dict[str, Matrix]:
        """Questions by query side, `(Q, D)` each."""
        return {side: self._encode(sentences, side) for side in sides(library)}

    def _calibrated(self, library: Snapshot) -> Calibration:
        """Of this generation: worked out when it is first asked, then kept."""
        if library.generation not in self._calibrations:
            self._looking.check(library)
            made = calibrate(library, self._encode, self._looking, self._cache)
            recent = list(self._calibrations.items())[1 - KEPT :]
            self._calibrations = dict([*recent, (library.generation, made)])
        return self._calibrations[library.generation]


def calibrate(library: Snapshot, encode: EncodeSentences, looking: Looking, cache: Path | None) -> Calibration:
    """Ask a library the background sentences: what chance does in each source, and how good the best answer to each
    second one of them is (several hundred are enough for a tail, and this takes most of the time)."""
    asked = background()
    known, asks = sources(library), sides(library)
    key = f"{REVISION} {asked.digest}"

    def background_of(side: str) -> Matrix:
        return kept(cache, "background", f"{key} {side}", lambda: {"rows": encode(asked.sentences, side)})["rows"]

    rows = {side: background_of(side) for side in asks}
    question = Question(rows, [query_words(sentence) for sentence in asked.sentences])
    gate, chance = Gate.fit(rows[asks[0]], asked.modalities), {side: Chance.of(own) for side, own in rows.items()}
    chances = {space: chance[one.query_side] for space, one in library.spaces.items()}

    def levels(seen: Sequence[Scale], named: Sequence[Scale]) -> Levels:
        by_source = (dict(zip(known, each, strict=True)) for each in (seen, named))
        return Levels(gate, asks[0], chances, *by_source)

    def make() -> Arrays:
        seen, named = measure(library, looking, question, chances)
        half = {side: own[::2] for side, own in rows.items()}
        scored = Scorer(library, looking, levels(seen, named)).score(half, question.words[::2], BACKGROUND_DEPTH)
        best = np.array([float(one.fused.max()) for one in scored if len(one)], np.float32)
        scales = np.array([[(scale.middle, scale.spread) for scale in each] for each in (seen, named)])  # (2, K, 2)
        return {"scales": scales, "best": best, "segments": np.array(len(library.numbers()))}

    made = kept(cache, "calibration", f"{key} {' '.join(asks)} {library.generation} {looking.key}", make)
    seen, named = ([Scale(*scale) for scale in each.tolist()] for each in made["scales"])
    return Calibration(levels(seen, named), Tail.of(made["best"]), int(made["segments"]))


def words_of(query: Query) -> WordQuery:
    """The words of a question: those in quotes count one by one as well as in a row."""
    words = query_words(query.sentence)
    phrases = tuple(tuple(forms(phrase)) for phrase in query.phrases)
    return WordQuery(words.terms, tuple(phrase for phrase in phrases if phrase))


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


def _order(moment: Moment) -> tuple[float, str, float]:
    """Best first; ties by media key, then start."""
    return -moment.score, moment.media.key, moment.start_s
