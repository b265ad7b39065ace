"""Serve a library over HTTP: an API for programs, and a page for people.

  reelseek serve --library lib/                    # http://127.0.0.1:8000; the page is at /, the API at /openapi.json
  reelseek serve --library lib/ --port 9000 --roots /srv/clips:/srv/films

Without keys it listens to this machine alone; `reelseek keys add` makes one, and then nobody asks without.  Media that
are sent are kept in --uploads and indexed by jobs, one after the other; below --roots, files of the server may be
indexed on demand.  Ctrl-C lets who asks have an answer, and hands jobs back.
"""

import argparse
import os

from api import exits
from api.commands import _common
from api.terminal import counted, plain, say


def arguments(parser: argparse.ArgumentParser) -> None:
    _common.settings_arguments(parser, "library", "host", "port", "uploads", "roots", "store")
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

    from retriever.errors import BadSettings, MissingExtra, ReelseekError

    # Products of a question are small.  Shared out among cores they take two to five times as much of them, since those
    # who wait spin; numpy reads this when it is imported, which nothing has done so far.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    chosen = _common.settings(args)
    try:
        import uvicorn

        from api import app
        from api.serving import HERE
    except ModuleNotFoundError as error:
        raise MissingExtra(f"serving needs {error.name}: pip install 'reelseek[serve]'") from error
    opened = partial(_common.library, chosen, create=True)
    with opened() as library:  # it can be opened, or the complaint comes now
        if chosen.host not in HERE and not library.store.catalog.api_keys():
            raise BadSettings(
                f"--host is {chosen.host}; without keys a server listens to its own machine alone (127.0.0.1): "
                f"reelseek keys add NAME --library {chosen.library} makes one"
            )
        media = counted(library.held()["media"], "media", "media")
    host = chosen.host.strip("[]")
    served = app.build(opened, chosen, _common.models(chosen))
    config = uvicorn.Config(
        served,
        log_level="warning",
        timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=65_536,
        server_header=False,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        door = socket.create_server((host, chosen.port), family=family, backlog=2_048)
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]
        told = f"--host {chosen.host}, --port {chosen.port}: {why}: name others; --port 0 takes one that is free"
        raise OSError(error.errno, told) from error
    with door as bound:
        url = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
        if args.json:
            _common.put_json({"library": chosen.library, "url": url})
        say(f"{plain(chosen.library)}, {media}, at {url}; Ctrl-C ends it")
        refused = partial(getattr, served.state, "refused", None)
        logging.getLogger("uvicorn.error").addFilter(lambda _: not isinstance(refused(), ReelseekError))
        try:
            uvicorn.Server(config).run(sockets=[bound])
        except KeyboardInterrupt:
            pass
        except SystemExit:
            if isinstance(why := refused(), ReelseekError):  # the library cannot be asked: it is told in one line
                raise why from None
            raise
    return exits.OK
