"""Bring in a head that others trained, or look at one.

  reelseek head import --from xpool model_best.pth --tower tower/ --out head/
  reelseek index clips/ --pack openclip --model tower/ --library lib/
  reelseek search "a dog catches a frisbee" --library lib/ --head head/
  reelseek head show head/

A checkpoint of the X-Pool authors' code holds a head and a whole fine-tuned CLIP.  The head is of use only for
embeddings of that CLIP, which --tower makes a model of, for the pack openclip.  Else --library names a library that was
indexed with it, or --query-space and --token-space the spaces themselves.
"""

import argparse
from pathlib import Path

from api import exits
from api.commands import _common
from api.terminal import put, say, table


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("import", "show"), help="import a checkpoint, or show a head")
    parser.add_argument("path", metavar="PATH", help="the checkpoint, or the head's folder")
    parser.add_argument("--from", dest="source", choices=("xpool",), default="xpool", help="whose checkpoint it is")
    parser.add_argument("--out", metavar="FOLDER", help="where the imported head goes")
    parser.add_argument(
        "--tower", metavar="FOLDER", help="where the checkpoint's own CLIP goes, as a model to index with"
    )
    parser.add_argument("--library", metavar="LIBRARY", help="takes the names of both spaces from here")
    parser.add_argument("--query-space", default="", metavar="SIDE", help="what encodes its texts: NAME:DIGEST")
    parser.add_argument("--token-space", default="", metavar="SPACE", help="id of the space of its frames")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from retriever.errors import BadSettings
    from retriever.heads import Head

    if args.what == "import":
        if not args.out:
            raise BadSettings("head import writes a head: name a folder with --out")
        head = Head.from_xpool(Path(args.path), *_spaces(args))
        head.save(Path(args.out))
        say(f"imported into {args.out}")
    else:
        head = Head.load(Path(args.path))
    if args.json:
        _common.put_json(
            {
                "family": head.family,
                "dimension": head.dimension,
                "query_space": head.query_space,
                "token_spaces": list(head.token_spaces),
                "digest": head.digest,
                "options": dict(head.options),
            }
        )
        return exits.OK
    shown = [
        ("family", head.family),
        ("width", str(head.dimension)),
        ("texts", head.query_space),
        ("tokens", ", ".join(head.token_spaces)),
        ("digest", head.digest),
    ]
    for line in table([*shown, *_flat(head.options)]):
        put(line)
    return exits.OK


def _spaces(args: argparse.Namespace) -> tuple[str, str]:
    """Query side and token space that an imported head is for.

    Raises:
        BadSettings, SpaceMismatch: they are not named, or the library does not have the one or has several.
    """
    from api import parts
    from api.training import space
    from retriever.errors import BadSettings
    from retriever.settings import Settings
    from retriever.types import Modality

    if args.tower:
        from api.towers import split_off

        files = split_off(Path(args.path), Path(args.tower))
        made = parts.AS_MADE.build("openclip", str(files.folder), "").space
        return made.query_side, made.id
    if args.library:
        store = parts.store(Settings().store, Path(args.library), create=False)
        try:
            with store.snapshot() as library:
                found = space(library.spaces, Modality.VISION, [args.token_space])
        finally:
            store.close()
        return args.query_space or found.query_side, found.id
    if not args.query_space or not args.token_space:
        raise BadSettings(
            "head import has to know whose embeddings the head is for: make a model of the checkpoint's own CLIP with "
            "--tower, name a --library that has them, or both --query-space and --token-space"
        )
    return args.query_space, args.token_space


def _flat(options: object, name: str = "") -> list[tuple[str, str]]:
    """Nested options as rows; the epochs one by one would be too long, so of a list only its length."""
    if isinstance(options, dict) and options:
        return [row for key, value in options.items() for row in _flat(value, f"{name}.{key}" if name else str(key))]
    return [(name, f"{len(options)} entries" if isinstance(options, list) else str(options))] if name else []
