"""Make a library what its backup is, in one step, while it is searched.

  reelseek restore backups/monday --library lib/      # all that came since is gone
  reelseek restore backups/monday --library new/      # a second library like it

Who searches goes on with what they look at; the next question is answered from the backup.  Keys stay those of the
library; a new one has none.  Refused while somebody indexes into the library.
"""

import argparse

from api import exits
from api.commands import _common
from api.terminal import counted, plain, put


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backup", help="a folder that `reelseek backup` wrote, or another library of this format")
    _common.settings_arguments(parser, "library", "store")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from api import parts

    chosen = _common.settings(args)
    for place in (chosen.library, args.backup):
        parts.refuse_server(place)
    parts.store(parts.DEFAULT_STORE, args.backup, create=False).close()  # it is there: else none would be made for it
    with _common.library(chosen, create=True) as library:
        there = library.restore(args.backup)
    if args.json:
        _common.put_json(there)
    else:
        what = f"{counted(there['media'], 'media', 'media')}, {counted(there['segments'], 'segment')}"
        put(f"{plain(there['library'])}: {what}")
    return exits.OK
