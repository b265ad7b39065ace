"""Bring a library that an older reelseek wrote to the format of this one; the catalog as it was is kept beside it.

reelseek upgrade --library lib/
"""

import argparse

from api import exits
from api.commands import _common
from api.terminal import plain, put


def arguments(parser: argparse.ArgumentParser) -> None:
    _common.settings_arguments(parser, "library", "store")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from api import parts

    chosen = _common.settings(args)
    before = parts.upgrade(chosen.store, chosen.library, chosen.store_catalog)
    with _common.library(chosen):  # it opens: so it is of this format now
        pass
    if args.json:
        _common.put_json({"library": chosen.library, "format_before": before})
    else:
        put(f"{plain(chosen.library)}: was format {before}, is up to date")
    return exits.OK
