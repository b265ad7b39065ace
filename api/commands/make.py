"""Make what an evaluation asks for.

  reelseek make order-set --library lib/ --manifest captions.jsonl --out set/    # then:
  reelseek eval order --set set/ --index

An order set is made of the library's own clips: two of one kind, A then B and B then A, a few seconds each, in new
files; and sentences that are true of one order only.  Captions come from --manifest, lines of
{"media": "clip.mp4", "caption": "…", "span": [start, end]} as `reelseek train` reads them; without it, what is
said in each clip stands for it.  With --json the set is told as a document; docs/evaluation.md has the rest.
"""

import argparse
from pathlib import Path

from api import exits
from api.commands import _common
from api.terminal import counted, near, put, say


def arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="what", metavar="KIND", required=True)
    about = "clips stitched in pairs, and sentences that their order decides"
    made: argparse.ArgumentParser = kinds.add_parser("order-set", help=about, description=about, allow_abbrev=False)
    made.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the set; it is made")
    made.add_argument("--manifest", type=Path, metavar="FILE", help="captions; without it, spoken lines")
    made.add_argument("--pairs", type=int, default=60, metavar="N", help="pairs, two media each (default: 60)")
    made.add_argument("--seed", type=int, default=0, metavar="S", help="which pairs are drawn (default: 0)")
    made.add_argument("--seconds", type=float, default=4.0, metavar="T", help="shown of each clip (default: 4)")
    made.add_argument("--gap", type=float, default=0.0, metavar="T", help="black and silence between (default: 0)")
    apart = "captions that a head was trained on, or a .txt of ids; none of their media is used; again for more"
    made.add_argument("--apart-from", action="append", default=[], type=Path, metavar="FILE", help=apart)
    _common.settings_arguments(made, "library", "store")
    _common.every_command(made)


def run(args: argparse.Namespace) -> int:
    from api import ordering
    from retriever.errors import BadSettings, BenchmarkError

    if args.pairs < 1 or not ordering.LEAST_SECONDS <= args.seconds <= 60 or not 0 <= args.gap <= 60:
        raise BadSettings(
            f"--pairs {args.pairs}, --seconds {args.seconds:g}, --gap {args.gap:g}: they want at least 1 pair, "
            f"{ordering.LEAST_SECONDS:g} to 60 seconds, and a gap of 0 to 60"
        )
    if args.manifest and not args.manifest.is_file():
        raise BenchmarkError(f"--manifest {args.manifest} is no file")
    with _common.library(_common.settings(args)) as library:
        events = ordering.described(library, args.manifest, args.apart_from, args.seconds)
        drawn = ordering.pairs(events.found, args.pairs, args.seed)
        if len(drawn) < args.pairs:
            say(f"warning: {counted(len(drawn), 'pair')} can be made of {counted(len(events.found), 'event')}")
        lines = ordering.write(drawn, args.out, args.gap)
    document = {
        "set": str(args.out),
        "pairs": len(drawn),
        "media": len(lines),
        "events": len(events.found),
        "kinds": {kind: sum(line["kind"] == kind for line in lines) // 2 for kind in ("video", "sound")},
        "left_out": [{"why": why, "media": count} for why, count in events.left_out.items()],
        "seed": args.seed,
    }
    if args.json:
        _common.put_json(document)
        return exits.OK
    put(f"{counted(len(drawn), 'pair')} of {counted(len(events.found), 'event')}, {len(lines):,} media in {args.out}")
    for why, count in events.left_out.items():
        say(f"{counted(count, 'media', 'media')} left out: {why}")
    say(f"next: reelseek eval order --set {near(str(args.out))} --index")
    return exits.OK
