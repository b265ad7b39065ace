"""All segments of the labelled clips, their tokens, and what questions find in them: what new views are tried on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from api import Library
from retriever import kernels
from retriever.calibration import Chance, Scale
from retriever.ports import Snapshot
from retriever.scoring import Scored, Scorer
from retriever.types import Filter, Ids, Matrix, Modality, RaggedTokens, Times
from retriever.words import query_words

KINDS = (Modality.VISION, Modality.SOUND)


@dataclass(frozen=True)
class Ground:
    """All segments of the clips, and what can be asked of them."""

    library: Library
    snapshot: Snapshot
    clips: Filter

    @cached_property
    def numbers(self) -> Ids:
        return self.snapshot.numbers(self.clips)

    @cached_property
    def stems(self) -> list[str]:
        return sorted({Path(one.path).stem for one in self.snapshot.media(self.clips)})

    @cached_property
    def columns(self) -> Ids:
        """The media of each segment, `(S,)`, as places in `stems`."""
        media = self.snapshot.media_at(self.snapshot.segments(self.numbers).media)
        return np.array([self.stems.index(Path(one.path).stem) for one in media], np.int64)

    @cached_property
    def keys(self) -> Mapping[Modality, str]:
        """The spaces of sights and of sounds."""
        return {space.modality: key for key, space in self.snapshot.spaces.items() if space.modality in KINDS}

    @cached_property
    def side(self) -> str:
        """What both are asked by; otherwise nothing can be joined."""
        (side,) = {self.snapshot.spaces[key].query_side for key in self.keys.values()}
        return side

    @cached_property
    def tokens(self) -> Mapping[Modality, RaggedTokens]:
        return {kind: self.snapshot.tokens(self.numbers, key) for kind, key in self.keys.items()}

    @cached_property
    def heard_and_seen(self) -> list[str]:
        """Clips that have both."""
        filled = [np.diff(own.offsets) > 0 for own in self.tokens.values()]
        return [self.stems[column] for column in np.unique(self.columns[np.all(filled, axis=0)]).tolist()]

    def rows(self, texts: Sequence[str]) -> Matrix:
        return self.library.searcher.views(self.snapshot, texts)[self.side]

    def asked(self, texts: Sequence[str], only: Modality | None = None) -> list[Scored]:
        searcher = self.library.searcher
        scorer = Scorer(self.snapshot, searcher.looking, searcher.calibrator.of(self.snapshot).levels)
        views, words = searcher.views(self.snapshot, texts), [query_words(text) for text in texts]
        return list(scorer.look(views, words, self.numbers, self.clips, [only] * len(texts)))

    def calibrated(self, parts: Sequence[Matrix], asked: Matrix) -> Matrix:
        """What questions `(Q, D)` have of each segment, `(Q, S)`, calibrated as those of a space are; a segment has the
        vectors of its part."""
        background = self.library.searcher.calibrator.of(self.snapshot).rows[self.side]
        tokens = ragged(parts, asked.shape[1])
        level, _ = Chance.of(background).levels(tokens)

        def above(rows: Matrix) -> Matrix:
            near = kernels.products(tokens.rows, rows)  # (N, Q)
            return np.stack([kernels.segment_max(column, tokens.offsets) for column in near.T]) - level

        return Scale.of(above(background))(above(asked))


def ragged(parts: Sequence[Matrix], dimension: int) -> RaggedTokens:
    """Rows of each segment, made to length one; those of no length are left out."""
    kept = [part[np.linalg.norm(part, axis=1) > 1e-6] for part in parts]
    rows = np.concatenate([np.zeros((0, dimension)), *kept])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    count, offsets = len(rows), np.concatenate([[0], np.cumsum([len(part) for part in kept])]).astype(np.int64)
    spans, blank = np.zeros((count, 2)), np.zeros((count, 5), np.float32)
    return RaggedTokens(rows.astype(np.float16), offsets, spans, blank[:, 0], [()] * count, blank)


def held(tokens: RaggedTokens, segment: int) -> tuple[Matrix, Times]:
    at = slice(*tokens.offsets[segment : segment + 2].tolist())
    return tokens.rows[at].astype(np.float32), tokens.spans[at]
