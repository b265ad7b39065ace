"""Make, list and revoke keys of a served library, and say how much may be sent with them.

  reelseek keys add phone --scope search --library lib/      # prints the key, once
  reelseek keys add cutter --scope write --collection news --rate 10 --library lib/
  reelseek keys add me --scope admin --library new/ --create # makes the library, too, if it is not there
  reelseek keys list --library lib/                          # --json, as ever, for programs
  reelseek keys revoke phone --library lib/
  reelseek keys quota cutter --most-stored 50GB --most-files 1000 --library lib/
  reelseek keys quota --collection news --seconds-a-day 36000 --library lib/

Scopes: search asks and looks; write also sends, changes and takes out media; admin also indexes files of the server and
sees all jobs.  A key with a collection sees nothing else.  Once there is a key, nobody asks without one.  Webhooks that
were set with a key end when it is revoked.

A quota is of a key or of a collection, and counts what was sent to the server and lies there.  `quota` with nothing but
a name shows it; what is not said of it stays, and 0 is any.
"""

import argparse
from typing import TYPE_CHECKING, Any

from api import exits
from api.commands import _common
from api.terminal import amount, counted, plain, put, say, table

if TYPE_CHECKING:
    from pathlib import Path

    from retriever.ports import Store

VERBS = {
    "add": "make one",
    "list": "those that there are",
    "revoke": "one is none any more",
    "quota": "how much may be sent with one, or into a collection",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", required=True, metavar="add | list | revoke | quota")
    for what, about in VERBS.items():
        verb = verbs.add_parser(what, help=about, description=about, allow_abbrev=False)
        if what in ("add", "revoke"):
            verb.add_argument("name", metavar="NAME", help="whose it is")
        if what == "quota":
            verb.add_argument("name", nargs="?", default="", metavar="NAME", help="of the key")
            verb.add_argument("--collection", default="", metavar="NAME", help="a collection in its place")
            verb.add_argument("--most-stored", metavar="SIZE", help="bytes that lie on the server: 50GB; 0: any")
            verb.add_argument("--most-files", metavar="N", help="files that lie on the server; 0: any")
            verb.add_argument("--seconds-a-day", metavar="N", help="seconds of media within a day; 0: any")
        if what == "add":
            verb.add_argument("--scope", default="search", metavar="SCOPE", help="search (default), write or admin")
            verb.add_argument("--collection", default="", metavar="NAME", help="the one that it may see; none: all")
            verb.add_argument("--rate", default="0", metavar="N", help="requests a second; 0 (default): any number")
            _common.create_argument(verb)
        _common.settings_arguments(verb, "library", "store", *(("uploads",) if what in ("list", "quota") else ()))
        _common.every_command(verb)


def run(args: argparse.Namespace) -> int:
    from api import keys, uploads
    from api import quotas as filled
    from retriever.errors import BadSettings
    from retriever.types import ApiKey

    def shown(key: ApiKey) -> dict[str, object]:
        scope = max(key.scopes, key=keys.SCOPES.index)
        named = {"id": key.id, "name": key.name, "scope": scope, "collection": key.collection}
        return named | {"rate": key.rate, "created_at": round(key.created, 3)}

    chosen = _common.settings(args)
    with _common.library_or_new(chosen, args.create) if args.what == "add" else _common.library(chosen) as library:
        if args.what == "add":
            try:
                rate = float(args.rate)
            except ValueError as error:
                raise BadSettings(f"--rate is {args.rate!r}; it wants requests a second") from error
            key, text = keys.make(library.store, args.name, args.scope, args.collection, rate)
            if args.json:
                _common.put_json(shown(key) | {"key": text})
            else:
                put(text)
                say("keep it now: it is shown this once")
        elif args.what == "revoke":
            key, ended = keys.revoke(library.store, args.name)
            if args.json:
                _common.put_json(shown(key) | {"webhooks": ended})
            else:
                put(f"{plain(key.name)} is no key any more")
                if ended:
                    say(f"{counted(ended, 'webhook')} that {'was' if ended == 1 else 'were'} set with it ended, too")
        elif args.what == "quota":
            found = _quota(args, library.store, uploads.folder(chosen, library.path))
            if args.json:
                _common.put_json(found)
            else:
                put(f"{plain(str(found['name']))}: {_filled(found)}")
        else:
            held = library.store.catalog.api_keys()
            quotas = filled.every(library.store, uploads.folder(chosen, library.path))
            if args.json:
                _common.put_json({"keys": [shown(key) for key in held], "quotas": quotas})
            else:
                for line in table([(key.name, _about(shown(key)), key.id) for key in held]):
                    put(line)
                for one in quotas:
                    put(f"{one['kind']} {plain(one['name'])}: {_filled(one)}")
                if not held:
                    say("0 keys: whoever is on the machine of the server may do everything")
    return exits.OK


def _about(key: dict[str, object]) -> str:
    where = f", collection {key['collection']}" if key["collection"] else ""
    rate = f", {key['rate']:g} a second" if key["rate"] else ""
    return f"{key['scope']}{where}{rate}"


def _quota(args: argparse.Namespace, store: "Store", folder: "Path") -> dict[str, Any]:
    """The quota that is meant, once what is said of it holds.

    Raises:
        BadSettings: there is no such key, or a number is none.
    """
    from dataclasses import replace

    from api import quotas
    from retriever.errors import BadSettings
    from retriever.quotas import Quota, Whose
    from retriever.settings import size

    if bool(args.name) == bool(args.collection):
        raise BadSettings("a quota is of one key, NAME, or of one --collection: name one of the two")
    kind = Whose.COLLECTION if args.collection else Whose.KEY
    name = quotas.whose(store, kind, args.name or args.collection)
    held = {(one.kind, one.name): one for one, _ in store.catalog.quotas.all()}.get((kind, name), Quota(kind, name))
    said: dict[str, Any] = {}
    for flag, field, read in (
        ("most_stored", "most_bytes", size),
        ("most_files", "most_media", int),
        ("seconds_a_day", "most_seconds", float),
    ):
        if (raw := getattr(args, flag)) is not None:
            try:
                said[field] = read(raw)
                if not 0 <= said[field] < 1 << 60:
                    raise ValueError("a number, 0 or more")
            except ValueError as error:
                wanted = error if flag == "most_stored" else "a number, 0 or more"
                raise BadSettings(f"--{flag.replace('_', '-')} is {raw!r}; it wants {wanted}") from error
    if said:
        store.catalog.quotas.set(replace(held, **said))
    return quotas.of(store, folder, kind, name)


def _filled(quota: dict[str, Any]) -> str:
    """How much of it is used."""

    def of(most: float, text: str) -> str:
        return f" of {text}" if most else ""

    stored = amount(quota["bytes"]) + of(quota["most_bytes"], amount(quota["most_bytes"]))
    files = f"{quota['media']:,}{of(quota['most_media'], format(quota['most_media'], ','))} files"
    today = f"{quota['s_today']:,.0f}{of(quota['most_s_a_day'], format(quota['most_s_a_day'], ',.0f'))} s today"
    return f"{stored}, {files}, {today}"
