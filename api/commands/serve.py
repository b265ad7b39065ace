"""Serve a library over HTTP: an API for programs, and a page for people.

  reelseek serve --library lib/                    # http://127.0.0.1:8000; the page is at /, the API at /openapi.json
  reelseek serve --library lib/ --port 9000 --roots /srv/clips:/srv/films
  reelseek serve --library new/ --create           # an empty one, to be filled by what is sent

Without keys it listens to this machine alone; `reelseek keys add` makes one, and then nobody asks without.  Media that
are sent are kept in --uploads and indexed by jobs, one after the other; below --roots, files of the server may be
indexed on demand.  Ctrl-C lets who asks have an answer, and hands jobs back.

With --allow-urls yes media are also fetched from addresses of the web, never from this network: but from what
--allow-networks names, where webhooks may lead then, too.

With --log json each request is a JSON object on a line of standard error.  Traces go where OTEL_EXPORTER_OTLP_ENDPOINT
says (extra `telemetry`).  Behind a proxy: --public-url and --trusted-proxies.
"""

import argparse
import os

from api import exits
from api.commands import _common
from api.terminal import counted, plain, say


def arguments(parser: argparse.ArgumentParser) -> None:
    _common.settings_arguments(parser, "library", "host", "port", "uploads", "roots", "store")
    _common.settings_arguments(parser.add_argument_group("how many work"), "processes")
    _common.create_argument(parser)
    _common.settings_arguments(parser.add_argument_group("the web"), "allow_urls", "allow_networks")
    _common.settings_arguments(parser.add_argument_group("behind a proxy"), "public_url", "trusted_proxies")
    _common.settings_arguments(parser.add_argument_group("what it says while it serves"), "log", "log_level")
    _common.settings_arguments(
        parser.add_argument_group("what is asked for, unless somebody says otherwise"), *_common.WANTED
    )
    _common.settings_arguments(
        parser.add_argument_group("how it is looked at"), "reranker", "head", "adapter", "moment_head"
    )
    _common.settings_arguments(
        parser.add_argument_group("how media that are sent are indexed, if the library does not know"),
        *("pack", "budget", "sampling", "jobs", "tries", "most_seconds", "most_bytes", "least_free"),
    )
    _common.models_arguments(parser, _common.MOVED)
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    import logging
    import socket
    from functools import partial

    from api import heaps
    from retriever.errors import BadSettings, MissingExtra, ReelseekError

    heaps.few()
    # Products of a question are small.  Shared out among cores they take two to five times as much of them, since those
    # who wait spin; numpy reads this when it is imported, which nothing has done so far.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    chosen = _common.settings(args)
    try:
        import uvicorn

        from api import app, listening, logs, roots, spans, uploads
        from api.serving import HERE
    except ModuleNotFoundError as error:
        raise MissingExtra(f"serving needs {error.name}: pip install 'reelseek[serve]'") from error
    opened = partial(_common.library, chosen)
    roots.named(chosen.roots)  # it can be served, or the complaint comes now
    with _common.library_or_new(chosen, args.create) as library:
        others = f"--host is {chosen.host}" if chosen.host not in HERE else ""
        others = others or (chosen.public_url and f"--public-url is {chosen.public_url}")
        if others and not library.store.catalog.api_keys():
            raise BadSettings(
                f"{others}; without keys a server listens to its own machine alone (127.0.0.1): "
                f"reelseek keys add NAME --library {chosen.library} makes one"
            )
        uploads.folder(chosen, library.path)  # as of the roots
        media = library.held()["media"]
    host = chosen.host.strip("[]")
    traced = spans.wanted(os.environ)

    def ready() -> None:
        served.openapi()  # a third of a second, which whoever first names something in an address would wait for
        heaps.settle()

    served = app.build(opened, chosen, _common.models(chosen), traced, ready)
    config = listening.config(served)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        door = socket.create_server((host, chosen.port), family=family, backlog=2_048)
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]
        told = f"--host {chosen.host}, --port {chosen.port}: {why}: name others; --port 0 takes one that is free"
        raise OSError(error.errno, told) from error
    with door as bound, logs.telling(chosen.log, chosen.log_level):
        url = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
        if args.json:
            _common.put_json({"library": chosen.library, "url": url})
        if chosen.log == "json":
            log = logging.getLogger("reelseek.serve")
            logs.tell(log, logging.INFO, "serving", library=chosen.library, media=media, url=url)
        else:
            say(f"{plain(chosen.library)}, {counted(media, 'media', 'media')}, at {url}; Ctrl-C ends it")
        refused = partial(getattr, served.state, "refused", None)
        heard, unsaid = logging.getLogger("uvicorn.error"), lambda _: not isinstance(refused(), ReelseekError | OSError)
        heard.addFilter(unsaid)
        try:
            uvicorn.Server(config).run(sockets=[bound])
        except KeyboardInterrupt:
            pass
        except SystemExit:
            if isinstance(why := refused(), ReelseekError | OSError):  # it is told in one line
                raise why from None
            raise
        finally:
            heard.removeFilter(unsaid)
    return exits.OK
