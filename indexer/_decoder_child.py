"""The decoder child: `python -m indexer._decoder_child FOLDER`.  Started by `indexer.decoding`, of no use by itself.

Commands come as JSON lines on standard input, answers go as JSON lines to what standard output was at the start;
whatever a library prints goes to standard error.  When its parent is gone the child cleans FOLDER up and goes too,
even out of the middle of a decoder.
"""

import errno
import json
import os
import resource
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO

import numpy as np

from indexer._chapters import Cut, Cutter, longer_side
from indexer._exchange import Pile, Wanted
from indexer.media.synthetic import SUFFIX
from indexer.ports import Reader
from retriever.errors import ReelseekError
from retriever.registry import Registry
from retriever.types import jsonable

Page = dict[str, Any]
_READERS = Registry("indexer.media")


def reader_for(path: Path, name: str) -> Reader:
    """A scripted media is read by its own reader, everything else by the one that was asked for."""
    plugin = _READERS.load("synthetic" if path.suffix == SUFFIX else name)
    reader: Reader = plugin.build()
    return reader


def probe(page: Page, folder: Path) -> Iterator[Page]:
    path = Path(page["path"])
    with reader_for(path, page["reader"]).open(path) as media:
        yield {"probe": jsonable(media.probe)}


def chapters(page: Page, folder: Path) -> Iterator[Page]:
    path, wanted = Path(page["path"]), Wanted.from_plain(page["wanted"])
    with reader_for(path, wanted.reader).open(path) as media:
        for cut in Cutter(media, wanted, page["first"]).chapters(folder, page["job"]):
            yield {"chapter": _told(cut)}


def pictures(page: Page, folder: Path) -> Iterator[Page]:
    path = Path(page["path"])
    with reader_for(path, page["reader"]).open(path) as media:
        size = longer_side(media.probe.width, media.probe.height, page["side"])
        for number, frame in enumerate(media.frames_at(np.array(page["times"], np.float64))):
            pile = Pile(folder / f"{page['job']}-{number}.pages")
            pile.add(frame.rgb(size))
            pile.close()
            yield {"picture": pile.shapes}


JOBS: dict[str, Callable[[Page, Path], Iterator[Page]]] = {
    "probe": probe,
    "chapters": chapters,
    "pictures": pictures,
}


def _told(cut: Cut) -> Page:
    return {
        "index": cut.index,
        "span": [cut.span.start, cut.span.end],
        "last": cut.last,
        "decoded": cut.decoded,
        "frames": [len(cut.frames.spans), *(cut.frames.pile.shapes[0] if cut.frames.spans else (0, 0, 3))],
        "spans": cut.frames.spans,
        "pages": cut.pages.pile.shapes,
        "page_spans": cut.pages.spans,
        "sounds": {rate: [len(sound.samples), sound.start] for rate, sound in cut.sounds.items()},
    }


def _answer(job: Iterator[Page], folder: Path) -> Page:
    """The next answer of a job; its end, or its error, is one too."""
    try:
        return next(job, {"end": True, "bytes": _resident_bytes()})
    except ReelseekError as error:
        return {"error": type(error).__name__, "text": str(error)}
    except Exception as error:  # noqa: BLE001 - the edge of a process: the parent must hear of it, whatever it is
        traceback.print_exc()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {
                "error": "DiskFull",
                "text": f"no room in {folder.parent}: make some, or set TMPDIR to another place",
            }
        return {"error": "CannotDecode", "text": f"{type(error).__name__}: {error}"}


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:  # not on this system: then only the number of files counts
        return 0


def _listen(commands: BinaryIO, inbox: "SimpleQueue[Page]", folder: Path) -> None:
    for line in commands:
        inbox.put(json.loads(line))
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # the main thread may be deep in a decoder


def serve(commands: BinaryIO, answers: BinaryIO, folder: Path) -> None:
    """Work until the process ends.  A new job takes the place of the one before it, finished or not."""
    inbox: SimpleQueue[Page] = SimpleQueue()
    Thread(target=_listen, args=(commands, inbox, folder), daemon=True).start()
    current, job = -1, iter(())  # type: int, Iterator[Page]
    answer: Page = {"job": -1, "ready": True}
    while True:
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()
        page = inbox.get()
        if page["do"] != "next":
            current, job = page["job"], JOBS[page["do"]](page, folder)
        elif page["job"] != current:
            continue
        answer = {"job": current, **_answer(job, folder)}


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is told by the parent; nobody wants the core
    serve(sys.stdin.buffer, answers, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
