"""Small libraries for tests of stores: entries made from a seed, and what a library holds in a form to compare."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from retriever.ports import Snapshot, Store
from retriever.stores import local
from retriever.types import (
    LABELS_KEPT,
    Entry,
    Filter,
    Line,
    Matrix,
    Media,
    MediaKind,
    Metadata,
    Modality,
    Segment,
    SegmentVectors,
    Side,
    Space,
    TimeSpan,
    Tokens,
    WordQuery,
    jsonable,
)

DIMENSION = 16
SEEN = Space("seen→words", Modality.VISION, DIMENSION, "seen:1", "words:1", "1")
HEARD = Space("heard→words", Modality.SOUND, DIMENSION, "heard:1", "words:1", "1")
SPACES = {SEEN.id: SEEN, HEARD.id: HEARD}
SEEN_AGAIN = Space("seen→words", Modality.VISION, 24, "seen:2", "others:1", "1")
"""What other weights make of the same pictures: named as `SEEN`, and not to be compared with it."""
OLD = Side("r1", '{"pack": "offline"}', frozenset(SPACES))
NEW = Side("r2", '{"pack": "openclip"}', frozenset({SEEN_AGAIN.id, HEARD.id}))
NAMES = ("parrot", "street", "pancake", "piano", "crowd", "rain", "train")
SENTENCES = (
    "the quick brown fox",
    "rain falls on the street",
    "a parrot says hello",
    "thanks for watching",
    "the train is late again",
    "a crowd cheers for the fox",
)


UNSAID = Metadata()


def unit(rows: np.ndarray) -> Matrix:
    made: Matrix = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return made


def directions(count: int, seed: int, dimension: int = DIMENSION) -> Matrix:
    """`(count, dimension)` random unit rows."""
    return unit(np.random.default_rng(seed).standard_normal((count, dimension)))


def tokens(rng: np.random.Generator, duration: float, step: float, dimension: int = DIMENSION) -> Tokens:
    starts = np.arange(0, duration, step)
    labels = tuple(
        tuple(rng.choice(NAMES, size=rng.integers(0, LABELS_KEPT + 1), replace=False).tolist()) for _ in starts
    )
    probabilities = np.zeros((len(starts), LABELS_KEPT), np.float32)
    for row, names in zip(probabilities, labels, strict=True):
        row[: len(names)] = np.sort(rng.random(len(names)))[::-1]
    return Tokens(
        unit(rng.standard_normal((len(starts), dimension))),
        np.stack([starts, np.minimum(starts + step, duration)], axis=1),
        rng.uniform(0.5, 2, len(starts)).astype(np.float32),
        labels,
        probabilities,
    )


def vectors(found: Tokens, segments: Sequence[Segment]) -> SegmentVectors:
    """Of each segment its mean, and its first token as the one representative."""
    rows, owners = [], []
    for number, segment in enumerate(segments):
        part = found.within(segment.span).rows
        if len(part):
            rows += [unit(part.mean(axis=0)), part[0]]
            owners += [number, number]
    return SegmentVectors(np.array(rows, np.float32).reshape(-1, found.rows.shape[1]), np.array(owners, np.int32))


def entry(
    key: str,
    seed: int = 0,
    *,
    paths: Sequence[str] = (),
    segments: int = 3,
    seconds: float = 4.0,
    spaces: Sequence[Space] = (SEEN, HEARD),
    metadata: Metadata = UNSAID,
    kind: MediaKind = MediaKind.VIDEO,
    lines: Sequence[Line] | None = None,
) -> Entry:
    """A media of `segments` segments of `seconds` seconds each, with tokens in `spaces` and a few lines."""
    rng = np.random.default_rng([seed, *key.encode()])
    duration = segments * seconds
    cuts = tuple(Segment(TimeSpan(at * seconds, (at + 1) * seconds)) for at in range(segments))
    found = {space.id: tokens(rng, duration, 0.5 + n * 0.25, space.dimension) for n, space in enumerate(spaces)}
    if lines is None:
        lines = [
            Line(
                TimeSpan(at * seconds + 0.5, at * seconds + 2.0),
                str(rng.choice(SENTENCES)),
                Modality.SPEECH if at % 2 else Modality.TEXT,
                round(float(rng.random()), 3),
            )
            for at in range(segments)
        ]
    return Entry(
        Media(
            key,
            tuple(paths) or (f"/clips/{key}.mp4",),
            kind,
            duration,
            recipe="r1",
            width=640,
            height=360,
            frame_rate=25.0,
            size=1000 + seed,
            metadata=metadata,
            missing={"text": "no recognizer"} if seed % 2 else {},
        ),
        cuts,
        {space.id: space for space in spaces},
        found,
        {space: vectors(part, cuts) for space, part in found.items()},
        tuple(lines),
    )


def more(each: Entry, *spaces: Space, recipe: str = NEW.digest, seed: int = 0) -> Entry:
    """What another recipe makes of the same media: tokens in these spaces, over the same segments."""
    rng = np.random.default_rng([seed, *each.media.key.encode()])
    found = {space.id: tokens(rng, each.media.duration, 0.7, space.dimension) for space in spaces}
    return Entry(
        replace(each.media, recipe=recipe),
        each.segments,
        {space.id: space for space in spaces},
        found,
        {space: vectors(part, each.segments) for space, part in found.items()},
    )


def contents(snapshot: Snapshot) -> dict[str, Any]:
    """All that a library holds, by media key, and its answers: equal for libraries that are identical."""
    numbers = snapshot.numbers()
    table = snapshot.segments(numbers)
    held = snapshot.media_at(table.media)
    lines = snapshot.lines(numbers)
    ragged = {space: snapshot.tokens(numbers, space) for space in sorted(snapshot.spaces)}
    found: dict[str, Any] = {
        media.key: {"media": media, "segments": []} for media in sorted(snapshot.media(), key=lambda media: media.key)
    }
    place: dict[int, tuple[str, float]] = {}
    for at, (number, media) in enumerate(zip(numbers.tolist(), held, strict=True)):
        place[number] = (media.key, float(table.spans[at, 0]))
        parts = {}
        for space, tokens in ragged.items():
            lo, hi = tokens.offsets[at], tokens.offsets[at + 1]
            parts[space] = (
                tokens.rows[lo:hi].tobytes(),
                tokens.spans[lo:hi].tolist(),
                tokens.norms[lo:hi].tolist(),
                [tuple(names) for names in tokens.labels[int(lo) : int(hi)]],
                tokens.probabilities[lo:hi].tolist(),
            )
        found[media.key]["segments"].append((table.spans[at].tolist(), bool(table.still[at]), lines[at], parts))
    answers: dict[str, Any] = {
        key: [ranked(ranking, place) for ranking in snapshot.nearest(directions(4, 7, space.dimension), key, 50)]
        for key, space in sorted(snapshot.spaces.items())
    }
    for word in ("fox", "parrot", "train", "street"):
        for modality in (Modality.SPEECH, Modality.TEXT):
            answers[f"{modality}:{word}"] = ranked(snapshot.matching(WordQuery((word,)), modality, 50), place)
    counts = {name: count for name, count in snapshot.counts().items() if name != "bytes"}
    return {"media": found, "answers": answers, "counts": counts, "generation": snapshot.generation}


def held(store: Store) -> dict[str, Any]:
    """`contents` of what is committed now."""
    with store.snapshot() as snapshot:
        return contents(snapshot)


def found(folder: Path) -> dict[str, Any]:
    """The same of the library in a folder, opened anew."""
    store = local.build(folder, create=False)
    try:
        return held(store)
    finally:
        store.close()


def ranked(ranking: Any, place: dict[int, tuple[str, float]]) -> list[tuple[float, tuple[str, float]]]:
    """Scores with what they belong to; equal ones in an order that no history changes."""
    pairs = [
        (round(float(score), 4), place[number])
        for number, score in zip(ranking.segments.tolist(), ranking.scores.tolist(), strict=True)
    ]
    return sorted(pairs, key=lambda pair: (-pair[0], pair[1]))


def facts(snapshot: Snapshot, queries: Matrix) -> dict[str, Any]:
    """What a library says of itself and how it answers `queries`, as plain JSON that can be kept for years."""
    numbers = snapshot.numbers()
    table = snapshot.segments(numbers)
    place = {
        number: f"{media.key}@{start:g}"
        for number, media, start in zip(
            numbers.tolist(), snapshot.media_at(table.media), table.spans[:, 0].tolist(), strict=True
        )
    }
    return {
        "generation": snapshot.generation,
        "media": [jsonable(media) for media in snapshot.media()],
        "counts": {name: count for name, count in snapshot.counts().items() if name != "bytes"},
        "lines": [[line.text for line in lines] for lines in snapshot.lines(numbers)],
        "labels": {
            space: [list(names) for names in snapshot.tokens(numbers, space).labels] for space in snapshot.spaces
        },
        "nearest": {
            space: [
                [[place[int(number)], round(float(score), 3)] for number, score in zip(*pairs, strict=True)]
                for pairs in ((each.segments, each.scores) for each in snapshot.nearest(queries, space, 5))
            ]
            for space in snapshot.spaces
        },
        "fox": [place[int(number)] for number in snapshot.matching(WordQuery(("fox",)), Modality.TEXT, 5).segments],
    }


def only(*keys: str) -> Filter:
    return Filter(media=frozenset(keys))
