"""A library of a million made-up segments, committed through the store as an indexing run would."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from time import perf_counter

import _corpus
import numpy as np

from encoders import minilm
from retriever.stores import local
from retriever.types import (
    LABELS_KEPT,
    Entry,
    Line,
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

SEGMENT_SECONDS = 10.0
EACH = 500
"""Segments a media."""
COLLECTIONS = 10
"""Every tenth media is in one collection: what a filter asks for."""
TOKENS = {Modality.VISION: 2, Modality.SOUND: 2, Modality.SPEECH: 1, Modality.TEXT: 1}
"""Tokens a segment, where it has the modality."""
APART = 0.3
"""Noise between the tokens of a segment and its mean."""
NAMES = {
    Modality.VISION: "concepts",
    Modality.SOUND: "soundevents",
    Modality.SPEECH: "whisper",
    Modality.TEXT: "rapidocr",
}


def spaces() -> dict[Modality, Space]:
    encoder = minilm.build()
    query_side = f"{encoder.name}:{encoder.digest[:12]}"
    return {
        modality: Space(f"{name}→minilm", modality, encoder.dimension, f"{name}:made-up", query_side, "1")
        for modality, name in NAMES.items()
    }


def build(folder: Path, segments: int) -> None:
    """Fill `folder` with a library, unless it has one."""
    store = local.build(folder)
    with store.snapshot() as snapshot:
        there = snapshot.counts()["segments"]
    begun = perf_counter()
    if there < segments:
        for count, entry in enumerate(entries(folder.parent, segments), start=1):
            if count * EACH > there:
                store.add(entry)
        print(f"committed {segments - there:,} segments in {perf_counter() - begun:.0f} s (making them counted in)")
    begun = perf_counter()
    store.refresh()
    print(f"indexes: {perf_counter() - begun:.0f} s")
    store.close()


def arguments(parser: ArgumentParser) -> None:
    """Flags that say which library."""
    parser.add_argument("--at", type=Path, help="folder for a made-up library")
    parser.add_argument("--library", type=Path, help="one that is there")
    parser.add_argument("--segments", type=int, default=100_000)


def chosen(parser: ArgumentParser, args: Namespace) -> Path:
    """The library that they name; a made-up one is made, unless it is there."""
    library: Path | None = args.library
    if (args.at is None) == (library is None):
        parser.error("name --at FOLDER or --library LIB")
    if library is None:
        args.at.mkdir(parents=True, exist_ok=True)
        library = args.at / f"library-{args.segments}"
        build(library, args.segments)
    return library


def entries(folder: Path, segments: int) -> Iterator[Entry]:
    made = spaces()
    concepts = _corpus.embeddings(_corpus.class_names() + _corpus.library_glosses(), folder)
    names = _corpus.class_names()
    spoken = _corpus.lines(segments, np.random.default_rng(1))
    by_media = {number: list(part) for number, part in groupby(spoken, key=lambda line: line[0] // EACH)}
    for number in range(segments // EACH):
        generator = np.random.default_rng([2, number])
        lines = [(segment - number * EACH, modality, text) for segment, modality, text in by_media.get(number, [])]
        yield entry(number, lines, made, concepts, names, generator)


def entry(
    number: int,
    lines: list[tuple[int, Modality, str]],
    made: dict[Modality, Space],
    concepts: np.ndarray,
    names: list[str],
    generator: np.random.Generator,
) -> Entry:
    tokens: dict[str, Tokens] = {}
    vectors: dict[str, SegmentVectors] = {}
    for modality, space in made.items():
        holders = np.arange(EACH)
        if modality in (Modality.SPEECH, Modality.TEXT):
            holders = np.array(sorted({segment for segment, spoken, _ in lines if spoken is modality}), np.int64)
        means = _corpus.mixtures(concepts, len(holders), generator)
        vectors[space.id] = SegmentVectors(means, holders.astype(np.int32))
        tokens[space.id] = _tokens(means, holders, TOKENS[modality], names, generator)
    return Entry(
        Media(
            f"m{number:06}",
            (f"/clips/{number % 100}/{number}.mp4",),
            MediaKind.VIDEO,
            EACH * SEGMENT_SECONDS,
            "made-up",
            metadata=Metadata(collection=f"c{number % COLLECTIONS}"),
        ),
        tuple(Segment(TimeSpan(at * SEGMENT_SECONDS, (at + 1) * SEGMENT_SECONDS)) for at in range(EACH)),
        {space.id: space for space in made.values()},
        tokens,
        vectors,
        tuple(
            Line(TimeSpan(segment * SEGMENT_SECONDS + 1, segment * SEGMENT_SECONDS + 4), text, modality, 0.9)
            for segment, modality, text in lines
        ),
    )


def _tokens(
    means: np.ndarray, holders: np.ndarray, each: int, names: list[str], generator: np.random.Generator
) -> Tokens:
    rows = np.repeat(means, each, axis=0)
    rows += APART * generator.standard_normal(rows.shape, dtype=np.float32) / np.float32(np.sqrt(rows.shape[1]))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    step = SEGMENT_SECONDS / each
    starts = np.repeat(holders, each) * SEGMENT_SECONDS + np.tile(np.arange(each), len(holders)) * step
    shown = generator.integers(0, len(names), (len(rows), LABELS_KEPT))
    return Tokens(
        rows,
        np.stack([starts, starts + step], axis=1),
        np.ones(len(rows), np.float32),
        tuple(tuple(names[label] for label in labels) for labels in shown),
        np.tile(np.array([0.5, 0.2, 0.1, 0.05, 0.02], np.float32), (len(rows), 1)),
    )
