"""One of a crew (`api.crew`): answers what it reads from its standard input, a line of JSON each, until that ends.

The first line has the settings of the server; what is said to it is whether this process can answer.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from api import answering, heaps, logs, stages
from api.commands import _common
from api.service import Library
from api.trails import Trail, following
from encoders import _graphs
from retriever.errors import ReelseekError
from retriever.settings import Settings
from retriever.types import Filter, MediaKind

LOG = logging.getLogger("reelseek.crew")


def main() -> None:
    heaps.few()
    for asked in (signal.SIGINT, signal.SIGTERM):  # the server is asked to end, too, and sees to this one
        signal.signal(asked, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints is no answer

    def say(document: dict[str, Any]) -> None:
        out.write(json.dumps(document).encode() + b"\n")
        out.flush()

    begun = json.loads(sys.stdin.buffer.readline())
    _graphs.keep_to(begun["cores"])
    settings = Settings(**begun["settings"])
    with logs.telling(settings.log, settings.log_level):
        _listen(settings, say)


def _listen(settings: Settings, say: Callable[[dict[str, Any]], None]) -> None:
    try:
        library = _common.library(settings)
        lender = stages.watch(library.searcher)
        if library.store.catalog.recipe():
            library.search("anything at all", limit=1)
    except ReelseekError as error:
        say(_failed(error))
        return
    heaps.settle()
    say({})
    try:
        for line in sys.stdin.buffer:
            say(_answered(library, json.loads(line)))
    finally:
        lender.close()
        library.close()


def _answered(library: Library, asked: dict[str, Any]) -> dict[str, Any]:
    trail = Trail("")
    wanted = asked["wanted"] | {"where": _filter(asked["wanted"]["where"])}
    with following(trail):
        told: dict[str, Any]
        try:
            made = answering.told(library, asked["query"], wanted, *asked["span"])
            told = {"document": made.document, "lasts": made.lasts, "generation": made.generation}
        except ReelseekError as error:
            told = _failed(error)
        except Exception as error:
            LOG.exception("a question could not be answered")
            told = _failed(ReelseekError(f"an error of ours: {type(error).__name__}; standard error has it"))
    return told | {
        "seconds": trail.seconds,
        "passed": [(one.name, one.began, one.ended) for one in trail.passed],
    }


def _failed(error: ReelseekError) -> dict[str, str]:
    return {"kind": type(error).__name__, "error": str(error)}


def _filter(said: dict[str, Any]) -> Filter:
    sets = {name: frozenset(value) for name, value in said.items() if isinstance(value, list)}
    return Filter(**(said | sets | {"kinds": frozenset(map(MediaKind, said["kinds"]))}))


if __name__ == "__main__":
    main()
