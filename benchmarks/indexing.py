"""How fast media become a library, and how near that is to the sum of its parts.

Each part (decode, encode, recognize, store) is run alone over the same files at the recipe of the quality table; their
sum is the floor of a pipeline that overlaps nothing.  Then the whole pipeline indexes the same files.  Rounds go by
turns, and the figures are ratios of the two.

python benchmarks/indexing.py --media DIR          # a folder of clips; without it, clips are made on the spot
python benchmarks/indexing.py --without speech text [--sampling keyframes]
python benchmarks/indexing.py --linear 30 300 3000 # cost a file, first to last hundred, memory, over short files
python benchmarks/indexing.py --naive --amon       # beside a naive loop, and beside amon-hen (see _rivals.py)
python benchmarks/indexing.py --recipes --media DIR    # each way to choose frames: × realtime, and R@5 beside it
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import _growth
import _rivals
import machine
import numpy as np
import quality

from api import Library, parts, progress
from indexer import pipeline, recipe, sources
from indexer.decoding import Chapter, Decoder
from indexer.encoding import Encoders, encode
from indexer.events import Load, Watch
from indexer.executors import local as executor
from indexer.listing import Listing, Source
from indexer.plan import Job
from indexer.planning import planning
from indexer.recipe import Recipe
from indexer.run import Run
from indexer.staging import Staging
from retriever import processes
from retriever.errors import MediaError
from retriever.stores import local as stores
from retriever.types import MediaKind, Modality

STAGES = ("decode", "encode", "recognize", "store")
KINDS = ("vision", "clips", "sound", "speech", "text")
RECIPES = ("fixed(2)", "adaptive(2)", "adaptive(1)", "0.5", "0.3", "keyframes(2)", "keyframes(1)")
"""Ways to choose frames; a number is a budget."""


@dataclass(slots=True)
class Bench:
    """One corpus, one recipe, and what a round needs."""

    files: Sequence[Source]
    encoders: Encoders
    scratch: Path
    recipe: Recipe
    duration: float = 0.0  # seconds of media that can be indexed
    load: Load = field(default_factory=Load)  # of the last round
    rounds: int = 0

    @property
    def place(self) -> Path:
        """The library of the last round."""
        return self.scratch / f"library-{self.rounds}"

    def frames(self) -> int:
        """That were encoded in the last round."""
        with Library.open(self.place) as library:
            spaces = library.stats()["spaces"]
        return sum(space["tokens"] for space in spaces if space["modality"] == Modality.VISION)

    def run(self, watch: Watch = lambda event: None) -> Run:
        """A run over a library of its own."""
        self.rounds += 1
        segmenter = parts.SEGMENTERS.load(self.recipe.segmenter).build()
        store = stores.build(self.place)
        return Run(self.recipe, self.encoders, store, segmenter, processes.me(), watch, children=parts.decoders(0))

    def parts_alone(self) -> dict[str, float]:
        """Seconds of each part, run alone, one after the other."""
        run = self.run()
        jobs = self.planned(run)
        spent = dict.fromkeys(STAGES, 0.0)
        with Decoder() as decoder:
            for job in jobs:
                began = perf_counter()
                try:
                    probe = decoder.probe(job.path)
                    chapters: list[Chapter] = list(decoder.chapters(job.path, run.wanted()))
                except MediaError:
                    continue
                spent["decode"] += perf_counter() - began
                encoded = encode(chapters, self.encoders)
                for result in encoded:
                    for stage, seconds in result.seconds.items():
                        spent[stage] += seconds
                began = perf_counter()
                staging = Staging(run.store.catalog.staging(job.id(run.recipe)))
                staging.begin(probe, self.encoders.spaces)
                for chapter, result in zip(chapters, encoded, strict=True):
                    staging.keep(chapter.index, chapter.span.end, chapter.last, result)
                run.commit(job)
                spent["store"] += perf_counter() - began
        self.duration = run.summary.media_seconds
        run.store.close()
        return spent

    def planned(self, run: Run) -> list[Job]:
        """All that there is to do, before any of it is done."""
        jobs = []
        with planning(Listing.of(self.files), run, frozenset(Modality)) as plan:
            while plan.known or not plan.complete:
                if job := plan.take(1.0):
                    jobs.append(job)
        return jobs

    def whole(self) -> float:
        """Seconds of the pipeline over everything."""
        run = self.run()
        began = perf_counter()
        pipeline.index(Listing.of(self.files), run, executor.build())
        spent = perf_counter() - began
        self.duration, self.load = run.summary.media_seconds, run.summary.load
        run.store.close()
        return spent


def report(bench: Bench, rounds: int) -> None:
    floors, wholes, shares = [], [], []
    bench.parts_alone()  # everything is loaded and warm
    for _ in range(rounds):
        alone = bench.parts_alone()
        shares.append(alone)
        floors.append(sum(alone.values()))
        wholes.append(bench.whole())
    print(f"\n{len(bench.files)} files, {bench.duration:.0f} s of media, {rounds} rounds by turns, medians")
    print(f"{'part':<12}{'seconds':>9}{'× realtime':>12}")
    for stage in STAGES:
        seconds = float(np.median([share[stage] for share in shares]))
        print(f"{stage:<12}{seconds:>9.1f}{bench.duration / max(seconds, 1e-9):>12.1f}")
    floor, whole = float(np.median(floors)), float(np.median(wholes))
    print(f"{'floor (sum)':<12}{floor:>9.1f}{bench.duration / floor:>12.1f}")
    print(f"{'pipeline':<12}{whole:>9.1f}{bench.duration / whole:>12.1f}")
    ratios = np.array(floors) / np.array(wholes)
    print(f"pipeline runs at {np.median(ratios):.2f} of the floor (from {ratios.min():.2f} to {ratios.max():.2f})")
    print(progress.pace(bench.load))


def rivals(bench: Bench, rounds: int, naively: float, amon: bool) -> None:
    """The pipeline beside the naive loop and amon-hen, by turns, over the films among the files."""
    with Decoder() as decoder:
        bench.files = [it for it in bench.files if decoder.probe(it.path).kind is MediaKind.VIDEO]
    films = [Path(it.path) for it in bench.files]
    wanted = bench.run().wanted()
    speeds: dict[str, list[float]] = {}
    bench.whole()  # everything is loaded and warm
    for _ in range(rounds):
        spent = bench.whole()
        found = {"pipeline": (bench.duration, spent, bench.frames())}
        if naively:
            found["naive"] = _rivals.naive(films, wanted, bench.encoders, naively)
        if amon:
            found["amon-hen"] = _rivals.amon(films, wanted, bench.encoders)
            found["decoder"] = _rivals.decoded(films, replace(wanted, page_sampler=None, rates=()))
            found["its decoder"] = _rivals.amon(films, wanted, replace(bench.encoders, **{it: {} for it in KINDS}))
        for name, (media, seconds, frames) in found.items():
            speeds.setdefault(name, []).append(media / seconds)
            print(f"  {name:<12}{media:>8.0f} s of media in {seconds:>7.1f} s, {frames:,} frames encoded")
    print(f"\n{len(films)} films, {rounds} rounds by turns, medians")
    for name, found_speeds in speeds.items():
        ratios = np.array(speeds["pipeline"]) / np.array(found_speeds)
        print(
            f"{name:<12}{np.median(found_speeds):>8.1f}× realtime; the pipeline is {np.median(ratios):.1f}× as fast "
            f"(from {ratios.min():.1f} to {ratios.max():.1f})"
        )
    if amon:
        ratios = np.array(speeds["decoder"]) / np.array(speeds["its decoder"])
        print(f"our decoder and sampler alone: {np.median(ratios):.1f}× as fast as those of amon-hen")


def recipes(bench: Bench, media: Path | None) -> None:
    """How fast each way to choose frames is, and what it finds where the folder has questions."""
    asked = [it for it in quality.questions(media) if it.relevant] if media else []
    print(f"\n| frames | × realtime | frames encoded | {' | '.join(f'R@5 {half}' for half in quality.HALVES)} |")
    print("|---|---|---|" + "---|" * len(quality.HALVES))
    usual, files = bench.recipe, bench.files
    bench.files = files[:2]
    bench.whole()  # everything is loaded and warm
    bench.files = files
    for sampling in RECIPES:
        bench.recipe = usual.within(float(sampling)) if sampling[0].isdigit() else usual.sampled(sampling)
        spent = bench.whole()
        with Library.open(bench.place) as library:
            cells = _found(library, media, asked) if media and asked else ["–"] * len(quality.HALVES)
        name = f"--budget {sampling}" if sampling[0].isdigit() else sampling
        print(f"| {name} | {bench.duration / spent:.1f} | {bench.frames():,} | {' | '.join(cells)} |")
    bench.recipe = usual


def _found(library: Library, media: Path, asked: Sequence[quality.Question]) -> list[str]:
    own = media.absolute()
    stems = sorted(Path(one.path).stem for one in library.media() if Path(one.path).parent == own)
    asked = [it for it in asked if set(it.relevant) <= set(stems)]
    ranks = quality.ranks(quality.Bench(library, media, asked, stems).fused(), asked, stems)
    half = np.array([it.half for it in asked])
    return [f"{(ranks[half == name] <= 5).mean():.3f}" for name in quality.HALVES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, nargs="*", help="files or folders")
    parser.add_argument("--without", nargs="*", default=[], choices=[str(it) for it in Modality])
    parser.add_argument("--sampling", default="", help="as `reelseek index` has it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--naive", type=float, nargs="?", const=_rivals.SECONDS, default=0.0, metavar="SECONDS")
    parser.add_argument("--amon", action="store_true", help="beside amon-hen")
    parser.add_argument("--recipes", action="store_true", help="every way to choose frames, and R@5 beside it")
    parser.add_argument("--linear", type=int, nargs="*", default=[], metavar="FILES", help="so many short files")
    parser.add_argument("--short", type=int, default=0, help="the same as --linear with one number")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of those short files")
    args = parser.parse_args()
    print(machine.describe())
    encoders = parts.encoders(recipe.pack("offline"))
    for modality in args.without:
        encoders = replace(encoders, **{modality: {}})
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        bench = Bench([], encoders, scratch, recipe.pack("offline").sampled(args.sampling))
        if counts := args.linear or [args.short] * bool(args.short):
            return _growth.grown(sorted(counts), bench.run, scratch, args.seconds)
        if not args.media:
            args.media = [_growth.clip(scratch / f"{n}.mp4", 30.0, (1280, 720), n) for n in range(4)]
        bench.files = list(sources.found(args.media))
        if args.recipes:
            asked = next((it for it in args.media if (it / "queries.jsonl").is_file()), None)
            recipes(bench, asked)
        elif args.naive or args.amon:
            rivals(bench, args.rounds, args.naive, args.amon)
        else:
            report(bench, args.rounds)


if __name__ == "__main__":
    main()
