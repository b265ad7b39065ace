"""Teach the first stage what a head knows: an adapter for questions, with nothing to index again.

  reelseek distill --head head/ --manifest train.jsonl --library lib/ --out adapter/

A line of the manifest is {"media": PATH or ID, "caption": "…"}, as for `reelseek train`.  Every media of the library
is a candidate.  Recall of the first stage, before and after, is that of held-out captions among all of them.
"""

import argparse
from pathlib import Path

from api import exits
from api.commands import _common
from api.terminal import put, say, table


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--head", required=True, metavar="FOLDER", help="the head that teaches")
    parser.add_argument("--manifest", required=True, metavar="FILE", help="captions, a JSON object a line")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where adapter.safetensors and its card go")
    _common.settings_arguments(parser, "library", "store")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--epochs", type=int, metavar="N", help="over all captions")
    parser.add_argument("--lr", type=float, metavar="RATE", help="greatest learning rate")
    parser.add_argument("--seed", type=int, metavar="N", help="of everything random")
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from api import parts, training
    from retriever.errors import BadSettings
    from retriever.heads import Head
    from retriever.training import distil, loop
    from retriever.training.model import TextPool

    given = {name: getattr(args, name) for name in ("epochs", "lr", "seed") if getattr(args, name) is not None}
    least = {"epochs": 1, "lr": 1e-9, "seed": 0}
    wrong = [
        f"--{name} is {value}; it wants at least {least[name]}"
        for name, value in given.items()
        if not least[name] <= value < float("inf")
    ]
    if wrong:
        raise BadSettings("\n".join(wrong))
    chosen = _common.settings(args)
    head = Head.load(Path(args.head))
    where = loop.device(args.device)
    store = parts.store(chosen.store, chosen.library, create=False, catalog=chosen.store_catalog)
    try:
        with store.snapshot() as library:
            sides = sorted({space.query_side for space in library.spaces.values()})
            head.fits(sides[0] if len(sides) == 1 else "", library.spaces)
        found = training.told(
            store,
            parts.asking(store, _common.models(chosen)),
            Path(args.manifest),
            audio=head.family == "tefal",
            everything=True,
            wanted=head.token_spaces,
        )
    finally:
        store.close()
    for line in training.complaints(found):
        say(line)

    def watch(event: distil.Judged) -> None:
        loss = "before training" if event.loss is None else f"loss {event.loss:.4f}"
        say(f"epoch {event.epoch}: {loss}, held-out mean reciprocal rank {event.reciprocal:.3f}")

    teacher = TextPool.of(head).to(where)
    done = distil.distil(
        found.pairs, teacher, distil.Options(**given), where, query_space=found.query_side, watch=watch
    )
    options = {**done.adapter.options, "head": head.digest, "manifest": Path(args.manifest).name}
    adapter = type(done.adapter)(done.adapter.query_space, done.adapter.weight, done.adapter.bias, options)
    adapter.save(Path(args.out))
    if args.json:
        _common.put_json({"adapter": args.out, "digest": adapter.digest, "before": done.before, "after": done.after})
        return exits.OK
    rows = [(name, f"{100 * done.before[name]:.1f} %", f"{100 * done.after[name]:.1f} %") for name in done.before]
    for line in table(rows, ("first stage, held-out captions", "before", "after")):
        put(line)
    return exits.OK
