"""A file that a query shows becomes vectors: decoded in a child and encoded as the library's media are, kept nowhere.

views = shown(Path("cat.jpg"), None, "image", recipe, encoders)     # by Space.id
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from indexer.decoding import Decoder
from indexer.encoding import Encoders, encode
from indexer.recipe import Recipe
from indexer.run import wanted
from retriever.errors import QueryError
from retriever.types import MediaKind, TimeSpan, Tokens, Vector, clock

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
        probe = decoder.probe(path, recipe.reader)
        if (probe.kind is MediaKind.IMAGE) != (kind == "image"):
            other = "clip" if kind == "image" else "image"
            raise QueryError(f"{kind}:{path} is a {probe.kind}: write {other}:{path}")
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
        parts: dict[str, list[Tokens]] = {}
        order = wanted(recipe, ours)
        for chapter in decoder.chapters(path, order, int(part.start // order.chapter)):
            (encoded,) = encode([chapter], ours)
            for space, tokens in encoded.tokens.items():
                parts.setdefault(space, []).append(tokens if kind == "image" else _touching(tokens, part))
            if chapter.span.end >= part.end:
                break
    return _means(parts, ours)


def _touching(tokens: Tokens, part: TimeSpan) -> Tokens:
    """The tokens in a span; where it is so short that none has its middle there, the nearest one."""
    inside = tokens.within(part)
    if len(inside) or not len(tokens):
        return inside
    nearest = int(np.argmin(np.abs(tokens.spans.mean(axis=1) - part.middle)))
    start, end = tokens.spans[nearest].tolist()
    return tokens.within(TimeSpan(start, end)) if start <= part.end and end >= part.start else inside


def _means(parts: Mapping[str, list[Tokens]], encoders: Encoders) -> dict[str, Vector]:
    found: dict[str, Vector] = {}
    for space, one in encoders.spaces.items():
        rows = Tokens.joined(parts.get(space, []), one.dimension).rows
        mean = rows.mean(axis=0) if len(rows) else np.zeros(one.dimension, np.float32)
        if (length := float(np.linalg.norm(mean))) > 0:
            found[space] = (mean / length).astype(np.float32)
    return found
