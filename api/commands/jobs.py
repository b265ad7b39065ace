"""See and steer jobs: list, show, pause, resume, cancel; and try again what was set aside.

  reelseek jobs list --library lib/               # those that are not done; --all: all of them; --json
  reelseek jobs pause 9f2c --library lib/         # from any terminal: stops within a batch, keeps what it has
  reelseek jobs resume 9f2c --library lib/        # goes on, also with one whose process was killed
  reelseek jobs cancel 9f2c --library lib/        # stops it, and takes out what it had begun
  reelseek jobs retry 9f2c --library lib/         # indexes its files again that were set aside
  reelseek jobs retry --quarantined clips/ --library lib/    # or those of a folder, whichever job had them

Each `reelseek index` is a job, and each `reelseek reembed`.  What was committed stays, whatever becomes of its job.
The beginning of an id will do.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from api import exits
from api.commands import _common
from api.terminal import counted, near, plain, put, say

if TYPE_CHECKING:
    from api.progress import Work
    from indexer.events import Summary
    from indexer.jobs import Standing

VERBS = {
    "list": "those that are not done",
    "show": "all that is known of one",
    "pause": "stop one within a batch, and keep what it has",
    "resume": "go on with one that was paused, interrupted or failed",
    "cancel": "stop one for good, and take out what it had begun",
    "retry": "index files again that were set aside",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", required=True, metavar=" | ".join(VERBS))
    for what, about in VERBS.items():
        verb = verbs.add_parser(what, help=about, description=about, allow_abbrev=False)
        if what == "list":
            verb.add_argument("--all", action="store_true", help="those that are done or cancelled, too")
        elif what == "retry":
            verb.add_argument("id", nargs="?", default="", metavar="ID", help="of a job: all its files in quarantine")
            verb.add_argument(
                "--quarantined", nargs="*", metavar="PATH", help="these files, or those in these folders; none: all"
            )
        else:
            verb.add_argument("id", metavar="ID", help="of a job, or its beginning")
        _common.settings_arguments(verb, "library", "store")
        _common.every_command(verb)


def run(args: argparse.Namespace) -> int:
    verbs = {"list": _list, "show": _show, "pause": _stop, "resume": _resume, "cancel": _stop, "retry": _retry}
    return verbs[args.what](args)


def _list(args: argparse.Namespace) -> int:
    from api import jobs

    with _common.library(_common.settings(args)) as library:
        every = library.jobs()
    found = [one for one in every if args.all or not one.is_over]
    if args.json:
        _json(found)
    else:
        for line in jobs.table_of(found):
            put(line)
        hidden = len(every) - len(found)
        say(counted(len(found), "job") + (f", {hidden:,} more with --all" if hidden else ""))
    return exits.OK if found else exits.NOTHING


def _show(args: argparse.Namespace) -> int:
    from api import jobs

    with _common.library(_common.settings(args)) as library:
        found = library.job(args.id)
    if args.json:
        _json([found])
    else:
        for line in jobs.lines(found):
            put(line)
    return exits.OK


def _stop(args: argparse.Namespace) -> int:
    with _common.library(_common.settings(args)) as library:
        found = library.pause(args.id) if args.what == "pause" else library.cancel(args.id)
    if args.json:
        _json([found])
    if found.by and found.record.wish:
        say(f"job {found.record.id} was asked to stop, and is still at a batch: it will stop after that ({found.by})")
    else:
        say(_stands(found))
    return exits.OK


def _resume(args: argparse.Namespace) -> int:
    from api import progress

    with _common.library(_common.settings(args)) as library:
        work = _work(library.job(args.id))
        with progress.watching(work=work) as watch:
            found, summary = library.resume(args.id, watch)
    if args.json:
        _json([found])
    if summary is None:
        say(_stands(found))
        return exits.OK
    return _told(summary, work)


def _retry(args: argparse.Namespace) -> int:
    from api import progress
    from retriever.errors import BadSettings

    if bool(args.id) == (args.quarantined is not None):
        raise BadSettings("retry wants the ID of a job, or --quarantined with files or folders (none: all)")
    with _common.library(_common.settings(args)) as library:
        work = _work(library.job(args.id)) if args.id else progress.INDEX
        with progress.watching(work=work) as watch:
            done, left = library.retry(args.id or None, args.quarantined or (), watch)
    if args.json:
        _json([found for found, _ in done])
    for path in left:
        say(f"{near(path)} is of no job that is remembered, and is out of quarantine: reelseek index takes it again")
    if not done:
        say("nothing to try again" if not left else "nothing was indexed")
        return exits.OK if left else exits.NOTHING
    return max([_told(summary, work) for _, summary in done])


def _work(found: "Standing") -> "Work":
    """What it does with files, in words."""
    from api import indexing, progress

    return progress.EMBED if indexing.kind(found.record) == indexing.REEMBED else progress.INDEX


def _told(summary: "Summary", work: "Work") -> int:
    from api import progress

    for line in progress.closing(summary, work):
        say(line)
    return exits.ERROR if summary.failed_all else exits.OK


def _stands(found: "Standing") -> str:
    by = f" ({found.by} works on it)" if found.by else ""
    return plain(f"job {found.record.id} is {found.state}{by}")


def _json(found: "Sequence[Standing]") -> None:
    from api import schemas

    _common.put_json(schemas.jobs(found))
