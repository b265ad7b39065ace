"""Find moments: ranked spans of media, with what made each of them an answer.

  reelseek search "a parrot" --library lib/
  reelseek search 'someone says "never do it for free"' --by video --duration '<60' --json
  reelseek search "a red car" --report answer.html --export found.csv --export found.edl
  reelseek search "a dog barks, then a man laughs within 20s" --explain
  reelseek search "a parrot" --copies show --most-per-media 2
  reelseek search "a street without cars heard:music^2 -rain duration<60"

Footage that is there several times (encoded again, resized, cropped, cut out, cut in) is one result, which names the
others; --copies show shows them all.

Words in double quotes are also looked for word for word.  A query may have steps (A then B within 30s, A before B, A
while B), terms that must not be there (without B, -B, NOT B), terms for one way of perceiving (seen:A heard:B
written:C said:"word for word"), both(A, B) for what is seen and heard in the same second, weights (A^2), and filters
(tag:holiday duration<60 kind:sound after:2026-01-31 in:collection): docs/queries.md has them all.  The exit code is 3
if nothing is sure enough.
"""

import argparse
import sys

from api import exits
from api.commands import _common
from api.terminal import Paint, plain, put, say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", help="what happens in it")
    parser.add_argument("--explain", action="store_true", help="also say how the query was understood")
    _common.asking_arguments(parser)
    parser.add_argument("--report", metavar="FILE", help="also write the answer as one HTML page with pictures")
    parser.add_argument(
        "--export",
        metavar="FILE",
        action="append",
        default=[],
        help="also write the moments as .vtt, .srt (of the best moment's media), .csv, .edl or .json; again for more",
    )
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from api import markers, schemas, show

    exports = [Path(name) for name in args.export]
    for file in exports:
        markers.suffix_of(file)  # before the search
    chosen = _common.settings(args)
    with _common.library(chosen) as library:
        answer = library.search(args.query, **_common.wanted(args, chosen))
        paths = library.paths(answer)
        lines = {moment.ref: library.lines(moment) for moment in answer}
        strips = library.strips(answer) if args.report else {}
    if args.report:
        from api import report

        report.write([answer], lines, args.report, [strips], paths)
        say(f"report: {args.report}")
    for file in exports:
        for note in markers.write(answer, lines, file, chosen.by):
            say(f"note: {plain(f'{file}: {note}')}")
        say(f"export: {plain(str(file))}")
    if args.json:
        _common.put_json(schemas.search(answer, chosen.by))
    else:
        for line in show.answer(answer, lines, Paint.for_stream(sys.stdout), paths):
            put(line)
    for line in show.closing(answer, chosen.min_confidence):
        say(line)
    if args.explain:
        say(f"understood as: {plain(answer.understood)}")
    return exits.OK if answer.moments else exits.NOTHING
