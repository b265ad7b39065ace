"""What commands share: flags that are settings, the open library, filters, JSON."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retriever.settings import NAMES, Resolved, Settings, about, resolve

if TYPE_CHECKING:
    from api.parts import ModelChoice
    from api.service import Library
    from retriever.types import Filter, Metadata

__all__ = ["NAMES"]

MOVED = "models of the pack openclip, if they are not where the library says"
MODELS = (
    "model",
    "checkpoint",
    "sound_model",
    "sound_checkpoint",
    "video_model",
    "device",
    "precision",
    "runtime",
    "prompts",
)
"""Settings of models that a person chooses, as `api.parts.ModelChoice` has them."""
WANTED = ("by", "limit", "copies", "most_per_media", "min_confidence", "depth")
"""Settings that say which answers are wanted, as `Library.search` has them."""
LOOKING = ("depth", "reranker", "head", "adapter")
"""Settings that say how candidates are looked at."""


def every_command(parser: argparse.ArgumentParser) -> None:
    """Flags that every command has."""
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout (docs/schema.md)")
    parser.add_argument("--config", metavar="FILE", help="TOML file with settings (default: reelseek.toml if there)")


def settings_arguments(parser: "argparse._ActionsContainer", *names: str) -> None:
    """A flag for each of these settings.  Values stay text: `resolve` judges them, all together."""
    if "store" in names and "store_catalog" not in names:
        names = (*names, "store_catalog")
    for name in names:
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, metavar=name.upper(), help=about(name))


def models_arguments(parser: argparse.ArgumentParser, about: str) -> None:
    """Flags for the models of the pack `openclip`, as a group of their own."""
    settings_arguments(parser.add_argument_group(about), *MODELS)


def asking_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of whoever asks a library: how, of which media, and with which models."""
    settings_arguments(parser, "library", *WANTED, "reranker", "head", "adapter", "moment_head", "store")
    filter_arguments(parser)
    models_arguments(parser, MOVED)


def wanted(args: argparse.Namespace, chosen: Settings) -> dict[str, Any]:
    """Which answers are wanted, for `Library.search`.

    Raises:
        BadSettings: a filter cannot be read.
    """
    return {name: getattr(chosen, name) for name in WANTED} | {"where": where(args)}


def resolved(args: argparse.Namespace) -> Resolved:
    """
    Raises:
        BadSettings: with all complaints.
    """
    flags = {name: getattr(args, name, None) for name in NAMES}
    return resolve(flags, os.environ, Path(args.config) if args.config else None)


def settings(args: argparse.Namespace) -> Settings:
    """
    Raises:
        BadSettings: as `resolved`; or a catalog is named for a folder, which has its own.  Where the environment or a
            file names one, that is for libraries in Qdrant among others.
    """
    from retriever.errors import BadSettings
    from retriever.stores._address import WANTED, is_address

    chosen = resolved(args).settings
    named = getattr(args, "store_catalog", None)
    if named and not any(map(is_address, (chosen.library, getattr(args, "source", "")))):
        raise BadSettings(
            f"--store-catalog is {named!r}, and {chosen.library} is a folder, which has its catalog in it: leave it "
            f"out, or name a library in Qdrant, --library {WANTED}"
        )
    return chosen


def jsonable_settings(found: Resolved) -> dict[str, dict[str, Any]]:
    return {name: {"value": getattr(found.settings, name), "from": found.origins[name]} for name in NAMES}


def library(chosen: Settings, place: "Path | None" = None, *, create: bool = False) -> "Library":
    """The library that the settings name, or the one at `place`; it has to be there, unless `create` makes it."""
    from api.service import Library

    return Library.open(
        place or chosen.library,
        store=chosen.store,
        store_catalog=chosen.store_catalog,
        create=create,
        reranker=chosen.reranker,
        head=chosen.head,
        adapter=chosen.adapter,
        moment_head=chosen.moment_head,
        models=models(chosen),
    )


def create_argument(parser: argparse.ArgumentParser) -> None:
    """For commands that make no library by a slip of the pen: see `library_or_new`."""
    parser.add_argument("--create", action="store_true", help="make an empty library where there is none")


def library_or_new(chosen: Settings, create: bool) -> "Library":
    """The library that the settings name, or with `--create` an empty one.

    Raises:
        NoLibrary: there is none.
    """
    from retriever.errors import NoLibrary

    try:
        return library(chosen, create=create)
    except NoLibrary as error:
        raise NoLibrary(f"{error}, --create an empty one") from error


def models(chosen: Settings) -> "ModelChoice":
    """The models that the settings name, and where they run."""
    from api.parts import ModelChoice

    return ModelChoice.of(chosen)


def put_json(document: Mapping[str, Any]) -> None:
    """The one JSON document of a command.  ASCII, so that any file name survives any terminal."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()  # a server goes on from here, and somebody reads its address


def metadata(args: argparse.Namespace) -> "Metadata | None":
    """What the flags say of all files of a run; None where they say nothing.

    Raises:
        BadSettings: `--recorded` is no date.
    """
    from api.filters import is_date
    from retriever.errors import BadSettings
    from retriever.types import Metadata

    if args.recorded and not is_date(args.recorded):
        raise BadSettings(f"--recorded is {args.recorded!r}; it wants a date such as 2026-01-31T12:00:00+01:00")
    source = "user" if args.recorded else ""
    said = Metadata(args.title, tuple(args.tag), args.recorded, source, args.collection)
    return None if said == Metadata() else said


# ------------------------------------------------------------------------------------------------------------- filters


def filter_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags that say which media may answer."""
    group = parser.add_argument_group("which media")
    group.add_argument("--duration", action="append", default=[], metavar="LIMIT", help="'<60', '>1:30', '10-60'")
    group.add_argument("--tag", action="append", default=[], metavar="TAG", help="has this tag; again for more")
    group.add_argument(
        "--path", default="", metavar="GLOB", help="one of its paths is like this: holiday, */2026/*.mp4"
    )
    group.add_argument("--collection", default="", metavar="NAME", help="is in this collection")
    group.add_argument("--after", default="", metavar="DATE", help="recorded at or after: 2026-01-31")
    group.add_argument("--before", default="", metavar="DATE", help="recorded before")
    group.add_argument("--kind", action="append", default=[], choices=("video", "sound", "image"), help="is one")


def where(args: argparse.Namespace) -> "Filter":
    """
    Raises:
        BadSettings: with all complaints.
    """
    from api.filters import parsed

    return parsed(
        durations=args.duration,
        tags=args.tag,
        path=args.path,
        collection=args.collection,
        after=args.after,
        before=args.before,
        kinds=args.kind,
    )
