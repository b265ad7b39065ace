"""List the media of a library: what they are, how long, and what of them could not be indexed.

  reelseek media --library lib/ --kind video --duration '>60'
  reelseek media --quarantined --library lib/        # files that were set aside, with the reason
  reelseek media relocate OLD NEW --library lib/     # what lay below OLD lies below NEW; --dry-run only says so
  reelseek media relocate NEW --library lib/         # media that are gone are looked for below NEW, by what is in them

A path is mended when the file there has the very content that was indexed, and no other media is known by it.
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
    verbs = parser.add_subparsers(dest="what", required=False, metavar="relocate")
    about = "mend the paths of media whose files lie elsewhere by now"
    # What stands before the verb holds behind it, too.
    verb = verbs.add_parser(
        "relocate", help=about, description=about, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )
    verb.add_argument("old", nargs="?", metavar="OLD", help="file or folder where they lay; none: wherever")
    verb.add_argument("new", metavar="NEW", help="file or folder where they lie")
    verb.add_argument("--dry-run", action="store_true", help="say what would be, and change nothing")
    _common.settings_arguments(verb, "library", "store")
    _common.every_command(verb)


def run(args: argparse.Namespace) -> int:
    return _relocate(args) if args.what == "relocate" else _list(args)


def _list(args: argparse.Namespace) -> int:
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


def _relocate(args: argparse.Namespace) -> int:
    from api import schemas

    dry_run, old = getattr(args, "dry_run", False), getattr(args, "old", None)
    with _common.library(_common.settings(args)) as library:
        found = library.relocate(args.new, old, dry_run=dry_run)
    if args.json:
        _common.put_json(schemas.relocated(found, dry_run))
    else:
        for move in found.moves:
            put(f"{near(move.old)} -> {near(move.new)}")
        for why, paths in (
            ("not found", found.missing),
            ("another file", found.different),
            ("known by another media", found.taken),
        ):
            for path in paths:
                put(f"{near(path)}: {why}")
    if old is not None and not found.before:
        say(f"no media of the library is known at or below {plain(old)}: reelseek media lists where they are")
        return exits.OK if found.after else exits.NOTHING  # it was done before
    moved = f"{counted(len(found.moves), 'path')} {'would be mended' if dry_run else 'mended'}"
    left = f"{len(found.missing):,} not found, {len(found.different):,} another file, {len(found.taken):,} taken"
    say(f"{moved}, {found.there:,} still there, {left}")
    whole = found.moves or not (found.missing or found.different or found.taken)
    return exits.OK if whole else exits.NOTHING
