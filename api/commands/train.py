"""Train a reranking head on a library's own embeddings, from captions of its media.

  reelseek train textpool --manifest train.jsonl --library lib/ --out head/
  reelseek train textpool --family tefal --epochs 20 --manifest train.jsonl --library lib/ --out head/ --resume

A line of the manifest is {"media": PATH or ID, "caption": "…", "span": [START, END], "group": NAME}; span and group
may be left out, and paths are from where the manifest lies.  xpool looks at frames; tefal listens as well.  A slice of
the media is held out to choose the checkpoint, so keep your test set out of the manifest; media of one group are never
parted between learning and choosing.  --resume goes on from what --out holds of a run that was stopped, and ends as if
it had not been.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from api import exits
from api.commands import _common
from api.terminal import counted, put, say

if TYPE_CHECKING:
    from retriever.training.loop import Options


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("textpool",), help="what is trained: a text-conditioned pooling")
    parser.add_argument("--manifest", required=True, metavar="FILE", help="captions, a JSON object a line")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where head.safetensors and head.json go")
    _common.settings_arguments(parser, "library", "store")
    parser.add_argument("--family", choices=("xpool", "tefal"), default="xpool", help="frames, or frames and sounds")
    parser.add_argument("--space", action="append", default=[], metavar="SPACE", help="which, where several could be")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--resume", action="store_true", help="go on with the run that --out holds")
    recipe = parser.add_argument_group("recipe (it stands in head.json)")
    recipe.add_argument("--epochs", type=int, metavar="N", help="most epochs")
    recipe.add_argument("--batch-size", type=int, metavar="N", help="captions a step")
    recipe.add_argument("--lr", type=float, metavar="RATE", help="greatest learning rate")
    recipe.add_argument("--seed", type=int, metavar="N", help="of everything random")
    recipe.add_argument("--holdout", type=float, metavar="SHARE", help="of the media, to choose the checkpoint")
    recipe.add_argument("--patience", type=int, metavar="N", help="epochs without a better one before it stops")
    recipe.add_argument("--hard", type=int, metavar="N", help="mined negatives a step")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from api import parts, training
    from retriever.training import loop

    options = _options(args)
    chosen = _common.settings(args)
    out = Path(args.out)
    where = loop.device(args.device)
    store = parts.store(chosen.store, Path(chosen.library), create=False)
    try:
        found = training.told(
            store,
            parts.asking(store, _common.models(chosen)),
            Path(args.manifest),
            audio=options.family == "tefal",
            wanted=args.space,
        )
    finally:
        store.close()
    for line in training.complaints(found):
        say(line)
    media = len(set(found.pairs.media.tolist()))
    say(f"training {options.family} on {where} with {counted(len(found.pairs), 'caption')} of {media} media")
    with training.watching() as watch:
        trained = loop.train(found.pairs, options, where, folder=out / "training", resume=args.resume, watch=watch)
    left_out = {"unknown": len(found.unknown), "unseen": len(found.unseen)}
    card = {**trained.card, "manifest": Path(args.manifest).name, "left_out": left_out}
    head = trained.model.head(found.query_side, found.spaces, card)
    head.save(out)
    best = card["chosen"]
    if args.json:
        _common.put_json({"head": str(out), "family": head.family, "digest": head.digest, "options": card})
    else:
        put(str(out))
    say(f"head {head.digest[:12]}: epoch {best['epoch']}, held-out R@1 {100 * best['recall_at_1']:.1f} %")
    if card.get("audio", {}).get("gate") == "shut":
        say("what is heard did not help on held-out media: its gate stays shut")
    return exits.OK


def _options(args: argparse.Namespace) -> "Options":
    """
    Raises:
        BadSettings: with all complaints.
    """
    from retriever.errors import BadSettings
    from retriever.training.loop import Options

    wanted = {
        "epochs": (1, "a whole number of at least 1"),
        "batch_size": (2, "a whole number of at least 2"),
        "lr": (1e-9, "a number above 0"),
        "seed": (0, "a whole number of at least 0"),
        "holdout": (1e-9, "a share above 0 and below 1"),
        "patience": (1, "a whole number of at least 1"),
        "hard": (0, "a whole number of at least 0"),
    }
    given = {name: getattr(args, name) for name in wanted if getattr(args, name) is not None}
    wrong = [
        f"--{name.replace('_', '-')} is {value}; it wants {wanted[name][1]}"
        for name, value in given.items()
        if not value >= wanted[name][0] or (name == "holdout" and value >= 1) or value == float("inf")
    ]
    if wrong:
        raise BadSettings("\n".join(wrong))
    return Options(args.family, **given)
