"""Bring another library, or what `export` wrote, into a library without encoding anything again.

  reelseek import exported/ --library lib/            # a folder that reelseek export wrote
  reelseek import other/ --library lib/               # merge: the media that lib/ lacks
  reelseek import lib/ --library http://127.0.0.1:6333/clips    # go over to Qdrant; the other way round, back

Both have to be of one recipe.  A media is one commit: interrupted, run it again, and it goes on.
"""

import argparse

from api import exits
from api.commands import _common
from api.terminal import counted, put, say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="a library, or a folder that `reelseek export` wrote")
    _common.settings_arguments(parser, "library", "store")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from api import importing

    chosen = _common.settings(args)
    if not importing.is_export(Path(args.source)):  # it is there: else none would be made for it
        importing.opened(args.source, chosen.store_catalog, chosen.library).close()
    with _common.library(chosen, create=True) as library:
        done = library.import_from(args.source, chosen.store_catalog)
    if args.json:
        _common.put_json(done)
    else:
        what = f"{counted(done['segments'], 'segment')}, {counted(done['tokens'], 'token')}"
        put(f"{counted(len(done['imported']), 'media', 'media')} imported ({what}); {done['unchanged']} were there")
    if done["left_out"]:
        say(f"{counted(len(done['left_out']), 'media', 'media')} left out: all their paths are other media's here")
    return exits.OK
