"""Encoders without weights, for tests of everything around them: quick, deterministic, and they do find things.

Frames and queries meet in a space of colours: a frame is its colour histogram, and a query names colours.
"""

import re
from collections.abc import Sequence
from functools import cache
from hashlib import sha256

import numpy as np

from retriever.types import (
    LABELS_KEPT,
    Line,
    Matrix,
    Modality,
    Part,
    Pictures,
    Sound,
    Space,
    Text,
    Times,
    TimeSpan,
    Tokens,
    Vector,
)

DIMENSION = 16
COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}


def unit(rows: np.ndarray) -> Matrix:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)


@cache
def word_vector(word: str) -> Vector:
    """Every library asks the same hundreds of words when it is calibrated."""
    seed = int.from_bytes(sha256(word.encode()).digest()[:8], "big")
    made = unit(np.random.default_rng(seed).standard_normal(DIMENSION))
    made.flags.writeable = False  # it is everybody's
    return made


class HashingSentences:
    """A sentence is the sum of its words' random vectors."""

    name = "hashing"
    digest = sha256(b"hashing-1").hexdigest()
    dimension = DIMENSION

    def encode(self, sentences: Sequence[str]) -> Matrix:
        if not sentences:
            return np.zeros((0, DIMENSION), np.float32)
        rows = [sum(word_vector(word) for word in re.findall(r"\w+", line.lower()) or [""]) for line in sentences]
        return unit(np.array(rows))


class _Bridge:
    modality: Modality

    def __init__(self, name: str, modality: Modality) -> None:
        self.sentences = HashingSentences()
        self.modality = modality
        query_side = f"{self.sentences.name}:{self.sentences.digest[:12]}"
        self.space = Space(f"{name}→hashing", modality, DIMENSION, f"{name}:1", query_side, "fake-1")

    def encode_query(self, part: Part) -> Vector | None:
        return self.sentences.encode([part.text])[0] if isinstance(part, Text) else None

    def tokens(self, weights: np.ndarray, names: Sequence[str], spans: Times) -> Tokens:
        """`weights` `(N, names)` as rows between the names' vectors."""
        rows = weights @ np.stack([word_vector(name) for name in names])
        norms = np.linalg.norm(rows, axis=1).astype(np.float32)
        order = np.argsort(-weights, axis=1, kind="stable")[:, :LABELS_KEPT]
        probabilities = np.zeros((len(rows), LABELS_KEPT), np.float32)
        kept = np.take_along_axis(weights, order, axis=1)
        probabilities[:, : kept.shape[1]] = kept
        return Tokens(unit(rows), spans, norms, tuple(tuple(names[i] for i in row) for row in order), probabilities)


class Colours(_Bridge):
    """Frames by how near each of their pixels is to each named colour."""

    side = 32

    def __init__(self) -> None:
        super().__init__("colours", Modality.VISION)

    def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
        if not len(frames):
            return Tokens.none(DIMENSION)
        names = list(COLOURS)
        palette = np.array([COLOURS[name] for name in names], np.float32)  # (C, 3)
        pixels = frames.reshape(len(frames), -1, 3)[:, ::7].astype(np.float32)  # (N, P, 3)
        nearest = np.linalg.norm(pixels[:, :, None] - palette, axis=3).argmin(axis=2)  # (N, P)
        weights = np.stack([(nearest == number).mean(axis=1) for number in range(len(names))], axis=1)
        return self.tokens(weights.astype(np.float32) + 1e-3, names, spans)


class Loudness(_Bridge):
    """Windows of half a second as `silence` or `tone`."""

    rate = 16_000
    margin = 0.5
    window = 8_000  # samples: half a second

    def __init__(self) -> None:
        super().__init__("loudness", Modality.SOUND)

    def encode_sound(self, sound: Sound) -> Tokens:
        first = -int(-sound.start * 2 // 1)  # the first half second of the media's clock that lies in the sound
        offset = round((first / 2 - sound.start) * self.rate)
        samples = sound.samples[offset:]
        count = -(-len(samples) // self.window)
        if not count:
            return Tokens.none(DIMENSION)
        padded = np.pad(samples, (0, count * self.window - len(samples))).reshape(count, self.window)
        loud = np.clip(np.sqrt((padded**2).mean(axis=1)) * 4, 0, 1)
        starts = (first + np.arange(count)) / 2
        ends = np.minimum(starts + 0.5, sound.start + sound.length + 1e-6)
        weights = np.stack([1 - loud, loud], axis=1).astype(np.float32) + 1e-3
        return self.tokens(weights, ["silence", "tone"], np.stack([starts, ends], axis=1))


class NoSpeech:
    """Hears no words."""

    digest = sha256(b"nospeech").hexdigest()
    rate = 16_000

    def recognize(self, sound: Sound) -> list[Line]:
        return []


class Subtitles:
    """Reads one word off a page: the name of its commonest colour."""

    digest = sha256(b"subtitles").hexdigest()
    side = 64

    def recognize(self, frames: Sequence[Pictures], spans: Sequence[tuple[float, float]]) -> list[Line]:
        lines: list[Line] = []
        for frame, (start, end) in zip(frames, spans, strict=True):
            mean = frame.reshape(-1, 3).mean(axis=0)
            name = min(COLOURS, key=lambda colour: float(np.linalg.norm(mean - COLOURS[colour])))
            if lines and lines[-1].text == name:
                lines[-1] = Line(TimeSpan(lines[-1].span.start, end), name, Modality.TEXT, 1.0)
            else:
                lines.append(Line(TimeSpan(start, end), name, Modality.TEXT, 1.0))
        return lines
