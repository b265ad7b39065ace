"""Write a library in open formats into a new folder: JSON lines or Parquet, npy arrays, WebVTT subtitles.

reelseek export exported/ --library lib/
reelseek export exported/ --tables parquet --library lib/     # for tools that read that (extra `parquet`)
"""

import argparse

from api import exits
from api.commands import _common
from api.terminal import counted, plain, put


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="where to; new or empty")
    parser.add_argument("--tables", default="jsonl", metavar="FORM", help="jsonl, or parquet")
    _common.settings_arguments(parser, "library", "store")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    with _common.library(_common.settings(args)) as library:
        written = library.export(args.folder, tables=args.tables)
    if args.json:
        _common.put_json(written)
    else:
        what = [counted(written["media"], "media", "media")]
        what += [counted(written[name], name[:-1]) for name in ("segments", "lines", "tokens")]
        put(f"{plain(written['folder'])}: {', '.join(what)}")
    return exits.OK
