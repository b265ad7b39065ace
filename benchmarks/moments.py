"""Where in a video: the spans that search gives, against what one would do without them.

python benchmarks/moments.py --media DIR [--library LIB]    # DIR has manifest.jsonl, long/, and the clips
python benchmarks/moments.py --media DIR --films SET --films SET --moment-head HEAD --moment-head HEAD
python benchmarks/moments.py --media DIR --films SET --captions train.jsonl    # to train a head on, of the choose half
python benchmarks/moments.py --hours 10                     # how long it takes in one made-up film of ten hours

Labelled moments of the clips, and of the long videos that are cut together from them, each asked within its own video;
with --films the parts of the media of order sets that were made of these clips (`reelseek make order-set`), where both
parts are of one half; and captions of whole clips, which should not be cut.  Beside search: the stretch around the peak
that was its answer before there were windows; the answer of each trained head; the whole video; the best 10 s of a
fixed grid; 5 s either side of the best second; and where moments lie in general (the mean place and length of all
others, in shares of the video).  Below stand the first five answers of search, and five moments of windows alone.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import machine
import numpy as np
from _library import spaces
from quality import Question

from api import Library
from encoders import minilm
from indexer.representatives import segment_vectors
from retriever import windows
from retriever.evaluation import _spans
from retriever.evidence import DROP, Witness
from retriever.moments import Curve
from retriever.query import parse
from retriever.relevance import relevance
from retriever.scoring import Scorer
from retriever.search import Searcher, words_of
from retriever.spanning import MomentHead
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
    half: str
    kind: str  # clip, long, film, whole


def labelled(folder: Path) -> list[Labelled]:
    found = []
    for line in (folder / "manifest.jsonl").read_text("utf-8").splitlines():
        clip = json.loads(line)
        for said in clip["moments"]:
            span = TimeSpan(said["start_s"], said["end_s"])
            found.append(Labelled(said["query"], folder / clip["file"], span, _half(clip["id"]), "clip"))
    for line in (folder / "long" / "long_moments.jsonl").read_text("utf-8").splitlines():
        said = json.loads(line)
        span = TimeSpan(said["start_s"], said["end_s"])
        path = folder / "long" / said["video"]
        found.append(Labelled(said["query"], path, span, _half(said["clip"]), "long"))
    return found


def whole(folder: Path) -> list[Labelled]:
    """Captions of clips from end to end."""
    found = []
    for line in (folder / "manifest.jsonl").read_text("utf-8").splitlines():
        clip = json.loads(line)
        span = TimeSpan(0.0, clip["duration_s"])
        found += [Labelled(said, folder / clip["file"], span, _half(clip["id"]), "whole") for said in clip["captions"]]
    return found


def films(library: Library, folder: Path) -> list[Labelled]:
    """The parts of joined media, of those whose two clips are of one half; their clips are in the library."""
    stems = {item.key: Path(item.path).stem for item in library.media()}
    found = []
    for line in (folder / "set.jsonl").read_text("utf-8").splitlines():
        film = json.loads(line)
        halves = {_half(stems[source["media"]]) for source in film["sources"]}
        if len(halves) == 1:
            for text, span in zip((film["before"], film["after"]), film["spans"], strict=True):
                found.append(Labelled(text, folder / film["media"], TimeSpan(*span), halves.copy().pop(), "film"))
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
    stretch: TimeSpan | None  # around the peak, as search answered before
    placed: Mapping[str, TimeSpan | None]  # of each head
    several: tuple[Sequence[_spans.Window], Sequence[_spans.Window]]  # of search, and of windows
    curve: Curve
    prior: tuple[float, float]  # mean middle and mean length of the others, in shares of the video


def search(one: Asked) -> TimeSpan | None:
    return one.best


def stretch(one: Asked) -> TimeSpan | None:
    return one.stretch


def everything(one: Asked) -> TimeSpan:
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
    "stretch (before)": stretch,
    "best 10 s of a grid": chunk,
    "best second ± 5 s": frame,
    "whole video": everything,
    "where moments lie": prior,
}


def asked(library: Library, moments: list[Labelled], heads: Mapping[str, MomentHead]) -> list[Asked]:
    media = {str(Path(path).resolve()): item for item in library.media() for path in item.paths}
    held = [one for one in moments if str(one.path.resolve()) in media]
    items = {one: media[str(one.path.resolve())] for one in held}
    shares = {one: (one.span.middle / item.duration, one.span.length / item.duration) for one, item in items.items()}
    found = []
    for one in held:
        item = items[one]
        where = Filter(media=frozenset({item.key}))
        answer = library.search(one.query, limit=5, min_confidence=0, where=where)
        (found_in,) = relevance(library.searcher, one.query, [item.key])
        others = np.array([share for other, share in shares.items() if other is not one and other.kind == one.kind])
        middle, length = others.mean(axis=0).tolist()
        best = answer[0].span if len(answer) else None
        earlier, several = beside(library, one.query, where)
        if parse(one.query).said is not None:  # steps and terms are placed otherwise, by what they were before
            earlier = best
        placed = {name: with_head(library, head, one.query, where) for name, head in heads.items()}
        first_five = [(moment.start_s, moment.end_s, moment.score) for moment in answer]
        curve = _highest(list(found_in.curves.values()))
        found.append(Asked(one, item.duration, best, earlier, placed, (first_five, several), curve, (middle, length)))
    return found


def beside(library: Library, query: str, where: Filter) -> tuple[TimeSpan | None, list[_spans.Window]]:
    """The stretch around the best candidate's peak, and several moments of windows alone."""
    searcher = library.searcher
    question = parse(query)
    with searcher.store.snapshot() as snapshot:
        scorer = Scorer(snapshot, searcher.looking, searcher.calibrator.of(snapshot).levels)
        words = words_of(question)
        (scored,) = scorer.score(searcher.views(snapshot, [question.sentence]), [words], 200, where)
        witness = Witness(snapshot, scored, words)
        curve = witness.curve(0, len(scored))
        span = curve.around(*scored.table.spans[int(np.argmax(scored.fused))].tolist(), DROP)
        several = windows.moments(curve, witness.rest, 5, np.unique(scored.table.spans))
    return TimeSpan(*span) if span else None, [tuple(one) for one in several]


def with_head(library: Library, head: MomentHead, query: str, where: Filter) -> TimeSpan | None:
    """What search answers with a trained head."""
    searcher = library.searcher
    looking = searcher.looking
    searcher.looking = replace(looking, moments=head)
    try:
        answer = searcher.search(query, limit=1, min_confidence=0, where=where)
    finally:
        searcher.looking = looking
    return answer[0].span if len(answer) else None


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
    if not found:
        return
    print(f"\n{title} ({len(found)})\n{'':24s}" + "  ".join(f"R1@{threshold}" for threshold in THRESHOLDS) + "    mIoU")
    trained = {name: lambda one, name=name: one.placed[name] for name in found[0].placed}
    by_method = {name: overlaps(found, method) for name, method in {**trained, **METHODS}.items()}
    for name, overlap in by_method.items():
        print(f"  {name:20s}  {row(overlap)}")
    for name, place in (("search, five", 0), ("windows, five", 1)):
        hit = np.array([_best_of(one, one.several[place]) for one in found])
        print(
            f"  {name:20s}  " + "  ".join(f"{(hit >= threshold).mean():7.2f}" for threshold in THRESHOLDS) + "   (R5)"
        )


def _best_of(one: Asked, answers: Sequence[_spans.Window]) -> float:
    """The best overlap of several answers."""
    return float(_spans.overlaps(answers, [(one.moment.span.start, one.moment.span.end)]).max(initial=0.0))


def captions(library: Library, folder: Path, sets: Sequence[Path]) -> list[dict[str, object]]:
    """Captions of whole clips, and of the parts of joined media, of the choose half, as `reelseek train moments` reads
    them.  Labelled moments are not among them: they are what is measured."""
    lines: list[dict[str, object]] = []
    for one in whole(folder):
        if one.half == "choose":
            lines.append({"media": str(one.path.resolve()), "caption": one.query})
    for place in sets:
        for one in films(library, place):
            if one.half == "choose":
                span = [one.span.start, one.span.end]
                lines.append({"media": str(one.path.resolve()), "caption": one.query, "span": span})
    return lines


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
    parser.add_argument("--films", type=Path, action="append", default=[], metavar="SET")
    parser.add_argument("--moment-head", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--captions", type=Path, metavar="FILE", help="write what a head may be trained on, and stop")
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
    heads = {f"head {folder.name}": MomentHead.load(folder) for folder in args.moment_head}
    with tempfile.TemporaryDirectory() as folder, Library.open(args.library or Path(folder) / "library") as library:
        library.index([args.media])
        joined = [one for place in args.films for one in films(library, place)]
        library.index(sorted({one.path for one in joined}))
        if args.captions:
            lines = captions(library, args.media, args.films)
            args.captions.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
            print(f"{len(lines)} captions in {args.captions}")
            return
        found = asked(library, [*labelled(args.media), *joined, *whole(args.media)], heads)
    marked = [one for one in found if one.moment.kind in ("clip", "long")]
    for half in ("choose", "report"):
        table(f"marked by people, {half}", [one for one in marked if one.moment.half == half])
        own = [one for one in found if one.moment.half == half]
        table(f"parts of joined films, {half}", [one for one in own if one.moment.kind == "film"])
        table(f"captions of whole clips, {half}", [one for one in own if one.moment.kind == "whole"])
    table("long videos", [one for one in marked if one.moment.kind == "long"])
    table("clips", [one for one in marked if one.moment.kind == "clip"])
    table("marked by people", marked)


if __name__ == "__main__":
    main()
