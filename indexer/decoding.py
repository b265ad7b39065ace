"""Decoding in a child process: a file that crashes or hangs its decoder costs a child, not the run.

The child is a `python -m` process of its own, used for file after file; pictures and sound come back through mapped
files in a temporary folder, everything else as lines of JSON.  While a chapter is worked on, the next one is decoded.

    with Decoder() as decoder:
        for chapter in decoder.chapters(path, wanted):
            ...
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

import numpy as np

from indexer import _child_process
from indexer._child_process import Child
from indexer._exchange import Wanted, lifted
from indexer.places import Place
from indexer.ports import Probe
from retriever import errors
from retriever.errors import CannotDecode, MediaError, ReelseekError
from retriever.types import MediaKind, Pictures, Sound, Times, TimeSpan

__all__ = ["Chapter", "Decoder", "Told", "Wanted"]

LIMIT = 300.0
"""Seconds for one chapter: a minute of 4K film takes two slow cores about three minutes."""
_ERRORS = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, ReelseekError)
}
"""What a child may raise here, by name."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A stretch of one media, decoded.  Pictures and samples may be written to; nobody else sees it."""

    index: int
    span: TimeSpan  # seconds; the last one ends where the media does
    last: bool
    frames: Pictures  # (N, H, W, 3)
    spans: Times  # (N, 2) when each of `frames` is on show
    pages: list[Pictures]  # (H, W, 3) each
    page_spans: list[tuple[float, float]]
    sounds: dict[int, Sound]  # by rate; each over span ± margin as far as the media has sound
    decoded: int  # frames that came out of the decoder for this; those that nobody looks at may be spared
    began: float = 0.0  # when the child was asked for it, by this process's monotonic clock
    seconds: float = 0.0  # that the child took


@dataclass(frozen=True, slots=True)
class Told:
    """A chapter whose pictures and samples still lie in files.  All of it is plain, for another process to lift."""

    page: Mapping[str, Any]  # what the child says of it
    files: Mapping[str, str]  # where arrays of one kind lie, unless there are none

    def lifted(self) -> Chapter:
        """The chapter; its files are gone from their folder then.

        Raises:
            OSError: they are gone already.
        """
        page, files = self.page, {kind: Path(file) for kind, file in self.files.items()}
        (frames,) = lifted(files["frames"], [tuple(page["frames"])], np.uint8)
        sounds = {}
        for rate, (length, start) in page["sounds"].items():
            (samples,) = lifted(files[rate], [(length,)], np.float32)
            sounds[int(rate)] = Sound(samples, int(rate), start)
        return Chapter(
            index=page["index"],
            span=TimeSpan(*page["span"]),
            last=page["last"],
            frames=frames,
            spans=np.array(page["spans"], np.float64).reshape(-1, 2),
            pages=lifted(files["pages"], [tuple(shape) for shape in page["pages"]], np.uint8),
            page_spans=[(start, end) for start, end in page["page_spans"]],
            sounds=sounds,
            decoded=page["decoded"],
            began=page["began"],
            seconds=page["seconds"],
        )


class Decoder:
    """Owns one decoder child.  To be used by one thread at a time, and for one file at a time."""

    def __init__(self, limit_s: float = LIMIT) -> None:
        if limit_s <= 0:
            raise ValueError(f"limit_s is {limit_s}; it wants seconds above 0")
        self.limit = limit_s  # seconds a chapter
        self._child: Child | None = None
        self._numbers = count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child.  The decoder starts another one if it is used again."""
        if self._child:
            self._child.close()
            self._child = None

    def stop(self) -> None:
        """From another thread: let nobody wait for what is being decoded.  Whoever does gets `DecoderDied`."""
        if child := self._child:
            child.stop()

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        child = self._child  # another thread may ask
        return child.pid if child else None

    def probe(self, path: Place, reader: str = "pyav") -> Probe:
        """What the container says of itself, and what one look into it confirmed.

        Raises:
            MediaError: this file cannot be used.
            PluginError: the reader cannot be had.
        """
        with self._job(path, {"do": "probe", "reader": reader}) as job:
            page = job.ask(self.limit)["probe"]
        return Probe(**{**page, "kind": MediaKind(page["kind"])})

    def chapters(self, path: Place, wanted: Wanted, first: int = 0) -> Iterator[Chapter]:
        """The media's chapters in order, from number `first` on: none if it has fewer.  A chapter is the same whether
        it was begun with or come to.

        Raises:
            CannotOpen: no media.
            CannotDecode: nothing comes out of it.
            DecoderDied: as it says.
            DecodeTimeout: no answer within the limit; a chapter that is passed over on the way to `first` counts too.
            DiskFull: no room for a chapter in the temporary folder.
        """
        for told in self.told(path, wanted, first):
            yield told.lifted()

    def told(self, path: Place, wanted: Wanted, first: int = 0) -> Generator["Told", None, None]:
        """As `chapters`, for somebody who lifts them elsewhere: before the next one is asked for, as files go with
        their child."""
        order, more = {"do": "chapters", "reader": wanted.reader, "wanted": wanted.plain()}, True
        while more:
            limit = self.limit * (1 + first)
            with self._job(path, {**order, "first": first}) as job:
                more = False
                while not more and (page := (answer := job.ask(limit, ahead=True)).get("chapter")):
                    told = {**page, "index": first, "began": job.began, "seconds": float(answer["spent"])}
                    files = {kind: str(job.file(first, kind)) for kind in ("frames", "pages", *page["sounds"])}
                    yield Told(told, files)
                    first, limit = first + 1, self.limit
                    more = job.outgrew and not page["last"]
            if more:  # memory goes with a child, and another one goes on where this one was
                self.close()

    def pictures(self, path: Place, times: Sequence[float], side: int, reader: str = "pyav") -> list[Pictures]:
        """The pictures `(H, W, 3)` on show at `times`, which rise; their longer side is at most `side` pixels.

        Raises:
            MediaError, PluginError: as `probe`.
        """
        order = {"do": "pictures", "reader": reader, "times": list(times), "side": side}
        found: list[Pictures] = []
        with self._job(path, order) as job:
            while (shapes := job.ask(self.limit).get("picture")) is not None:
                found += lifted(job.file(len(found), "pages"), shapes, np.uint8)
        return found

    def cut(self, path: Place, order: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What a child answers that cuts a file, as `indexer.cutting` asks it to: how far it is, and what it wrote.

        Raises:
            MediaError, PluginError: as `probe`.
            BadSettings, DiskFull: as `cutting.cut`.
        """
        with self._job(path, {"do": "cut", "reader": "pyav", **order}) as job:
            while "end" not in (page := job.ask(self.limit)):
                yield page

    def _job(self, path: Place, order: Mapping[str, Any]) -> "_Job":
        if self._child and (self._child.is_spent or not self._child.is_alive):
            self.close()
        self._child = self._child or Child()
        return _Job(self._child, next(self._numbers), path, order)


class _Job:
    """One order to a child, and its answers."""

    def __init__(self, child: Child, number: int, path: Place, order: Mapping[str, Any]) -> None:
        self._child = child
        self._number = number
        self._path = path
        self._order: dict[str, Any] = {**order, "path": str(path.absolute())}
        self._pending = False
        self._base = 0  # bytes
        self._sent = self.began = 0.0  # by the monotonic clock: the order under way, and the last one answered

    def __enter__(self) -> Self:
        self._child.files += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, traceback: TracebackType | None) -> None:
        if self._pending:  # nobody waits for the answer that is being made
            self._child.kill()

    def file(self, answer: int, kind: str) -> Path:
        """Where the child puts arrays of one kind for one answer."""
        return self._child.folder / f"{self._number}-{answer}.{kind}"

    def ask(self, limit: float, ahead: bool = False) -> dict[str, Any]:
        """The next answer; `ahead` lets the child begin with the one after it."""
        if not self._pending:
            self._send()
        answer = self._child.receive(limit, str(self._path))
        self._pending, self.began = False, self._sent
        if "error" in answer:
            raise self._error(answer)
        self._base = self._base or self._child.bytes
        if ahead and "end" not in answer and not self.outgrew:
            self._send()
        return answer

    @property
    def outgrew(self) -> bool:
        """Whether the child holds far more by now than when it gave its first answer to this order."""
        return self._child.bytes - self._base > _child_process.GROWTH

    def _error(self, answer: Mapping[str, str]) -> ReelseekError:
        """What the child raised, with the file's name wherever the file is to blame."""
        kind, text = _ERRORS.get(answer["error"], CannotDecode), answer["text"]
        named = str(self._path) in text or not issubclass(kind, MediaError)
        return kind(text if named else f"{self._path}: {text}")

    def _send(self) -> None:
        self._pending, self._sent = True, monotonic()  # before the child can have begun
        self._child.send({"job": self._number, **self._order})
        self._order = {"do": "next"}
