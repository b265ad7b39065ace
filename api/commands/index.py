"""Index folders, files, addresses or manifests into a library; and stay with folders as they change.

  reelseek index clips/ --library lib/
  reelseek index talk.mp4 --tag talks --recorded 2026-05-01 --library lib/
  reelseek index clips/ --sampling keyframes --library quicker/   # decode those alone: about one in 10 s
  reelseek index clips/ --budget 0.3 --library quick/      # encode 3 of 10 frames: those that differ most
  reelseek index clips/ --pack openclip --model ViT-B-32:laion2b_s34b_b79k --library better/
  reelseek index corpus.jsonl --library lib/      # lines of {"path": …, "title": …, "tags": […], "recorded": …,
                                                  # "collection": …}, paths from where the manifest lies;
                                                  # .csv (tags as a;b) and .parquet have the same columns
  reelseek index s3://bucket/films/ https://host/a.mp4 --library lib/        # also gs://: docs/remote.md
  reelseek index inbox/ --watch --prune --library lib/       # stays, and takes what comes, changes and goes
  reelseek index clips/ --executor ray --ray-address auto --library lib/        # on a Ray cluster: docs/cluster.md

The first files are encoded while later ones are still looked at.  Indexing again is cheap: what is unchanged is
skipped, what was renamed is renamed.  A file that cannot be read is set aside with the reason and stops nothing; the
exit code is 1 only if every file failed.  Each run is a job: `reelseek jobs` lists them, and pauses, resumes and
cancels them from any terminal.
"""

import argparse

from api import exits
from api.commands import _common
from api.terminal import say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="folder, file, address or manifest")
    _common.settings_arguments(parser, "library", "pack", "budget", "sampling", "jobs", "store")
    _common.models_arguments(parser, "models of the pack openclip (`reelseek models` lists and brings them)")
    said = parser.add_argument_group("what is known of all of them (a manifest's line knows better)")
    said.add_argument("--title", default="", help="title")
    said.add_argument("--tag", action="append", default=[], metavar="TAG", help="tag; again for more")
    said.add_argument("--recorded", default="", metavar="DATE", help="when: 2026-01-31, or with time and zone")
    said.add_argument("--collection", default="", metavar="NAME", help="part of the library")
    parser.add_argument("--prune", action="store_true", help="take out what is gone from these folders")
    parser.add_argument(
        "--profile", metavar="FILE", help="write what happens when into a trace, for chrome://tracing or Perfetto"
    )
    _common.settings_arguments(
        parser.add_argument_group("what is taken"), "tries", "most_seconds", "most_bytes", "least_free"
    )
    _common.settings_arguments(
        parser.add_argument_group("who carries it out (docs/cluster.md)"),
        "executor",
        "ray_address",
        "ray_cpus",
        "ray_gpus",
    )
    staying = parser.add_argument_group("staying")
    staying.add_argument("--watch", action="store_true", help="stay, and take what comes and changes; Ctrl-C ends it")
    _common.settings_arguments(staying, "every")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from api import progress, schemas
    from api.parts import Workers
    from api.service import Library
    from indexer.policy import Policy
    from retriever.errors import BadSettings

    chosen = _common.settings(args)
    if args.watch and not chosen.every:
        raise BadSettings("--every is 0; --watch wants seconds above 0")
    if args.watch:
        say(f"stays and looks again every {chosen.every:g} s; Ctrl-C ends it")
    with (
        Library.open(
            chosen.library, store=chosen.store, store_catalog=chosen.store_catalog, models=_common.models(chosen)
        ) as library,
        progress.watching() as watch,
    ):
        summary = library.index(
            args.paths,
            pack=chosen.pack,
            budget=chosen.budget,
            sampling=chosen.sampling,
            metadata=_common.metadata(args),
            prune=args.prune,
            jobs=chosen.jobs,
            policy=Policy(chosen.tries, chosen.most_seconds, chosen.most_bytes, chosen.least_free),
            every=chosen.every if args.watch else 0.0,
            profile=args.profile,
            workers=Workers.of(chosen),
            watch=watch,
        )
    if args.json:
        _common.put_json(schemas.index(summary))
    for line in progress.closing(summary):
        say(line)
    return exits.ERROR if summary.failed_all else exits.OK
