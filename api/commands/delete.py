"""Take media out of a library; the files themselves stay where they are.

  reelseek delete 3fa94c0e7b1d2a55 clips/talk.mp4 --library lib/

A media is named by its id, the beginning of its id, one of its paths, or a reference such as 3fa9…@12.50-17.00.
If one of the names is unknown, nothing is deleted.
"""

import argparse

from api import exits
from api.commands import _common
from api.terminal import counted, near, put, say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("media", nargs="+", metavar="MEDIA", help="id, path or reference")
    _common.settings_arguments(parser, "library", "store")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    with _common.library(_common.settings(args)) as library:
        gone = library.delete(*args.media)
    if args.json:
        _common.put_json({"deleted": [{"id": item.key, "path": item.path} for item in gone]})
    else:
        for item in gone:
            put(f"{item.key}  {near(item.path)}")
    say(f"{counted(len(gone), 'media', 'media')} deleted")
    return exits.OK
