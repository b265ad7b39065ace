"""Sounds among sentences: YAMNet names what it hears among 521 AudioSet classes, and sentence space knows where those
names lie.

A token every 0.96 s, the mean of two looks of 0.96 s half a second apart.  Tokens begin on multiples of 0.96 s of the
media's own clock, so the same sound gives the same tokens wherever the stretch that is encoded begins.
"""

import csv
from functools import cached_property
from math import ceil

import numpy as np
import openvino as ov
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from encoders._bridge import Bridge, Layer, Mix, Texts, bridge
from encoders._graphs import Arrays, batches, compiled, kept
from encoders._logmel import RATE, STEP, log_mel, samples_of
from encoders._queries import asked_in_words
from encoders._weights import SOUNDEVENTS
from encoders._yamnet import FRAMES, graph, read_weights
from retriever.ports import SentenceEncoder
from retriever.types import Floats, Modality, Part, Sound, Space, Tokens, Vector

MODALITY = Modality.SOUND
KIND = "sound"
LOOK = FRAMES * STEP  # samples from one look's begin to where the next fresh one would begin: 0.96 s
HALF = LOOK // 2  # samples between the looks: the network was trained and is used with this overlap
LOOKS = 2  # averaged in one token
HOP = LOOKS * HALF  # samples from token to token
LENGTH = HOP + HALF  # samples of the media that a token stands for: 1.44 s
REACH = (LOOKS - 1) * HALF + samples_of(FRAMES)  # samples that a token reads: 15 ms more
LOUD = {"Speech": 0.5, "Music": 0.5}
"""Classes that are on through half of all sound and hide what goes on beside them count less in the mean."""
SILENCE = "Silence"
PROMPT = "a recording of {}"
MIX = Mix(penalty=10.0, share=0.5)
REVISION = f"logmel-{LOOKS}x0.96s-loud{LOUD['Speech']}-ridge{MIX.penalty}x{MIX.share}-2"


class SoundEvents:
    """A `SoundEncoder`.  The network is read at the first sound."""

    modality = MODALITY
    rate = RATE
    margin = (REACH - LENGTH / 2) / RATE  # from a token's middle to the last sample that it reads

    def __init__(self, sentences: SentenceEncoder) -> None:
        self._sentences = sentences
        self.space = Space(
            name=f"soundevents→{sentences.name}",
            modality=self.modality,
            dimension=sentences.dimension,
            media_side=f"soundevents:{SOUNDEVENTS.digest[:12]}",
            query_side=f"{sentences.name}:{sentences.digest[:12]}",
            preprocessing=REVISION,
        )

    def encode_query(self, part: Part) -> Vector | None:
        """A text through the sentence encoder; a sound as the mean of its tokens; of pictures nothing is known."""
        if isinstance(part, Sound) and len(part.samples):
            mean: Vector = self.encode_sound(part).rows.mean(axis=0)
            return mean / np.linalg.norm(mean)
        return asked_in_words(part, self._sentences)

    def encode_sound(self, sound: Sound) -> Tokens:
        """Tokens from the begin of `sound` to its end; what a token reads beyond counts for nothing.

        Raises:
            ValueError: the sound does not have 16,000 samples a second.
        """
        if sound.rate != RATE:
            raise ValueError(f"soundevents hears {RATE} samples a second, got {sound.rate}")
        if not len(sound.samples):
            return Tokens.none(self.space.dimension)
        begin = round(sound.start * RATE)
        end = begin + len(sound.samples)
        first = begin // HOP
        count = 1 + max(0, ceil((end - first * HOP - LENGTH) / HOP))
        numbers = np.arange(first, first + count)
        parts = [self._tokens(sound, begin, numbers[rows]) for rows in batches(count)]
        return Tokens.joined(parts, self.space.dimension)

    def _tokens(self, sound: Sound, begin: int, numbers: NDArray[np.int64]) -> Tokens:
        """The tokens of these numbers `(N,)`, one after the other on the grid."""
        start, stop = int(numbers[0]) * HOP, int(numbers[-1]) * HOP + REACH
        mel = log_mel(_stretch(sound.samples, start - begin, stop - begin))
        looks = sliding_window_view(mel, FRAMES, axis=0)[:: HALF // STEP].transpose(0, 2, 1)  # (2N, 96, 64)
        logits = self._network(np.ascontiguousarray(looks))[0].reshape(len(numbers), LOOKS, -1)
        fill = self._fill(numbers, begin, begin + len(sound.samples))[:, :, None]
        probable = (_sigmoid(logits) * fill).sum(axis=1)
        silent = probable[:, self._silence][:, None]
        rows, norms = self._bridge.cross(probable * self._counts, (logits * fill).sum(axis=1), 1 - silent)
        spans = np.stack([numbers * HOP, numbers * HOP + LENGTH], axis=1) / RATE
        spans = np.clip(spans, sound.start, sound.start + sound.length)
        return Tokens(rows, spans, norms, *self._bridge.labels(probable))

    @staticmethod
    def _fill(numbers: NDArray[np.int64], begin: int, end: int) -> Floats:
        """`(N, 2)`: how much each look of a token counts, by how much of it the sound fills; rows sum to one."""
        starts = numbers[:, None] * HOP + np.arange(LOOKS) * HALF
        filled = np.minimum(starts + LOOK, end) - np.maximum(starts, begin)
        shares = np.maximum(filled, 0).astype(np.float32)
        fill: Floats = shares / shares.sum(axis=1, keepdims=True)
        return fill

    @cached_property
    def _weights(self) -> Arrays:
        file = SOUNDEVENTS.path("data/YamNet_w8a8.onnx.zip")
        return kept("yamnet", f"{SOUNDEVENTS.digest} 1", lambda: read_weights(file))

    @cached_property
    def _network(self) -> ov.CompiledModel:
        return compiled(graph(self._weights))

    @cached_property
    def _bridge(self) -> Bridge:
        layer = Layer(self._weights["classes.weight"], self._weights["classes.bias"])
        return bridge("soundevents", f"{SOUNDEVENTS.digest} {PROMPT}", class_texts, layer, MIX, self._sentences)

    @cached_property
    def _counts(self) -> Floats:
        """`(521,)`: how much each class counts in the mean."""
        return np.array([LOUD.get(name, 1.0) for name in self._bridge.names], np.float32)

    @cached_property
    def _silence(self) -> int:
        return self._bridge.names.index(SILENCE)


def class_texts() -> Texts:
    """AudioSet's names of the 521 classes, in the order of the network's outputs."""
    with SOUNDEVENTS.path("data/yamnet_class_map.csv").open(encoding="utf-8", newline="") as lines:
        names = tuple(row["display_name"] for row in csv.DictReader(lines))
    return Texts(names, (tuple(PROMPT.format(name[0].lower() + name[1:]) for name in names),), SILENCE)


def _stretch(samples: Floats, start: int, stop: int) -> Floats:
    """`samples[start:stop]`, with silence where that reaches beyond."""
    inside = samples[max(start, 0) : max(stop, 0)]
    before = max(0, min(-start, stop - start))
    padded: Floats = np.pad(inside, (before, stop - start - before - len(inside)))
    return padded


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))), np.float32)


def build(sentences: SentenceEncoder) -> SoundEvents:
    """The encoder of sound.

    Raises:
        MissingWeights, AlteredWeights: as their names say.
    """
    SOUNDEVENTS.check()
    return SoundEvents(sentences)
