"""Count what a library holds: media, segments, tokens by space, lines, bytes, and its recipe.

reelseek stats --library lib/
"""

import argparse

from api import exits
from api.commands import _common
from api.terminal import amount, put, table


def arguments(parser: argparse.ArgumentParser) -> None:
    _common.settings_arguments(parser, "library", "store")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from retriever.types import clock

    with _common.library(_common.settings(args)) as library:
        stats = library.stats()
    if args.json:
        _common.put_json(stats)
        return exits.OK
    rows = [
        ("media", f"{stats['media']:,}  ({', '.join(f'{n:,} {kind}' for kind, n in stats['kinds'].items())})"),
        ("length", clock(stats["duration_s"])),
        ("segments", f"{stats['segments']:,}"),
        ("lines", f"{stats['lines']:,}"),
        ("tokens", f"{stats['tokens']:,}"),
        *(
            (f"  {space['name']}", f"{space['tokens']:,}  {space['modality']}, {space['id']}")
            for space in stats["spaces"]
        ),
        ("size", amount(stats["bytes"])),
        ("recipe", stats["recipe"]["digest"] if stats["recipe"] else "none yet"),
        ("set aside", f"{stats['quarantined']:,}"),
    ]
    if two := stats["reembedding"]:
        rows.append(("recipes", f"{two['old']} and {two['new']}, searched: {two['searched']} (reelseek reembed)"))
    for line in table(rows):
        put(line)
    return exits.OK
