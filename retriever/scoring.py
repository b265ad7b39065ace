"""One question against one library: which segments, how good by each source, and how good by all of them.

    (found,) = Scorer(library, looking, levels).score(views, words, depth, where)

First every source names its best segments; then every segment that one of them named is looked at by all of them,
through its tokens.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from retriever import kernels
from retriever.calibration import Scale
from retriever.chances import Remembered
from retriever.fusion import fuse
from retriever.levels import Levels, Source, matching, sources
from retriever.looking import Looking, Looks
from retriever.ports import Snapshot
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

Only = Modality | frozenset[str] | None
"""Which sources a question is for: those of a modality, those of some spaces by id, or (None) as it is worded."""


LARGE = 500
"""Segments that are more than any question's candidates."""


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


class Kept:
    """What was looked at last, for the question that comes next.  In a small library all questions have the same
    candidates, and whoever asks a long film for steps asks it again.  Tokens of two sets of segments are held: of the
    last candidates, and of the last `LARGE` set.

    Within one numbering no number is given twice, so equal numbers are the same segments for as long as numbering and
    generation are the same: that is the `state` of a library.
    """

    def __init__(self) -> None:
        self.chances = Remembered()  # of media that were among a `LARGE` set
        nothing: tuple[tuple[Hashable, bytes], dict[str, _Looked]] = (("", b""), {})
        self._held = [nothing, nothing]

    def looked(self, state: Hashable, numbers: Ids, look: Callable[[], dict[str, "_Looked"]]) -> dict[str, "_Looked"]:
        """By space what `look` gives at these segments; several threads may ask."""
        key, place = (state, numbers.tobytes()), int(len(numbers) > LARGE)
        held, found = self._held[place]
        if held != key:
            found = look()
            self._held[place] = key, found
        return found


class Scorer:
    """Scores questions against one snapshot."""

    def __init__(self, library: Snapshot, looking: Looking, levels: Levels, kept: Kept | None = None) -> None:
        """`kept` is shared by scorers of one library that look with the same levels."""
        self.sources = sources(library)
        self._library = library
        self._asks = levels.asks
        self._looking = looking
        self._levels = levels
        self._kept = kept or Kept()

    def score(
        self,
        views: Mapping[str, Matrix],
        words: Sequence[WordQuery],
        depth: int,
        where: Filter = EVERYTHING,
        only: Sequence[Only] = (),
    ) -> Iterator[Scored]:
        """For each question, as its vectors `(Q, D)` by query side (or by what else the levels say) and its words: what
        any source names, `depth` segments at most, looked at by all.  A question may be for some sources `only`."""
        for first, own, gates in self._asked(views, words, depth, where, only):
            numbers = self._candidates(first, gates, depth)
            yield self._seen(self._look(numbers), numbers, first, own, gates)

    def look(
        self,
        views: Mapping[str, Matrix],
        words: Sequence[WordQuery],
        numbers: Ids,
        where: Filter = EVERYTHING,
        only: Sequence[Only] = (),
    ) -> Iterator[Scored]:
        """The same at these segments, which rise and pass `where`, whoever names them: so no space is searched."""
        looked = self._look(numbers)
        if len(words) > 1:
            looked = {space: one.asked(views[self._asks[space]]) for space, one in looked.items()}
        for first, own, gates in self._asked(views, words, max(1, len(numbers)), where, only, search=False):
            yield self._seen(looked, numbers, first, own, gates)

    def _asked(
        self,
        views: Mapping[str, Matrix],
        words: Sequence[WordQuery],
        depth: int,
        where: Filter,
        only: Sequence[Only],
        search: bool = True,
    ) -> Iterator[tuple[Sequence[Ranking], dict[str, Vector], Floats]]:
        """Of each question its rankings, its vectors by query side, and its gates."""
        asked = {side: self._looking.asked(own, side) for side, own in views.items()}
        for number, first in enumerate(zip(*self._named(asked, words, depth, where, search), strict=True)):
            own = {side: rows[number] for side, rows in views.items()}
            yield first, own, self._gates(own, only[number] if only else None)

    def _gates(self, views: Mapping[str, Vector], only: Only) -> Floats:
        """As the question is worded; who says of which modality it is leaves nothing to guess, and what is shown in
        several spaces means each of them alike."""
        if only is None:
            return self._levels.gates(views, self.sources)
        if isinstance(only, Modality):
            meant = [source.modality is only for source in self.sources]
            return np.where(meant, np.float32(0), np.float32(-np.inf)).astype(np.float32)
        meant = [source.space in only for source in self.sources]
        return np.where(meant, np.float32(-np.log(max(1, sum(meant)))), np.float32(-np.inf)).astype(np.float32)

    def _named(
        self, views: Mapping[str, Matrix], words: Sequence[WordQuery], depth: int, where: Filter, search: bool
    ) -> Iterator[Sequence[Ranking]]:
        """Of each source a ranking for each question; those of spaces are empty without a `search`."""
        for source in self.sources:
            if source.space and not search:
                yield [Ranking(np.zeros(0, np.int64), np.zeros(0, np.float32))] * len(words)
            elif source.space:
                yield self._library.nearest(views[self._asks[source.space]], source.space, depth, where)
            else:
                yield [matching(self._library, said, source.modality, depth, where) for said in words]

    def _seen(
        self,
        looked: Mapping[str, "_Looked"],
        numbers: Ids,
        first: Sequence[Ranking],
        views: Mapping[str, Vector],
        gates: Floats,
    ) -> Scored:
        named = [_laid_out(ranking, numbers) for ranking in first]
        by_space = {source.space: one for source, one in zip(self.sources, named, strict=True) if source.space}
        tokens = {space: one.tokens for space, one in looked.items()}
        looks = self._looking.look({space: views[self._asks[space]] for space in tokens}, tokens, by_space)
        scores = np.full((len(self.sources), len(numbers)), -np.inf, np.float32)
        seen: dict[str, Seen] = {}
        for place, source in enumerate(self.sources):
            if source.space:
                here, scale = looked[source.space], self._levels.seen[source]
                raw, relevance = looks[source.space]
                scores[place] = scale(raw - here.segments)
                if self._looking.heads(source.space):  # tokens are compared by cosine, which scatters otherwise
                    scale = Scale(scale.middle, self._levels.named[source].spread)
                seen[source.space] = Seen(here.tokens, scale(relevance - here.each) + gates[place])
            else:
                scores[place] = self._levels.named[source](named[place])
        fused, shares = fuse(scores, gates)
        return self._judged(Scored(self.sources, gates, self._library.segments(numbers), scores, fused, shares, seen))

    def _judged(self, one: Scored) -> Scored:
        """How good each segment is: what all sources say of it together."""
        return one

    def _candidates(self, first: Sequence[Ranking], gates: Floats, depth: int) -> Ids:
        """The `depth` best segments of all rankings, by what the source that likes them most says; rising."""
        rankings = [each for each in zip(self.sources, first, gates, strict=True) if np.isfinite(each[2])]
        if not rankings:
            return np.zeros(0, np.int64)
        scores = np.concatenate([self._levels.named[source](one.scores) + gate for source, one, gate in rankings])
        numbers = np.concatenate([ranking.segments for _, ranking, _ in rankings])
        order = np.argsort(-scores, kind="stable")
        _, places = np.unique(numbers[order], return_index=True)
        return np.sort(numbers[order][np.sort(places)[:depth]])

    def _look(self, numbers: Ids) -> dict[str, "_Looked"]:
        """By space the tokens of candidates and their chance levels, which do not depend on the question."""

        state = self._library.numbering, self._library.generation

        def look() -> dict[str, _Looked]:
            spaces = [source.space for source in self.sources if source.space]
            tokens = {space: self._library.tokens(numbers, space) for space in spaces}
            if len(numbers) > LARGE:
                media = self._library.segments(numbers).media
                levels = self._kept.chances.levels(state, media, numbers, tokens, self._levels_of)
            else:
                levels = self._levels_of(tokens)
            return {space: _Looked(tokens[space], *levels[space]) for space in spaces}

        return self._kept.looked(state, numbers, look)

    def _levels_of(self, tokens: Mapping[str, RaggedTokens]) -> Looks:
        return self._looking.levels(self._levels.chances, tokens)


class BestTokens(Scorer):
    """A `Scorer` of terms: a segment is as good as all of it or the best of its tokens, each held against its own level
    of chance.  Steps stand on tokens, and a picture that was cut out of a segment is one: what the level of all others
    is says nothing of it."""

    def _judged(self, one: Scored) -> Scored:
        best = [kernels.segment_max(seen.heights, seen.tokens.offsets) for seen in one.seen.values()]
        return replace(one, fused=np.maximum.reduce([one.fused, *best]))


@dataclass(frozen=True, slots=True)
class _Looked:
    tokens: RaggedTokens
    segments: Floats  # (S,) chance levels
    each: Floats  # (N,)

    def asked(self, views: Matrix) -> "_Looked":
        """The same, for these questions `(Q, D)`."""
        return replace(self, tokens=kernels.asked(self.tokens, views))


def _laid_out(ranking: Ranking, numbers: Ids) -> Floats:
    """A ranking's scores at these segments `(S,)`, -inf where it does not have them."""
    laid = np.full(len(numbers), -np.inf, np.float32)
    if len(ranking):
        order = np.argsort(ranking.segments)
        place = np.minimum(np.searchsorted(ranking.segments[order], numbers), len(ranking) - 1)
        held = ranking.segments[order][place] == numbers
        laid[held] = ranking.scores[order][place[held]]
    return laid
