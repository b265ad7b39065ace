"""Judging: a benchmark's questions meet a library, or scores that somebody brought."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from api.service import Library
from indexer.events import Watch
from retriever.errors import BenchmarkError
from retriever.evaluation import _formats, _highlights, _spans, _toy, _trec, benchmarks, measures, report
from retriever.evaluation._formats import Moments
from retriever.evaluation.benchmarks import Manifest, Task
from retriever.evaluation.measures import Estimate, Ranked, Truth
from retriever.evaluation.report import Document, Run
from retriever.looking import Looking, Looks
from retriever.ports import EncodeSentences, Store
from retriever.query import Query
from retriever.search import Searcher
from retriever.types import Filter, Floats, Ids, RaggedTokens, Vector

AT_ONCE = 256
"""Questions that are encoded together."""
Tell = Callable[[str], None]
T = TypeVar("T")


# ------------------------------------------------------------------------------------------------------------ a library


@dataclass(frozen=True, slots=True)
class Gallery:
    """Who is asked: a searcher, and which media of its library each column of the task is."""

    store: Store
    encode: EncodeSentences
    looking: Looking
    cache: Path | None
    keys: tuple[str | None, ...]  # (M,) None where it could not be had
    asks: str = ""  # how `encode` puts questions, as a `Searcher` has it

    @property
    def missing(self) -> NDArray[np.bool_]:
        return np.array([key is None for key in self.keys])

    def searcher(self, looking: Looking) -> Searcher:
        return Searcher(self.store, self.encode, looking, self.cache, self.asks)


def toy(looking: Looking) -> tuple[Task, Gallery]:
    """The benchmark that is made on the spot, and who looks at its candidates."""
    task, (store, encode) = _toy.task(), _toy.library()
    with store.snapshot() as snapshot:
        there = {media.key for media in snapshot.media()}
    keys = tuple(name if name in there else None for name in task.media)
    return task, Gallery(store, encode, looking, None, keys)


def gallery(
    library: Library, manifest: Manifest, task: Task, videos: Path | None, pack: str, jobs: int, watch: Watch
) -> Gallery:
    """The task's media in a library; with `videos` they are first indexed from there.

    Raises:
        BenchmarkError: none of them is there; the message says what was looked for.
    """
    if videos:
        there = files(videos)
        paths = [path for name in task.media if (path := meant(name, manifest, there))]
        if not paths:
            raise BenchmarkError(_nowhere(manifest, task, f"below {videos}"))
        library.index(paths, pack=pack, jobs=jobs, watch=watch)
    held = held_by(library, videos.absolute() if videos else None)
    keys = tuple(meant(name, manifest, held) for name in task.media)
    if not any(keys):
        raise BenchmarkError(_nowhere(manifest, task, f"in the library {library.path}"))
    searcher = library.searcher
    return Gallery(library.store, searcher.encode, searcher.looking, searcher.cache, keys, searcher.asks)


def files(folder: Path) -> dict[str, Path]:
    """Files below a folder by name without ending; of several the first by path, but films and sounds before what lies
    beside them (thumbnails, subtitles)."""
    if not folder.is_dir():
        raise BenchmarkError(f"--videos is {folder}; it wants the folder that holds the benchmark's media")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*"), key=_likely):
        if path.is_file():
            found.setdefault(path.stem, path)
    return found


def held_by(library: Library, below: Path | None = None) -> dict[str, str]:
    """Keys of a library's media by the name of a file without ending, as `files` has them; only of files `below`."""
    held: dict[str, str] = {}
    paths = ((Path(path), media.key) for media in library.media() for path in media.paths)
    for path, key in sorted(paths, key=lambda pair: _likely(pair[0])):
        if below is None or path.is_relative_to(below):
            held.setdefault(path.stem, key)
    return held


def _likely(path: Path) -> tuple[bool, Path]:
    return path.suffix.lower() not in _formats.MEDIA_ENDINGS, path


def meant(name: str, manifest: Manifest, held: Mapping[str, T]) -> T | None:
    """What a media's name stands for, in any of the ways that its file may be called."""
    return next((held[stem] for stem in _stems(name, manifest) if stem in held), None)


def _stems(name: str, manifest: Manifest) -> list[str]:
    return [like.format(name=name, base=name.rpartition("_")[0]) for like in manifest.stems]


def _nowhere(manifest: Manifest, task: Task, where: str) -> str:
    wanted = ", ".join(f"{stem}.*" for name in task.media[:2] for stem in _stems(name, manifest))
    return f"none of the {len(task.media):,} media of {manifest.name} lies {where}; looked for {wanted} and so on"


@dataclass(frozen=True, slots=True)
class Answers:
    """Scores `(Q, M)` of media, -inf where the first stage did not name them, and whom it named."""

    scores: Floats
    named: NDArray[np.bool_]  # (Q, M)


def answers(task: Task, asked: Gallery, looking: Looking, depth: int, tell: Tell) -> Answers:
    """Every caption asks as a plain sentence: what in it looks like our filters and quotes is none."""
    columns: dict[str, list[int]] = {}
    for column, key in enumerate(asked.keys):
        if key is not None:
            columns.setdefault(key, []).append(column)
    where, searcher = Filter(media=frozenset(columns)), asked.searcher(looking)
    scores = np.full((len(task.queries), len(task.media)), -np.inf, np.float32)
    named = np.zeros(scores.shape, bool)
    for first in range(0, len(task.queries), AT_ONCE):
        part = [Query(text, text) for text in task.queries[first : first + AT_ONCE]]
        for row, found in enumerate(searcher.scores(part, depth=depth, where=where), first):
            for key, score in found.items():
                scores[row, columns[key]], named[row, columns[key]] = score, True
        tell(f"{min(first + AT_ONCE, len(task.queries)):,} of {len(task.queries):,} questions asked")
    return Answers(scores, named)


@dataclass(frozen=True, eq=False)
class Shuffled(Looking):
    """Whoever looks is shown the tokens of each segment in another order: what pools without looking at positions must
    answer the same."""

    def look(
        self, views: Mapping[str, Vector], tokens: Mapping[str, RaggedTokens], named: Mapping[str, Floats]
    ) -> Looks:
        rng = np.random.default_rng(3)
        orders = {space: _order(own, rng) for space, own in tokens.items()}
        looks = super().look(views, {space: _moved(own, orders[space]) for space, own in tokens.items()}, named)
        return {space: (scores, _back(shown, orders[space])) for space, (scores, shown) in looks.items()}


def _shuffled(looking: Looking) -> Shuffled:
    return Shuffled(looking.reranker, looking.head, looking.adapter)


def _order(tokens: RaggedTokens, rng: np.random.Generator) -> Ids:
    """Places of tokens `(N,)`, shuffled within each segment."""
    owner = np.repeat(np.arange(len(tokens.offsets) - 1), np.diff(tokens.offsets))
    return np.lexsort((rng.random(len(owner)), owner))


def _moved(tokens: RaggedTokens, order: Ids) -> RaggedTokens:
    return replace(tokens, rows=tokens.rows[order], norms=tokens.norms[order])


def _back(shown: Floats, order: Ids) -> Floats:
    found = np.empty_like(shown)
    found[order] = shown
    return found


def searched(
    manifest: Manifest, split: str, task: Task, asked: Gallery, depth: int, tell: Tell
) -> tuple[Document, Run]:
    """Ask a library, and judge what it answers."""
    found = answers(task, asked, asked.looking, depth, tell)
    tell("once more with the frames of each segment shuffled")
    shuffled = answers(task, asked, _shuffled(asked.looking), depth, tell)
    run = Run(task.truth, found.scores, asked.missing)
    ranked = Ranked.of(shuffled.scores, task.truth, missing=asked.missing)
    with np.errstate(invalid="ignore"):
        apart = np.abs(found.scores - shuffled.scores)
    document = judged(run, task.media, task.digest)
    document.update(about(manifest, split, task.notes))
    recall = _named_right(found.named, run).mean()
    document["first_stage"] = {"depth": depth, "recall": round(float(recall), 6)}
    document["controls"]["shuffled"] = {
        "R@1": round(float(ranked.recall(1).mean()), 6),
        "moved": round(float(np.nanmax(apart, initial=0.0)), 6),
    }
    return document, run


def _named_right(named: NDArray[np.bool_], run: Run) -> NDArray[np.bool_]:
    """Questions `(Q,)` of which the first stage named a right media: no reranking can find more."""
    found = np.zeros(run.truth.queries, bool)
    found[run.truth.rows[named[run.truth.rows, run.truth.columns]]] = True
    return found


# ------------------------------------------------------------------------------------------------------- brought scores


def brought(scores: Path, truth: Path) -> tuple[Document, Run]:
    """Scores `(Q, M)` in a .npy file and right columns in a .jsonl file, or a TREC run and its qrels, of any system.

    Raises:
        BenchmarkError: one of them is not of that form; the message has the line.
    """
    if scores.suffix != ".npy":
        found, right = _trec.matrix(_trec.read_run(scores), _trec.read_qrels(truth))
        run = Run(right, found, np.zeros(right.media, bool))
        return judged(run, [""] * right.media, sha256(truth.read_bytes()).hexdigest()[:16]), run
    made = array(scores)
    asked = Truth.of(relevant(truth, made.shape[1]), made.shape[1])
    if asked.queries != made.shape[0]:
        raise BenchmarkError(f"{scores} has {made.shape[0]} rows and {truth} {asked.queries} lines; they want one each")
    run = Run(asked, made, np.zeros(made.shape[1], bool))
    columns = tuple(str(column) for column in range(made.shape[1]))
    queries = tuple(str(row) for row in range(made.shape[0]))
    task = Task(
        queries, columns, tuple(tuple(asked.columns[asked.rows == row].tolist()) for row in range(len(queries)))
    )
    return judged(run, columns, task.digest), run


def array(path: Path) -> NDArray[np.floating[Any]]:
    """
    Raises:
        BenchmarkError: no plain array of numbers, or not of two dimensions.
    """
    made = _formats.array(path)
    if made.ndim != 2 or made.dtype.kind not in "fiu" or not made.size:
        raise BenchmarkError(f"{path} holds {made.dtype} {made.shape}; it wants numbers of shape (questions, media)")
    return made if made.dtype.kind == "f" else made.astype(np.float64)


def relevant(path: Path, media: int) -> list[list[int]]:
    """A line a question: {"relevant": [column, …]}.

    Raises:
        BenchmarkError: with the line.
    """
    found = []
    for number, line in _formats.lines(path):
        where = f"{path}:{number}"
        one = _formats.record(line, where)
        if "relevant" not in one:
            raise BenchmarkError(f'{where}: {line[:60]!r}; it wants {{"relevant": [column, …]}}')
        columns = one["relevant"]
        whole = isinstance(columns, list) and all(type(column) is int for column in columns)
        if not whole or not columns or not all(0 <= column < media for column in columns):
            raise BenchmarkError(f"{where}: the columns are {columns!r}; it wants one or more from 0 to {media - 1}")
        found.append(columns)
    return found


def judged(run: Run, media: Sequence[str], digest: str) -> Document:
    """The document of a run, whoever made it."""
    return {
        "benchmark": "",
        "split": "",
        "protocol": "",
        "notes": [],
        "questions": run.truth.queries,
        "media": run.truth.media,
        "missing": [name for name, gone in zip(media, run.missing.tolist(), strict=True) if gone],
        **run.both_ways(),
        "first_stage": None,
        "controls": {
            "chance": {name: round(value, 6) for name, value in measures.chance(run.truth).items()},
            "shuffled": None,
        },
        "published": [],
        "digest": digest,
        "ranks": report.ranks(run.ranked().ranks),
    }


def about(manifest: Manifest, split: str, notes: Sequence[str]) -> Document:
    return {
        "benchmark": manifest.name,
        "split": manifest.split(split).name,
        "protocol": manifest.protocol,
        "notes": list(notes),
        "published": [dict(one) for one in manifest.published],
    }


def write_trec(run: Run, media: Sequence[str] | None, run_out: Path | None, qrels_out: Path | None) -> None:
    """Questions are q1, q2, …; media keep their names, or are d0, d1, …"""
    questions = [f"q{number}" for number in range(1, run.truth.queries + 1)]
    documents = _trec.identifiers(media) if media else [f"d{column}" for column in range(run.truth.media)]
    if run_out:
        _trec.write_run(run_out, np.where(run.missing, -np.inf, run.scores), questions, documents)
    if qrels_out:
        _trec.write_qrels(qrels_out, run.truth, questions, documents)


# ------------------------------------------------------------------------------------------------------------ comparing


def compared(one: Path, other: Path, qrels: Path | None) -> Document:
    """Two runs: documents as `eval retrieval --json` prints them, or TREC runs with their judgements."""
    kept = [_from_run(path, qrels) if qrels else report.read(path) for path in (one, other)]
    return {"one": str(one), "other": str(other), **report.compared(*kept)}


def _from_run(path: Path, qrels: Path) -> report.Kept:
    scores, truth = _trec.matrix(_trec.read_run(path), _trec.read_qrels(qrels))
    return report.Kept(str(qrels), Ranked.of(scores, truth).ranks)


# -------------------------------------------------------------------------------------------------------------- moments


def moments(manifest: Manifest, split: str, annotations: Path, predictions: Path) -> Document:
    """Spans that somebody predicts, against those of a benchmark."""
    truth, notes = benchmarks.read_moments(manifest, split, annotations)
    return {**about(manifest, split, notes), **_moments(truth, predictions)}


def moments_of(truth: Path, predictions: Path) -> Document:
    """Spans that somebody predicts, against those of any file in the form of QVHighlights."""
    told = {"benchmark": "", "split": "", "protocol": "", "notes": [], "published": []}
    return {**told, **_moments(benchmarks.read_truth(truth), predictions)}


def _moments(truth: Sequence[Moments], predictions: Path) -> Document:
    found, salient = _spans.read_predictions(predictions), _highlights.read(predictions)
    lengths = _spans.by_length(truth, found)
    people = any(one.saliency for one in truth)
    highlights = _highlights.judge(truth, salient) if salient and people else None
    answered = set(salient) | {name for name, windows in found.items() if windows}
    return {
        "questions": len(truth),
        "unanswered": sum(one.id not in answered for one in truth),
        "measures": _estimates(_spans.judge(truth, found).summary()),
        "by_length": [
            {"length": name, "questions": count, "measures": _estimates(summary)}
            for name, (count, summary) in lengths.items()
        ],
        "highlights": highlights and {name: _estimates(summary) for name, summary in highlights.items()},
    }


def _estimates(summary: Mapping[str, Estimate]) -> Document:
    return {name: report.estimate(value) for name, value in summary.items()}


def listed() -> Document:
    """Every benchmark with what is asked, how much of it, and under which licence."""
    found = [benchmarks.load(name) for name in benchmarks.names()]
    return {
        "benchmarks": [
            {
                "name": one.name,
                "title": one.title,
                "task": one.task,
                "default": one.default,
                "splits": [
                    {"name": split.name, "questions": split.queries, "media": split.media}
                    for split in one.splits.values()
                ],
                "licence": one.licence,
                "protocol": one.protocol,
                "traps": list(one.traps),
                "published": len(one.published),
            }
            for one in found
        ]
    }
