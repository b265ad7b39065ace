"""Make, list and revoke keys of a served library.

  reelseek keys add phone --scope search --library lib/      # prints the key, once
  reelseek keys add cutter --scope write --collection news --rate 10 --library lib/
  reelseek keys list --library lib/                          # --json, as ever, for programs
  reelseek keys revoke phone --library lib/

Scopes: search asks and looks; write also sends, changes and takes out media; admin also indexes files of the server and
sees all jobs.  A key with a collection sees nothing else.  Once there is a key, nobody asks without one.
"""

import argparse

from api import exits
from api.commands import _common
from api.terminal import plain, put, say, table


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", required=True, metavar="add | list | revoke")
    for what, about in {"add": "make one", "list": "those that there are", "revoke": "one is none any more"}.items():
        verb = verbs.add_parser(what, help=about, description=about, allow_abbrev=False)
        if what != "list":
            verb.add_argument("name", metavar="NAME", help="whose it is")
        if what == "add":
            verb.add_argument("--scope", default="search", metavar="SCOPE", help="search (default), write or admin")
            verb.add_argument("--collection", default="", metavar="NAME", help="the one that it may see; none: all")
            verb.add_argument("--rate", default="0", metavar="N", help="requests a second; 0 (default): any number")
        _common.settings_arguments(verb, "library", "store")
        _common.every_command(verb)


def run(args: argparse.Namespace) -> int:
    from api import keys
    from retriever.errors import BadSettings
    from retriever.types import ApiKey

    def shown(key: ApiKey) -> dict[str, object]:
        scope = max(key.scopes, key=keys.SCOPES.index)
        named = {"id": key.id, "name": key.name, "scope": scope, "collection": key.collection}
        return named | {"rate": key.rate, "created_at": round(key.created, 3)}

    with _common.library(_common.settings(args), create=args.what == "add") as library:
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
            key = keys.revoke(library.store, args.name)
            if args.json:
                _common.put_json(shown(key))
            else:
                put(f"{plain(key.name)} is no key any more")
        else:
            found = library.store.catalog.api_keys()
            if args.json:
                _common.put_json({"keys": [shown(key) for key in found]})
            else:
                for line in table([(key.name, _about(shown(key)), key.id) for key in found]):
                    put(line)
                if not found:
                    say("0 keys: whoever is on the machine of the server may do everything")
    return exits.OK


def _about(key: dict[str, object]) -> str:
    where = f", collection {key['collection']}" if key["collection"] else ""
    rate = f", {key['rate']:g} a second" if key["rate"] else ""
    return f"{key['scope']}{where}{rate}"
