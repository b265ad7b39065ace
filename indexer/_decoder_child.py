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
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from indexer import places
from indexer._chapters import Cut, Cutter, longer_side
from indexer._exchange import Pile, Wanted
from indexer.media.synthetic import SUFFIX
from indexer.places import Place
from indexer.ports import OpenMedia, Reader
from retriever.errors import MediaError, ReelseekError
from retriever.registry import Registry
from retriever.types import FileStat, TimeSpan, jsonable

if TYPE_CHECKING:
    from indexer.media._cutting import Work, Written

Page = dict[str, Any]
_READERS = Registry("indexer.media")


class Desk:
    """The media that is being worked on.  It stays open until another one is, for a probe is followed by chapters."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._key: tuple[object, ...] | None = None
        self._media: OpenMedia | None = None

    def media(self, path: Place, reader: str) -> OpenMedia:
        """A scripted media is read by its own reader, everything else by the one that was asked for."""
        name = "synthetic" if path.suffix == SUFFIX else reader
        key = (path, name, _state(path))
        if key != self._key or self._media is None:
            self._open.close()
            self._key = None
            plugin: Reader = _READERS.load(name).build()
            self._media = self._open.enter_context(plugin.open(path))
            self._key = key
        return self._media


def _state(path: Place) -> FileStat | None:
    try:
        return places.stat_of(path)
    except MediaError:  # the reader will say what is wrong with it
        return None


def probe(page: Page, media: OpenMedia, folder: Path) -> Iterator[Page]:
    yield {"probe": jsonable(media.probe)}


def chapters(page: Page, media: OpenMedia, folder: Path) -> Iterator[Page]:
    cutter = Cutter(media, Wanted.from_plain(page["wanted"]), page["first"])
    for cut in cutter.chapters(folder, page["job"]):
        yield {"chapter": _told(cut)}


def pictures(page: Page, media: OpenMedia, folder: Path) -> Iterator[Page]:
    size = longer_side(media.probe.width, media.probe.height, page["side"])
    for number, frame in enumerate(media.frames_at(np.array(page["times"], np.float64))):
        pile = Pile(folder / f"{page['job']}-{number}.pages")
        pile.add(frame.rgb(size))
        pile.close()
        yield {"picture": pile.shapes}


def _at(work: "Work") -> "Generator[Page, None, Written]":
    """How far a cut is, and at last what was written."""
    while True:
        try:
            yield {"at": next(work)}
        except StopIteration as end:
            written: Written = end.value
            return written


HALVES: set[Path] = set()
"""Files that are being written: they go with the child if its parent goes."""


def cut(page: Page, media: OpenMedia, folder: Path) -> Iterator[Page]:
    from indexer.media import _cutting  # FFmpeg's other half, which no other job needs

    path, half, form = places.of(page["path"]), Path(page["half"]), _cutting.FORMS[page["suffix"]]
    span = TimeSpan(page["start"], page["end"])
    HALVES.add(half)
    with _cutting.writing(half, page["out"]) as file:
        if page["exact"] or not form.copies:
            work = _cutting.encoded(path, span, media.probe, form, page["suffix"], file)
        else:
            work = _cutting.copied(path, span, form, page["suffix"], file)
        written = yield from _at(work)
        file.flush()
        os.fsync(file.fileno())
    HALVES.discard(half)
    yield {"cut": jsonable(written)}


def begun(page: Page, desk: Desk, folder: Path) -> Iterator[Page]:
    """A job, its media opened when the first answer is asked for."""
    yield from JOBS[page["do"]](page, desk.media(places.of(page["path"]), page["reader"]), folder)


JOBS: dict[str, Callable[[Page, OpenMedia, Path], Iterator[Page]]] = {
    "probe": probe,
    "chapters": chapters,
    "pictures": pictures,
    "cut": cut,
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


def answer_of(job: Iterator[Page], folder: Path) -> Page:
    """The next answer of a job; its end, or its error, is one too."""
    try:
        return next(job, {"end": True})
    except ReelseekError as error:
        return {"error": type(error).__name__, "text": str(error)}
    except Exception as error:  # noqa: BLE001 - the edge of a process: the parent must hear of it, whatever it is
        with suppress(OSError):  # what it is printed to may lie on a full disk
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
    with suppress(OSError):  # by another name nothing more comes into it while it is taken away
        folder = folder.rename(folder.with_name(f"{folder.name}-gone"))
    shutil.rmtree(folder, ignore_errors=True)
    for half in list(HALVES):
        with suppress(OSError):
            half.unlink()
    os._exit(0)  # the main thread may be deep in a decoder


def serve(commands: BinaryIO, answers: BinaryIO, folder: Path) -> None:
    """Work until the process ends.  A new job takes the place of the one before it, finished or not."""
    inbox: SimpleQueue[Page] = SimpleQueue()
    listener = Thread(target=_listen, args=(commands, inbox, folder), daemon=True)
    listener.start()
    desk = Desk()
    current, job = -1, iter(())  # type: int, Iterator[Page]
    answer: Page = {"job": -1, "ready": True}
    while True:
        try:
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()
        except BrokenPipeError:  # the parent is gone
            listener.join()  # it clears up, and ends this process
        page = inbox.get()
        if page["do"] != "next":
            current, job = page["job"], begun(page, desk, folder)
        elif page["job"] != current:
            continue
        began = monotonic()
        told = answer_of(job, folder)
        answer = {"job": current, **told, "spent": monotonic() - began, "bytes": _resident_bytes()}


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is told by the parent; nobody wants the core
    serve(sys.stdin.buffer, answers, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
