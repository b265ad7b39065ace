"""Pull a model for the open-vocabulary encoders, or list, show, verify and remove those that are here.

  reelseek models list siglip --known
  reelseek models pull ViT-B-32:laion2b_s34b_b79k
  reelseek models pull hf-hub:laion/clap-htsat-unfused --yes
  reelseek models show ViT-B-32:laion2b_s34b_b79k
  reelseek models measure ViT-B-32:laion2b_s34b_b79k --precision bf16
  reelseek models verify --json

This is the only command of reelseek that downloads anything.  It shows source, licence and size first, and asks.  What
was pulled lies in the cache folder (REELSEEK_CACHE), with the SHA-256 of every file in models.lock; nothing is used
that is not what was pinned there.  With REELSEEK_OFFLINE=1 nothing is pulled.  More in docs/models.md.
"""

import argparse
import sys
from typing import TYPE_CHECKING

from api import exits
from api.commands import _common
from api.terminal import amount, counted, put, say, table

VERBS = {
    "list": "those that are here",
    "pull": "download one, after showing source, licence and size",
    "show": "what is known of one",
    "measure": "time one on this machine, for its card",
    "verify": "read every file and compare it with what was pulled",
    "remove": "delete the files of one",
}

if TYPE_CHECKING:
    from api.cards import Card
    from api.downloads import Watch
    from api.sources import Plan
    from api.throughput import Rate


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", required=True, metavar=" | ".join(VERBS))
    for what, about in VERBS.items():
        verb = verbs.add_parser(what, help=about, description=about, allow_abbrev=False)
        if what == "list":
            verb.add_argument("name", nargs="?", default="", metavar="TEXT", help="only names with this in them")
            verb.add_argument("--known", action="store_true", help="those of open_clip's list, here or not")
        elif what == "verify":
            verb.add_argument("name", nargs="?", default="", metavar="NAME", help="this one alone")
        else:
            about = "ARCHITECTURE:TAG, hf-hub:ORG/NAME" + (
                ", a folder, or frozen:, xclip:, ila: and a file" if what in ("show", "measure") else ""
            )
            verb.add_argument("name", metavar="NAME", help=about)
        if what == "measure":
            _common.settings_arguments(verb, "device", "precision", "runtime")
        if what == "pull":
            verb.add_argument("--yes", action="store_true", help="do not ask")
            verb.add_argument("--url", default="", metavar="URL", help="https address of the weights of NAME")
            verb.add_argument("--sha256", default="", metavar="HEX", help="what the file at --url has to have")
        _common.every_command(verb)


def run(args: argparse.Namespace) -> int:
    verbs = {"list": _list, "pull": _pull, "show": _show, "measure": _measure, "verify": _verify, "remove": _remove}
    return verbs[args.what](args)


def _list(args: argparse.Namespace) -> int:
    from api import cards
    from encoders._models import tags

    if args.known:
        names = [name for name in tags() if args.name.lower() in name.lower()]
        if args.json:
            _common.put_json({"known": names})
        else:
            for name in names:
                put(name)
        return exits.OK if names else exits.NOTHING
    found = [card for card in cards.cards() if args.name.lower() in card.name.lower()]
    if args.json:
        _common.put_json({"models": [_jsonable(card) for card in found]})
    elif found:
        rows = [(card.name, card.family, _number(card.dimension), amount(card.size), card.licence) for card in found]
        for line in table(rows, ("name", "family", "dimension", "size", "licence")):
            put(line)
    else:
        say("no models here: reelseek models list --known shows what can be pulled")
    return exits.OK if found else exits.NOTHING


def _pull(args: argparse.Namespace) -> int:
    from api import cards, models

    _check_address(args.url, args.sha256)
    models.network_allowed()
    if (held := cards.here(args.name)) is not None:
        say(f"{held.name} is here already: {held.place}")
        return _told(held, args)
    plan = models.planned(args.name, args.url, args.sha256.lower())
    for line in table(_announced(plan)):
        say(line)
    if not args.yes and not _agreed():
        say("nothing was pulled")
        return exits.NOTHING
    models.pull(plan, _watching(), lambda: say(f"another process is pulling {plan.name}: waiting for it"))
    return _told(cards.card(plan.name), args)


def _check_address(url: str, sha256: str) -> None:
    from retriever.errors import BadSettings

    if bool(url) != bool(sha256):
        raise BadSettings("--url and --sha256 come together: a file that nobody vouches for is not pulled")
    if sha256 and (len(sha256) != 64 or not set(sha256.lower()) <= set("0123456789abcdef")):
        raise BadSettings(f"--sha256 is {sha256!r}; it wants 64 hexadecimal digits")


def _announced(plan: "Plan") -> list[tuple[str, str]]:
    rows = [
        ("name", plan.name),
        ("source", plan.source),
        ("licence", plan.licence + (", and terms to accept on its page" if plan.gated else "")),
        ("size", f"{amount(plan.size)} in {counted(len(plan.remotes), 'file')}"),
    ]
    unpinned = [remote.name for remote in plan.remotes if not (remote.sha256 or remote.blob)]
    return [*rows, ("not pinned by its source", ", ".join(unpinned))] if unpinned else rows


def _agreed() -> bool:
    from retriever.errors import BadSettings

    if not sys.stdin.isatty():
        raise BadSettings("models pull asks before it downloads, and there is nobody at this terminal: say --yes")
    sys.stderr.write("pull it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _watching() -> "Watch":
    """A line a file; on a terminal it grows."""
    grows = sys.stderr.isatty()

    def watch(name: str, here: int, total: int) -> None:
        if grows:
            sys.stderr.write(f"\r{name}: {amount(here)} of {amount(total)}\x1b[K" + ("\n" if here == total else ""))
            sys.stderr.flush()
        elif here == total:
            say(f"{name}: {amount(here)}")

    return watch


def _told(card: "Card", args: argparse.Namespace) -> int:
    if args.json:
        _common.put_json(_jsonable(card))
        return exits.OK
    rows = [
        ("name", card.name),
        ("family", card.family),
        ("dimension", _number(card.dimension)),
        ("text", f"{card.context:,} tokens" if card.context else "not known"),
        ("image", f"{card.image} pixels a side" if card.image else ""),
        ("licence", card.licence),
        ("source", card.source + (f" at {card.revision[:12]}" if card.revision else "")),
        ("size", amount(card.size) if card.size else "not known"),
        ("memory", f"{amount(card.memory)} of weights in float32" if card.parameters else "not known"),
        *(("speed here", _speed(rate)) for rate in card.throughput),
        ("here", f"{card.place}, pulled {card.pulled}" if card.pulled else card.place or "no"),
    ]
    for line in table(row for row in rows if row[1]):
        put(line)
    return exits.OK


def _show(args: argparse.Namespace) -> int:
    from api import cards

    return _told(cards.card(args.name), args)


def _measure(args: argparse.Namespace) -> int:
    from api import cards, throughput

    choice = _common.models(_common.settings(args))
    card = cards.card(args.name)
    throughput.measured(card.family, args.name.removeprefix(f"{card.family}:"), choice)
    return _told(cards.card(args.name), args)


def _speed(rate: "Rate") -> str:
    how = " ".join(name for name in (rate.device, rate.precision, rate.runtime) if name != "auto") or "as it comes"
    return f"{rate.rate:,.1f} {rate.unit} ({how}, {rate.measured})"


def _verify(args: argparse.Namespace) -> int:
    from api import models

    found = dict(models.verify(args.name))
    if args.json:
        _common.put_json({"models": [{"name": name, "fault": fault or None} for name, fault in found.items()]})
    else:
        for name, fault in found.items():
            put(f"{name}: {fault or 'as it was pulled'}")
    if not found:
        say("no models here")
    return exits.ERROR if any(found.values()) else exits.OK


def _remove(args: argparse.Namespace) -> int:
    from api import models

    name, size = models.remove(args.name)
    if args.json:
        _common.put_json({"removed": name, "bytes": size})
    else:
        say(f"removed {name}, {amount(size)}")
    return exits.OK


def _jsonable(card: "Card") -> dict[str, object]:
    """What is not known is null."""
    from dataclasses import asdict

    said = {key: value or None for key, value in {**asdict(card), "memory": card.memory}.items()}
    return said | {"throughput": [asdict(rate) for rate in card.throughput]}


def _number(value: int) -> str:
    return f"{value:,}" if value else "not known"
