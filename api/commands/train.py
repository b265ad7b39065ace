"""Train a head on a library's own embeddings, from captions of its media.

  reelseek train textpool --manifest train.jsonl --library lib/ --out head/
  reelseek train textpool --family tefal --epochs 20 --manifest train.jsonl --library lib/ --out head/ --resume
  reelseek train moments --manifest train.jsonl --library lib/ --out moments/    # then search --moment-head moments/
  reelseek train moments --weak --manifest train.jsonl --library lib/ --out moments/

textpool is a reranking head.  moments says where the moment around an answer begins and ends: it learns from spans, and
from films that it joins of captioned media in memory; --weak learns from captions alone and looks at no span.

A line of the manifest is {"media": PATH or ID, "caption": "…", "span": [START, END], "group": NAME}; span and group
may be left out, and paths are from where the manifest lies.  xpool looks at frames; tefal listens as well.  A slice of
the media is held out to choose the checkpoint, so keep your test set out of the manifest; media of one group are never
parted between learning and choosing.  --resume goes on from what --out holds of a run that was stopped, and ends as if
it had not been; training moments takes too short a time for that.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api import exits
from api.commands import _common
from api.terminal import counted, plain, put, say

if TYPE_CHECKING:
    from retriever.training import loop, moments


def arguments(parser: argparse.ArgumentParser) -> None:
    about = "what is trained: a text-conditioned pooling, or where moments begin and end"
    parser.add_argument("what", choices=("textpool", "moments"), help=about)
    parser.add_argument("--manifest", required=True, metavar="FILE", help="captions, a JSON object a line")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the head's two files go")
    _common.settings_arguments(parser, "library", "store")
    parser.add_argument("--weak", action="store_true", help="moments: from captions alone, without their spans")
    pooling = parser.add_argument_group("textpool")
    families = "frames, or frames and sounds (default: xpool)"
    pooling.add_argument("--family", choices=("xpool", "tefal"), help=families)
    pooling.add_argument("--space", action="append", default=[], metavar="SPACE", help="which, where several could be")
    pooling.add_argument("--device", help="auto, cpu or cuda (default: auto)")
    pooling.add_argument("--resume", action="store_true", help="go on with the run that --out holds")
    pooling.add_argument("--hard", type=int, metavar="N", help="mined negatives a step")
    recipe = parser.add_argument_group("recipe (it stands in the head's card)")
    recipe.add_argument("--epochs", type=int, metavar="N", help="most epochs")
    recipe.add_argument("--batch-size", type=int, metavar="N", help="captions a step")
    recipe.add_argument("--lr", type=float, metavar="RATE", help="greatest learning rate")
    recipe.add_argument("--seed", type=int, metavar="N", help="of everything random")
    recipe.add_argument("--holdout", type=float, metavar="SHARE", help="of the media, to choose the checkpoint")
    recipe.add_argument("--patience", type=int, metavar="N", help="epochs without a better one before it stops")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    return _moments(args) if args.what == "moments" else _textpool(args)


def _moments(args: argparse.Namespace) -> int:
    from api import placing
    from api.training import SHOWN
    from retriever.training import moments

    options = _moment_options(args)
    with _common.library(_common.settings(args)) as library:
        found = placing.told(library.searcher, Path(args.manifest), options.seed)
    left_out = {"unknown": found.unknown, "timeless": found.timeless, "outside": found.outside}
    why = {"unknown": "of media not in this library", "timeless": "of media without time", "outside": "behind the end"}
    for reason, names in left_out.items():
        if names:
            shown = ", ".join(plain(name) for name in names[:SHOWN])
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            say(f"{counted(len(names), 'caption')} left out, {why[reason]}: {shown}{more}")
    timed = sum(one.span is not None for one in found.questions)
    say(f"training {options.family} with {counted(len(found.questions), 'caption')}, {timed} of them with a span")

    def watch(event: moments.Judged) -> None:
        loss = "before training" if event.loss is None else f"loss {event.loss:.3f}"
        say(f"epoch {event.epoch}: {loss}, held-out {event.grade:.3f}{', best so far' if event.best else ''}")

    head = moments.train(found.questions, options, watch).head
    data = {"manifest": Path(args.manifest).name, "left_out": {name: len(own) for name, own in left_out.items()}}
    head = type(head)(head.family, head.arrays, {**head.options, **data})
    head.save(Path(args.out))
    if args.json:
        _common.put_json({"head": args.out, "family": head.family, "digest": head.digest, "options": head.options})
    else:
        put(args.out)
    for kind, rows in head.options["held_out"].items():
        told = ", ".join(f"{name} {rows[name]['miou']:.3f}" for name in ("head", "windows", "whole", "prior"))
        say(f"held-out {kind} ({rows['examples']}), mean overlap: {told}")
    say(f"head {head.digest[:12]}: epoch {head.options['chosen']['epoch']}")
    return exits.OK


def _textpool(args: argparse.Namespace) -> int:
    from api import parts, training
    from retriever.training import loop

    options = _options(args)
    chosen = _common.settings(args)
    out = Path(args.out)
    where = loop.device(args.device or "auto")
    store = parts.store(chosen.store, chosen.library, create=False, catalog=chosen.store_catalog)
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


def _options(args: argparse.Namespace) -> "loop.Options":
    """
    Raises:
        BadSettings: with all complaints.
    """
    from retriever.training.loop import Options

    wrong = ["--weak is for moments: textpool learns from captions as it is"] if args.weak else []
    given = _recipe(args, wrong)
    return Options(args.family or "xpool", **given)


def _moment_options(args: argparse.Namespace) -> "moments.Options":
    """
    Raises:
        BadSettings: with all complaints.
    """
    from retriever.training.moments import Options

    wrong = [
        f"--{name} is for textpool: {why}"
        for name, why in (
            ("family", "moments have --weak, or not"),
            ("space", "a moment head looks at all of them"),
            ("device", "a moment head trains on the CPU"),
            ("resume", "moments train in a minute, begin again"),
            ("hard", "moments take half of what a caption is held against from what search finds"),
        )
        if getattr(args, name) not in (None, False, [])
    ]
    return Options("weak" if args.weak else "spans", **_recipe(args, wrong))


def _recipe(args: argparse.Namespace, wrong: list[str]) -> dict[str, Any]:
    """What was set of the recipe.

    Raises:
        BadSettings: with all complaints, those that are `wrong` already among them.
    """
    from retriever.errors import BadSettings

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
    wrong += [
        f"--{name.replace('_', '-')} is {value}; it wants {wanted[name][1]}"
        for name, value in given.items()
        if not value >= wanted[name][0] or (name == "holdout" and value >= 1) or value == float("inf")
    ]
    if wrong:
        raise BadSettings("\n".join(wrong))
    return given
