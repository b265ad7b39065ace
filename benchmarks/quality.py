"""How well real questions find real clips: by type of question, by modality, fused, and against plain baselines.

The questions are split by a hash of their answers: all was chosen on the *choose* half, and *report* is the other.

python benchmarks/quality.py --media DIR [--library LIB]    # DIR has queries.jsonl and the clips; LIB is kept if given
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import machine
import numpy as np
from numpy.typing import NDArray

from api import Library, parts
from retriever import kernels
from retriever.evaluation import measures
from retriever.evaluation.measures import Ranked, Truth
from retriever.ports import Snapshot
from retriever.types import Filter, Modality, TimeSpan
from retriever.words import query_words

DEPTH = 1000
HALVES = ("choose", "report")
Scores = NDArray[np.float64]  # (Q, M) questions against media; -inf where nothing is known


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    type: str
    relevant: tuple[str, ...]  # file stems

    @property
    def half(self) -> str:
        digest = sha256(("\n".join(sorted(self.relevant)) or self.text).encode()).hexdigest()
        return HALVES[int(digest, 16) % 2]


def questions(folder: Path) -> list[Question]:
    lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    read = [json.loads(line) for line in lines]
    return [Question(entry["text"], entry["type"], tuple(entry["relevant"])) for entry in read]


# ---------------------------------------------------------------------------------------------------------- the methods


@dataclass(frozen=True, slots=True)
class Bench:
    """A library of the clips, the questions that have an answer, and the clips' stems in the order of columns."""

    library: Library
    folder: Path
    asked: Sequence[Question]
    stems: Sequence[str]

    @property
    def only_clips(self) -> Filter:
        return Filter(path=f"{self.folder.absolute()}/s*")

    def fused(self) -> Scores:
        """What reelseek answers."""
        return np.stack([self._answer(question, self.only_clips)[0] for question in self.asked])

    def absence(self) -> tuple[Scores, Scores]:
        """Confidences of the best answer `(Q,)`, with the relevant media there and with them filtered out."""
        keys = {Path(media.path).stem: media.key for media in self.library.media()}
        there, gone = [], []
        for question in self.asked:
            without = Filter(path=self.only_clips.path, without=frozenset(keys[stem] for stem in question.relevant))
            there.append(self._answer(question, self.only_clips)[1])
            gone.append(self._answer(question, without)[1])
        return np.array(there), np.array(gone)

    def _answer(self, question: Question, where: Filter) -> tuple[NDArray[np.float64], float]:
        answer = self.library.search(
            question.text, by="video", limit=len(self.stems), depth=DEPTH, min_confidence=0, where=where, copies="show"
        )
        row = np.full(len(self.stems), -np.inf)
        for moment in answer.moments:
            row[self.stems.index(Path(moment.media.path).stem)] = moment.score
        return row, answer.moments[0].confidence if answer.moments else 0.0

    def by_modality(self, snapshot: Snapshot) -> dict[str, Scores]:
        """The largest raw cosine of any token of a media, one modality at a time."""
        encode = parts.asking(self.library.store)
        numbers = snapshot.numbers(self.only_clips)
        table = snapshot.segments(numbers)
        column = self._columns(snapshot, table.media)
        found: dict[str, Scores] = {}
        for key, space in snapshot.spaces.items():
            views = encode([question.text for question in self.asked], space.query_side)  # (Q, D)
            tokens = snapshot.tokens(numbers, key)
            near = kernels.products(tokens.rows, views)  # (N, Q)
            best = np.stack([kernels.segment_max(cosines, tokens.offsets) for cosines in near.T])  # (Q, S)
            scores = found.setdefault(str(space.modality), np.full((len(self.asked), len(self.stems)), -np.inf))
            np.maximum.at(scores.T, column, best.T)
        return found

    def words(self, snapshot: Snapshot) -> Scores:
        """BM25 over spoken and written lines, the best segment of each, added."""
        scores = np.zeros((len(self.asked), len(self.stems)))
        for row, question in zip(scores, self.asked, strict=True):
            for modality in (Modality.SPEECH, Modality.TEXT):
                ranking = snapshot.matching(query_words(question.text), modality, DEPTH, self.only_clips)
                best = np.zeros(len(self.stems))
                column = self._columns(snapshot, snapshot.segments(ranking.segments).media)
                np.maximum.at(best, column, ranking.scores)
                row += best
        return scores

    def _columns(self, snapshot: Snapshot, media: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array([self.stems.index(Path(one.path).stem) for one in snapshot.media_at(media)], np.int64)


def reciprocal_ranks(modalities: Sequence[Scores]) -> Scores:
    """Cormack et al. 2009 with their constant of 60; media that a modality knows nothing of get nothing from it."""
    total = np.zeros_like(modalities[0])
    for scores in modalities:
        place = (scores[:, None, :] > scores[:, :, None]).sum(axis=2) + 1
        total += np.where(np.isfinite(scores), 1 / (60 + place), 0)
    return total


# --------------------------------------------------------------------------------------------------------- the measures


def ranks(scores: Scores, asked: Sequence[Question], stems: Sequence[str]) -> NDArray[np.float64]:
    """Rank of the best relevant media of each question: 1 + those above + half of those that are equal."""
    relevant = [[stems.index(stem) for stem in question.relevant] for question in asked]
    return Ranked.of(scores, Truth.of(relevant, len(stems))).ranks


MEASURES: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "R@1": lambda rank: (rank <= 1).astype(float),
    "R@5": lambda rank: (rank <= 5).astype(float),
    "MRR": lambda rank: 1 / rank,
}


def interval(values: NDArray[np.float64]) -> str:
    """Mean and 95 % bootstrap interval over questions."""
    if not len(values):
        return "–"
    found = measures.interval(values)
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def paired(one: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """Mean difference and two-sided p of a sign-flip permutation test (paired by question)."""
    found = measures.paired(one, other)
    return f"{found.value:+.3f} (p = {found.p:.4f})"


def auroc(there: Scores, gone: Scores) -> float:
    """The chance that a question with an answer is more confident than one without."""
    return float((there[:, None] > gone).mean() + 0.5 * (there[:, None] == gone).mean())


# ---------------------------------------------------------------------------------------------------------- the tables


def report(bench: Bench) -> NDArray[np.str_]:
    with bench.library.store.snapshot() as snapshot:
        modalities = bench.by_modality(snapshot)
        words = bench.words(snapshot)
    methods: dict[str, Scores] = {
        "reelseek": bench.fused(),
        "raw cosine, maximum": np.max(list(modalities.values()), axis=0),
        "words only": words,
        "reciprocal ranks": reciprocal_ranks(list(modalities.values())),
        **{f"{name} alone": scores for name, scores in sorted(modalities.items())},
    }
    rank = {name: ranks(scores, bench.asked, bench.stems) for name, scores in methods.items()}
    half = np.array([question.half for question in bench.asked])
    kind = np.array([question.type for question in bench.asked])
    for name, picked in (*((name, half == name) for name in HALVES), ("both", half != "")):
        print(f"\n## {name}: {picked.sum()} questions, {len(bench.stems)} media\n")
        print("| method | R@1 | R@5 | MRR |\n|---|---|---|---|")
        for method, found in rank.items():
            print(f"| {method} | " + " | ".join(interval(it(found[picked])) for it in MEASURES.values()) + " |")
        for measure, of in MEASURES.items():
            gap = paired(of(rank["reelseek"][picked]), of(rank["raw cosine, maximum"][picked]))
            print(f"\nreelseek less raw maximum, {measure}: {gap}", end="")
        print()
    by_type(rank, kind, sorted(modalities))
    there, gone = bench.absence()
    print("\n## absence: every question again without its media\n")
    for name, picked in (*((name, half == name) for name in HALVES), ("both", half != "")):
        rates = "; ".join(
            f"at {level:.2f}: {np.mean(gone[picked] >= level):.2f} false alarms, {np.mean(there[picked] >= level):.2f} "
            "answered"
            for level in (0.5, 0.8, 0.9)
        )
        print(f"{name}: AUROC {auroc(there[picked], gone[picked]):.3f}; {rates}")
    return half


def poolings(at: Path, bench: Bench, picked: NDArray[np.bool_]) -> None:
    """Every pooling that needs no training, on the choose half and on the captions of its clips: what the default is
    chosen by.  Both halves stand beside, for whoever wants to know what looking again brings."""
    told = [caption for caption in captions(bench.folder, bench.stems) if caption.half == HALVES[0]]
    print(f"\n## poolings: choose half, and {len(told)} captions of its clips\n")
    print("| reranker | R@1 | R@5 | MRR | R@1 of captions | MRR of captions | R@1, both halves | MRR, both halves |")
    print("|---|---|---|---|---|---|---|---|")
    for name in parts.RERANKERS.names():
        with Library.open(at, create=False, reranker=name) as library:
            other = replace(bench, library=library)
            whole = ranks(other.fused(), bench.asked, bench.stems)
            more = ranks(replace(other, asked=told).fused(), told, bench.stems)
        cells = [interval(of(whole[picked])) for of in MEASURES.values()]
        cells += [interval(MEASURES[measure](found)) for found in (more, whole) for measure in ("R@1", "MRR")]
        print(f"| {name} | " + " | ".join(cells) + " |")


def captions(folder: Path, stems: Sequence[str]) -> list[Question]:
    """What the clips' descriptions say, as questions."""
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    read = [json.loads(line) for line in lines]
    return [
        Question(text, "caption", (entry["id"],))
        for entry in read
        if entry["id"] in stems
        for text in entry["captions"]
    ]


def by_type(rank: Mapping[str, NDArray[np.float64]], kind: NDArray[Any], modalities: Sequence[str]) -> None:
    """Questions answered first, by type; the default may lose one to the best single modality, and no more."""
    print("\n## questions answered first, by type, of both halves\n")
    print("| type | questions | reelseek | best single modality | raw maximum | words |\n|---|---|---|---|---|---|")
    for name in sorted(set(kind)):
        first = {method: int((found[kind == name] <= 1).sum()) for method, found in rank.items()}
        best = max(modalities, key=lambda modality: first[f"{modality} alone"])
        print(
            f"| {name} | {(kind == name).sum()} | {first['reelseek']} | {first[f'{best} alone']} ({best}) | "
            f"{first['raw cosine, maximum']} | {first['words only']} |"
        )


def spans(library: Library, folder: Path) -> None:
    """Spans inside long videos, at the recall of the first moment of the right video."""
    truth = folder / "long" / "long_moments.jsonl"
    if not truth.is_file():
        return
    overlaps, whole = [], []
    for line in truth.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        span = TimeSpan(entry["start_s"], entry["end_s"])
        where = Filter(path=f"*/{entry['video']}")
        answer = library.search(entry["query"], limit=1, min_confidence=0, where=where, copies="show")
        overlaps.append(answer.moments[0].span.iou(span) if answer.moments else 0.0)
        length = next(media.duration for media in library.media() if media.path.endswith(entry["video"]))
        whole.append(TimeSpan(0, length).iou(span))
    print(f"\n## spans in long videos: {len(overlaps)} questions, the right video given\n")
    for name, found in (("reelseek", np.array(overlaps)), ("the whole video", np.array(whole))):
        print(f"{name}: R1@0.5 {interval((found >= 0.5).astype(float))}, mIoU {interval(found)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=Path(__file__).parents[2] / "shared" / "media")
    parser.add_argument("--library", type=Path, help="kept, and brought up to date")
    parser.add_argument("--sampling", default="", help="as `reelseek index` has it")
    args = parser.parse_args()
    if not (args.media / "queries.jsonl").is_file():
        parser.error(f"{args.media} has no queries.jsonl")
    print(machine.describe())
    with (
        tempfile.TemporaryDirectory() as folder,
        Library.open(at := args.library or Path(folder) / "library") as library,
    ):
        done = library.index([args.media], sampling=args.sampling)
        print(f"{len(done.indexed)} indexed, {done.unchanged} unchanged, {len(done.quarantined)} set aside")
        asked = [question for question in questions(args.media) if question.relevant]
        stems = sorted(
            Path(media.path).stem for media in library.media() if Path(media.path).parent == args.media.absolute()
        )
        bench = Bench(library, args.media, asked, stems)
        half = report(bench)
        poolings(at, bench, half == HALVES[0])
        spans(library, args.media)


if __name__ == "__main__":
    main()
