"""Judge how well questions find media or moments, on known benchmarks or on scores that you bring.

  reelseek eval retrieval --benchmark toy                    # made on the spot: no weights, no files
  reelseek eval retrieval --benchmark msrvtt_1ka --annotations DIR --videos DIR --library lib/ [--head head/]
  reelseek eval retrieval --scores sims.npy --truth truth.jsonl
  reelseek eval moments --benchmark charades_sta --annotations DIR --predictions FILE
  reelseek eval compare one.json other.json                  # what --json printed; or TREC runs with --qrels
  reelseek eval list

Annotations are read as their authors publish them, and you bring them; docs/evaluation.md tells which files.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api import exits
from api.commands import _common
from api.terminal import counted, plain, put, say, table

if TYPE_CHECKING:
    from retriever.evaluation.benchmarks import Manifest, Task
    from retriever.evaluation.report import Document, Run

SHOWN = 5
"""Names of missing media that people are shown."""


def arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)

    def added(name: str, about: str) -> argparse.ArgumentParser:
        found: argparse.ArgumentParser = kinds.add_parser(name, help=about, description=about, allow_abbrev=False)
        return found

    retrieval = added("retrieval", "which media answer which sentence, and the other way round")
    retrieval.add_argument("--benchmark", metavar="NAME", help="one of `reelseek eval list`")
    retrieval.add_argument("--split", default="", metavar="NAME", help="part of it (default: the one to test on)")
    retrieval.add_argument("--annotations", type=Path, metavar="DIR", help="folder of the published files")
    retrieval.add_argument("--videos", type=Path, metavar="DIR", help="folder of the media; they are indexed first")
    _common.settings_arguments(retrieval, "library", *_common.LOOKING, "store", "pack", "jobs")
    _common.models_arguments(retrieval, "models of the pack openclip")
    brought = retrieval.add_argument_group("scores of any system, in place of a benchmark")
    brought.add_argument("--scores", type=Path, metavar="FILE", help=".npy array, questions × media; or a TREC run")
    truth = 'a line a question: {"relevant": [column, …]}; or qrels'
    brought.add_argument("--truth", type=Path, metavar="FILE", help=truth)
    trec = retrieval.add_argument_group("for other programs")
    trec.add_argument("--run-out", type=Path, metavar="FILE", help="write the ranking as a TREC run")
    trec.add_argument("--qrels-out", type=Path, metavar="FILE", help="write what is right as TREC qrels")

    moments = added("moments", "which spans of a given video answer a sentence")
    moments.add_argument("--benchmark", required=True, metavar="NAME", help="charades_sta or qvhighlights")
    moments.add_argument("--split", default="", metavar="NAME", help="part of it (default: the one to test on)")
    moments.add_argument("--annotations", required=True, type=Path, metavar="DIR", help="folder of the published files")
    moments.add_argument(
        "--predictions",
        required=True,
        type=Path,
        metavar="FILE",
        help='a line a question: {"qid": …, "pred_relevant_windows": [[start, end, score], …]}; '
        "the qid of Charades-STA is the line of the annotation",
    )

    compare = added("compare", "two runs on the same questions: is the difference more than chance?")
    compare.add_argument("one", type=Path, metavar="ONE", help="what `eval retrieval --json` printed")
    compare.add_argument("other", type=Path, metavar="OTHER")
    compare.add_argument("--qrels", type=Path, metavar="FILE", help="ONE and OTHER are TREC runs, judged by this")

    listed = added("list", "the benchmarks with their splits, counts and licences; the first split is the default")
    for each in (retrieval, moments, compare, listed):
        _common.every_command(each)


def run(args: argparse.Namespace) -> int:
    kinds: Mapping[str, Callable[[argparse.Namespace], int]] = {
        "retrieval": _retrieval,
        "moments": _moments,
        "compare": _compare,
        "list": _list,
    }
    return kinds[args.kind](args)


# ------------------------------------------------------------------------------------------------------------ retrieval


def _retrieval(args: argparse.Namespace) -> int:
    from api import evaluation
    from retriever.errors import BadSettings, BenchmarkError

    if bool(args.benchmark) == bool(args.scores) or bool(args.scores) != bool(args.truth):
        raise BadSettings("eval retrieval wants either --benchmark NAME, or --scores FILE and --truth FILE")
    for path in (args.scores, args.truth):
        if path and not path.is_file():
            raise BenchmarkError(f"{path} is no file")
    for path in (args.run_out, args.qrels_out):
        if path and not path.parent.is_dir():  # before hours of work, not after
            raise BenchmarkError(f"{path} cannot be written: there is no folder {path.parent}")
    media = None
    if args.scores:
        document, judged = evaluation.brought(args.scores, args.truth)
    else:
        document, judged, task = _asked(args)
        media = task.media
    if args.json:
        _common.put_json(document)
    else:
        _show(document)
    evaluation.write_trec(judged, media, args.run_out, args.qrels_out)
    return exits.OK


def _asked(args: argparse.Namespace) -> "tuple[Document, Run, Task]":
    """A benchmark against a library."""
    from api import evaluation, parts, progress
    from api.service import Library
    from retriever.errors import BadSettings
    from retriever.evaluation import benchmarks

    chosen = _common.settings(args)
    manifest = benchmarks.load(args.benchmark)
    split = manifest.split(args.split)
    if split.options["format"] == benchmarks.MADE:
        task, made = evaluation.toy(parts.looking(chosen.reranker, chosen.head, chosen.adapter))
        return *evaluation.searched(manifest, split.name, task, made, chosen.depth, say), task
    if not args.annotations:
        raise BadSettings(f"{manifest.name} wants --annotations DIR: the folder of {_files(manifest, split.name)}")
    task = benchmarks.read(manifest, split.name, args.annotations)
    for note in task.notes:
        say(f"warning: {note}")
    with Library.open(
        chosen.library,
        store=chosen.store,
        create=bool(args.videos),
        reranker=chosen.reranker,
        head=chosen.head,
        adapter=chosen.adapter,
        models=_common.models(chosen),
    ) as library:
        with progress.watching() as watch:
            held = evaluation.gallery(library, manifest, task, args.videos, chosen.pack, chosen.jobs, watch)
        return *evaluation.searched(manifest, split.name, task, held, chosen.depth, say), task


def _files(manifest: "Manifest", split: str) -> str:
    options = manifest.split(split).options
    found = options.get("list", [])
    return " and ".join(
        [options["file"], *([found] if isinstance(found, str) else [" or ".join(found)] if found else [])]
    )


def _show(document: "Document") -> None:
    from retriever.evaluation import report

    name = f"{document['benchmark']} {document['split']}: " if document["benchmark"] else ""
    gone = document["missing"]
    put(f"{name}{counted(document['questions'], 'question')}, {counted(document['media'], 'media', 'media')}")
    put("R@k, MRR, mAP and nDCG in %, with 95 % intervals")
    if gone:
        more = f" and {len(gone) - SHOWN} more" if len(gone) > SHOWN else ""
        put(plain(f"{len(gone):,} missing: {', '.join(gone[:SHOWN])}{more}"))
    for direction in report.DIRECTIONS:
        put()
        for line in table(report.rows(document, direction), report.head(document, direction)):
            put(line)
    put()
    for line in table(_controls(document)):
        put(line)
    if document["published"]:
        put()
        for line in table(report.published_rows(document["published"]), report.published_head(document["published"])):
            put(line)
    if document["protocol"]:
        say(plain(document["protocol"]))


def _controls(document: "Document") -> list[tuple[str, ...]]:
    """What the numbers are to be held against, beside chance."""
    first, shuffled = document["first_stage"], document["controls"]["shuffled"]
    found: list[tuple[str, ...]] = []
    if first:
        found.append(("first stage", f"names {first['depth']:,} segments a question: no reranking finds more"))
    if shuffled:
        moved = f"R@1 {shuffled['R@1'] * 100:.1f}, scores moved by {shuffled['moved']:g} at most"
    else:
        moved = "not known: scores were brought, not frames"
    return [*found, ("frames shuffled", moved), ("chance", "whoever reads the question and sees no media")]


# ----------------------------------------------------------------------------------------------------------- all others


def _moments(args: argparse.Namespace) -> int:
    from api import evaluation
    from retriever.evaluation import benchmarks, report

    manifest = benchmarks.load(args.benchmark)
    document = evaluation.moments(manifest, args.split, args.annotations, args.predictions)
    for note in document["notes"]:
        say(f"warning: {note}")
    if args.json:
        _common.put_json(document)
        return exits.OK
    put(f"{document['benchmark']} {document['split']}: {counted(document['questions'], 'question')}")
    if document["unanswered"]:
        put(f"{document['unanswered']:,} without an answer, counted as missed")
    put()
    for line in table((name, _percent(told)) for name, told in document["measures"].items()):
        put(line)
    put()
    for line in table(report.published_rows(document["published"]), report.published_head(document["published"])):
        put(line)
    return exits.OK


def _percent(told: Mapping[str, Any]) -> str:
    return f"{told['value'] * 100:.2f} [{told['low'] * 100:.2f}, {told['high'] * 100:.2f}]"


def _compare(args: argparse.Namespace) -> int:
    from api import evaluation
    from retriever.evaluation import report

    document = evaluation.compared(args.one, args.other, args.qrels)
    if args.json:
        _common.put_json(document)
        return exits.OK
    put(f"{counted(document['questions'], 'question')}, text to media")
    put()
    for line in table(report.compared_rows(document), ("", "one", "other", "difference", "p")):
        put(line)
    return exits.OK


def _list(args: argparse.Namespace) -> int:
    from api import evaluation

    document = evaluation.listed()
    if args.json:
        _common.put_json(document)
        return exits.OK
    rows = [row for one in document["benchmarks"] for row in _splits(one)]
    for line in table(rows, ("benchmark", "task", "split", "questions", "media", "licence")):
        put(line)
    return exits.OK


def _splits(one: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A line a split, the default first; what holds for all of them stands there once."""
    rows: list[tuple[str, ...]] = []
    for split in sorted(one["splits"], key=lambda split: bool(split["name"] != one["default"])):
        media = f"{split['media']:,}" if split["media"] else "–"
        counts = (split["name"], f"{split['questions']:,}", media)
        rows.append(("", "", *counts, "") if rows else (one["name"], one["task"], *counts, one["licence"]))
    return rows
