"""What a budget of frames costs in answers: salient frames against as many uniform ones, and adaptive ones.

Every sampling indexes the same media with the default pack, vision and sound only.  Three kinds of questions: those of
the labelled clips; moments that are labelled in clips and in long videos; and splices, which are made here: up
to 24 s of one clip, and in it one second of another, without sound.

python benchmarks/budget.py --media DIR [--budgets 0.1 0.3] [--splices 24]   # DIR has queries.jsonl and the clips

Lost is how much less the best token of the right clip scores than with all frames, in standard deviations of that
question's scores over all tokens.  A moment is seen if one of its pictures was encoded; overlap is intersection over
union with the best moment that is found in that film.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import machine
import numpy as np
import quality
from numpy.typing import NDArray
from quality import HALVES, Bench, Question

from api import Library, parts
from indexer import pipeline, recipe, sampling, sources
from indexer.decoding import Decoder, Wanted
from indexer.encoding import Encoders, _rows
from indexer.events import Summary
from indexer.executors import local as executor
from indexer.run import Run
from retriever import processes
from retriever.stores import local as stores
from retriever.types import Filter, Modality, Pictures, Sound, Times, TimeSpan, Tokens

BUDGETS = (0.1, 0.2, 0.3, 0.5)
ALL = "all of them"
"""Name of the sampling that all are compared with: two frames a second."""
SIZE = (320, 240)
RATE = 10
SPLICE = 1.0
"""Seconds of another clip in a splice."""
HOST_SECONDS = (12.0, 24.0)
"""Shortest clip that is spliced into, and how much of it is taken."""


# ----------------------------------------------------------------------------------------------------------- questions


@dataclass(frozen=True, slots=True)
class Labelled:
    """A moment of a film that a sentence tells of."""

    text: str
    path: Path
    span: TimeSpan
    half: str  # "choose" or "report"


def half_of(stem: str) -> str:
    return Question("", "", (stem,)).half


def moments(folder: Path) -> list[Labelled]:
    """Those of the clips and those of the long videos that can be seen."""
    found = []
    for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        clip = json.loads(line)
        if clip["kind"] == "video":
            path = folder / clip["file"]
            for said in clip["moments"]:
                span = TimeSpan(said["start_s"], said["end_s"])
                found.append(Labelled(said["query"], path, span, half_of(clip["id"])))
    truth = folder / "long" / "long_moments.jsonl"
    for line in truth.read_text(encoding="utf-8").splitlines() if truth.is_file() else ():
        said = json.loads(line)
        if said["type"] in ("visual", "temporal"):
            span = TimeSpan(said["start_s"], said["end_s"])
            found.append(Labelled(said["query"], folder / "long" / said["video"], span, half_of(said["clip"])))
    return found


def splices(media: Path, into: Path, count: int) -> list[Labelled]:
    """Films with a second of another clip in each, and the captions of that clip.  Both clips are of one half."""
    clips = [json.loads(line) for line in (media / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    clips = [clip for clip in clips if clip["kind"] == "video"]
    rng = np.random.default_rng(0)
    shown: dict[str, list[NDArray[np.uint8]]] = {}
    found = []
    with Decoder() as decoder:
        for clip in clips:
            shown[clip["id"]] = pictures(decoder, media / clip["file"])
        hosts = [clip for clip in clips if clip["duration_s"] >= HOST_SECONDS[0]]
        for number in range(count):
            host = hosts[number % len(hosts)]
            others = [clip for clip in clips if clip is not host and half_of(clip["id"]) == half_of(host["id"])]
            guest = others[int(rng.integers(len(others)))]
            film, piece = list(shown[host["id"]]), shown[guest["id"]]
            long = min(round(SPLICE * RATE), len(piece))
            at = int(rng.integers(RATE, len(film) - 2 * long))
            first = (len(piece) - long) // 2
            film[at : at + long] = piece[first : first + long]
            path = into / f"splice{number:02d}-{host['id']}-{guest['id']}.mp4"
            write(path, film)
            span = TimeSpan(at / RATE, (at + long) / RATE)
            found += [Labelled(caption, path, span, half_of(host["id"])) for caption in guest["captions"]]
    return found


def pictures(decoder: Decoder, path: Path) -> list[NDArray[np.uint8]]:
    wanted = Wanted("pyav", sampling.Fixed(RATE), SIZE[1], None, 0, (), 0.0)
    found: list[NDArray[np.uint8]] = []
    for chapter in decoder.chapters(path, wanted):
        found += [av.VideoFrame.from_ndarray(frame, "rgb24").reformat(*SIZE).to_ndarray() for frame in chapter.frames]
        if len(found) >= HOST_SECONDS[1] * RATE:
            break
    return found[: round(HOST_SECONDS[1] * RATE)]


def write(path: Path, film: Sequence[NDArray[np.uint8]]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for picture in film:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


# ----------------------------------------------------------------------------------------------------------- samplings


@dataclass(frozen=True, slots=True)
class Seen:
    """The frames of a library: rows `(N, D)`, spans `(N, 2)`, and the path of each `(N,)`."""

    rows: NDArray[np.float32]
    spans: NDArray[np.float64]
    paths: NDArray[np.str_]

    @classmethod
    def of(cls, library: Library) -> "Seen":
        with library.store.snapshot() as snapshot:
            numbers = snapshot.numbers()
            (key,) = (key for key, space in snapshot.spaces.items() if space.modality is Modality.VISION)
            tokens = snapshot.tokens(numbers, key)
            media = snapshot.media_at(snapshot.segments(numbers).media)
            paths = np.array([one.path for one in media]).repeat(np.diff(tokens.offsets))
            return cls(np.array(tokens.rows, np.float32), np.array(tokens.spans), paths)

    def of_film(self, path: Path) -> "Seen":
        mine = self.paths == str(path.absolute())
        return Seen(self.rows[mine], self.spans[mine], self.paths[mine])

    def times(self, everything: "Seen") -> NDArray[np.float64]:
        """When the picture of each was on show: that of all pictures in its span which gives the same row."""
        middles = everything.spans.mean(axis=1)
        found = []
        for row, (start, end) in zip(self.rows, self.spans, strict=True):
            inside = np.flatnonzero((middles >= start) & (middles < end))
            found.append(
                middles[inside[np.argmax(everything.rows[inside] @ row)]] if len(inside) else (start + end) / 2
            )
        return np.array(found)


def samplings(budgets: Sequence[float]) -> Iterator[tuple[str, str]]:
    """Names, and samplers as a recipe has them."""
    yield ALL, "fixed(2)"
    yield "adaptive", "adaptive(2)"
    for budget in budgets:
        yield f"uniform {budget:g}", f"fixed({2 * budget:g})"
        yield f"salient {budget:g}", f"salient(2, {budget!r})"


class Remembering:
    """An encoder that encodes nothing twice: a row does not depend on what stands beside it."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self.known: dict[bytes, Tokens] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)

    def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
        keys = [sha256(frame.tobytes()).digest() for frame in frames]
        fresh = [place for place, key in enumerate(keys) if key not in self.known]
        if fresh:
            told = self.encoder.encode_frames(frames[fresh], spans[fresh])
            for row, place in enumerate(fresh):
                self.known[keys[place]] = _rows(told, row, row + 1)
        them = [self.known[key] for key in keys]
        return Tokens(
            np.concatenate([one.rows for one in them]),
            spans,
            np.concatenate([one.norms for one in them]),
            tuple(label for one in them for label in one.labels),
            np.concatenate([one.probabilities for one in them]),
        )

    def encode_sound(self, sound: Sound) -> Tokens:
        key = sha256(sound.samples.tobytes() + str(sound.start).encode()).digest()
        if key not in self.known:
            self.known[key] = self.encoder.encode_sound(sound)
        return self.known[key]


def remembering(encoders: Encoders) -> Encoders:
    vision, sound = (
        {name: Remembering(one) for name, one in them.items()} for them in (encoders.vision, encoders.sound)
    )
    return replace(encoders, vision=vision, sound=sound)


def as_sampled(sampler: str) -> recipe.Recipe:
    return replace(recipe.pack("offline"), sampling=sampler, speech=(), text=())


def index(at: Path, folders: Sequence[Path], chosen: recipe.Recipe, encoders: Encoders) -> Summary:
    with Library.open(at):
        pass
    store = stores.build(at)
    segmenter = parts.SEGMENTERS.load(chosen.segmenter).build()
    run = Run(chosen, encoders, store, segmenter, processes.me(), lambda event: None, parts.decoders(0))
    done = pipeline.index(sources.found(folders), run, executor.build())
    store.close()
    return done


# -------------------------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one sampling, by question: what is compared."""

    frames: int  # of the clips and the long videos
    ranks: NDArray[np.float64]  # of all questions, fused
    vision: NDArray[np.float64]  # of what can be seen, captions too, by frames alone
    lost: NDArray[np.float64]  # of the same
    seen: NDArray[np.float64]  # of moments: 1 or 0
    spliced: NDArray[np.float64]  # of splices: the same
    overlap: NDArray[np.float64]  # of moments: with the best moment found in that film
    laid: NDArray[np.float64]  # of splices: the same


@dataclass(frozen=True, slots=True)
class Corpus:
    """Media and questions."""

    media: Path
    asked: Sequence[Question]
    told: Sequence[Question]  # what can be seen in one clip
    moments: Sequence[Labelled]
    splices: Sequence[Labelled]


def measured(corpus: Corpus, at: Path, everything: Seen | None, uniform: bool) -> tuple[Figures, Seen]:
    with Library.open(at, create=False) as library:
        seen = Seen.of(library)
        everything = everything or seen
        stems = sorted(
            Path(media.path).stem for media in library.media() if Path(media.path).parent == corpus.media.absolute()
        )
        bench = Bench(library, corpus.media, corpus.asked, stems)
        ranks = quality.ranks(bench.fused(), corpus.asked, stems)
        views = parts.asking(library.store)([question.text for question in corpus.told], side(library))  # (Q, D)
        spread = (everything.rows @ views.T).std(axis=0)  # (Q,)
        here, there = (best(one, corpus.media, stems, views) for one in (seen, everything))  # (Q, M)
        right = [[stems.index(stem) for stem in question.relevant] for question in corpus.told]
        lost = [
            (full[who].max() - some[who].max()) / width
            for full, some, who, width in zip(there, here, right, spread, strict=True)
        ]
        vision = quality.ranks(here, corpus.told, stems)
        times = {
            path: seen.of_film(path).spans.mean(axis=1)
            if uniform
            else seen.of_film(path).times(everything.of_film(path))
            for path in {one.path for one in (*corpus.moments, *corpus.splices)}
        }

        def is_seen(one: Labelled) -> bool:
            return any(one.span.start <= time < one.span.end for time in times[one.path])

        def overlap(one: Labelled) -> float:
            where = Filter(path=str(one.path.absolute()))
            answer = library.search(one.text, limit=1, min_confidence=0, where=where, copies="show")
            return answer.moments[0].span.iou(one.span) if answer.moments else 0.0

        labelled = [
            np.array([float(of(one)) for one in group])
            for of in (is_seen, overlap)
            for group in (corpus.moments, corpus.splices)
        ]
    frames = sum(Path(path).is_relative_to(corpus.media.absolute()) for path in seen.paths.tolist())
    return Figures(frames, ranks, vision, np.array(lost), *labelled), seen


def side(library: Library) -> str:
    with library.store.snapshot() as snapshot:
        return next(space.query_side for space in snapshot.spaces.values() if space.modality is Modality.VISION)


def best(seen: Seen, media: Path, stems: Sequence[str], views: NDArray[np.float32]) -> NDArray[np.float64]:
    """The best cosine of any frame, questions against clips `(Q, M)`; -inf for sounds."""
    found = np.full((len(views), len(stems)), -np.inf)
    folders = np.array([Path(path).parent == media.absolute() for path in seen.paths.tolist()])
    names = np.array([Path(path).stem for path in seen.paths.tolist()])
    for column, stem in enumerate(stems):
        mine = seen.rows[folders & (names == stem)]
        if len(mine):
            found[:, column] = (mine @ views.T).max(axis=0)
    return found


def table(figures: dict[str, Figures], corpus: Corpus, half: str) -> None:
    asked, told, labelled, spliced = (
        np.array([half in (one.half, "both") for one in them])
        for them in (corpus.asked, corpus.told, corpus.moments, corpus.splices)
    )
    print(
        f"\n## {half}: {asked.sum()} questions, {told.sum()} of sights and captions, {labelled.sum()} moments, "
        f"{spliced.sum()} captions of splices\n"
    )
    print(
        "| frames | share | all: R@1 | R@5 | MRR | sights: R@1 | R@5 | MRR | lost | worst tenth | moments seen | "
        "overlap | splices seen | overlap |"
    )
    print("|" + "---|" * 14)
    for name, one in figures.items():
        worst = np.sort(one.lost[told])[-max(1, int(told.sum()) // 10) :]
        cells = [f"{of(one.ranks[asked]).mean():.2f}" for of in quality.MEASURES.values()]
        cells += [f"{of(one.vision[told]).mean():.2f}" for of in quality.MEASURES.values()]
        cells += [f"{values.mean():.2f}" for values in (one.lost[told], worst, one.seen[labelled])]
        cells += [f"{values.mean():.2f}" for values in (one.overlap[labelled], one.spliced[spliced], one.laid[spliced])]
        print(f"| {name} | {one.frames / figures[ALL].frames:.2f} | " + " | ".join(cells) + " |")


def compared(figures: dict[str, Figures], budgets: Sequence[float]) -> None:
    """Salient less uniform, paired by question, over both halves."""
    print("\n## salient less uniform, both halves\n")
    print("| budget | sights: MRR | lost | moments seen | overlap | splices seen | overlap |")
    print("|" + "---|" * 7)
    for budget in budgets:
        one, other = figures[f"salient {budget:g}"], figures[f"uniform {budget:g}"]
        pairs = [(1 / one.vision, 1 / other.vision), (one.lost, other.lost), (one.seen, other.seen)]
        pairs += [(one.overlap, other.overlap), (one.spliced, other.spliced), (one.laid, other.laid)]
        print(f"| {budget:g} | " + " | ".join(quality.paired(*pair) for pair in pairs) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=Path(__file__).parents[2] / "shared" / "media")
    parser.add_argument("--budgets", type=float, nargs="+", default=BUDGETS)
    parser.add_argument("--splices", type=int, default=24, help="films that are made")
    args = parser.parse_args()
    if not (args.media / "queries.jsonl").is_file():
        parser.error(f"{args.media} has no queries.jsonl")
    print(machine.describe())
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "films"
        made.mkdir()
        asked = [question for question in quality.questions(args.media) if question.relevant]
        pictured = {
            clip["id"]
            for clip in map(json.loads, (args.media / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
            if clip["kind"] == "video"
        }
        told = [one for one in asked if one.type in ("visual", "temporal") and set(one.relevant) <= pictured]
        told += quality.captions(args.media, sorted(pictured))
        corpus = Corpus(args.media, asked, told, moments(args.media), splices(args.media, made, args.splices))
        figures: dict[str, Figures] = {}
        everything: Seen | None = None
        encoders = remembering(parts.encoders(as_sampled("fixed(2)")))
        for number, (name, sampler) in enumerate(samplings(args.budgets)):
            at = Path(scratch) / f"library-{number}"
            done = index(at, [args.media, made], as_sampled(sampler), encoders)
            uniform = sampler.startswith("fixed")
            figures[name], seen = measured(corpus, at, everything, uniform)
            everything = everything or seen
            print(f"{name}: {sampler}, {len(done.indexed)} files, {figures[name].frames} frames", flush=True)
        for half in (*HALVES, "both"):
            table(figures, corpus, half)
        compared(figures, args.budgets)


if __name__ == "__main__":
    main()
