"""Go over to another model without losing the library: its media are embedded again, beside what they have.

  reelseek reembed --pack openclip --model ViT-B-32:laion2b_s34b_b79k --library lib/   # builds; run it again to go on
  reelseek reembed --search new --library lib/       # search what was built; `both`, or `old` to go back
  reelseek reembed --drop old --library lib/         # take out what is not searched, and give its room back
  reelseek reembed --status --library lib/           # which recipes there are, and how far they are

It is a job: `reelseek jobs` lists, pauses, resumes and cancels it.  Searches go on as they were until --search says
otherwise.  Media whose file is gone, changed or breaks are listed and stop nothing.  Segments stay as they were cut,
spoken and written lines as they were read.  --budget and --sampling go with another model: to sample anew for the one
that is there, index into another library.
"""

import argparse

from api import exits
from api.commands import _common
from api.terminal import amount, plain, put, say

CHOICES = ("pack", "budget", "sampling", "model", "checkpoint", "sound_model", "sound_checkpoint", "video_model")
"""Settings that say what is built."""


def arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--search", choices=("new", "both", "old"), help="what is searched from now on")
    what.add_argument("--drop", choices=("old", "new"), help="the recipe whose vectors go; not one that is searched")
    what.add_argument("--status", action="store_true", help="change nothing, tell what stands")
    _common.settings_arguments(parser, "library", "pack", "jobs", "store")
    sampled = "frames that the new recipe looks at: as its pack says, however the library was made, unless told here"
    _common.settings_arguments(parser.add_argument_group(sampled), "budget", "sampling")
    _common.models_arguments(parser, "models of the new recipe (`reelseek models` lists and brings them)")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from api import progress, reembedding

    resolved = _common.resolved(args)
    chosen = resolved.settings
    _refuse_two_wishes(args)
    building = not (args.search or args.drop or args.status)
    building = building and any(resolved.origins[name] != "default" for name in CHOICES)
    summary, code, before = None, exits.OK, 0
    with _common.library(chosen) as library:
        if building:
            with progress.watching(work=progress.EMBED) as watch:
                summary = library.reembed(
                    pack=chosen.pack, budget=chosen.budget, sampling=chosen.sampling, jobs=chosen.jobs, watch=watch
                )
            code = exits.ERROR if summary.failed_all else exits.OK
        elif args.search:
            for note in library.choose(args.search):
                say(f"note: {plain(note)}")
        elif args.drop:
            before = library.stats()["bytes"]
            library.drop(args.drop)
        found = library.reembedding(summary)
    if args.json:
        _common.put_json(found)
    else:
        for line in reembedding.lines(found):
            put(line)
    if summary:
        for line in progress.closing(summary, progress.EMBED):
            say(line)
    if args.drop:
        say(f"{amount(before)} before, {amount(found['bytes'])} now")
    return code


def _refuse_two_wishes(args: argparse.Namespace) -> None:
    from retriever.errors import BadSettings

    said = [f"--{name.replace('_', '-')}" for name in CHOICES if getattr(args, name) is not None]
    for wish in ("search", "drop", "status"):
        if getattr(args, wish) and said:
            raise BadSettings(f"--{wish} is about what is built already: leave out {', '.join(said)}, or build first")
