"""Cut a moment out of its media, as a file of its own.

  reelseek clip 1d3f0a9b7c2e4f68@4.00-6.20 --out cut.mp4
  reelseek clip clips/bikes.mp4@4-6.2 --margin 1 --exact --out cut.mp4
  reelseek clip clips/bikes.mp4@0:04-0:06 --out sound.mp3 --exact

What a search prints as a reference names the moment; a path or the beginning of an id do as well, and without times
all of the media is meant.  Packets are copied: quick and without loss, but it begins with the keyframe before.
--exact decodes and encodes anew (H.264 and AAC, in .webm VP9 and Opus), to begin and end with the very pictures;
.wav and .flac are always exact.  The suffix says the format: .mp4 .mkv .webm .mov, or for sound .wav .m4a .mp3 .flac
.ogg.  Copies have all streams of pictures and sound that the format can hold; --exact has one of each, its sound mono
or stereo.
"""

import argparse
import sys

from api import exits
from api.commands import _common
from api.terminal import amount, near, plain, put, say

UNTOLD = 0.05
"""Seconds by which a copy may begin early and nobody is told: a frame, or a packet of sound."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", help="what to cut out: MEDIA@start-end, PATH@start-end, or all of a MEDIA or PATH")
    parser.add_argument("--out", required=True, metavar="FILE", help="the file to write; its suffix says the format")
    parser.add_argument("--margin", default="0", metavar="SECONDS", help="so much more on both sides (default: 0)")
    parser.add_argument("--exact", action="store_true", help="begin and end with the very pictures: encode anew")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    _common.settings_arguments(parser, "library", "store")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from api import clipping

    with _common.library(_common.settings(args)) as library:
        made = library.clip(
            args.ref,
            Path(args.out),
            margin=_margin(args.margin),
            exact=args.exact,
            force=args.force,
            watch=_watch,
        )
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{' ' * 20}\r")  # where it said how far it is
    cut = made.cut
    if args.json:
        _common.put_json(clipping.document(made))
    else:
        codecs = " and ".join(one.codec for one in cut.streams)
        put(f"{plain(args.out)}: {cut.span} of {near(made.media.path)}, {codecs}, {amount(cut.size)}")
    if made.early > UNTOLD:
        say(f"note: it begins {made.early:.2f} s early, at the keyframe before; --exact begins at the very frame")
    for one in cut.left_out:
        say(f"note: left out {one.kind} ({plain(one.codec)}): {plain(one.why)}")
    return exits.OK


def _margin(text: str) -> float:
    from retriever.errors import BadSettings
    from retriever.types import parse_seconds

    try:
        return parse_seconds(text)
    except ValueError as error:
        raise BadSettings(f"--margin is {text!r}; it wants seconds, 0 or more") from error


def _watch(second: float) -> None:
    if sys.stderr.isatty():
        from retriever.types import clock

        sys.stderr.write(f"\rat {clock(second)} ")
        sys.stderr.flush()
