"""How quick the local store is: commits, opening, gathering tokens, filters, questions while it is written, compaction.

python benchmarks/store.py                          # a million segments: 5 GB below --at, some minutes
python benchmarks/store.py --segments 20000         # a laptop, half a minute

The library is random unit rows of 384 numbers: `--tokens` of them a segment, and two first-stage rows, in one space.
Searching them is measured by `nearest.py` and `search.py`.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, repeat
from pathlib import Path

import machine
import numpy as np

from retriever.stores import local
from retriever.stores.local import LocalStore
from retriever.types import (
    Entry,
    Filter,
    Line,
    Media,
    MediaKind,
    Metadata,
    Modality,
    Segment,
    SegmentVectors,
    Space,
    TimeSpan,
    Tokens,
)

SPACE = Space("random", Modality.VISION, 384, "random:1", "random:1", "1")
OTHER = Space("chance", Modality.SOUND, 384, "random:1", "random:1", "1")
SECONDS = 5.0
GATHERED = 200
OPENED = """
import sys, time
from pathlib import Path
from retriever.stores import local
begun = time.perf_counter()
store = local.build(Path(sys.argv[1]), create=False)
with store.snapshot() as snapshot:
    opened = time.perf_counter() - begun
print(opened)
"""


def unit(generator: np.random.Generator, rows: int) -> np.ndarray:
    made = generator.standard_normal((rows, SPACE.dimension), dtype=np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def entry(number: int, segments: int, tokens: int, spaces: tuple[Space, ...] = (SPACE,)) -> Entry:
    generator = np.random.default_rng(number)
    held = segments * tokens
    starts = np.arange(held) * SECONDS / tokens
    spans = np.stack([starts, starts + SECONDS / tokens], axis=1)
    cuts = tuple(Segment(TimeSpan(at * SECONDS, (at + 1) * SECONDS)) for at in range(segments))
    rows = {space.id: Tokens(unit(generator, held), spans, np.ones(held, np.float32)) for space in spaces}
    owners = np.repeat(np.arange(segments, dtype=np.int32), 2)
    return Entry(
        Media(
            f"m{number}",
            (f"/clips/{number % 100}/{number}.mp4",),
            MediaKind.VIDEO,
            segments * SECONDS,
            "r1",
            metadata=Metadata(collection="tenth" if number % 10 == 0 else "rest"),
        ),
        cuts,
        {space.id: space for space in spaces},
        rows,
        {space.id: SegmentVectors(unit(generator, 2 * segments), owners) for space in spaces},
        (Line(TimeSpan(0.5, 2.0), f"line number {number} of the story", Modality.SPEECH, 0.9),),
    )


def small_commits(folder: Path, commits: int) -> None:
    """Media of three segments and two spaces, as an indexing run of short clips commits them."""
    store = local.build(folder / "small")
    made = [entry(number, 3, 10, (SPACE, OTHER)) for number in range(commits)]
    probe = folder / "probe"
    write, commit = [], []
    for each in made:  # by turns: the disk of a shared machine is not always the same
        begun = time.perf_counter()
        with probe.open("ab") as file:
            file.write(b"x" * 4096)
            file.flush()
            machine.os.fsync(file.fileno())
        write.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        store.add(each)
        commit.append(time.perf_counter() - begun)
    store.close()
    print(f"small commits: {1 / np.mean(commit):.0f} a second; {machine.Times(tuple(commit))}")
    print(
        f"  one plain fsync beside each: {machine.Times(tuple(write))}; ratio of medians "
        f"{np.median(commit) / np.median(write):.1f}"
    )


def filled(store: LocalStore, segments: int, each: int, tokens: int) -> None:
    begun, packing = time.perf_counter(), 0.0
    for number in range(segments // each):
        made = time.perf_counter()
        one = entry(number, each, tokens)
        packing += time.perf_counter() - made
        store.add(one)
    spent = time.perf_counter() - begun - packing
    print(f"filling: {segments:,} segments in {segments // each:,} commits: {spent:.0f} s, {segments / spent:,.0f} a s")


def opening(folder: Path) -> machine.Times:
    """Opening and the first snapshot, a new process each."""
    command = [sys.executable, "-c", OPENED, str(folder)]
    return machine.Times(
        tuple(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(5))
    )


def taken_again(store: LocalStore) -> None:
    with store.snapshot():
        pass


def asked(store: LocalStore, segments: int) -> Iterator[str]:
    generator = np.random.default_rng(7)
    draws = (generator.integers(0, segments, GATHERED) for _ in repeat(0))
    with store.snapshot() as snapshot:
        yield f"a snapshot of what was open: {machine.timed(lambda: taken_again(store), 200)}"
        yield f"tokens of {GATHERED} segments: {machine.timed(lambda: snapshot.tokens(next(draws), SPACE.id), 200)}"
        yield f"table of {GATHERED} segments: {machine.timed(lambda: snapshot.segments(next(draws)), 200)}"
        yield f"lines of {GATHERED} segments: {machine.timed(lambda: snapshot.lines(next(draws)), 50)}"
        filters = iter(Filter(collection="tenth", longest=1e6 + number) for number in range(1000))
        yield f"a filter, first time: {machine.timed(lambda: snapshot.numbers(next(filters)), 20)}"
        yield f"a filter, again: {machine.timed(lambda: snapshot.numbers(Filter(collection='tenth')), 20)}"
        globs = iter(Filter(path=f"/clips/7/*{'?' * (number % 3)}.mp4", longest=1e6 + number) for number in range(1000))
        yield f"a path filter, first time: {machine.timed(lambda: snapshot.numbers(next(globs)), 20)}"
        counts = snapshot.counts()
        yield f"bytes a segment: {counts['bytes'] / counts['segments']:.0f}; in all {counts['bytes'] / 1e9:.2f} GB"


def written(folder: Path, each: int, tokens: int, pace: float) -> None:
    """Commit `pace` segments a second without an end: the process beside which questions are asked."""
    store = local.build(folder, create=False)
    for number in count(1_000_000):
        begun = time.perf_counter()
        store.add(entry(number, each, tokens))
        time.sleep(max(0.0, each / pace - (time.perf_counter() - begun)))


def meanwhile(folder: Path, store: LocalStore, chosen: argparse.Namespace) -> Iterator[str]:
    """Questions while another process commits, and while it stands still, by turns."""
    store.refresh()
    generator = np.random.default_rng(8)
    quiet: list[float] = []
    busy: list[float] = []

    def ask(times: list[float]) -> None:
        question = unit(generator, 1)
        begun = time.perf_counter()
        with store.snapshot() as snapshot:
            (found,) = snapshot.nearest(question, SPACE.id, GATHERED)
            snapshot.tokens(found.segments, SPACE.id)
        times.append(time.perf_counter() - begun)

    with store.snapshot() as snapshot:
        before = snapshot.counts()["segments"]
    given = {"--write": folder, "--each": chosen.each, "--tokens": chosen.tokens, "--pace": chosen.pace}
    child = subprocess.Popen([sys.executable, __file__, *(str(word) for pair in given.items() for word in pair)])
    try:
        for _ in range(20):
            ask([])
        begun = time.perf_counter()
        for _ in range(chosen.rounds):
            for signed, times in ((signal.SIGCONT, busy), (signal.SIGSTOP, quiet)):
                child.send_signal(signed)
                time.sleep(0.2)
                for _ in range(10):
                    ask(times)
        spent = time.perf_counter() - begun
    finally:
        child.kill()
        child.wait()
    with store.snapshot() as snapshot:
        more = snapshot.counts()["segments"] - before
    one, other = machine.Times(tuple(busy)), machine.Times(tuple(quiet))
    yield f"a question while {more:,} segments came in {spent:.0f} s: {one}"
    yield f"  while nobody wrote: {other}; medians {one.median / other.median:.2f} ×"


def taken(store: LocalStore) -> Iterator[str]:
    begun = time.perf_counter()
    with store.snapshot() as snapshot:
        keys = [media.key for media in snapshot.media(Filter(collection="tenth"))]
    gone = store.delete(keys)
    yield f"deleting {gone:,} media: {time.perf_counter() - begun:.1f} s"
    begun = time.perf_counter()
    store.compact()
    yield f"compaction, indexes included: {time.perf_counter() - begun:.1f} s"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--segments", type=int, default=1_000_000)
    options.add_argument("--each", type=int, default=100, help="segments a media")
    options.add_argument("--tokens", type=int, default=2, help="tokens a segment")
    options.add_argument("--commits", type=int, default=200)
    options.add_argument(
        "--rounds", type=int, default=40, help="of ten questions while it is written, and ten while not"
    )
    options.add_argument("--pace", type=float, default=1_000, help="segments a second that are written meanwhile")
    options.add_argument("--write", type=Path, default=None, help=argparse.SUPPRESS)
    options.add_argument("--at", type=Path, default=None, help="folder for the library; else a temporary one")
    chosen = options.parse_args()
    if chosen.write:
        written(chosen.write, chosen.each, chosen.tokens, chosen.pace)
    print(machine.describe())
    with tempfile.TemporaryDirectory(dir=chosen.at) as place:
        folder = Path(place)
        small_commits(folder, chosen.commits)
        store = local.build(folder / "large")
        filled(store, chosen.segments, chosen.each, chosen.tokens)
        print(f"opening, first snapshot included, a new process each: {opening(folder / 'large')}")
        for line in asked(store, chosen.segments):
            print(line, flush=True)
        for line in meanwhile(folder / "large", store, chosen):
            print(line, flush=True)
        for line in taken(store):
            print(line, flush=True)
        store.close()


if __name__ == "__main__":
    main()
