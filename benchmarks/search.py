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
from typing import TypeVar

import _corpus
import _library
import machine
import numpy as np

from encoders import minilm
from retriever.ports import Snapshot, Store
from retriever.search import Searcher
from retriever.stores import _ann, _bm25, local
from retriever.types import EVERYTHING, Answer, Filter, Modality
from retriever.words import query_words

DEPTH = 200
FILTERED = 10
WARM = 50
T = TypeVar("T")
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
    """Every row and every document that a word stands in is scored, whatever index there is."""
    rows, documents = _ann.FLAT_UP_TO, _bm25.CANDIDATES
    _ann.FLAT_UP_TO = _bm25.CANDIDATES = sys.maxsize
    try:
        yield
    finally:
        _ann.FLAT_UP_TO, _bm25.CANDIDATES = rows, documents


def first_stage_recall(snapshot: Snapshot, questions: list[str]) -> None:
    views = minilm.build().encode(questions)
    for space in snapshot.spaces.values():
        found = snapshot.nearest(views, space.id, DEPTH)
        with exactly():
            best = snapshot.nearest(views, space.id, DEPTH)
        pairs = [(a.segments.tolist(), b.segments.tolist()) for a, b in zip(found, best, strict=True)]
        ten, all_of = (np.mean([shared(a[:depth], b[:depth]) for a, b in pairs]) for depth in (10, DEPTH))
        print(f"  {space.modality:8} recall@10 {ten:.4f}, recall@{DEPTH} {all_of:.4f} over {len(questions)} questions")


def whole(store: Store, questions: list[str], exact: int) -> None:
    """`search()` itself: its time, and how many of the ten moments are those of an exact search."""
    encoder = minilm.build()
    searcher = Searcher(store, lambda sentences, side: encoder.encode(sentences))
    begun = perf_counter()
    searcher.search(questions[0])
    print(f"first question, the library's calibration with it: {perf_counter() - begun:.1f} s")
    for question in questions[:WARM]:
        searcher.search(question)
    clock = Clock()
    for number, question in enumerate(questions):
        with clock.stage("filtered" if where(number).asks else "open"):
            searcher.search(question, where=where(number))
    clock.report()
    everything = [second for seconds in clock.seconds.values() for second in seconds]
    print(f"  {'search()':32} {machine.Times(tuple(everything))}")
    share = []
    for number, question in enumerate(questions[:exact]):
        found = references(searcher.search(question, where=where(number), min_confidence=0.0, copies="show"))
        with exactly():
            best = references(searcher.search(question, where=where(number), min_confidence=0.0, copies="show"))
        share.append(shared(found, best))
    print(f"  recall@10 of moments against the exact search: {np.mean(share):.4f} over {len(share)} questions")


def references(answer: Answer) -> list[str]:
    return [moment.ref for moment in answer.moments]


def shared(found: list[T], best: list[T]) -> float:
    return len(set(found) & set(best)) / max(1, len(best))


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
    print(f"the whole search, {len(questions):,} questions, one in {FILTERED} filtered:")
    whole(store, questions, chosen.exact)
    store.close()
    print(f"peak memory {machine.peak_megabytes():.0f} MB")


if __name__ == "__main__":
    main()
