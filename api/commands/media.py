"""List the media of a library: what they are, how long, and what of them could not be indexed.

reelseek media --library lib/ --kind video --duration '>60'
reelseek media --quarantined --library lib/        # files that were set aside, with the reason
"""

import argparse
import sys

from api import exits
from api.commands import _common
from api.terminal import Paint, counted, near, plain, put, say, table


def arguments(parser: argparse.ArgumentParser) -> None:
    _common.settings_arguments(parser, "library", "store")
    _common.filter_arguments(parser)
    parser.add_argument("--quarantined", action="store_true", help="only files that were set aside")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from api import schemas
    from indexer.plan import NO_PICTURE, NO_SOUND
    from retriever.types import clock

    with _common.library(_common.settings(args)) as library:
        found = [] if args.quarantined else library.media(_common.where(args))
        aside = library.quarantined()
    if args.json:
        _common.put_json(schemas.media(found, aside))
    elif args.quarantined:
        for entry in aside:
            put(f"{near(entry.path)}: {plain(entry.reason)}")
    else:
        paint = Paint.for_stream(sys.stdout)
        rows = [(item.key, str(item.kind), clock(item.duration), near(item.path)) for item in found]
        for item, line in zip(found, table(rows), strict=True):
            put(line)
            for modality, reason in item.missing.items():
                if reason not in (NO_PICTURE, NO_SOUND):  # a sound has no picture: nobody misses one
                    put(paint.dim(f"    no {modality}: {plain(reason)}"))
    if not args.quarantined:
        say(f"{counted(len(found), 'media', 'media')}, {counted(len(aside), 'file')} set aside")
    return exits.OK if (aside if args.quarantined else found) else exits.NOTHING
