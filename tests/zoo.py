"""A small made-up library whose truth is known: a sentence, and a scene, is the sum of its words."""

import re
from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from typing import TypeVar

import numpy as np

from retriever.ports import Store
from retriever.stores import memory
from retriever.types import (
    LABELS_KEPT,
    Entry,
    Line,
    Matrix,
    Media,
    MediaKind,
    Metadata,
    Modality,
    Segment,
    SegmentVectors,
    Space,
    TimeSpan,
    Tokens,
)

DIMENSION = 64
STEP = 0.5  # seconds a token
SEEN = Space("seen→words", Modality.VISION, DIMENSION, "seen:1", "words:1", "1")
HEARD = Space("heard→words", Modality.SOUND, DIMENSION, "heard:1", "words:1", "1")
SAID = Space("said→words", Modality.SPEECH, DIMENSION, "said:1", "words:1", "1")
Scenes = Sequence[tuple[float, str]]  # seconds, and what is there
T = TypeVar("T", Tokens, SegmentVectors)


def unit(rows: np.ndarray) -> Matrix:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


def word(name: str) -> Matrix:
    seed = int.from_bytes(sha256(name.encode()).digest()[:8], "big")
    return unit(np.random.default_rng(seed).standard_normal(DIMENSION))


class Words:
    """A sentence is the sum of its words; how often it was asked to encode is counted."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, sentences: Sequence[str], side: str = "") -> Matrix:
        self.calls += 1
        return np.stack([unit(sum(map(word, re.findall(r"\w+", line.lower())))) for line in sentences])


def track(scenes: Scenes) -> Tokens:
    """A token every half second; its label is the scene's words."""
    texts = [text for seconds, text in scenes for _ in range(round(seconds / STEP))]
    starts = np.arange(len(texts)) * STEP
    noise = np.random.default_rng(len(texts)).standard_normal((len(texts), DIMENSION)) * 0.03
    probabilities = np.zeros((len(texts), LABELS_KEPT), np.float32)
    probabilities[:, 0] = 0.8
    return Tokens(
        unit(Words()(texts) + noise),
        np.stack([starts, starts + STEP], axis=1),
        np.ones(len(texts), np.float32),
        tuple((text,) for text in texts),
        probabilities,
    )


def media(
    key: str,
    seen: Scenes = (),
    heard: Scenes = (),
    said: Sequence[tuple[float, float, str]] = (),
    cut: float = 5.0,
    tags: tuple[str, ...] = (),
) -> Entry:
    """A media cut every `cut` seconds."""
    tracks = {space.id: track(scenes) for space, scenes in ((SEEN, seen), (HEARD, heard)) if scenes}
    if said:
        spans = np.array([(start, end) for start, end, _ in said])
        tracks[SAID.id] = Tokens(Words()([text for *_, text in said]), spans, np.ones(len(said), np.float32))
    duration = float(max(tokens.spans.max() for tokens in tracks.values()))
    edges = [*np.arange(0, duration, cut).tolist(), duration]
    cuts = tuple(Segment(TimeSpan(start, end)) for start, end in pairwise(edges))
    return Entry(
        Media(key, (f"/clips/{key}.mp4",), MediaKind.VIDEO, duration, "r", metadata=Metadata(tags=tags)),
        cuts,
        {space.id: space for space in (SEEN, HEARD, SAID) if space.id in tracks},
        tracks,
        {space: vectors(tokens, cuts) for space, tokens in tracks.items()},
        tuple(Line(TimeSpan(start, end), text, Modality.SPEECH, 0.9) for start, end, text in said),
    )


def vectors(tokens: Tokens, cuts: Sequence[Segment]) -> SegmentVectors:
    rows = [(number, row) for number, cut in enumerate(cuts) for row in tokens.within(cut.span).rows]
    return SegmentVectors(
        np.array([row for _, row in rows], np.float32).reshape(-1, DIMENSION),
        np.array([number for number, _ in rows], np.int32),
    )


ZOO = (
    media("parrot", seen=[(5, "street crowd"), (5, "parrot branch"), (10, "street crowd")], tags=("birds",)),
    media("kitchen", seen=[(10, "pancake pan")], heard=[(10, "sizzling pan")]),
    media("concert", seen=[(10, "stage lamp")], heard=[(4, "silence"), (6, "piano concert")]),
    media("talk", seen=[(12, "office desk")], said=[(1, 3, "never do it for free"), (8, 11, "the budget is gone")]),
    media("tower", seen=[(10, "tower cloud")]),
)


def library(entries: Sequence[Entry] = ZOO) -> Store:
    store = memory.build()
    for entry in entries:
        store.add(entry)
    return store
