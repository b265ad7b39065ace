"""One question against one library: which segments, how good by each source, and how good by all of them.

    (found,) = Scorer(library, reranker, levels).score(views, words, depth, where)

A *source* is a space of the library, or the words of a modality.  First every source names its best segments; then
every segment that one of them named is looked at by all of them, through its tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from retriever import kernels
from retriever.calibration import Chance, Scale
from retriever.fusion import Gate, fuse
from retriever.ports import Reranker, Snapshot
from retriever.types import (
    EVERYTHING,
    Filter,
    Floats,
    Ids,
    Matrix,
    Modality,
    RaggedTokens,
    Ranking,
    SegmentTable,
    Vector,
    WordQuery,
)

WORDED = (Modality.SPEECH, Modality.TEXT)
"""Modalities that have words."""
SAMPLED = 512
"""Segments whose chance scores are taken: their mean is then good to a twentieth of their spread."""
SAMPLED_A_MEDIA = 8
"""Of one media, spread over its length, so that one long film does not stand for a library."""
ASKED = 128
"""Background sentences that are asked of the sample."""


@dataclass(frozen=True, slots=True)
class Source:
    """One way of finding: a space, or (with an empty `space`) the words of a modality."""

    modality: Modality
    space: str = ""


def sources(library: Snapshot) -> tuple[Source, ...]:
    """All of a library's, in a fixed order."""
    spaces = sorted((space.modality, key) for key, space in library.spaces.items())
    return tuple(Source(modality, key) for modality, key in spaces) + tuple(map(Source, WORDED))


@dataclass(frozen=True, slots=True)
class Levels:
    """What chance does, by source: on these levels the scores of all of them can be compared."""

    gate: Gate
    chance: Chance
    seen: Mapping[Source, Scale]  # of a segment's score by its tokens, its own chance level taken off
    named: Mapping[Source, Scale]  # of a first-stage score

    def gates(self, view: Vector, known: Sequence[Source]) -> Floats:
        """`(K,)` how likely the question means each source, as a logarithm."""
        shares = self.gate.log_shares(view[None])[0]
        place = {modality: number for number, modality in enumerate(self.gate.modalities)}
        return np.array([shares[place[source.modality]] for source in known], np.float32)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a space saw of the candidates."""

    tokens: RaggedTokens
    heights: Floats  # (N,) of each token, on the scale of the odds


@dataclass(frozen=True, slots=True)
class Scored:
    """Candidates and their scores, which are logarithms of odds against chance; -inf where nothing is known."""

    sources: tuple[Source, ...]  # K of them
    gates: Floats  # (K,)
    table: SegmentTable  # S candidates
    scores: Floats  # (K, S) calibrated
    fused: Floats  # (S,)
    shares: Floats  # (K, S)
    seen: Mapping[str, Seen]  # by space

    def __len__(self) -> int:
        return len(self.fused)

    @property
    def odds(self) -> Floats:
        """`(K, S)` scores with what the gate thinks of their source."""
        return self.scores + self.gates[:, None]


class Scorer:
    """Scores questions against one snapshot."""

    def __init__(self, library: Snapshot, reranker: Reranker, levels: Levels) -> None:
        self.sources = sources(library)
        self._library = library
        self._reranker = reranker
        self._levels = levels
        self._looked: tuple[bytes, dict[Source, _Looked]] = (b"", {})

    def score(
        self, views: Matrix, words: Sequence[WordQuery], depth: int, where: Filter = EVERYTHING
    ) -> Iterator[Scored]:
        """For each question, as its vector `(Q, D)` and its words: what any source names, `depth` segments at most,
        looked at by all."""
        for first, view in zip(zip(*self._named(views, words, depth, where), strict=True), views, strict=True):
            yield self._seen(first, view, depth)

    def _named(
        self, views: Matrix, words: Sequence[WordQuery], depth: int, where: Filter
    ) -> Iterator[Sequence[Ranking]]:
        """Of each source a ranking for each question."""
        for source in self.sources:
            if source.space:
                yield self._library.nearest(views, source.space, depth, where)
            else:
                yield [matching(self._library, said, source.modality, depth, where) for said in words]

    def _seen(self, first: Sequence[Ranking], view: Vector, depth: int) -> Scored:
        gates = self._levels.gates(view, self.sources)
        numbers = self._candidates(first, gates, depth)
        looked = self._look(numbers)
        scores = np.full((len(self.sources), len(numbers)), -np.inf, np.float32)
        seen: dict[str, Seen] = {}
        for place, source in enumerate(self.sources):
            named = _laid_out(first[place], numbers)
            if source.space:
                here, scale = looked[source], self._levels.seen[source]
                raw, relevance = seen_by(self._reranker, view, here.tokens, named)
                scores[place] = scale(raw - here.segments)
                seen[source.space] = Seen(here.tokens, scale(relevance - here.each) + gates[place])
            else:
                scores[place] = self._levels.named[source](named)
        fused, shares = fuse(scores, gates)
        return Scored(self.sources, gates, self._library.segments(numbers), scores, fused, shares, seen)

    def _candidates(self, first: Sequence[Ranking], gates: Floats, depth: int) -> Ids:
        """The `depth` best segments of all rankings, by what the source that likes them most says; rising."""
        rankings = zip(self.sources, first, gates, strict=True)
        scores = np.concatenate([self._levels.named[source](one.scores) + gate for source, one, gate in rankings])
        numbers = np.concatenate([ranking.segments for ranking in first])
        order = np.argsort(-scores, kind="stable")
        _, places = np.unique(numbers[order], return_index=True)
        return np.sort(numbers[order][np.sort(places)[:depth]])

    def _look(self, numbers: Ids) -> dict[Source, "_Looked"]:
        """The tokens of candidates and their chance levels, which do not depend on the question.  In a small library
        all questions have the same candidates, so the last ones are kept."""
        key = numbers.tobytes()
        if self._looked[0] != key or not self._looked[1]:
            looked = {}
            for source in self.sources:
                if source.space:
                    tokens = self._library.tokens(numbers, source.space)
                    looked[source] = _Looked(tokens, *self._levels.chance.levels(tokens))
            self._looked = key, looked
        return self._looked[1]


@dataclass(frozen=True, slots=True)
class _Looked:
    tokens: RaggedTokens
    segments: Floats  # (S,) chance levels
    each: Floats  # (N,)


def matching(
    library: Snapshot, words: WordQuery, modality: Modality, depth: int, where: Filter = EVERYTHING
) -> Ranking:
    """Segments by BM25 a word of the question: of a long question one word matches by chance, of a short one it is the
    question."""
    found = library.matching(words, modality, depth, where)
    asked = len(words.terms) + sum(map(len, words.phrases))
    return Ranking(found.segments, found.scores / np.float32(max(1, asked)))


def seen_by(reranker: Reranker, view: Vector, tokens: RaggedTokens, named: Floats) -> tuple[Floats, Floats]:
    """A reranker's scores `(S,)` and relevance `(N,)`; where it has no opinion the first stage's `named` `(S,)`
    stands, or the best token where the first stage has none either."""
    scores, relevance = reranker.rerank(view, tokens)
    unsaid = np.isnan(scores)
    if unsaid.any():
        best = kernels.segment_max(relevance, tokens.offsets)
        scores = np.where(unsaid, np.where(np.isfinite(named), named, best), scores)
    return scores, relevance


def _laid_out(ranking: Ranking, numbers: Ids) -> Floats:
    """A ranking's scores at these segments `(S,)`, -inf where it does not have them."""
    laid = np.full(len(numbers), -np.inf, np.float32)
    if len(ranking):
        order = np.argsort(ranking.segments)
        place = np.minimum(np.searchsorted(ranking.segments[order], numbers), len(ranking) - 1)
        held = ranking.segments[order][place] == numbers
        laid[held] = ranking.scores[order][place[held]]
    return laid


def sample(library: Snapshot) -> Ids:
    """Segments that stand for a library: the same ones wherever the content is the same."""
    numbers = library.numbers()
    if len(numbers) <= SAMPLED:
        return numbers
    table = library.segments(numbers)
    media, first, counts = np.unique(table.media, return_index=True, return_counts=True)
    keys = [item.key for item in library.media_at(media)]
    chosen: list[int] = []
    for place in sorted(range(len(keys)), key=keys.__getitem__):
        steps = np.linspace(0, counts[place] - 1, min(SAMPLED_A_MEDIA, int(counts[place]))).round().astype(int)
        chosen.extend((first[place] + np.unique(steps)).tolist())
        if len(chosen) >= SAMPLED:
            break
    picked: Ids = numbers[np.array(chosen[:SAMPLED])]
    return picked


def take_levels(
    library: Snapshot, reranker: Reranker, rows: Matrix, modalities: Sequence[Modality], words: Sequence[WordQuery]
) -> Levels:
    """Ask background sentences, given as vectors `(B, D)`, as what they are about, and as words, of a library."""
    chance = Chance.of(rows)
    asked = np.linspace(0, len(rows) - 1, min(ASKED, len(rows))).round().astype(int)
    numbers = sample(library)
    seen: dict[Source, Scale] = {}
    named: dict[Source, Scale] = {}
    for source in sources(library):
        if source.space:
            tokens = library.tokens(numbers, source.space)
            none = np.full(len(numbers), -np.inf, np.float32)
            scores = np.stack([seen_by(reranker, rows[number], tokens, none)[0] for number in asked])
            seen[source] = Scale.of(scores - chance.levels(tokens)[0])
            named[source] = Scale.of(scores)
        else:
            best = [matching(library, words[number], source.modality, 1).scores for number in asked]
            named[source] = Scale(0.0, float(np.concatenate(best).mean()) if any(map(len, best)) else 1.0)
    return Levels(Gate.fit(rows, modalities), chance, seen, named)
