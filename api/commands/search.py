"""Find moments: ranked spans of media, with what made each of them an answer.

  reelseek search "a parrot" --library lib/
  reelseek search 'someone says "never do it for free"' --by video --duration '<60' --json
  reelseek search "a red car" --report answer.html

Words in double quotes are also looked for word for word.  Filters may stand in the query as well: tag:holiday,
longer:10, kind:sound.  The exit code is 3 if nothing is sure enough.
"""

import argparse
import sys

from api import exits
from api.commands import _common
from api.terminal import Paint, put, say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", help="what happens in it")
    _common.settings_arguments(
        parser, "library", "by", "limit", "min_confidence", "depth", "reranker", "head", "adapter", "store"
    )
    _common.filter_arguments(parser)
    _common.models_arguments(parser, _common.MOVED)
    parser.add_argument("--report", metavar="FILE", help="also write the answer as one HTML page with pictures")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from api import schemas, show

    chosen = _common.settings(args)
    with _common.library(chosen) as library:
        answer = library.search(
            args.query,
            by=chosen.by,
            limit=chosen.limit,
            depth=chosen.depth,
            min_confidence=chosen.min_confidence,
            where=_common.where(args),
        )
        lines = {moment.ref: library.lines(moment) for moment in answer}
    if args.report:
        from api import report

        report.write([answer], lines, args.report)
        say(f"report: {args.report}")
    if args.json:
        _common.put_json(schemas.search(answer, chosen.by))
    else:
        for line in show.answer(answer, lines, Paint.for_stream(sys.stdout)):
            put(line)
    for line in show.closing(answer, chosen.min_confidence):
        say(line)
    return exits.OK if answer.moments else exits.NOTHING
