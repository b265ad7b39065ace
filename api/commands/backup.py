"""Copy a library, as it is at this moment, into a new folder, while it is searched and indexed into.

  reelseek backup backups/monday --library lib/       # a library itself: search it, or put it back:
  reelseek restore backups/monday --library lib/

The copy is checked before it gets its name; jobs that are at work go on.  Media themselves are not in it, nor those
that were sent to `serve` (they lie in its --uploads), nor keys.  A library in Qdrant is copied with reelseek import, or
with Qdrant's own snapshots.
"""

import argparse

from api import exits
from api.commands import _common
from api.terminal import amount, counted, plain, put


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="where to; new or empty")
    _common.settings_arguments(parser, "library", "store")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    with _common.library(_common.settings(args)) as library:
        written = library.back_up(args.folder)
    if args.json:
        _common.put_json(written)
    else:
        what = f"{counted(written['media'], 'media', 'media')}, {counted(written['segments'], 'segment')}"
        put(f"{plain(written['folder'])}: {what}, {amount(written['bytes'])}")
    return exits.OK
