"""Which index finds nearest rows: from how many rows on one pays, and what each costs and finds.

python benchmarks/nearest.py --at FOLDER [--rows 1000000] [--specs ...]

FOLDER keeps the sentences' vectors and the rows (0.8 GB a million) for the next run.  Rows are noisy mixtures of real
class and gloss embeddings; questions are other glosses.  Recall is that of the first stage: 1,000 candidates by the
index, scored again exactly.  Times are of one question at a time.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time

import _corpus
import faiss
import machine
import numpy as np

from retriever import kernels
from retriever.stores import _ann, _recall
from retriever.types import Halves, Matrix, Ranking

DEPTH = 200
FETCHED = 1_000
SAMPLE = 65_536
CROSSING = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
WIDTHS = {"nprobe": (16, 32, 64, 128, 256), "efSearch": (200, 400, 800)}

Ask = Callable[[Matrix], Ranking]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--at", type=Path, required=True)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--questions", type=int, default=200)
    options.add_argument("--specs", nargs="*", default=["SQfp16", "IVF{lists},SQ8", "IVF{lists},PQ96x4fs", "PQ96x4fs"])
    chosen = options.parse_args()
    print(machine.describe())
    chosen.at.mkdir(parents=True, exist_ok=True)
    rows = _corpus.rows(chosen.rows, chosen.at, seed=3)
    questions = _corpus.embeddings(_corpus.questions()[: chosen.questions], chosen.at)
    crossing(rows, questions, chosen.at)
    segment = np.arange(len(rows))
    best = _ann.exact(questions, rows, segment, DEPTH)
    print(f"\n{len(rows):,} rows, {len(questions)} questions")
    ours(rows, questions, best, chosen.at)
    for spec in chosen.specs:
        others(spec.format(lists=math.isqrt(len(rows))), rows, questions, best)


def crossing(rows: Halves, questions: Matrix, folder: Path) -> None:
    """Exact against index, by turns."""
    print("\nrows     exact ms   index ms   exact takes")
    for count in (count for count in CROSSING if count <= len(rows)):
        part, segment = rows[:count], np.arange(count)
        _ann.Index.build(part, folder / "crossing")
        index = _ann.Index.open(folder / "crossing")
        numbers = iter(np.resize(np.arange(len(questions)), 10_000).tolist())
        limit, _ann.FLAT_UP_TO = _ann.FLAT_UP_TO, 0

        def exactly(part: Halves = part, segment: np.ndarray = segment, numbers: Iterator[int] = numbers) -> None:
            _ann.exact(questions[[next(numbers)]], part, segment, DEPTH)

        def by_index(
            part: Halves = part,
            segment: np.ndarray = segment,
            numbers: Iterator[int] = numbers,
            index: _ann.Index = index,
        ) -> None:
            index.nearest(questions[[next(numbers)]], part, segment, DEPTH)

        one, other = machine.by_turns([exactly, by_index], runs=40, warm=5)
        _ann.FLAT_UP_TO = limit
        times = f"{1e3 * one.median:8.2f}   {1e3 * other.median:8.2f}"
        print(f"{count:7,}  {times}   {machine.ratio(one, other):.2f} × the index")
    (folder / "crossing").unlink()


def ours(rows: Halves, questions: Matrix, best: list[Ranking], folder: Path) -> None:
    begun, worked = perf_counter(), process_time()
    segment = np.arange(len(rows))
    _recall.build(
        rows, segment, folder / "ours.faiss", encode=lambda said, side: _corpus.embeddings(list(said), folder)
    )
    built, cpu = perf_counter() - begun, process_time() - worked
    begun = perf_counter()
    index = _ann.Index.open(folder / "ours.faiss")
    opened = perf_counter() - begun
    size = (folder / "ours.faiss").stat().st_size
    print(
        f"ours ({index.engine.nlist} lists): built in {built:.1f} s ({cpu:.1f} s of cpu), "
        f"{size / len(rows):.0f} bytes a row, opened in {1e3 * opened:.0f} ms"
    )
    print(f"  measured with it, over everyday sentences: {index.measured}")
    report(
        "  as wide as any",
        lambda query: replace(index, measured=None).nearest(query, rows, segment, DEPTH)[0],
        questions,
        best,
    )
    report("  all rows", lambda query: index.nearest(query, rows, segment, DEPTH)[0], questions, best)
    for share in (0.5, 0.1, 0.03, 0.01):
        allowed = np.random.default_rng(1).random(len(rows)) < share
        some = questions[:50]
        wanted = _ann.exact(some, rows, segment, DEPTH, allowed)

        def filtered(query: Matrix, allowed: _ann.Mask = allowed) -> Ranking:
            return index.nearest(query, rows, segment, DEPTH, allowed)[0]

        report(f"  filter passes {share:.0%}", filtered, some, wanted)
    begun = perf_counter()
    index.nearest(questions, rows, segment, DEPTH)
    print(f"  {len(questions)} questions at once: {perf_counter() - begun:.2f} s")


def others(spec: str, rows: Halves, questions: Matrix, best: list[Ranking]) -> None:
    begun, worked = perf_counter(), process_time()
    engine = faiss.index_factory(rows.shape[1], spec, faiss.METRIC_INNER_PRODUCT)
    if hasattr(engine, "do_polysemous_training"):
        engine.do_polysemous_training = False  # as ours: it took most of the time of learning
    sample = np.sort(np.random.default_rng(0).choice(len(rows), min(SAMPLE, len(rows)), replace=False))
    engine.train(kernels.singles(rows[sample]))
    for start in range(0, len(rows), SAMPLE):
        engine.add(kernels.singles(rows[start : start + SAMPLE]))
    built, cpu = perf_counter() - begun, process_time() - worked
    size = faiss.serialize_index(engine).nbytes
    print(f"{spec}: built in {built:.1f} s ({cpu:.1f} s of cpu), {size / len(rows):.0f} bytes a row")

    def ask(query: Matrix) -> Ranking:
        numbers = np.sort(engine.search(query, FETCHED)[1][0])
        numbers = numbers[numbers >= 0]
        scores = kernels.cosines(rows[numbers], query[0])
        order = np.argsort(-scores, kind="stable")[:DEPTH]
        return Ranking(numbers[order], scores[order])

    knob = "nprobe" if spec.startswith("IVF") else "efSearch" if spec.startswith("HNSW") else ""
    for width in WIDTHS.get(knob, (0,)):
        if knob:
            faiss.ParameterSpace().set_index_parameter(engine, knob, width)
        report(f"  {knob} {width}" if knob else "  all", ask, questions, best)


def report(name: str, ask: Ask, questions: Matrix, best: list[Ranking]) -> None:
    answers, times, cpu = [], [], []
    for number in range(len(questions)):
        begun, worked = perf_counter(), process_time()
        answers.append(ask(questions[number : number + 1]))
        times.append(perf_counter() - begun)
        cpu.append(process_time() - worked)
    ten, all_of = (np.mean([shared(a, b, depth) for a, b in zip(answers, best, strict=True)]) for depth in (10, DEPTH))
    print(
        f"{name:20} {machine.Times(tuple(times))}, {1e3 * np.median(cpu):.2f} ms of cpu; "
        f"recall@10 {ten:.4f}, recall@{DEPTH} {all_of:.4f}",
        flush=True,
    )


def shared(answer: Ranking, best: Ranking, depth: int) -> float:
    wanted = best.segments[:depth]
    return len(np.intersect1d(answer.segments[:depth], wanted)) / len(wanted)


if __name__ == "__main__":
    main()
