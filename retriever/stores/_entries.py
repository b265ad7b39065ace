"""An entry as the store keeps it: checked, in the numbers of its columns, and with a digest of its content."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.errors import SpaceMismatch
from retriever.stores._filters import instant
from retriever.stores._paths import packed
from retriever.stores._rows import FACTS, SEGMENT
from retriever.types import (
    LABELS_KEPT,
    Entry,
    Halves,
    Ids,
    Line,
    Matrix,
    Media,
    Metadata,
    Modality,
    Segment,
    SegmentVectors,
    Space,
    Times,
    Tokens,
)

UNIT_WITHIN = 1e-3
"""How far the length of a row may be from one; half precision alone brings 5e-4."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What one media has in one space, its numbers counted within the media."""

    space: Space
    tokens: Halves  # (N, D)
    facts: NDArray[Any]  # (N,) FACTS, a label being a place in `names`
    names: tuple[str, ...]  # labels in order of first use
    vectors: Halves  # (M, D)
    segment: Ids  # (M,)
    ranges: Ids  # (S, 2) the tokens of each segment


@dataclass(frozen=True, slots=True)
class Parcel:
    """One media, ready to be written."""

    media: Media
    recorded_at: float | None
    segments: NDArray[Any]  # (S,) SEGMENT, its media still 0
    spaces: tuple[Packed, ...]  # by space id
    lines: tuple[Line, ...]
    line_segment: tuple[int, ...]  # the segment of each line within the media, -1 where none holds its middle
    content: bytes  # SHA-256 of all but paths and metadata


def parcel(entry: Entry) -> Parcel:
    """
    Raises:
        SpaceMismatch: vectors that do not fit the space they are filed under.
        ValueError: the entry contradicts itself.
    """
    media = entry.media
    if not media.key:
        raise ValueError("a media needs a key")
    segments = _segments(entry.segments, media.key)
    foreign = {*entry.tokens, *entry.vectors} - {*entry.spaces}
    wrong = [key for key, space in entry.spaces.items() if key != space.id]
    if foreign or wrong:
        raise SpaceMismatch(f"{media.key} has vectors under {sorted(foreign) or wrong}, which is not among its spaces")
    spaces = tuple(
        _packed(
            space,
            entry.tokens.get(key, Tokens.none(space.dimension)),
            entry.vectors.get(key) or SegmentVectors(np.zeros((0, space.dimension), np.float32), np.zeros(0, np.int32)),
            segments,
            media.key,
        )
        for key, space in sorted(entry.spaces.items())
    )
    middles = np.array([line.span.middle for line in entry.lines], np.float64)
    return Parcel(
        media,
        recorded_at(media.metadata),
        segments,
        spaces,
        entry.lines,
        tuple(holder(middles, segments).tolist()),
        content_digest(media, segments, spaces, entry.lines),
    )


def recorded_at(metadata: Metadata) -> float | None:
    return instant(metadata.recorded) if metadata.recorded else None


def holder(middles: Times, segments: NDArray[Any]) -> Ids:
    """Which segment `(S,)` each second `(N,)` lies in, -1 for none."""
    found = np.searchsorted(segments["start"], middles, side="right") - 1
    held = found >= 0
    held[held] = middles[held] < segments["end"][found[held]]
    return np.where(held, found, -1).astype(np.int64)


# -------------------------------------------------------------------------------------------------------------- checks


def _segments(segments: Sequence[Segment], key: str) -> NDArray[Any]:
    rows = np.array([(0, each.span.start, each.span.end, each.still) for each in segments], SEGMENT)
    if (rows["start"][1:] < rows["end"][:-1]).any():
        raise ValueError(f"the segments of {key} overlap, or are not in order of time")
    return rows


def _packed(space: Space, tokens: Tokens, vectors: SegmentVectors, segments: NDArray[Any], key: str) -> Packed:
    where = f"{key}, {space.id}"
    _fits(tokens.rows, space, where)
    _fits(vectors.rows, space, where)
    owners = np.asarray(vectors.segment, np.int64)
    if owners.shape != (len(vectors.rows),) or (owners[1:] < owners[:-1]).any():
        raise ValueError(f"{where}: first-stage rows and their segments do not rise together")
    if len(owners) and not 0 <= owners[0] <= owners[-1] < len(segments):
        raise ValueError(f"{where}: first-stage rows name segment {owners[-1]} of {len(segments)}")
    facts, names = _facts(tokens, where)
    middles = tokens.spans.mean(axis=1)
    if (middles[1:] < middles[:-1]).any():
        raise ValueError(f"{where}: tokens are not in order of time")
    ranges = np.stack([np.searchsorted(middles, segments[edge], side="left") for edge in ("start", "end")], axis=1)
    return Packed(
        space,
        tokens.rows.astype(np.float16),
        facts,
        names,
        vectors.rows.astype(np.float16),
        owners,
        ranges.astype(np.int64),
    )


def _fits(rows: Matrix, space: Space, where: str) -> None:
    if rows.ndim != 2 or rows.shape[1] != space.dimension:
        raise SpaceMismatch(f"{where}: vectors have shape {rows.shape}, this space has {space.dimension} numbers a row")
    off = np.abs(np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float32)) - 1)
    if not (off <= UNIT_WITHIN).all():
        raise ValueError(f"{where}: a row has length {1 + off.max():.4f} or is not a number, rows have length one")


def _facts(tokens: Tokens, where: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    facts = np.zeros(len(tokens), FACTS)
    spans = tokens.spans
    if not (np.isfinite(spans).all() and (spans[:, 0] < spans[:, 1]).all()):
        raise ValueError(f"{where}: a token's span is empty or not a number")
    facts["span"], facts["norm"], facts["label"] = spans, tokens.norms, -1
    numbers: dict[str, int] = {}
    if tokens.labels:
        most = max(map(len, tokens.labels))
        if most > LABELS_KEPT:
            raise ValueError(f"{where}: a token has {most} labels, {LABELS_KEPT} are kept")
        facts["probability"] = tokens.probabilities
        for row, labels in zip(facts["label"], tokens.labels, strict=True):
            row[: len(labels)] = [numbers.setdefault(label, len(numbers)) for label in labels]
    return facts, tuple(numbers)


# ------------------------------------------------------------------------------------------------------------- digests


def content_digest(media: Media, segments: NDArray[Any], spaces: Iterable[Packed], lines: Iterable[Line]) -> bytes:
    """SHA-256 of what a media is, its paths and metadata left out; numbers as they are stored."""
    digest = sha256()

    def add(value: Any) -> None:
        digest.update(json.dumps(value, ensure_ascii=True).encode() + b"\n")

    length, rate = float(media.duration), float(media.frame_rate)  # 10 is written as 10.0, as it is read again
    add([media.key, media.kind, length, media.recipe, media.width, media.height, rate, media.size])
    add(dict(sorted(media.missing.items())))
    add([[float(row["start"]), float(row["end"]), bool(row["still"])] for row in segments])
    for part in spaces:
        add([part.space.id, part.names, part.facts.shape, part.vectors.shape])
        for array in (part.tokens, part.facts, part.vectors, part.segment):
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    add(
        [
            [float(line.span.start), float(line.span.end), line.text, line.modality, float(line.confidence)]
            for line in lines
        ]
    )
    return digest.digest()


def media_digest(content: bytes, paths: Sequence[str], metadata: Metadata) -> bytes:
    """SHA-256 of a media with its paths and metadata."""
    said = [metadata.title, metadata.tags, metadata.recorded, metadata.recorded_source, metadata.collection]
    told = [[packed(path).hex() for path in paths], said]
    return sha256(content + json.dumps(told).encode()).digest()


def words(parcel: Parcel, first: int) -> list[tuple[int, Modality, str]]:
    """The lines that words are looked up in: segment number, modality, text; in order of time."""
    held = sorted(zip(parcel.line_segment, parcel.lines, strict=True), key=lambda pair: pair[1].span)
    return [(first + segment, line.modality, line.text) for segment, line in held if segment >= 0]
