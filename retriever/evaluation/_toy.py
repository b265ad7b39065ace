"""A benchmark made on the spot: no weights, no files, seconds.

40 media show three events each, and a caption tells of one.  Sentences and frames meet in a space of words: a
sentence is the sum of its words' random directions, a frame is its event's sentence with noise.  Two media are alike,
so there are ties; one could not be had.
"""

import re
from collections.abc import Sequence
from functools import cache
from hashlib import sha256

import numpy as np

from retriever.evaluation.benchmarks import Task, asked
from retriever.ports import EncodeSentences, Store
from retriever.registry import Registry
from retriever.types import (
    LABELS_KEPT,
    Entry,
    Matrix,
    Media,
    MediaKind,
    Modality,
    Segment,
    SegmentVectors,
    Space,
    TimeSpan,
    Tokens,
    Vector,
)

MEDIA = 40
EVENTS = 3
FRAMES = 4
SECONDS = 4.0
NOISE = 1.5
DIMENSION = 48
ALIKE = (6, 7)
GONE = 39
WHO = ("a dog", "a child", "an old man", "the band", "a cook", "two women", "a cat", "a player", "the crowd", "a robot")
DOES = ("sleeps", "jumps", "sings", "cooks", "runs", "laughs", "waits", "dances")
WHERE = ("in a garden", "on a stage", "at the beach", "in the kitchen", "on a bus", "in the rain", "at night")
SPACE = Space("toy→words", Modality.VISION, DIMENSION, "toy:1", "toy:1", "1")


@cache
def _word(word: str) -> Vector:
    seed = int.from_bytes(sha256(word.encode()).digest()[:8], "big")
    direction: Vector = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return direction


def encode(sentences: Sequence[str]) -> Matrix:
    """`(N, D)` unit rows."""
    rows = [np.sum([_word(word) for word in re.findall(r"\w+", said.lower()) or [""]], axis=0) for said in sentences]
    return _unit(np.array(rows, np.float32).reshape(-1, DIMENSION))


def _unit(rows: Matrix) -> Matrix:
    made: Matrix = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return made


def task() -> Task:
    """120 captions of 40 media."""
    rng = np.random.default_rng(5)
    sentences = [f"{who} {does} {where}" for who in WHO for does in DOES for where in WHERE]
    picked = [sentences[place] for place in rng.permutation(len(sentences))[: MEDIA * EVENTS]]
    return asked([(said, f"toy{number // EVENTS:02d}") for number, said in enumerate(picked)])


def library() -> tuple[Store, EncodeSentences]:
    """The media of `task` but one, in memory, and what encodes questions."""
    store: Store = Registry("retriever.stores").load("memory").build()
    asks = task()
    rows = encode(asks.queries).reshape(MEDIA, EVENTS, DIMENSION)
    cuts = tuple(Segment(TimeSpan(at * SECONDS, (at + 1) * SECONDS)) for at in range(EVENTS))
    starts = np.arange(EVENTS * FRAMES) * SECONDS / FRAMES
    for number, name in enumerate(asks.media):
        if number == GONE:
            continue
        shown = ALIKE[0] if number in ALIKE else number
        noise = np.random.default_rng([9, shown]).standard_normal((EVENTS * FRAMES, DIMENSION)) / DIMENSION**0.5
        frames = _unit((np.repeat(rows[shown], FRAMES, axis=0) + NOISE * noise).astype(np.float32))
        found = Tokens(
            frames,
            np.stack([starts, starts + SECONDS / FRAMES], axis=1),
            np.ones(len(frames), np.float32),
            ((),) * len(frames),
            np.zeros((len(frames), LABELS_KEPT), np.float32),
        )
        means = _unit(frames.reshape(EVENTS, FRAMES, DIMENSION).mean(axis=1))
        vectors = SegmentVectors(means, np.arange(EVENTS, dtype=np.int32))
        media = Media(name, (f"{name}.mp4",), MediaKind.VIDEO, EVENTS * SECONDS, recipe="toy")
        store.add(Entry(media, cuts, {SPACE.id: SPACE}, {SPACE.id: found}, {SPACE.id: vectors}))
    return store, lambda sentences, side: encode(sentences)
