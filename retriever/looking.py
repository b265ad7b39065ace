"""Who looks at a candidate: in each space the reranker, or a trained head that speaks for its spaces.

A head of two spaces (TEFAL) gives one score for what is seen and heard together.  It stands for both, so their odds add
as ever: where a question is about something heard, the gate lets the same score count as heard.  A candidate that a
head has no opinion of, sound without a picture, keeps its first-stage score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retriever import kernels
from retriever.ports import Reranker, Snapshot
from retriever.types import Floats, Matrix, RaggedTokens, Vector

if TYPE_CHECKING:
    from retriever.adapters import Adapter
    from retriever.calibration import Chance
    from retriever.rerankers.textpool import TextPool
    from retriever.spanning import MomentHead

Looks = dict[str, tuple[Floats, Floats]]
"""By space: scores `(S,)` a segment, relevance `(N,)` a token."""


@dataclass(frozen=True, eq=False)
class Looking:
    """A reranker; a head, for the spaces that it was trained on; an adapter, for the questions to the first stage; and
    who says where a moment begins and ends, which changes no score."""

    reranker: Reranker
    head: "TextPool | None" = None
    adapter: "Adapter | None" = None
    moments: "MomentHead | None" = None

    @property
    def key(self) -> str:
        """Says all that scores depend on here."""
        trained = [one.digest for one in (self.head and self.head.head, self.adapter) if one]
        return " ".join([repr(self.reranker), *trained])

    @property
    def plain(self) -> "Looking":
        """The reranker alone: head and adapter have learnt from sentences, and say nothing of what is shown."""
        return Looking(self.reranker)

    def check(self, library: Snapshot) -> None:
        """Nothing, if head and adapter are for this library.

        Raises:
            SpaceMismatch: they were trained on other spaces; the message names both.
        """
        sides = sorted({space.query_side for space in library.spaces.values()})
        if self.head:
            first = library.spaces.get(self.head.head.token_spaces[0])
            self.head.head.fits(first.query_side if first else " ".join(sides), library.spaces)
        if self.adapter and self.adapter.query_space not in sides:
            for side in sides:
                self.adapter.fits(side)

    def beside(self, space: str) -> tuple[str, ...]:
        """The spaces that have to be looked at together with this one, itself among them."""
        return self.head.head.token_spaces if self.head and self.heads(space) else (space,)

    def asked(self, views: Matrix, side: str) -> Matrix:
        """Questions `(Q, D)` of one query side as the first stage is asked them."""
        return self.adapter(views) if self.adapter and self.adapter.query_space in ("", side) else views

    def look(
        self, views: Mapping[str, Vector], tokens: Mapping[str, RaggedTokens], named: Mapping[str, Floats]
    ) -> Looks:
        """What a question sees of the same S candidates in each space; `views` has the question by space.  Where nobody
        has an opinion the first stage's `named` `(S,)` stands, or the best token where the first stage has none
        either."""
        looks = {
            space: self.reranker.rerank(views[space], own) for space, own in tokens.items() if not self.heads(space)
        }
        if self.head and tokens.keys() >= set(self.head.head.token_spaces):
            spaces = self.head.head.token_spaces
            scores = self.head.together(views[spaces[0]], [tokens[space] for space in spaces])
            unsaid = np.where(np.isneginf(scores), np.float32(np.nan), scores)
            for space in spaces:
                own = tokens[space]
                there = np.diff(own.offsets) > 0
                near = kernels.relevance(own, views[space])  # asked by its own side, which may be another
                looks[space] = np.where(there, unsaid, np.float32(-np.inf)), near
        return {space: _said(*look, tokens[space], named.get(space)) for space, look in looks.items()}

    def levels(self, chances: Mapping[str, "Chance"], tokens: Mapping[str, RaggedTokens]) -> Looks:
        """What the background, by space, sees of them on average."""
        levels = {space: chances[space].levels(own) for space, own in tokens.items()}
        for space, segments in self._headed(chances, tokens).items():
            levels[space] = segments, levels[space][1]
        return levels

    def _headed(self, chances: Mapping[str, "Chance"], tokens: Mapping[str, RaggedTokens]) -> dict[str, Floats]:
        """Levels of the head's spaces: each of the background's centres looks as a question does."""
        ours = {space: own for space, own in tokens.items() if self.heads(space)}
        total = {space: np.zeros(len(own.offsets) - 1, np.float32) for space, own in ours.items()}
        if not ours or self.head is None:
            return total
        first = self.head.head.token_spaces[0]
        chance = chances[first]
        for centre, weight in zip(chance.centres, chance.weights.tolist(), strict=True):
            length = np.linalg.norm(centre) or 1.0
            view = (centre / length).astype(np.float32)
            views = {space: np.zeros(own.rows.shape[1], np.float32) for space, own in ours.items()}
            for space, (scores, _) in self.look(views | {first: view}, ours, {}).items():
                total[space] += np.float32(weight * length) * np.where(np.isfinite(scores), scores, np.float32(0))
        return total

    def heads(self, space: str) -> bool:
        """Whether the head speaks for this space."""
        return self.head is not None and space in self.head.head.token_spaces


def nearest_tokens(views: Matrix, tokens: RaggedTokens) -> Sequence[Floats]:
    """For each question the cosine of every segment's best token, `(S,)`: as the first stage scores, but for means."""
    near = kernels.products(tokens.rows, views)
    return [kernels.segment_max(column, tokens.offsets) for column in np.ascontiguousarray(near.T)]


def _said(scores: Floats, relevance: Floats, tokens: RaggedTokens, named: Floats | None) -> tuple[Floats, Floats]:
    unsaid = np.isnan(scores)
    if unsaid.any():
        best = kernels.segment_max(relevance, tokens.offsets)
        known = best if named is None else np.where(np.isfinite(named), named, best)
        scores = np.where(unsaid, known, scores)
    return scores, relevance
