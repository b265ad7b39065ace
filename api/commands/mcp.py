"""Offer a library to a language model: tools of the Model Context Protocol, over standard input and output.

  reelseek mcp --library lib/                     # a library of this machine; nothing has to be served
  reelseek mcp --url https://clips.example.org    # or a served one; REELSEEK_API_KEY has its key, if it wants one

A program that hosts models starts this (docs/http.md has its settings).  The tools search, list, read transcripts and
see jobs; they change nothing, and send no picture and no sound.
"""

import argparse

from api import exits
from api.commands import _common


def arguments(parser: argparse.ArgumentParser) -> None:
    _common.settings_arguments(parser, "library", "store")
    parser.add_argument("--url", default="", metavar="URL", help="a served library, in the place of --library")
    _common.settings_arguments(
        parser.add_argument_group("what is asked of --library, unless a model says otherwise"),
        *(name for name in _common.WANTED if name != "limit"),  # models say one each time
    )
    _common.settings_arguments(
        parser.add_argument_group("how it is looked at"), "reranker", "head", "adapter", "moment_head"
    )
    _common.models_arguments(parser, _common.MOVED)
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from contextlib import ExitStack

    from api.searchable import Searchable
    from retriever.errors import BadSettings, MissingExtra

    chosen = _common.settings(args)
    if args.url and args.library:
        raise BadSettings(f"--url is {args.url} and --library {args.library}: leave one out")
    try:
        from api import mcp
        from api.client import ReelseekClient
        from api.local import Local
    except ModuleNotFoundError as error:
        raise MissingExtra(f"this needs {error.name}: pip install 'reelseek[mcp]'") from error
    with ExitStack() as ends:
        source: Searchable
        if args.url:
            source = ends.enter_context(ReelseekClient(args.url))
        else:
            source = Local(ends.enter_context(_common.library(chosen)), chosen)
        mcp.build(source).run("stdio")
    return exits.OK
