"""Queries by example: what is shown is found again, and more of it.

python benchmarks/examples.py --media DIR [--library LIB]     # DIR has manifest.jsonl and the clips, long/ or not

Of each clip of at least six seconds one half is shown, and what is found is ranked by video: where does the other half
come?  Long videos that hold the clip are left aside.  Of each video a picture from its middle is shown, cut to the
middle four fifths of both sides: where does the clip come, and is the second right?  `words and picture`: the same with
the label of the clip beside it.  Intervals are bootstrapped over clips.  Last, how often a moment of the library is
answered that is asked of all media but its own: what confidences state.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import machine
import numpy as np
from quality import Question

from api import Library
from api.sketch import png
from indexer.decoding import Decoder
from retriever.types import Answer, Filter, Media, MediaKind

SHORTEST = 6.0
KEPT = 0.8
SIDE = 480
RESAMPLED = 2_000


@dataclass(frozen=True, slots=True)
class Asked:
    """One query, the media that it is for, and a second of it where that is known."""

    kind: str
    query: str
    media: str
    half: str
    second: float | None = None
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    asked: Asked
    rank: float  # of the media; inf where it is not found
    sure: float  # of that answer
    right_time: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=Path(__file__).parents[2] / "shared" / "media")
    parser.add_argument("--library", type=Path)
    args = parser.parse_args()
    if not (args.media / "manifest.jsonl").is_file():
        parser.error(f"{args.media} has no manifest.jsonl")
    print(machine.describe())
    with (
        tempfile.TemporaryDirectory() as folder,
        Library.open(args.library or Path(folder) / "library") as library,
    ):
        library.index([args.media])
        asked = [*halves(library, args.media), *pictures(library, args.media, Path(folder))]
        found = [answered(library, args.media, one) for one in asked]
        confidences = strange(library)
    for half in ("choose", "report", None):
        print(f"\n{half or 'both'}\n{'':30s}   n   R@1                R@5   MRR   sure   right second")
        for kind in dict.fromkeys(one.asked.kind for one in found):
            ours = [one for one in found if one.asked.kind == kind and half in (None, one.asked.half)]
            print(f"  {kind:28s} {row(ours)}")
    print(f"\n{len(confidences)} segments, each asked of all media but its own:")
    for least in (0.5, 0.8, 0.9, 0.95, 0.99):
        print(f"  answered at {least:.0%}: {np.mean(confidences >= least):.1%} (stated: {1 - least:.0%})")


def row(found: Sequence[Found]) -> str:
    ranks = np.array([one.rank for one in found])
    first = ranks == 1
    means = np.random.default_rng(0).choice(first, (RESAMPLED, len(first))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    sure = np.mean([one.sure >= 0.9 for one in found])
    timed = [one.right_time for one in found if one.asked.second is not None]
    told = f"{np.mean(timed):.2f}" if timed else "-"
    return (
        f"{len(found):4d}  {first.mean():.2f} [{low:.2f}, {high:.2f}]  {(ranks <= 5).mean():.2f}  "
        f"{(1 / ranks).mean():.2f}  {sure:.2f}   {told}"
    )


def answered(library: Library, folder: Path, asked: Asked) -> Found:
    where = Filter(path=f"{folder.absolute()}/s*", without=asked.without)
    answer: Answer = library.search(asked.query, by="video", limit=100, min_confidence=0, where=where, copies="show")
    for rank, moment in enumerate(answer, 1):
        if moment.media.key == asked.media:
            there = asked.second is not None and moment.start_s - 0.5 <= asked.second <= moment.end_s + 0.5
            return Found(asked, rank, moment.confidence, there)
    return Found(asked, np.inf, 0.0, False)


def strange(library: Library) -> np.ndarray:
    """The confidence of the best answer to each segment, its own media left out."""
    with library.store.snapshot() as snapshot:
        table = snapshot.segments(snapshot.numbers())
        keys = [media.key for media in snapshot.media_at(table.media)]
    found = []
    for key, (start, end) in zip(keys, table.spans.tolist(), strict=True):
        where = Filter(without=frozenset({key}))
        answer = library.search(f"like:{key}@{start}-{end}", limit=1, min_confidence=0, where=where)
        found.append(answer[0].confidence if len(answer) else 0.0)
    return np.array(found)


def clips(library: Library, folder: Path) -> Iterator[tuple[Mapping[str, str], Media]]:
    media = {path: item for item in library.media() for path in item.paths}
    for line in (folder / "manifest.jsonl").read_text("utf-8").splitlines():
        told = json.loads(line)
        if item := media.get(str((folder / told["file"]).absolute())):
            yield told, item


def halves(library: Library, folder: Path) -> Iterator[Asked]:
    for told, item in clips(library, folder):
        if item.duration >= SHORTEST and item.kind is not MediaKind.IMAGE:
            middle = item.duration / 2
            kind = "half of a video" if item.width else "half of a sound"
            for start, end in ((0.0, middle), (middle, item.duration)):
                query = f"like:{item.key}@{start:.2f}-{end:.2f}"
                yield Asked(kind, query, item.key, Question("", "", (told["id"],)).half)


def pictures(library: Library, folder: Path, out: Path) -> Iterator[Asked]:
    with Decoder() as decoder:
        for told, item in clips(library, folder):
            if item.kind is not MediaKind.VIDEO or not item.width:
                continue
            second = item.duration / 2
            (shown,) = decoder.pictures(Path(item.path), [second], SIDE)
            high, wide = (int(size * KEPT) // 2 * 2 for size in shown.shape[:2])
            top, left = (shown.shape[0] - high) // 2, (shown.shape[1] - wide) // 2
            file = out / f"{told['id']}.png"
            file.write_bytes(png(np.ascontiguousarray(shown[top : top + high, left : left + wide])))
            half = Question("", "", (told["id"],)).half
            yield Asked("picture", f'image:"{file}"', item.key, half, second)
            label = told["slug"].replace("_", " ")
            yield Asked("words alone", label, item.key, half, second)
            yield Asked("words and picture", f'{label} image:"{file}"', item.key, half, second)


if __name__ == "__main__":
    main()
