"""Answer several questions and write one HTML page, with pictures and what made each moment an answer.

  reelseek report answers.html "a parrot" "someone plays the saxophone" --library lib/
  reelseek report answers.html "a parrot" --sheet parrots.jpg

Under each moment a strip shows how relevant every second of its media is, by what is seen, heard, said and written.
--sheet makes one more picture, with a thumbnail of each moment.
"""

import argparse

from api import exits
from api.commands import _common
from api.terminal import counted, plain, put, say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="the page to write")
    parser.add_argument("query", nargs="+", help="what happens in it")
    parser.add_argument("--sheet", metavar="FILE", help="also write a contact sheet: .jpg or .png")
    _common.asking_arguments(parser)
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from api import report, schemas, sheet

    if args.sheet:
        sheet.suffix_of(Path(args.sheet))  # before the search
    chosen = _common.settings(args)
    wanted = _common.wanted(args, chosen)
    with _common.library(chosen) as library:
        answers = [library.search(query, **wanted) for query in args.query]
        lines = {moment.ref: library.lines(moment) for answer in answers for moment in answer}
        strips = [library.strips(answer) for answer in answers]
        paths = {key: path for answer in answers for key, path in library.paths(answer).items()}
    report.write(answers, lines, args.file, strips, paths)
    if args.sheet:
        shown = sheet.write(answers, Path(args.sheet))
        say(f"sheet: {plain(args.sheet)}, {counted(shown, 'moment')}")
    found = sum(bool(answer.moments) for answer in answers)
    if args.json:
        _common.put_json({"file": args.file, "answers": [schemas.search(answer, chosen.by) for answer in answers]})
    else:
        put(f"{plain(args.file)}: {counted(len(answers), 'question')}, {found} answered")
    return exits.OK if found else exits.NOTHING
