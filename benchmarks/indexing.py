"""How fast media become a library, and how near that is to the sum of its parts.

Each part (decode, encode, recognize, store) is run alone over the same files at the recipe of the quality table; their
sum is the floor of a pipeline that overlaps nothing.  Then the whole pipeline indexes the same files.  Rounds go by
turns, and the figures are ratios of the two.

python benchmarks/indexing.py --media DIR          # a folder of clips; without it, clips are made on the spot
python benchmarks/indexing.py --without speech text
python benchmarks/indexing.py --short 300          # memory over so many short files
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter

import av
import machine
import numpy as np
import psutil

from api import parts
from indexer import pipeline, recipe, sources
from indexer.decoding import Chapter, Decoder
from indexer.encoding import Encoders, encode
from indexer.events import Committed, Event
from indexer.executors import local as executor
from indexer.plan import plan
from indexer.run import Run
from indexer.staging import Staging
from retriever import processes
from retriever.errors import MediaError
from retriever.stores import local as stores
from retriever.types import Modality

STAGES = ("decode", "encode", "recognize", "store")
SOUND_RATE = 48_000


@dataclass(slots=True)
class Bench:
    """One corpus, one recipe, and what a round needs."""

    files: Sequence[sources.Source]
    encoders: Encoders
    scratch: Path
    duration: float = 0.0  # seconds of media that can be indexed
    rounds: int = field(default=0)

    def run(self, watch: object = None) -> Run:
        """A run over a library of its own."""
        self.rounds += 1
        chosen = recipe.pack("offline")
        said = watch if callable(watch) else lambda event: None
        store = stores.build(self.scratch / f"library-{self.rounds}")
        segmenter = parts.SEGMENTERS.load(chosen.segmenter).build()
        return Run(chosen, self.encoders, store, segmenter, processes.me(), said)

    def parts_alone(self) -> dict[str, float]:
        """Seconds of each part, run alone, one after the other."""
        run = self.run()
        jobs = plan(self.files, run.recipe, run.store, frozenset(Modality)).jobs
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

    def whole(self) -> float:
        """Seconds of the pipeline over everything."""
        run = self.run()
        began = perf_counter()
        pipeline.index(self.files, run, executor.build())
        spent = perf_counter() - began
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


def clip(path: Path, seconds: float, size: tuple[int, int], seed: int) -> Path:
    """A clip of moving noise and a tone, H.264 and AAC, made on the spot."""
    rng = np.random.default_rng(seed)
    width, height = size
    ground = rng.integers(0, 255, (height // 16, width // 16, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        for number in range(int(seconds * 25)):
            frame = av.VideoFrame.from_ndarray(np.roll(ground, 4 * number, axis=1), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        time = np.arange(int(seconds * SOUND_RATE)) / SOUND_RATE
        tone = (0.3 * np.sin(2 * np.pi * (200 + 20 * (seed % 40)) * time)).astype(np.float32)
        for start in range(0, len(tone), 1024):
            block = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))
    return path


def memory(encoders: Encoders, scratch: Path, count: int) -> None:
    """Resident memory of this process and its children while many short files are indexed."""
    folder = scratch / "short"
    folder.mkdir()
    for number in range(count):
        clip(folder / f"{number:04d}.mp4", 2.0, (320, 240), number)
    process, seen = psutil.Process(), []

    def watch(event: Event) -> None:
        if isinstance(event, Committed):
            family = [process, *process.children(recursive=True)]
            seen.append(sum(member.memory_info().rss for member in family if member.is_running()) / 1e6)

    bench = Bench(sources.found([folder]), encoders, scratch)
    run = bench.run(watch)
    began = perf_counter()
    pipeline.index(bench.files, run, executor.build())
    spent = perf_counter() - began
    run.store.close()
    steps = np.array_split(np.array(seen), min(6, len(seen)))
    print(f"\nmemory over {len(seen)} files of 2 s ({len(seen) / spent:.1f} files a second), MB, sixth by sixth:")
    print("  " + "  ".join(f"{step.mean():.0f}" for step in steps))
    settled = np.concatenate(steps[1:])
    print(f"after the first sixth: {settled.min():.0f} to {settled.max():.0f}, ", end="")
    print(f"last sixth to second sixth {steps[-1].mean() / steps[1].mean():.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, nargs="*", help="files or folders")
    parser.add_argument("--without", nargs="*", default=[], choices=[str(it) for it in Modality])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", type=int, default=0, help="only: memory over so many short files")
    args = parser.parse_args()
    print(machine.describe())
    encoders = parts.encoders(recipe.pack("offline"))
    for modality in args.without:
        encoders = replace(encoders, **{modality: {}})
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if args.short:
            return memory(encoders, scratch, args.short)
        if not args.media:
            args.media = [clip(scratch / f"{n}.mp4", 30.0, (1280, 720), n) for n in range(4)]
        report(Bench(sources.found(args.media), encoders, scratch), args.rounds)
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
