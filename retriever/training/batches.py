"""Cached embeddings to train on, and in which order they come.

    pairs = Pairs(texts, said, items, frames, audio, owners)
    train, held = split(pairs, 0.1, seed=24)
    for batch in Batches(train, 32, extra=8, seed=24).epoch(0): …

An item is a set of tokens: a media, or a span of one.  What a caption is true of is never its negative: items of the
same media, and items that other captions tell of in the same words.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.errors import TrainingError
from retriever.types import Floats, Halves, Ids, Matrix

MOST = 16
"""Tokens of an item in one space."""
MINED = 50
"""Items nearest to a caption in the first stage, of which its hard negatives are drawn."""
AT_ONCE = 4096
"""Captions that are looked up together when negatives are mined."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Padded:
    """Tokens of V items in one space, as the store keeps them: unit rows, their norms beside."""

    rows: Halves  # (V, F, D)
    norms: Floats  # (V, F), 0 where there is no token

    @property
    def mask(self) -> Mask:
        """`(V, F)`: which tokens are real."""
        return self.norms > 0

    def wide(self) -> Floats:
        """`(V, F, D)` as a head sees them: row times norm."""
        wide: Floats = self.rows.astype(np.float32) * self.norms[..., np.newaxis]
        return wide

    def means(self) -> Matrix:
        """`(V, D)` of length one, the mean of the unit rows: what the first stage ranks by; zeros without tokens."""
        totals = np.einsum("vfd,vf->vd", self.rows.astype(np.float32), self.mask.astype(np.float32))
        lengths = np.linalg.norm(totals, axis=1, keepdims=True)
        means: Matrix = totals / np.maximum(lengths, 1e-12)
        return means

    def take(self, items: Ids) -> "Padded":
        return Padded(self.rows[items], self.norms[items])

    @classmethod
    def of(cls, sets: Sequence[tuple[NDArray[Any], Floats]], dimension: int) -> "Padded":
        """From rows `(n, D)` and norms `(n,)` of each item, of more than `MOST` the middle ones of so many bins."""
        longest = max([1, *(min(MOST, len(norms)) for _, norms in sets)])
        rows = np.zeros((len(sets), longest, dimension), np.float16)
        lengths = np.zeros((len(sets), longest), np.float32)
        for item, (found, norms) in enumerate(sets):
            kept = spread(len(norms))
            rows[item, : len(kept)] = found[kept]
            lengths[item, : len(kept)] = np.maximum(norms[kept], np.finfo(np.float32).tiny)
        return cls(rows, lengths)


def spread(count: int) -> Ids:
    """Which of `count` tokens stay where no item may have more than `MOST`: the middle one of each of equal bins."""
    kept = min(MOST, count)
    return (2 * np.arange(kept) + 1) * count // (2 * max(1, kept))


@dataclass(frozen=True)
class Pairs:
    """N captions and the V items that they may be of."""

    texts: Matrix  # (N, D) of length one
    said: Ids  # (N,): equal for captions that are word for word the same
    items: Ids  # (N,): the item of each caption
    frames: Padded  # (V, F, D)
    audio: Padded | None  # (V, M, Da)
    owners: Ids  # (V,): the media of each item
    also: Ids = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    """`(K, 2)`: numbers of `said`, and items that these words are true of too."""
    comparable: bool = True
    """Whether sounds are asked by the texts of `texts`; if not, their numbers mean nothing beside those."""
    groups: Ids | None = None
    """`(V,)`: which items must not be parted by a split, cuts of one film for example; None: those of one media."""

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def media(self) -> Ids:
        """`(N,)`: the media of each caption."""
        return self.owners[self.items]

    @property
    def together(self) -> Ids:
        """`(V,)`: the group of each item."""
        return self.owners if self.groups is None else self.groups

    @property
    def digest(self) -> str:
        """SHA-256 of all that is trained on."""
        summed = sha256()
        tokens = [array for part in (self.frames, self.audio) if part for array in (part.rows, part.norms)]
        for array in (self.texts, self.said, self.items, self.owners, self.also, self.together, *tokens):
            summed.update(f"\x1e{array.shape}{array.dtype}".encode())
            summed.update(np.ascontiguousarray(array).data)
        summed.update(b"\x1e1" if self.comparable else b"\x1e0")
        return summed.hexdigest()

    def only(self, captions: Ids) -> "Pairs":
        """These captions, and the items that they are of."""
        items, places = np.unique(self.items[captions], return_inverse=True)
        also = self.also[np.isin(self.also[:, 1], items)]
        return Pairs(
            self.texts[captions],
            self.said[captions],
            places.astype(np.int64),
            self.frames.take(items),
            self.audio.take(items) if self.audio else None,
            self.owners[items],
            np.stack([also[:, 0], np.searchsorted(items, also[:, 1])], axis=1),
            self.comparable,
            self.together[items],
        )

    def silent(self) -> "Pairs":
        """The same without audio."""
        return replace(self, audio=None)

    def true(self, captions: Ids, items: Ids) -> Mask:
        """`(B, C)`: which of these items, `(C,)` or `(B, C)`, each caption is true of: those of its media, those that
        are told of in the same words, and those of `also`.  None of them is a negative."""
        told = self._told
        codes = self.said[captions, np.newaxis] * len(self.owners) + items
        places = np.minimum(np.searchsorted(told, codes), len(told) - 1)
        found: Mask = (told[places] == codes) | (self.media[captions, np.newaxis] == self.owners[items])
        return found

    @cached_property
    def _told(self) -> Ids:
        """Words and items that belong together, as one number each, rising."""
        both = np.concatenate([np.stack([self.said, self.items], axis=1), self.also])
        codes: Ids = np.unique(both[:, 0] * len(self.owners) + both[:, 1])
        return codes

    def first_stage(self) -> list[Matrix]:
        """Mean vectors `(V, D)` of every space that texts can be compared with."""
        heard = [self.audio] if self.audio is not None and self.comparable else []
        return [part.means() for part in (self.frames, *heard) if part.rows.shape[2] == self.texts.shape[1]]


def split(pairs: Pairs, holdout: float, seed: int) -> tuple[Pairs, Pairs]:
    """Captions to train on, and those that only choose the checkpoint; see `held_out`."""
    outside = held_out(pairs, holdout, seed)
    return pairs.only(np.flatnonzero(~outside)), pairs.only(np.flatnonzero(outside))


def held_out(pairs: Pairs, holdout: float, seed: int) -> Mask:
    """`(N,)`: the captions of a share of the media that are not learnt from; no group is on both sides.

    Raises:
        TrainingError: there are too few media for two parts, or too few groups.
    """
    group = pairs.together[pairs.items]  # (N,)
    media, first = np.unique(pairs.media, return_index=True)
    groups, place = np.unique(group[first], return_inverse=True)
    drawn = np.random.default_rng([seed, 1]).permutation(len(groups))
    covered = np.cumsum(np.bincount(place)[drawn])  # media, of so many groups
    count = int(np.searchsorted(covered, max(2, round(holdout * len(media))))) + 1
    held = int(covered[min(count, len(covered)) - 1])
    if len(media) - held < 2:
        raise TrainingError(
            f"captions of {len(media)} media leave {len(media) - held} to train on beside {held} held out; "
            "at least 2 are wanted: caption more media, of more groups"
        )
    return np.isin(group, groups[drawn[:count]])


def mined(pairs: Pairs) -> Ids:
    """For each caption the items nearest to it in the first stage, `(N, K)`: hard negatives, those that it is true of
    left out (-1 where there are fewer)."""
    kept = min(MINED, len(pairs.owners))
    found = np.full((len(pairs), kept), -1, np.int64)
    means = pairs.first_stage()
    if not means:
        return found
    for begin in range(0, len(pairs), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        near = np.maximum.reduce([pairs.texts[part] @ rows.T for rows in means])
        near[pairs.owners == pairs.media[part, np.newaxis]] = -np.inf
        best = np.argpartition(-near, kept - 1, axis=1)[:, :kept]
        captions = np.arange(begin, begin + len(best))
        negative = np.isfinite(np.take_along_axis(near, best, axis=1)) & ~pairs.true(captions, best)
        found[part] = np.where(negative, best, -1)
    return found


@dataclass(frozen=True)
class Batch:
    """B captions and C ≥ B items: the first B are theirs, in their order; the others are hard negatives."""

    captions: Ids  # (B,)
    items: Ids  # (C,)
    skip: Mask  # (B, C): pairs that are no negatives


class Batches:
    """Every caption once an epoch, in an order that follows from seed and epoch alone; a last batch of one is left
    out."""

    def __init__(self, pairs: Pairs, size: int, extra: int, seed: int) -> None:
        """`extra` hard negatives are added to each batch, for the whole batch."""
        self._pairs, self._size, self._extra, self._seed = pairs, size, extra, seed
        self._hard = mined(pairs) if extra else None

    def __len__(self) -> int:
        """Batches an epoch."""
        whole, rest = divmod(len(self._pairs), self._size)
        return whole + (rest > 1)

    def epoch(self, number: int) -> Iterator[Batch]:
        draw = np.random.default_rng([self._seed, 2, number])
        order = draw.permutation(len(self._pairs))
        for begin in range(0, len(order), self._size):
            captions = order[begin : begin + self._size]
            if len(captions) > 1:
                yield self._batch(captions, draw)

    def _batch(self, captions: Ids, draw: np.random.Generator) -> Batch:
        pairs = self._pairs
        items = pairs.items[captions]
        if self._hard is not None:
            near = np.unique(self._hard[captions])
            near = np.setdiff1d(near[near >= 0], items)
            items = np.concatenate([items, draw.permutation(near)[: self._extra]])
        return Batch(captions, items, self._skip(captions, items))

    def _skip(self, captions: Ids, items: Ids) -> Mask:
        skip = self._pairs.true(captions, items)
        np.fill_diagonal(skip[:, : len(captions)], False)
        return skip
