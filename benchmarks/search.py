"""How quick a whole search is, and how much of the exact answer it finds, over a million segments.

python benchmarks/search.py --at FOLDER                       # 8 GB in FOLDER, kept for the next run; half an hour once
python benchmarks/search.py --at FOLDER --segments 20000      # a few minutes

Segments are noisy mixtures of 1 to 10 real class and gloss embeddings in four spaces (seen, heard, spoken, written),
with words on a share of them.  Questions are distinct real sentences that the library was not made of; every tenth
comes with a filter that a tenth of the media pass.  Times are warm, one question after the other, in one process.
"""

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import _corpus
import _library
import machine
import numpy as np

from encoders import minilm
from retriever.ports import Snapshot
from retriever.stores import _ann, local
from retriever.types import EVERYTHING, Filter, Modality
from retriever.words import query_words

DEPTH = 200
FILTERED = 10
OPENED = """
import sys, time
from pathlib import Path
begun = time.perf_counter()
from retriever.stores import local
store = local.build(Path(sys.argv[1]), create=False)
with store.snapshot() as snapshot:
    snapshot.counts()
print(time.perf_counter() - begun)
"""


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = perf_counter()
        yield
        self.seconds[name].append(perf_counter() - begun)

    def report(self) -> None:
        for name, seconds in self.seconds.items():
            print(f"  {name:32} {machine.Times(tuple(seconds))}")


def where(number: int) -> Filter:
    """Every tenth question asks one collection of ten."""
    return Filter(collection=f"c{number % 7}") if number % FILTERED == 0 else EVERYTHING


def stages(snapshot: Snapshot, questions: list[str]) -> None:
    """What a search is made of, each part by itself."""
    clock = Clock()
    encoder = minilm.build()
    for number, question in enumerate(questions):
        kind = "filtered" if where(number).asks else "open"
        with clock.stage("encode"):
            view = encoder.encode([question])
        ranked = []
        for space in snapshot.spaces.values():
            with clock.stage(f"nearest, {space.modality}, {kind}"):
                ranked.append(snapshot.nearest(view, space.id, DEPTH, where(number))[0].segments)
        for modality in (Modality.SPEECH, Modality.TEXT):
            with clock.stage(f"words, {modality}, {kind}"):
                ranked.append(snapshot.matching(query_words(question), modality, DEPTH, where(number)).segments)
        chosen = np.unique(np.concatenate(ranked))[:DEPTH]
        with clock.stage("tokens of 200, all spaces"):
            for space in snapshot.spaces.values():
                snapshot.tokens(chosen, space.id)
        with clock.stage("table and lines of 200"):
            snapshot.segments(chosen)
            snapshot.lines(chosen)
    clock.report()


@contextmanager
def exactly() -> Iterator[None]:
    """Every row is scored, whatever index there is."""
    limit = _ann.FLAT_UP_TO
    _ann.FLAT_UP_TO = sys.maxsize
    try:
        yield
    finally:
        _ann.FLAT_UP_TO = limit


def first_stage_recall(snapshot: Snapshot, questions: list[str]) -> None:
    views = minilm.build().encode(questions)
    for space in snapshot.spaces.values():
        found = snapshot.nearest(views, space.id, DEPTH)
        with exactly():
            best = snapshot.nearest(views, space.id, DEPTH)
        ten, all_of = (
            np.mean([shared(a.segments, b.segments, depth) for a, b in zip(found, best, strict=True)])
            for depth in (10, DEPTH)
        )
        print(f"  {space.modality:8} recall@10 {ten:.4f}, recall@{DEPTH} {all_of:.4f} over {len(questions)} questions")


def shared(found: np.ndarray, best: np.ndarray, depth: int) -> float:
    return len(np.intersect1d(found[:depth], best[:depth])) / max(1, len(best[:depth]))


def opening(folder: Path) -> None:
    def once() -> float:
        command = [sys.executable, "-c", OPENED, str(folder)]
        return float(subprocess.run(command, capture_output=True, check=True).stdout)

    print(
        f"library opened, a new process each time, imports counted in: {machine.Times(tuple(once() for _ in range(5)))}"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--at", type=Path, required=True)
    options.add_argument("--segments", type=int, default=1_000_000)
    options.add_argument("--questions", type=int, default=10_000)
    options.add_argument("--exact", type=int, default=100, help="questions that are also answered exactly")
    chosen = options.parse_args()
    print(machine.describe())
    chosen.at.mkdir(parents=True, exist_ok=True)
    folder = chosen.at / f"library-{chosen.segments}"
    _library.build(folder, chosen.segments)
    opening(folder)
    questions = _corpus.questions()[: chosen.questions]
    store = local.build(folder, create=False)
    with store.snapshot() as snapshot:
        counts = snapshot.counts()
        print(
            f"{counts['segments']:,} segments, {counts['tokens']:,} tokens, {counts['lines']:,} lines: "
            f"{counts['bytes'] / counts['segments']:.0f} bytes a segment, {counts['bytes'] / 1e9:.2f} GB"
        )
        print(f"stages of a search, {len(questions):,} questions:")
        stages(snapshot, questions)
        print("first stage against exact:")
        first_stage_recall(snapshot, questions[: chosen.exact])
    store.close()
    print(f"peak memory {machine.peak_megabytes():.0f} MB")


if __name__ == "__main__":
    main()
