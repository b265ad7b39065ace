"""What a million, a hundred million and ten thousand million segments need, from unit costs measured here.

python benchmarks/scale.py --media DIR                         # unit costs over these files, then the tables
python benchmarks/scale.py --simulate 100000000 --at FOLDER    # the model against a library of so many: 22 GB, an hour
python benchmarks/scale.py --simulate 200000                   # the same in a minute

The model is `_capacity.py`.  Files are indexed with the `offline` pack by this machine's processors; processor seconds
are counted, those of encoding, recognizing and storing shared out by how long each took.  What a GPU would do is no
measurement: the rate is a parameter, by default the published one that is named below.

The simulated library has all of the store's layout at a lower dimension: one token and one first-stage row a segment.
Its rows are random, so it says what things cost and not what an index finds: whatever it finds is taken as enough, and
its lists are few, since building many takes most of the time and the model has that apart.
"""

import argparse
import resource
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time

import _capacity
import faiss
import machine
import numpy as np
import store as commits

from api.service import Library
from retriever.stores import _ann, _recall, local
from retriever.types import (
    Entry,
    Matrix,
    Media,
    MediaKind,
    Modality,
    Segment,
    SegmentVectors,
    Space,
    TimeSpan,
    Tokens,
)

SIZES = (10**6, 10**8, 10**10)
PATIENCE = 0.1
"""Seconds of one core that scanning a shard may take."""
FRAMES_A_GPU_SECOND = 10_419.0
"""ViT-B/32 of CLIP at 224 pixels, batches of 512, half precision, the network alone, on an RTX 4090: timm's own
results/benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv, row vit_base_patch32_clip_224.  Not measured here."""
DIMENSION = 384
SCANNED = (40_000, 160_000)
"""Rows in one list, so that a question scans each: the difference of its times is that of their codes."""
CENTRES = 4_096
WHOSE = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
"""Decoders are children, and everything else is this process."""
QUESTIONS = ("a dog on a beach", "people talking in a kitchen", "cars on a road at night", "applause", "a red sign")
LISTS = 2_048
"""Of the simulated index, at most."""
EACH = 10_000
"""Segments a media of the simulated library."""
SECONDS = 10.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--media", type=Path, nargs="*", default=[], help="files or folders that costs are taken from")
    options.add_argument("--frames-a-gpu-second", type=float, default=FRAMES_A_GPU_SECOND)
    options.add_argument("--memory", type=float, default=128, help="GB of a node")
    options.add_argument("--disk", type=float, default=4_000, help="GB of a node")
    options.add_argument("--cores", type=int, default=32, help="of a node")
    options.add_argument("--simulate", type=int, default=0, help="segments")
    options.add_argument("--dimension", type=int, default=24)
    options.add_argument("--at", type=Path, default=None, help="folder for libraries; else a temporary one")
    chosen = options.parse_args()
    if not chosen.media and not chosen.simulate:
        options.error("name files with --media, or a number of segments with --simulate, or both")
    print(machine.describe())
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=chosen.at) as place:
        if chosen.media:
            node = _capacity.Node(1e9 * chosen.memory, 1e9 * chosen.disk, chosen.cores)
            corpus, costs = measured(chosen.media, Path(place))
            report(corpus, costs, node, chosen.frames_a_gpu_second)
        if chosen.simulate:
            for line in simulated(chosen.simulate, chosen.dimension, Path(place)):
                print(line, flush=True)


# ----------------------------------------------------------------------------------------------------------- unit costs


def processor_seconds(whose: int) -> float:
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


def worked(work: Callable[[], object], runs: int) -> float:
    """Processor seconds of one run, the least of them: what else the machine does disturbs those least."""
    work()
    spent = []
    for _ in range(runs):
        begun = process_time()
        work()
        spent.append(process_time() - begun)
    return min(spent)


def measured(media: Sequence[Path], place: Path) -> tuple[_capacity.Corpus, _capacity.Costs]:
    """What these files become, and what that costs."""
    with Library.open(place / "media") as library:
        begun = [processor_seconds(whose) for whose in WHOSE]
        made = library.index(media)
        own, decoding = (processor_seconds(whose) - before for whose, before in zip(WHOSE, begun, strict=True))
        seconds = made.media_seconds

        def ask(said: str) -> None:
            library.sentences.clear()  # or only the first of them would be encoded
            library.search(said)

        question = float(np.median([worked(partial(ask, said), runs=3) for said in QUESTIONS]))
    others = {stage: wall for stage, wall in made.stage_seconds.items() if stage != "decode"}
    stages = {stage: own * wall / sum(others.values()) / seconds for stage, wall in others.items()}
    stages["decode"] = decoding / seconds
    corpus = became(place / "media")
    print(f"\n{len(made.indexed)} files, {seconds:.0f} s of media, in {made.wall_seconds:.0f} s")
    print("core seconds a second of media: " + ", ".join(f"{stage} {cost:.3f}" for stage, cost in stages.items()))
    print(f"a segment is {corpus.seconds:.2f} s; {corpus.frames:.2f} frames a second were encoded")
    scan = scanning()
    costs = _capacity.Costs(stages, question, *scan, writing(place / "written"))
    print(
        f"a query: {1e3 * costs.question:.1f} ms over these, {1e9 * costs.byte:.4f} ns a byte of codes, "
        f"{1e9 * costs.centre:.3f} ns a number of a centre; a row into an index: {1e9 * costs.added:.4f} ns a number "
        f"of a centre; {costs.written:,.0f} segments/s written"
    )
    return corpus, costs


def became(folder: Path) -> _capacity.Corpus:
    """The shape of a library, and what a second of its media takes by space."""
    store = local.build(folder, create=False)
    with store.snapshot() as snapshot:
        segments = snapshot.counts()["segments"]
        seconds = sum(media.duration for media in snapshot.media())
        shapes, frames = [], 0.0
        for key, held in snapshot.held().items():
            rows = len(snapshot.view.rows(key, "vectors"))
            shapes.append(_capacity.Space(held.space.dimension, held.tokens / segments, rows / segments))
            frames += held.tokens / seconds if held.space.modality is Modality.VISION else 0.0
            each = f"{held.tokens / seconds:.2f} tokens and {rows / seconds:.2f} rows"
            print(f"  {key}: {held.bytes / seconds:,.0f} bytes a second of media, {each}")
    store.close()
    local.build(folder.parent / "empty").close()
    catalog = catalog_bytes(folder) - catalog_bytes(folder.parent / "empty")
    print(f"  catalog: {catalog / seconds:,.0f} bytes a second of media")
    return _capacity.Corpus(tuple(shapes), seconds / segments, frames, catalog / segments)


def catalog_bytes(folder: Path) -> int:
    """Of the pages that are in use; the file itself takes more room while somebody writes."""
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog:
        pages, free, size = (
            catalog.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int(size * (pages - free))


def scanning(dimension: int = DIMENSION) -> tuple[float, float, float]:
    """Seconds of a core: a byte of codes, a number of a centre for one question, and for a row that is added."""
    generator = np.random.default_rng(1)
    question, times = unit(generator, 1, dimension), []
    for count in SCANNED:
        rows = unit(generator, count, dimension).astype(np.float16)
        index, segment = _ann.Index.made(rows), np.arange(count)
        times.append(worked(lambda: index.nearest(question, rows, segment, 200), runs=60))  # noqa: B023
    byte = (times[1] - times[0]) / (SCANNED[1] - SCANNED[0]) / _capacity.code_bytes(dimension)
    centres = faiss.IndexFlatIP(dimension)
    many = unit(generator, CENTRES, dimension)
    centres.add(many)
    one = worked(lambda: centres.search(question, 128), runs=60)
    all_of = worked(lambda: centres.search(many, 1), runs=3)
    return max(byte, 0.0), one / CENTRES / dimension, all_of / CENTRES / CENTRES / dimension


def unit(generator: np.random.Generator, rows: int, dimension: int) -> Matrix:
    made = generator.standard_normal((rows, dimension), dtype=np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


def writing(folder: Path) -> float:
    """Segments a second that one writer commits."""
    store = local.build(folder)
    made = [commits.entry(number, 500, 1) for number in range(40)]
    begun = perf_counter()
    for each in made:
        store.add(each)
    spent = perf_counter() - begun
    store.close()
    return 500 * len(made) / spent


# --------------------------------------------------------------------------------------------------------------- tables


def report(corpus: _capacity.Corpus, costs: _capacity.Costs, node: _capacity.Node, frames: float) -> None:
    needs = [_capacity.need(corpus, costs, node, size, PATIENCE, frames) for size in SIZES]
    print(f"\na node: {node.memory / 1e9:.0f} GB of memory, {node.disk / 1e12:.1f} TB of disk, {node.cores} cores;")
    print(f"scanning a shard takes {PATIENCE} core s at most; {frames:,.0f} frames a GPU second (not measured here)\n")
    rows = {
        "hours of media": [f"{it.media_hours:,.0f}" for it in needs],
        "core hours to index, no GPU": [f"{it.core_hours:,.0f}" for it in needs],
        "GPU hours for the frames": [f"{it.gpu_hours:,.1f}" for it in needs],
        "core hours beside a GPU": [f"{it.other_core_hours:,.0f}" for it in needs],
        "hours of writing, one writer a shard": [f"{it.write_hours / it.shards:,.1f}" for it in needs],
        "core hours to build the indexes": [f"{it.build_hours:,.1f}" for it in needs],
        "disk, TB": [f"{it.disk / 1e12:,.3f}" for it in needs],
        "indexes in memory, GB": [f"{it.index / 1e9:,.1f}" for it in needs],
        "first-stage rows, GB": [f"{it.hot / 1e9:,.0f}" for it in needs],
        "shards": [f"{it.shards:,}" for it in needs],
        "core seconds a query": [f"{it.question:.3f}" for it in needs],
        "queries/s a core": [f"{1 / it.question:,.2f}" for it in needs],
        "queries/s of all nodes": [f"{it.shards * node.cores / it.question:,.0f}" for it in needs],
        "Qdrant, memory, GB": [f"{it.qdrant_memory / 1e9:,.0f}" for it in needs],
        "Qdrant, int8 in memory, GB": [f"{it.qdrant_int8 / 1e9:,.0f}" for it in needs],
        "Qdrant nodes, int8": [f"{-(-it.qdrant_int8 // (0.8 * node.memory)):,.0f}" for it in needs],
    }
    print("| segments | " + " | ".join(f"{size:,}" for size in SIZES) + " |")
    print("|---|" + "---|" * len(SIZES))
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("\nby what the bytes are for, of one folder with a million segments:")
    for name, size in _capacity.disk(corpus, 1e6).items():
        print(f"  {name:18} {size / 1e9:8.3f} GB")


# ----------------------------------------------------------------------------------------------------------- simulation


def simulated(segments: int, dimension: int, place: Path) -> Iterator[str]:
    """A library is filled in steps; what the last one takes is foretold from the first one and from unit costs."""
    _recall.TARGET = 0.0  # random rows: no width would find enough of them
    plain, _ann._lists = _ann._lists, lambda rows: min(plain(rows), LISTS)
    local.BEHIND = segments  # one index a step
    store = local.build(place / "simulated")
    space = Space("random", Modality.VISION, dimension, "random:1", "random:1", "1")
    sizes = sorted({max(EACH, segments // part // EACH * EACH) for part in (16, 4, 1)})
    corpus = _capacity.Corpus((_capacity.Space(dimension, 1, 1),), SECONDS, 0, 0)
    took: list[float] = []
    yield f"\n{segments:,} segments of {dimension} numbers, {place}"
    for before, size in pairwise((0, *sizes)):
        begun = perf_counter()
        for number in range(before // EACH, size // EACH):
            store.add(entry(number, space))
        filled = perf_counter() - begun
        begun = perf_counter()
        store.refresh()
        yield (f"{size:>13,}: {(size - before) / filled:,.0f} segments/s; index in {perf_counter() - begun:.0f} s")
        times, spent = asked(store, space)
        took.append(spent)
        yield f"{'':15}a query: {1e3 * spent:.2f} ms of a core; by the clock {times}"
        yield f"{'':15}opening: {commits.opening(place / 'simulated')}"
        if size != sizes[-1]:
            corpus = replace(corpus, catalog=catalog_bytes(place / "simulated") / size)
    yield from foretold(corpus, sizes, took, store, place / "simulated")
    yield f"peak memory {machine.peak_megabytes():,.0f} MB"
    store.close()


def entry(number: int, space: Space) -> Entry:
    generator = np.random.default_rng(number)
    rows = unit(generator, EACH, space.dimension)
    return Entry(
        Media(f"m{number}", (f"/clips/{number}.mp4",), MediaKind.VIDEO, EACH * SECONDS, "r1"),
        CUTS,
        {space.id: space},
        {space.id: Tokens(rows, SPANS, ONES)},
        {space.id: SegmentVectors(rows, OWNERS)},
        (),
    )


SPANS = np.arange(EACH)[:, np.newaxis] * SECONDS + np.array([0.0, SECONDS])
CUTS = tuple(Segment(TimeSpan(float(start), float(end))) for start, end in SPANS)
ONES = np.ones(EACH, np.float32)
OWNERS = np.arange(EACH, dtype=np.int32)


def asked(store: local.LocalStore, space: Space) -> tuple[machine.Times, float]:
    """A question to the first stage, and the tokens of what it finds."""
    generator = np.random.default_rng(5)

    def one() -> None:
        question = unit(generator, 1, space.dimension)
        with store.snapshot() as snapshot:
            (found,) = snapshot.nearest(question, space.id, 200)
            snapshot.tokens(found.segments, space.id)

    return machine.timed(one, runs=60, warm=10), worked(one, runs=60)


def foretold(
    corpus: _capacity.Corpus, sizes: Sequence[int], took: Sequence[float], store: local.LocalStore, folder: Path
) -> Iterator[str]:
    """The model against what is there."""
    with store.snapshot() as snapshot:
        held = {"tokens": 0, "segments": 0, "index": 0}
        held = {name: sum(file.stat().st_size for file in (folder / name).iterdir()) for name in held}
        found = sum(held.values()) + catalog_bytes(folder)
        _, known = (
            next(iter(snapshot.view.indexes.values())),
            store._index(next(iter(snapshot.view.indexes.values()))[0]),
        )
    model = _capacity.disk(corpus, sizes[-1])
    total = sum(model.values())
    yield f"bytes: {total / 1e9:.3f} GB by the model, {found / 1e9:.3f} GB there: {total / found:.3f} ×"
    yield f"  of indexes: {model['indexes'] / 1e9:.3f} GB by the model, {held['index'] / 1e9:.3f} GB there"
    if known and known.measured:
        yield f"  that index finds {known.measured.ten:.3f} of the best ten (random rows, so no measure of real ones)"
    dimension = corpus.spaces[0].dimension
    byte, centre, _ = scanning(dimension)
    work = [
        byte * _capacity.scanned(size) * _capacity.code_bytes(dimension) + centre * _capacity.lists(size) * dimension
        for size in sizes
    ]
    guess = took[0] + work[-1] - work[0]
    yield (
        f"a query: {1e3 * guess:.2f} ms of a core by the model from the smallest, {1e3 * took[-1]:.2f} ms here: "
        f"{guess / took[-1]:.2f} ×"
    )


if __name__ == "__main__":
    main()
