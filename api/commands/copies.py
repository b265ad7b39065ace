"""List media that hold the same footage: copies of one another, parts of a longer one, or with a stretch in common.

  reelseek copies --library lib/
  reelseek copies --kind video --path holiday --json

Footage is known again when it was encoded anew, resized, put between bars, cropped, brightened, mirrored, cut out or
cut in; now and then it is missed, or told of footage that is only alike (docs/experiments.md has figures).  Of each
group the longest media stands first, and the others say where they lie in it.  The exit code is 3 if there are none.
"""

import argparse
import sys
from typing import TYPE_CHECKING

from api import exits
from api.commands import _common
from api.terminal import Paint, counted, near, put, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retriever.duplicates import Group, Pair


def arguments(parser: argparse.ArgumentParser) -> None:
    _common.settings_arguments(parser, "library", "store")
    _common.filter_arguments(parser)
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from api import schemas

    with _common.library(_common.settings(args)) as library:
        asked = len(library.media(where := _common.where(args)))
        found = library.copies(where)
    if args.json:
        _common.put_json(schemas.copies(found, asked))
    else:
        paint = Paint.for_stream(sys.stdout)
        for rank, group in enumerate(found, 1):
            for line in _told(rank, group, paint):
                put(line)
    held = sum(len(group.media) for group in found)
    say(f"{counted(len(found), 'group')} with {counted(held, 'media', 'media')} of {asked:,}")
    return exits.OK if found else exits.NOTHING


def _told(rank: int, group: "Group", paint: Paint) -> "Iterator[str]":
    """A line a media: what it is to the first of its group, or to the first that it has anything in common with."""
    from retriever.types import clock

    first, *others = group.media
    yield f"{rank:>2}  {paint.bold(near(first.path))}  {clock(first.duration)}"
    order = [item.key for item in group.media]
    for item in others:
        ours = [pair for pair in group.pairs if item.key in (pair.one.key, pair.other.key)]
        pair = min(ours, key=lambda pair: order.index(_beside(pair, item.key)))
        what, where = _lies(pair, item.key, first.key)
        yield f"    {what:<7}  {near(item.path)}  {where}".rstrip()


def _beside(pair: "Pair", key: str) -> str:
    return pair.other.key if pair.one.key == key else pair.one.key


def _lies(pair: "Pair", key: str, first: str) -> tuple[str, str]:
    """What a media is to the other one, and where; that one is named where it is not the first of the group."""
    from retriever.duplicates import Tie

    shorter = pair.one.key == key
    other, here, there = (pair.other, pair.span, pair.elsewhere) if shorter else (pair.one, pair.elsewhere, pair.span)
    of = "" if other.key == first else f" of {near(other.path)}"
    if pair.relation is Tie.COPY:
        return "copy", of.strip()
    if pair.relation is Tie.OVERLAP:
        return "overlap", f"{here} is {there}{of}"
    return ("part", f"{there}{of}") if shorter else ("holds", f"{near(other.path)} at {here}")
