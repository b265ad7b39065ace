"""Frames that are seen together: which of them make a clip, and what a tower of clips has beside those of frames.

    cut = clips(spans, 8)                   # spans (N, 2) of a stretch's frames; eight frames a clip
    cut.spans, cut.frames                   # (W, 2) seconds; (W, 8) numbers of frames

A token every 2 s of the media's own clock, so that segments of 2 s have one.  A token stands for its 2 s, and is seen
in the 8 s around them, at equal steps: about as much as such towers are trained on.  A stretch is a chapter; at its
two ends the 8 s stay within it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from encoders._devices import ROWS
from encoders._pixels import Preprocessing
from encoders._queries import asked_of_frames
from encoders._texts import unit
from encoders._towers import Towers
from retriever.ports import SentenceEncoder
from retriever.types import Ids, Matrix, Modality, Part, Space, Stretch, Times, Tokens, Vector

LENGTH = 8.0  # seconds that a clip shows
HOP = 2.0  # seconds that a token stands for
REVISION = "clips-1"
"""Of how clips are cut, which is a part of what a space is."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The clips of one stretch."""

    spans: Times  # (W, 2) what each stands for
    windows: Times  # (W, 2) what each shows
    frames: Ids  # (W, T) which frames, in order of time


def clips(spans: Times, count: int) -> Cut:
    """A stretch whose frames are on show during `spans` `(N, 2)`, as clips of `count` frames.

    A frame that stays may stand in a clip several times, and a clip of a stretch shorter than `LENGTH` shows all of it.
    """
    if not len(spans):
        return Cut(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, count), np.int64))
    start, end = float(spans[0, 0]), float(spans[-1, 1])
    cells = _cells(start, end)
    length = min(LENGTH, end - start)
    first = np.clip(cells.mean(axis=1) - length / 2, start, end - length)  # (W,)
    windows = np.stack([first, first + length], axis=1)
    times = first[:, None] + (np.arange(count) + 0.5) * length / count  # (W, T)
    return Cut(cells, windows, shown(spans, times))


def shown(spans: Times, times: Times) -> Ids:
    """Which frame is on show at each of `times`, whatever their shape; the first one is before its time too."""
    found: Ids = np.maximum(np.searchsorted(spans[:, 0], times, side="right") - 1, 0).astype(np.int64)
    return found


def _cells(start: float, end: float) -> Times:
    """`[start, end)` cut at the multiples of `HOP`; what would be shorter than half of it goes with its neighbour."""
    edges = np.arange(np.floor(start / HOP) + 1, np.ceil(end / HOP)) * HOP
    edges = edges[(edges - start >= HOP / 2) & (end - edges >= HOP / 2)]
    borders = np.concatenate([[start], edges, [end]])
    return np.stack([borders[:-1], borders[1:]], axis=1)


class ClipTowers(Towers):
    """A model that sees `frames` pictures together.  Its media tower takes `(N, frames, 3, height, width)`."""

    def __init__(
        self,
        model: str,
        preprocessing: Preprocessing,
        frames: int,
        device: torch.device,
        dtype: torch.dtype,
        runtime: str = "auto",
        digest: str = "",
    ) -> None:
        super().__init__(model, digest, device, dtype, runtime)
        self.preprocessing = preprocessing
        self.frames = frames
        self.batches.most = max(1, ROWS[device.type] // frames)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.frames, 3, *self.preprocessing.size)

    def see(self, stretches: Sequence[Stretch], cuts: Sequence[Cut]) -> list[Matrix]:
        """Each stretch's clips as rows `(W, D)`, of the length that the network gives them.

        Clips of several stretches share batches, and one that shows nothing new is encoded once: in a scene that stands
        still they all show the same.
        """
        numbered = [np.insert(cut.frames, 0, place, axis=1) for place, cut in enumerate(cuts)]  # (W, 1 + T)
        every = np.concatenate(numbered) if numbered else np.zeros((0, 1 + self.frames), np.int64)
        if not len(every):
            return [np.zeros((0, 0), np.float32) for _ in cuts]
        different, place = np.unique(every, axis=0, return_inverse=True)
        rows = self.media_rows(len(different), lambda few: self._pixels(stretches, different[few]))[place.reshape(-1)]
        ends = np.cumsum([len(cut.frames) for cut in cuts])
        return np.split(rows, ends[:-1])

    def _pixels(self, stretches: Sequence[Stretch], chosen: Ids) -> torch.Tensor:
        """Clips `(n, 1 + T)`, each a stretch and its frames, as `(n, T, 3, h, w)`; a frame of several is made once."""
        parts = []
        for number in np.unique(chosen[:, 0]):  # in order, as the clips are
            frames = chosen[chosen[:, 0] == number, 1:]
            needed, place = np.unique(frames, return_inverse=True)
            ready = self.preprocessing.pixels(stretches[number].frames[needed], self.device, self.own)
            parts.append(ready[torch.from_numpy(place.reshape(frames.shape)).to(self.device)])
        return torch.cat(parts)


class Clips:
    """A `ClipEncoder`, which knows who it is before any weight is read."""

    modality = Modality.VISION

    def __init__(self, name: str, towers: ClipTowers, texts: SentenceEncoder, digest: str) -> None:
        """
        Args:
            name: of the space.
            texts: what questions are encoded with, and where the tokens lie: the model's own text tower, or the
                sentence encoder that its classes are put into.
            digest: of all that the media side is read from.
        """
        self._towers = towers
        self.model = towers.model
        self.texts = texts
        self.digest = digest
        self.side = max(towers.preprocessing.size)
        self.space = Space(
            name=name,
            modality=self.modality,
            dimension=texts.dimension,
            media_side=f"{name}:{digest[:12]}",
            query_side=f"{texts.name}:{texts.digest[:12]}",
            preprocessing=f"{towers.preprocessing}-{towers.frames}of{LENGTH:g}s-{REVISION}",
        )

    def encode_query(self, part: Part) -> Vector | None:
        """A text through the text tower; a picture as a clip that stands still; of sounds nothing is known."""
        return asked_of_frames(part, self.texts, lambda frames, spans: self.encode_clips([Stretch(frames, spans)])[0])

    def encode_clips(self, stretches: Sequence[Stretch]) -> list[Tokens]:
        """A token every two seconds of each stretch."""
        for stretch in stretches:
            if len(stretch.frames) != len(stretch.spans):
                raise ValueError(
                    f"every frame needs its span: {len(stretch.frames)} frames, {len(stretch.spans)} spans"
                )
        cuts = [clips(stretch.spans, self._towers.frames) for stretch in stretches]
        seen = self._towers.see(stretches, cuts)
        return [
            self.tokens(rows, cut) if len(rows) else Tokens.none(self.space.dimension)
            for rows, cut in zip(seen, cuts, strict=True)
        ]

    def tokens(self, raw: Matrix, cut: Cut) -> Tokens:
        """What the towers saw `(W, D)` of the clips of one stretch, as tokens."""
        rows, norms = unit(raw)
        return Tokens(rows, cut.spans, norms)
