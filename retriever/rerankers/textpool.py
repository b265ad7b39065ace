"""A text looks at the tokens of a candidate, and pools what it is about: X-Pool, and TEFAL with sounds beside.

Gorti et al. 2022 (X-Pool: Cross-Modal Language-Video Attention for Text-Video Retrieval) and Ibrahimi et al. 2023
(Audio-Enhanced Text-to-Video Retrieval using Text-Conditioned Feature Alignment), one head, exactly.

    pool = build("head/")                              # a trained head; without one, as its training starts
    scores, relevance = pool.rerank(view, tokens)      # one text, a few hundred candidates

    pool = TextPool.from_xpool(path)                   # the authors' checkpoint
    ready = pool.prepare(tokens, mask)                 # (V, F, D), (V, F): once
    scores = pool.score_prepared(texts, ready)         # (Q, V): what a question costs

All forms give the same scores.  *Pooled first* needs nothing made ready: best up to about a thousand candidates.
*Folded* makes candidates ready once, and then reads little more than their tokens; its inner loops are compiled, so
numba is loaded with it and not before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from retriever import kernels
from retriever.errors import HeadError
from retriever.heads import Block, Head
from retriever.rerankers._pooled import PooledFirst
from retriever.rerankers._ragged import Ragged
from retriever.types import Floats, Matrix, RaggedTokens, Vector

if TYPE_CHECKING:
    from retriever.rerankers._folding import Folded, Prepared

Mask = NDArray[np.bool_]

FEW = 2
"""Texts up to which candidates that are not ready are pooled first: making them ready costs a candidate's tokens times
as much as one text does."""
SIDE_BY_SIDE = 8
"""Texts from which a block of them at a time is quicker than one after the other."""


@dataclass(frozen=True, eq=False, repr=False)
class TextPool:
    """One head."""

    head: Head

    def __repr__(self) -> str:
        return f"TextPool({self.head.digest})"  # what was worked out with one head is not another's

    @classmethod
    def from_xpool(cls, path: Path, query_space: str = "", token_space: str = "") -> Self:
        """The pooling block of a checkpoint of the X-Pool authors' code; see `Head.from_xpool`."""
        return cls(Head.from_xpool(path, query_space, token_space))

    def scores(
        self,
        text: Matrix,
        tokens: NDArray[Any],
        mask: Mask,
        audio: NDArray[Any] | None = None,
        heard: Mask | None = None,
    ) -> Floats:
        """`(Q, V)` of texts `(Q, D)` and candidates `(V, F, D)` whose tokens are where `mask` `(V, F)` says; for TEFAL
        `audio` `(V, M, Da)` with `heard` `(V, M)`.  A candidate without frames scores -inf."""
        text = self._texts(text)
        frames, sounds = self._padded(tokens, mask, audio, heard)
        if len(text) <= FEW:
            return _stacked([self._pooled.scores(one, frames, sounds) for one in text], len(frames))
        return self.score_prepared(text, self._folded.prepare(frames, sounds))

    def prepare(
        self, tokens: NDArray[Any], mask: Mask, audio: NDArray[Any] | None = None, heard: Mask | None = None
    ) -> "Prepared":
        """Candidates made ready for any number of texts.  Float16 tokens are kept as they are, not copied."""
        return self._folded.prepare(*self._padded(tokens, mask, audio, heard))

    def prepare_ragged(self, tokens: Sequence[RaggedTokens]) -> "Prepared":
        """The same for candidates as a store gives them: a head's spaces in its order, or frames alone."""
        return self._folded.prepare(*self._ragged(tokens))

    def score_prepared(self, text: Matrix, prepared: "Prepared") -> Floats:
        """`(Q, V)` of texts `(Q, D)` and candidates that `prepare` made ready for this head."""
        text = self._texts(text)
        if len(text) < SIDE_BY_SIDE or prepared.rough:
            return _stacked([self._folded.score(one, prepared) for one in text], len(prepared))
        return self._folded.many(text, prepared)

    def rerank(self, view: Vector, tokens: RaggedTokens) -> tuple[Floats, Floats]:
        """Scores `(S,)` a segment, -inf without tokens, and the cosine `(N,)` of each token with the text: of the first
        of the head's spaces.

        Attention would be no relevance: it sums to one in each segment, so that the tokens of a poor segment get as
        much of it as those of a good one, and moments are cut across segments.
        """
        return self.together(view, [tokens]), kernels.relevance(tokens, view)

    def together(self, view: Vector, tokens: Sequence[RaggedTokens]) -> Floats:
        """Scores `(S,)` a segment, -inf without frames: the head's spaces in its order, all of the same segments."""
        (view,) = self._texts(view[None])
        return self._pooled.scores(view, *self._ragged(tokens))

    @cached_property
    def _pooled(self) -> PooledFirst:
        return PooledFirst.of(self.head)

    @cached_property
    def _folded(self) -> "Folded":
        from retriever.rerankers._folding import Folded  # brings numba, a second that an ordinary search need not wait

        return Folded(self.head)

    def _texts(self, text: Matrix) -> Matrix:
        if text.ndim != 2 or text.shape[1] != self.head.dimension:
            raise HeadError(
                f"the head takes texts of {self.head.dimension} numbers, got {text.shape}: use a head of this library"
            )
        return np.ascontiguousarray(text, np.float32)

    def _ragged(self, tokens: Sequence[RaggedTokens]) -> tuple[Ragged, Ragged | None]:
        if not 1 <= len(tokens) <= len(self.head.blocks):
            raise ValueError(
                f"a head of the family {self.head.family} looks at {len(self.head.blocks)} spaces, got {len(tokens)}"
            )
        return self._checked(*map(Ragged.of, tokens))

    def _padded(
        self, tokens: NDArray[Any], mask: Mask, audio: NDArray[Any] | None, heard: Mask | None
    ) -> tuple[Ragged, Ragged | None]:
        if (audio is None) != (heard is None):
            raise ValueError("audio tokens and their mask come together, got one of them")
        if audio is None or heard is None:
            return self._checked(Ragged.padded(tokens, mask))
        if self.head.family == "xpool":
            raise ValueError("a head of the family xpool hears nothing, got audio tokens")
        return self._checked(Ragged.padded(tokens, mask), Ragged.padded(audio, heard))

    def _checked(self, frames: Ragged, sounds: Ragged | None = None) -> tuple[Ragged, Ragged | None]:
        wanted = (self.head.dimension, self.head.audio_dimension)
        for tokens, width, name in zip((frames, sounds), wanted, ("tokens", "audio tokens"), strict=True):
            if tokens is not None and tokens.rows.shape[1] != width:
                raise HeadError(
                    f"the head takes {name} of {width} numbers, got {tokens.rows.shape[1]}: use a head of this library"
                )
        if sounds is not None and len(sounds) != len(frames):
            raise ValueError(f"frames are of {len(frames)} candidates, sounds of {len(sounds)}")
        return frames, sounds


class Untrained:
    """The head as its training starts, of whatever width is asked: a softmax over standardised tokens, at an inverse
    temperature of about √D, and the cosine with what that pools."""

    def __init__(self) -> None:
        self._pools: dict[int, TextPool] = {}

    def __repr__(self) -> str:
        return "TextPool(untrained)"

    def rerank(self, view: Vector, tokens: RaggedTokens) -> tuple[Floats, Floats]:
        """Scores `(S,)` a segment, -inf without tokens; cosines `(N,)`."""
        if len(view) not in self._pools:
            self._pools[len(view)] = TextPool(Head("xpool", "", ("",), (Block.identity(len(view)),)))
        return self._pools[len(view)].rerank(view, tokens)


def build(head: str | Path = "") -> TextPool | Untrained:
    """With the head in this folder; without one, untrained."""
    return TextPool(Head.load(Path(head))) if head else Untrained()


def _stacked(rows: list[Floats], width: int) -> Floats:
    return np.stack(rows) if rows else np.zeros((0, width), np.float32)
