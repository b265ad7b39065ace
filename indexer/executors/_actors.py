"""The two actors of a pair, which share a node: one has a decoder child, the other the encoders.

    decode actor (its child) ──▶ files in a folder of this node ──▶ encode actor ──▶ tokens and lines, to the driver

Pictures and samples are mapped where the child wrote them and never travel.  What actors are told and what they answer
is text, numbers and arrays: Ray pickles that, and none of our own types are in it.  Errors go as a name and a text.
Nothing here imports Ray.
"""

import socket
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir, mkdtemp
from threading import Lock
from typing import Any

import numpy as np

from indexer import places
from indexer.decoding import Decoder, Told, Wanted
from indexer.encoding import Encoded, Encoders, encode
from indexer.executors._cores import keep_to
from indexer.making import Making
from retriever import errors, processes
from retriever.errors import CannotEncode, ReelseekError
from retriever.types import Line, Modality, Space, TimeSpan, Tokens, jsonable

Page = dict[str, Any]
OURS = "reelseek-pair"
OWNER = "owner"
"""A file in a pair's folder: whose it is, so that the next pair of this node can clear away what a dead one left."""


def told_error(error: ReelseekError) -> Page:
    return {"error": type(error).__name__, "text": str(error)}


def raised(page: Mapping[str, Any]) -> ReelseekError:
    """The error that an actor told of."""
    kind: type[ReelseekError] = getattr(errors, page["error"])
    return kind(page["text"])


class Decoding:
    """Owns a decoder child, and the folder where its chapters lie until they are encoded."""

    def __init__(self, limit_s: float) -> None:
        clear_away()
        self._folder = Path(mkdtemp(prefix=f"{OURS}-"))
        (self._folder / OWNER).write_text(processes.me())
        self._decoder = Decoder(limit_s)
        self._at_work = Lock()
        self._told = _nothing()
        self._count = 0

    def ready(self) -> Page:
        return {"node": socket.gethostname()}

    def probe(self, path: str, reader: str) -> Page:
        """What a file says of itself: the fields of a `Probe`.  If it cannot be used, also whether it is there."""

        def probed() -> Page:
            self._told.close()  # an earlier file may have been given up in the midst
            return {"probe": jsonable(self._decoder.probe(place, reader))}

        place = places.of(path)
        page = self._answer(probed)
        there = not isinstance(place, Path) or place.exists()
        return page if "error" not in page else {**page, "node": socket.gethostname(), "there": there}

    def begin(self, path: str, wanted: Mapping[str, Any], first: int) -> Page:
        """The chapter `first` of a file; the ones after it are asked for with `next`."""

        def begun() -> Page:
            self._told = self._decoder.told(places.of(path), Wanted.from_plain(dict(wanted)), first)
            return self._next()

        return self._answer(begun)

    def next(self) -> Page:
        """The next chapter, as `Told` has it; nothing after the last."""
        return self._answer(self._next)

    def drop(self, told: Mapping[str, Any]) -> None:
        """Nobody is going to encode this chapter."""
        for file in told["files"].values():
            with suppress(OSError):
                Path(file).unlink()

    def close(self) -> None:
        """Let the child go, in the middle of a chapter if need be, and take the folder away."""
        self._decoder.stop()
        with self._at_work:
            self._decoder.close()
            rmtree(self._folder, ignore_errors=True)

    def _answer(self, asked: Callable[[], Page]) -> Page:
        with self._at_work:
            try:
                return asked()
            except ReelseekError as error:
                return told_error(error)

    def _next(self) -> Page:
        told = next(self._told, None)
        if told is None:
            return {"end": True}
        files = dict(self._moved(told))
        if told.page["last"]:
            next(self._told, None)  # the child is done with this file, and so are we
        return {"page": dict(told.page), "files": files}

    def _moved(self, told: Told) -> Iterator[tuple[str, str]]:
        """Out of the child's folder, which goes when the child does."""
        for kind, file in told.files.items():
            self._count += 1
            place = self._folder / str(self._count)
            with suppress(FileNotFoundError):  # there is nothing of this kind
                Path(file).rename(place)
            yield kind, str(place)


def _nothing() -> Generator[Told, None, None]:
    yield from ()


def clear_away() -> None:
    """Folders of pairs on this node whose decode actor was killed."""
    for folder in Path(gettempdir()).glob(f"{OURS}-*"):
        with suppress(OSError):
            if processes.ended((folder / OWNER).read_text()):
                rmtree(folder, ignore_errors=True)


class Encoding:
    """Owns the encoders of a recipe, as far as this node has them."""

    def __init__(self, module: str, function: str, page: Mapping[str, Any], cores: int = 0) -> None:
        self._making = Making(module, function, page)
        self._cores = cores  # that it keeps to; 0: all of them
        self._encoders: Encoders | None = None

    def ready(self) -> Page:
        """What these encoders fill: the fields of each `Space`, by id; and why the rest is missing."""
        if self._cores:
            keep_to(self._cores)
        try:
            self._encoders = self._making.made()
        except ReelseekError as error:
            return {**told_error(error), "node": socket.gethostname()}
        return {
            "node": socket.gethostname(),
            "spaces": {key: jsonable(space) for key, space in self._encoders.spaces.items()},
            "missing": [str(reason) for reason in self._encoders.missing.values()],
        }

    def encode(self, told: Mapping[str, Any]) -> Page:
        """A chapter as tokens and lines."""
        assert self._encoders, "it was not asked whether it is ready"
        chapter = Told(told["page"], told["files"]).lifted()
        try:
            (encoded,) = encode([chapter], self._encoders)
        except (RuntimeError, ValueError) as error:  # what inference runtimes raise over one bad input
            return told_error(CannotEncode(str(error)))
        return as_plain(encoded)

    def close(self) -> None:
        """If the decoder of the pair was killed, what it left goes."""
        clear_away()


def as_plain(encoded: Encoded) -> Page:
    """Text, numbers and arrays, for `from_plain`."""
    return {
        "tokens": {
            space: [
                np.asarray(tokens.rows),
                np.asarray(tokens.spans),
                np.asarray(tokens.norms),
                [list(names) for names in tokens.labels],
                np.asarray(tokens.probabilities),
            ]
            for space, tokens in encoded.tokens.items()
        },
        "lines": [
            [line.span.start, line.span.end, line.text, line.modality.value, line.confidence] for line in encoded.lines
        ],
        "seconds": {stage: float(seconds) for stage, seconds in encoded.seconds.items()},
    }


def from_plain(page: Mapping[str, Any]) -> Encoded:
    tokens = {
        space: Tokens(rows, spans, norms, tuple(tuple(names) for names in labels), probabilities)
        for space, (rows, spans, norms, labels, probabilities) in page["tokens"].items()
    }
    lines = [
        Line(TimeSpan(start, end), text, Modality(modality), confidence)
        for start, end, text, modality, confidence in page["lines"]
    ]
    return Encoded(tokens, lines, dict(page["seconds"]))


def spaces_of(page: Mapping[str, Any]) -> dict[str, Space]:
    """What `Encoding.ready` told of."""
    return {key: Space(**{**told, "modality": Modality(told["modality"])}) for key, told in page["spaces"].items()}
