"""Where in a video: the spans that search gives, against what one would do without them.

python benchmarks/moments.py --media DIR [--library LIB]    # DIR has manifest.jsonl, long/, and the clips
python benchmarks/moments.py --hours 10                     # how long it takes in one made-up film of ten hours

Labelled moments of the clips, and of the long videos that are cut together from them, each asked within its own video.
Beside search: the whole video; the best 10 s of a fixed grid; 5 s either side of the best second; and where moments lie
in general (the mean place and length of all others, in shares of the video).
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import machine
import numpy as np
from _library import spaces
from quality import Question

from api import Library
from encoders import minilm
from indexer.representatives import segment_vectors
from retriever.moments import Curve
from retriever.relevance import relevance
from retriever.search import Searcher
from retriever.stores import memory
from retriever.types import Entry, Filter, Line, Media, MediaKind, Modality, Segment, TimeSpan, Tokens

CHUNK, AROUND = 10.0, 5.0  # seconds
THRESHOLDS = (0.3, 0.5, 0.7)
RESAMPLED = 2_000


@dataclass(frozen=True, slots=True)
class Labelled:
    """A moment that somebody marked."""

    query: str
    path: Path
    span: TimeSpan
    type: str
    half: str
    long: bool


def labelled(folder: Path) -> list[Labelled]:
    found = []
    for line in (folder / "manifest.jsonl").read_text("utf-8").splitlines():
        clip = json.loads(line)
        for said in clip["moments"]:
            span = TimeSpan(said["start_s"], said["end_s"])
            kind = "clip"
            found.append(Labelled(said["query"], folder / clip["file"], span, kind, _half(clip["id"]), False))
    for line in (folder / "long" / "long_moments.jsonl").read_text("utf-8").splitlines():
        said = json.loads(line)
        span = TimeSpan(said["start_s"], said["end_s"])
        path = folder / "long" / said["video"]
        found.append(Labelled(said["query"], path, span, said["type"], _half(said["clip"]), True))
    return found


def _half(stem: str) -> str:
    return Question("", "", (stem,)).half


# --------------------------------------------------------------------------------------------------------- the methods


@dataclass(frozen=True, slots=True)
class Asked:
    """One moment, and what is known for guessing it."""

    moment: Labelled
    duration: float
    best: TimeSpan | None  # of search
    curve: Curve
    prior: tuple[float, float]  # mean middle and mean length of the others, in shares of the video


def search(one: Asked) -> TimeSpan | None:
    return one.best


def whole(one: Asked) -> TimeSpan:
    return TimeSpan(0.0, one.duration)


def chunk(one: Asked) -> TimeSpan:
    starts = np.arange(0, one.duration, CHUNK).tolist()
    best = max(starts, key=lambda start: one.curve.highest(start, start + CHUNK))
    return TimeSpan(best, min(best + CHUNK, one.duration))


def frame(one: Asked) -> TimeSpan:
    peak = int(np.argmax(one.curve.heights))
    middle = float(one.curve.edges[peak : peak + 2].mean())
    return TimeSpan(max(0.0, middle - AROUND), min(one.duration, middle + AROUND))


def prior(one: Asked) -> TimeSpan:
    middle, length = (share * one.duration for share in one.prior)
    return TimeSpan(max(0.0, middle - length / 2), min(one.duration, middle + length / 2))


METHODS: Mapping[str, Callable[[Asked], TimeSpan | None]] = {
    "search": search,
    "best 10 s of a grid": chunk,
    "best second ± 5 s": frame,
    "whole video": whole,
    "where moments lie": prior,
}


def asked(library: Library, moments: list[Labelled]) -> list[Asked]:
    media = {path: item for item in library.media() for path in item.paths}
    held = [one for one in moments if str(one.path.absolute()) in media]
    shares = {
        one: (one.span.middle / item.duration, one.span.length / item.duration)
        for one in held
        if (item := media[str(one.path.absolute())])
    }
    found = []
    for one in held:
        item = media[str(one.path.absolute())]
        answer = library.search(one.query, limit=1, min_confidence=0, where=Filter(media=frozenset({item.key})))
        (found_in,) = relevance(library.searcher, one.query, [item.key])
        others = np.array([share for other, share in shares.items() if other is not one])
        middle, length = others.mean(axis=0).tolist()
        best = answer[0].span if len(answer) else None
        found.append(Asked(one, item.duration, best, _highest(list(found_in.curves.values())), (middle, length)))
    return found


def _highest(curves: list[Curve]) -> Curve:
    spans = np.concatenate([np.stack([one.edges[:-1], one.edges[1:]], axis=1) for one in curves])
    return Curve.of(spans, np.concatenate([one.heights for one in curves]))


def overlaps(found: list[Asked], method: Callable[[Asked], TimeSpan | None]) -> np.ndarray:
    guesses = [method(one) for one in found]
    return np.array([guess.iou(one.moment.span) if guess else 0.0 for one, guess in zip(found, guesses, strict=True)])


def row(overlap: np.ndarray) -> str:
    draw = np.random.default_rng(0)
    means = draw.choice(overlap, (RESAMPLED, len(overlap))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    recalls = "  ".join(f"{(overlap >= threshold).mean():7.2f}" for threshold in THRESHOLDS)
    return f"{recalls}  {overlap.mean():6.3f} [{low:.3f}, {high:.3f}]"


def table(title: str, found: list[Asked]) -> None:
    print(f"\n{title} ({len(found)})\n{'':24s}" + "  ".join(f"R1@{threshold}" for threshold in THRESHOLDS) + "    mIoU")
    by_method = {name: overlaps(found, method) for name, method in METHODS.items()}
    for name, overlap in by_method.items():
        print(f"  {name:20s}  {row(overlap)}")


def timing(hours: float) -> None:
    """One film with a token a second in each of four spaces, among a few others, and the questions to it."""
    store = memory.build()
    encoder = minilm.build()
    length = round(3600 * hours)
    for number, seconds in enumerate((length, *[60] * 20)):
        store.add(film(f"film{number:02d}", seconds, encoder, number))
    searcher = Searcher(store, lambda texts, side: encoder.encode(texts))
    where = Filter(media=frozenset({"film00"}))
    questions = ("a dog barks", "a dog barks THEN a man laughs", "a dog barks -rain", "a THEN b THEN c WITHIN 60s")
    print(
        f"\none film of {hours:g} hours, {length:,} tokens in each of {len(spaces())} spaces; first question of a shape"
    )
    for question in questions:
        began = perf_counter()
        searcher.search(question, where=where, min_confidence=0)
        first = perf_counter() - began
        took = machine.timed(lambda question=question: searcher.search(question, where=where, min_confidence=0), 9)
        print(f"  {question:32s} first {first:6.1f} s, then {took}")
    print(f"  peak memory {machine.peak_megabytes():.0f} MB")


def film(key: str, seconds: int, encoder: minilm.MiniLM, seed: int) -> Entry:
    """Made up: tokens around a scene that changes every half minute; a line now and then."""
    draw = np.random.default_rng(seed)
    scenes = draw.standard_normal((seconds // 30 + 1, encoder.dimension))
    spans = np.stack([np.arange(seconds), np.arange(seconds) + 1], axis=1).astype(np.float64)
    segments = tuple(Segment(TimeSpan(start, min(start + 10, seconds))) for start in range(0, seconds, 10))
    tokens = {}
    for space in spaces().values():
        rows = scenes[np.arange(seconds) // 30] + draw.standard_normal((seconds, encoder.dimension))
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        tokens[space.id] = Tokens(rows, spans, np.ones(seconds, np.float32))
    vectors = {space: segment_vectors(own, segments, 4) for space, own in tokens.items()}
    lines = tuple(
        Line(TimeSpan(start, start + 2), "a line that somebody says about rain", Modality.SPEECH, 0.9)
        for start in range(0, seconds - 2, 60)
    )
    media = Media(key, (f"/{key}.mp4",), MediaKind.VIDEO, float(seconds), "made-up")
    return Entry(media, segments, {space.id: space for space in spaces().values()}, tokens, vectors, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--hours", type=float, default=0.0)
    args = parser.parse_args()
    if args.media is None and not args.hours:
        args.media = Path(__file__).parents[2] / "shared" / "media"
    if args.media is not None and not (args.media / "manifest.jsonl").is_file():
        parser.error(f"{args.media} has no manifest.jsonl")
    print(machine.describe())
    if args.hours:
        timing(args.hours)
    if args.media is None:
        return
    with tempfile.TemporaryDirectory() as folder, Library.open(args.library or Path(folder) / "library") as library:
        library.index([args.media])
        found = asked(library, labelled(args.media))
    for half in ("choose", "report"):
        table(f"all, {half}", [one for one in found if one.moment.half == half])
    table("long videos", [one for one in found if one.moment.long])
    table("clips", [one for one in found if not one.moment.long])
    table("all", found)


if __name__ == "__main__":
    main()
