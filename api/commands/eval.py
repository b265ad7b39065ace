"""Judge how well questions find media or moments, on known benchmarks or on scores that you bring.

  reelseek eval retrieval --benchmark toy                    # made on the spot: no weights, no files
  reelseek eval retrieval --benchmark msrvtt_1ka --annotations DIR --videos DIR --library lib/ [--head head/]
  reelseek eval retrieval --scores sims.npy --truth truth.jsonl
  reelseek eval moments --benchmark charades_sta --annotations DIR --predictions FILE
  reelseek eval moments --truth FILE --predictions FILE      # both as QVHighlights has them
  reelseek eval order --set DIR --index                      # of `reelseek make order-set`: A then B, or B then A?
  reelseek eval absence --library lib/ --manifest FILE       # is it told that nothing is here?
  reelseek eval temporal --benchmark tempcompass --annotations DIR --library lib/
  reelseek eval compare one.json other.json                  # what --json printed; or TREC runs with --qrels
  reelseek eval list

Annotations are read as their authors publish them, and you bring them; docs/evaluation.md tells which files.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
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
    kinds = parser.add_subparsers(dest="what", metavar="KIND", required=True)

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
    moments.add_argument("--benchmark", metavar="NAME", help="charades_sta or qvhighlights")
    moments.add_argument("--split", default="", metavar="NAME", help="part of it (default: the one to test on)")
    moments.add_argument("--annotations", type=Path, metavar="DIR", help="folder of the published files")
    truth = 'in place of a benchmark: a line a question, {"qid", "query", "vid", "duration", "relevant_windows", …}'
    moments.add_argument("--truth", type=Path, metavar="FILE", help=truth)
    moments.add_argument(
        "--predictions",
        required=True,
        type=Path,
        metavar="FILE",
        help='a line a question: {"qid": …, "pred_relevant_windows": [[start, end, score], …], '
        '"pred_saliency_scores": [score of each 2 s, …]}; the qid of Charades-STA is the line of the annotation',
    )

    order = added("order", "whether A then B is told from B then A, on stitched media")
    order.add_argument("--set", required=True, type=Path, metavar="DIR", help="what `make order-set` wrote")
    order.add_argument("--index", action="store_true", help="index its media into DIR/library first, and ask that")
    shuffles = "times that all is asked with frames shuffled (default: 3)"
    order.add_argument("--shuffles", type=int, default=3, metavar="N", help=shuffles)
    _common.settings_arguments(order, "library", "reranker", "head", "adapter", "store", "pack", "jobs")
    _common.models_arguments(order, "models of the pack openclip")

    absence = added("absence", "whether it is told that nothing is here")
    lines = 'a line a question: {"text": …, "relevant": [media, …]}; an empty list for those without an answer'
    absence.add_argument("--manifest", required=True, type=Path, metavar="FILE", help=lines)
    rate = "false alarms to allow, 0 to 1; again for more (default: 0.05 and 0.1)"
    absence.add_argument("--rate", action="append", default=[], type=float, metavar="R", help=rate)
    causal = "each line has a time `t`: only what was recorded by that date, or seen by that second, may answer"
    absence.add_argument("--causal", action="store_true", help=causal)
    _common.filter_arguments(absence)
    _common.settings_arguments(absence, "library", "reranker", "head", "adapter", "store")
    _common.models_arguments(absence, "models of the pack openclip")

    temporal = added("temporal", "sentences against one another, of which one is true of a video")
    temporal.add_argument("--benchmark", required=True, metavar="NAME", help="temporalbench, tempcompass, …")
    temporal.add_argument("--split", default="", metavar="NAME", help="part of it (default: the one to test on)")
    folder = "folder of the published files"
    temporal.add_argument("--annotations", required=True, type=Path, metavar="DIR", help=folder)
    again = "times that all is asked with frames shuffled (default: 1)"
    temporal.add_argument("--shuffles", type=int, default=1, metavar="N", help=again)
    _common.settings_arguments(temporal, "library", "reranker", "head", "adapter", "store")
    _common.models_arguments(temporal, "models of the pack openclip")

    compare = added("compare", "two runs on the same questions: is the difference more than chance?")
    compare.add_argument("one", type=Path, metavar="ONE", help="what `eval retrieval --json` printed")
    compare.add_argument("other", type=Path, metavar="OTHER")
    compare.add_argument("--qrels", type=Path, metavar="FILE", help="ONE and OTHER are TREC runs, judged by this")

    listed = added("list", "the benchmarks with their splits, counts and licences; the first split is the default")
    for each in (retrieval, moments, order, absence, temporal, compare, listed):
        _common.every_command(each)


def run(args: argparse.Namespace) -> int:
    kinds: Mapping[str, Callable[[argparse.Namespace], int]] = {
        "retrieval": _retrieval,
        "moments": _moments,
        "order": _order,
        "absence": _absence,
        "temporal": _temporal,
        "compare": _compare,
        "list": _list,
    }
    return kinds[args.what](args)


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
    with _common.library(chosen, create=bool(args.videos)) as library:
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
    _put_published(document["published"])
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
    from retriever.errors import BadSettings
    from retriever.evaluation import benchmarks

    if bool(args.truth) == bool(args.benchmark) or bool(args.benchmark) != bool(args.annotations):
        raise BadSettings("eval moments wants either --truth FILE, or --benchmark NAME and --annotations DIR")
    if args.truth:
        document = evaluation.moments_of(args.truth, args.predictions)
    else:
        manifest = benchmarks.load(args.benchmark)
        document = evaluation.moments(manifest, args.split, args.annotations, args.predictions)
    for note in document["notes"]:
        say(f"warning: {note}")
    if args.json:
        _common.put_json(document)
        return exits.OK
    name = f"{document['benchmark']} {document['split']}" if document["benchmark"] else str(args.truth)
    put(f"{plain(name)}: {counted(document['questions'], 'question')}")
    if document["unanswered"]:
        put(f"{document['unanswered']:,} without an answer, counted as missed")
    put()
    for line in table((name, _percent(told)) for name, told in document["measures"].items()):
        put(line)
    if document["by_length"]:
        shown = ("R1@0.5", "R1@0.7", "mAP")
        rows = [
            (one["length"], f"{one['questions']:,}", *(_percent(one["measures"][measure]) for measure in shown))
            for one in document["by_length"]
        ]
        put()
        for line in table(rows, ("moments", "questions", *shown)):
            put(line)
    if document["highlights"]:
        rows = [(name, *map(_percent, told.values())) for name, told in document["highlights"].items()]
        put()
        for line in table(rows, ("highlights", "HIT@1", "mAP")):
            put(line)
    _put_published(document["published"])
    return exits.OK


def _order(args: argparse.Namespace) -> int:
    from api import chronology, progress
    from retriever.errors import BadSettings
    from retriever.evaluation import order

    if args.shuffles < 0:
        raise BadSettings(f"--shuffles is {args.shuffles}; it wants 0 or more")
    if args.index and args.library:
        raise BadSettings(f"--index brings the set into {args.set / 'library'}; leave --library out, or --index")
    order.read_set(args.set)  # before minutes of indexing, not after
    chosen = _common.settings(args)
    with _common.library(chosen, args.set / "library" if args.index else None, create=args.index) as library:
        if args.index:
            with progress.watching() as watch:
                library.index([args.set / "media"], pack=chosen.pack, jobs=chosen.jobs, watch=watch)
        document = chronology.judged(library, args.set, args.shuffles, say)
    if args.json:
        _common.put_json(document)
        return exits.OK
    put(f"{counted(document['pairs'], 'pair')}, {counted(document['media'], 'media', 'media')}")
    put("right in %, with 95 % intervals by pair; both: both orders of a pair")
    found = document["parts_alone"]["found"]
    told = (f"on {_share(one['media_kept'])} among the first {one['within']}" for one in found)
    put(f"an order can be told where both parts are found alone: {', '.join(told)}")
    put()
    places = [one["within"] for one in (found[0], found[-1])]
    shown = [("all", "of all"), *((f"kept_{place}", f"found in {place}") for place in places)]
    heads = ("", *(cell for _, head in shown for cell in (head, "both")))
    for line in table(_orders(document, [of for of, _ in shown]), heads):
        put(line)
    return exits.OK


NAMED = {
    "chronology": "A then B",
    "test_of_time": "A before B, B after A",
    "test_of_time_capitals": "A BEFORE B, B AFTER A",
    "stitched_sounds": "sounds alone, A then B",
    "by_media": "one sentence, two media",
    "one_vector": "as one vector",
    "text_only": "the words alone",
    "frames_shuffled": "frames shuffled",
}


def _orders(document: "Document", which: Sequence[str]) -> list[tuple[str, ...]]:
    """A line a measure: of all media, and of those whose parts are found alone."""
    cells = {name: [document["measures"][of][name] for of in which] for name in NAMED}
    return [
        (shown, *(cell for told in cells[name] for cell in (_cell(told, "accuracy"), _alone(told, "joint"))))
        for name, shown in NAMED.items()
        if any(cells[name])
    ]


def _alone(told: "Document | None", name: str) -> str:
    """Without its interval."""
    return f"{told[name]['value'] * 100:.1f}" if told and told[name] else "–"


def _share(value: float) -> str:
    return f"{value * 100:.0f} %"


def _absence(args: argparse.Namespace) -> int:
    from api import absence
    from retriever.errors import BadSettings

    rates = args.rate or [0.05, 0.1]
    if not all(0 <= rate <= 1 for rate in rates):
        raise BadSettings(f"--rate is {', '.join(map(str, rates))}; it wants shares from 0 to 1")
    with _common.library(_common.settings(args)) as library:
        asked = absence.questions(library, args.manifest, args.causal)
        document = absence.judged(library, asked, rates, args.causal, _common.where(args), say)
    if args.json:
        _common.put_json(document)
        return exits.OK
    gone = document["absent"]
    put(f"{counted(document['present'], 'question')} with an answer; without: {gone['left_out']:,} of the same, and")
    put(f"{gone['unanswerable']:,} that have none.  In %, with 95 % intervals")
    put()
    names = {"all": "AUROC", "left_out": "AUROC, answer taken away", "unanswerable": "AUROC, never had one"}
    found = [(shown, _percent(document["auroc"][name])) for name, shown in names.items() if document["auroc"][name]]
    for line in table([*found, ("right answer first", _percent(document["top_1"]))]):
        put(line)
    rows = [
        (
            f"{one['rate'] * 100:g}",
            f"{one['min_confidence']:.4f}",
            *("–" if one[name] is None else f"{one[name] * 100:.1f}" for name in ("false_alarms", "stated", "misses")),
            _percent(one["rightly"]),
        )
        for one in document["rates"]
    ]
    put()
    for line in table(rows, ("rate", "--min-confidence", "false alarms", "as stated", "misses", "rightly answered")):
        put(line)
    return exits.OK


def _temporal(args: argparse.Namespace) -> int:
    from api import temporal
    from retriever.errors import BadSettings
    from retriever.evaluation import benchmarks

    if args.shuffles < 0:
        raise BadSettings(f"--shuffles is {args.shuffles}; it wants 0 or more")
    manifest = benchmarks.load(args.benchmark)
    with _common.library(_common.settings(args)) as library:
        document = temporal.judged(library, manifest, args.split, args.annotations, args.shuffles, say)
    if args.json:
        _common.put_json(document)
        return exits.OK
    name = f"{document['benchmark']} {document['split']}"
    put(f"{name}: {counted(document['items'], 'item')}, frames sampled {document['frames']}")
    if document["missing"]:
        gone = document["missing"]
        more = f" and {len(gone) - SHOWN} more" if len(gone) > SHOWN else ""
        put(plain(f"{len(gone):,} media missing, their items left out: {', '.join(gone[:SHOWN])}{more}"))
    put("in %, with 95 % intervals")
    asked = ("asked", "text_only", "frames_shuffled")
    for name in ("pairs", "questions", "groups", "conflicts", "not_yet"):
        rows = [
            (str(one.get("aspect", "all")), *(_cell(one[way], name) for way in asked))
            for one in (document, *document["aspects"])
            if one["asked"][name]
        ]
        if rows:
            put()
            for line in table(rows, (name.replace("_", " "), "asked", "words alone", "frames shuffled")):
                put(line)
    _put_published(document["published"])
    say(plain(document["protocol"]))
    return exits.OK


def _put_published(published: Sequence[Mapping[str, Any]]) -> None:
    """What others reached, if anybody published it."""
    from retriever.evaluation import report

    if published:
        put()
        for line in table(report.published_rows(published), report.published_head(published)):
            put(line)


def _cell(told: "Document | None", name: str) -> str:
    return _percent(told[name]) if told and told[name] else "–"


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
        questions, media = (f"{split[what]:,}" if split[what] else "–" for what in ("questions", "media"))
        counts = (split["name"], questions, media)
        rows.append(("", "", *counts, "") if rows else (one["name"], one["task"], *counts, one["licence"]))
    return rows
