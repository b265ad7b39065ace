"""A file that a query shows becomes vectors: decoded in a child and encoded as the library's media are, kept nowhere.

views = shown(Path("cat.jpg"), None, "image", recipe, encoders)     # by Space.id
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from indexer.decoding import Decoder
from indexer.encoding import Encoders, encode
from indexer.ports import Probe
from indexer.recipe import Recipe
from indexer.run import wanted
from retriever.alike import unit
from retriever.errors import QueryError
from retriever.types import Matrix, MediaKind, TimeSpan, Vector, clock, touching

LONGEST = 120.0
"""Seconds: the mean of what is longer than this is like everything."""
ENCODERS = {"image": ("vision",), "sound": ("sound",), "clip": ("vision", "clips", "sound")}
"""By kind of example what encodes it: still pictures do not move, and nothing is read or understood word by word."""


def shown(path: Path, span: TimeSpan | None, kind: str, recipe: Recipe, encoders: Encoders) -> dict[str, Vector]:
    """What a file shows, or this span of it, in each space that its kind has; none where no encoder is here for it.

    Raises:
        MediaError: the file cannot be used.
        QueryError: it is a file of another kind, lacks the wanted stream, or is too long.
    """
    ours = replace(Encoders(encoders.sentences), **{name: getattr(encoders, name) for name in ENCODERS[kind]})
    if not ours.spaces:
        return {}
    with Decoder() as decoder:
        probe = _fitting(decoder.probe(path, recipe.reader), path, kind)
        whole = TimeSpan(0.0, max(probe.duration, 1e-3))
        if span and span.start >= whole.end:
            raise QueryError(
                f"{kind}:{path} lasts {clock(whole.end)}, and {span} begins behind that: name an earlier span"
            )
        part = TimeSpan(span.start, min(span.end, whole.end)) if span else whole
        if part.length > LONGEST and kind != "image":
            raise QueryError(
                f"{kind}:{path} shows {part.length:.0f} s, at most {LONGEST:.0f} s are compared: "
                f"name them, such as {kind}:{path}@0:10-0:20"
            )
        parts: dict[str, list[Matrix]] = {}
        order = wanted(recipe, ours)
        for chapter in decoder.chapters(path, order, int(part.start // order.chapter)):
            (encoded,) = encode([chapter], ours)
            for space, tokens in encoded.tokens.items():
                rows = tokens.rows if kind == "image" else tokens.rows[touching(tokens.spans, part)]
                parts.setdefault(space, []).append(rows)
            if chapter.span.end >= part.end:
                break
    return _means(parts, ours)


def fits(path: Path, kind: str) -> None:
    """See that a file can be shown as this kind.

    Raises:
        MediaError, QueryError: as `shown`.
    """
    with Decoder() as decoder:
        _fitting(decoder.probe(path), path, kind)


def _fitting(probe: Probe, path: Path, kind: str) -> Probe:
    if (probe.kind is MediaKind.IMAGE) != (kind == "image"):
        called = "picture" if probe.kind is MediaKind.IMAGE else str(probe.kind)
        other = {MediaKind.IMAGE: "image", MediaKind.SOUND: "sound", MediaKind.VIDEO: "clip"}[probe.kind]
        raise QueryError(f"{kind}:{path} is a {called}: write {other}:{path}")
    return probe


def _means(parts: Mapping[str, list[Matrix]], encoders: Encoders) -> dict[str, Vector]:
    found: dict[str, Vector] = {}
    for space, one in encoders.spaces.items():
        rows = np.concatenate([np.zeros((0, one.dimension), np.float32), *parts.get(space, [])])
        mean = unit(rows.mean(axis=0)) if len(rows) else np.zeros(one.dimension, np.float32)
        if mean.any():
            found[space] = mean
    return found
