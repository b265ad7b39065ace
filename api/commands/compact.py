"""Give the room of deleted media back, and build anew what is derived; answers do not change.

reelseek compact --library lib/
"""

import argparse

from api import exits
from api.commands import _common
from api.terminal import amount, put


def arguments(parser: argparse.ArgumentParser) -> None:
    _common.settings_arguments(parser, "library", "store")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    with _common.library(_common.settings(args)) as library:
        before = library.stats()["bytes"]
        library.compact()
        after = library.stats()["bytes"]
    if args.json:
        _common.put_json({"bytes_before": before, "bytes_after": after})
    else:
        put(f"{amount(before)} before, {amount(after)} now")
    return exits.OK
