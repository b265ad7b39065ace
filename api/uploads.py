"""Files that people send: media that come into the library, and pictures, sounds and clips that they ask with.

folder/media/4f0c1d2e/holiday.mp4     stays: the library plays it from there
folder/asked/3f9c….png                goes after an hour
"""

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from threading import Lock
from time import monotonic, time
from typing import Any, BinaryIO, cast

from api.problems import Problem
from indexer import manifests
from retriever.errors import OverLimit, QueryError
from retriever.ports import ShowExample, Snapshot
from retriever.types import EVERYTHING, Example, Filter, Media

LIFE_S = 3600.0
MOST_ASKED = 1_000
"""Examples that are kept at once: the oldest go."""
LARGEST_EXAMPLE = 200_000_000
LONGEST_NAME = 200
"""Bytes of a name: file systems take 255, and it has more beside it while it is written."""
PREFIX = "upload-"
_NAME = re.compile(r"[^\w.()+-]+")
_BLOCK = 1 << 20
ONLY: ContextVar[str] = ContextVar("only", default="")
"""The collection that whoever is answered at the moment may see; empty: all."""


@dataclass(frozen=True, slots=True)
class Held:
    """A file to ask with."""

    term: str  # as it stands in a query
    path: Path
    until: float  # monotonic
    expires: float  # seconds of the epoch


class Uploads:
    """Several threads may ask."""

    def __init__(self, folder: Path, largest: int) -> None:
        self._folder = folder
        self.largest = largest  # bytes of a media; 0: any
        self._held: dict[str, Held] = {}
        self._guard = Lock()

    def media(self, name: str, file: BinaryIO) -> Path:
        """Keep a media under its own name, as far as that can be one.

        Raises:
            OverLimit: it is too large.
            Problem: it is empty (422), or a list of files (415).
        """
        folder = self._folder / "media" / token_hex(8)
        return self._kept(folder / media_name(name), file, self.largest or None)

    def drop(self, media: Path) -> None:
        """Away with a media that never was indexed, and its folder."""
        media.unlink(missing_ok=True)
        media.parent.rmdir()

    def moved(self, name: str, file: Path) -> Path:
        """The same for a file that is there already, beside this folder: it is moved."""
        folder, own = self._folder / "media" / token_hex(8), media_name(name)
        folder.mkdir(parents=True)
        return file.rename(folder / own)

    def example(self, kind: str, name: str, file: BinaryIO) -> Held:
        """Keep a file to ask with for an hour: `kind` is `image`, `sound` or `clip`.

        Raises:
            OverLimit: it is too large.
        """
        key = PREFIX + token_hex(8)
        path = self._kept(self._folder / "asked" / f"{key}{Path(plain_name(name)).suffix}", file, LARGEST_EXAMPLE)
        held = Held(f"{kind}:{key}", path, monotonic() + LIFE_S, time() + LIFE_S)
        with self._guard:
            self._held[key] = held
            gone = [name for name, one in self._held.items() if one.until < monotonic()]
            gone += list(self._held)[: max(0, len(self._held) - len(gone) - MOST_ASKED)]
            for name in gone:
                self._held.pop(name).path.unlink(missing_ok=True)
        return held

    def file_of(self, name: str) -> Path:
        """The file behind the value of a term.

        Raises:
            QueryError: there is none, or no more.
        """
        with self._guard:
            held = self._held.get(name)
        if held is None or held.until < monotonic():
            raise QueryError(
                f"{name!r} is no file that was sent here within the last hour: POST /v1/examples takes one"
            )
        return held.path

    def clear(self) -> None:
        """Away with what is asked with; media stay, and what another server on this folder was sent within the hour."""
        with self._guard:
            held, self._held = self._held, {}
        for one in held.values():
            one.path.unlink(missing_ok=True)
        for file in (self._folder / "asked").glob("*"):
            with suppress(OSError):  # another one clears too
                if time() - file.stat().st_mtime > LIFE_S:
                    file.unlink()
        with suppress(OSError):  # the other has some
            (self._folder / "asked").rmdir()

    def _kept(self, path: Path, file: BinaryIO, largest: int | None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        part, size = path.with_name(f".{path.name}.part"), 0
        try:
            with part.open("xb") as kept:
                while block := file.read(_BLOCK):
                    size += len(block)
                    if largest is not None and size > largest:
                        raise OverLimit(f"{path.name} has more than {largest:,} bytes, which is the most that is taken")
                    kept.write(block)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        if not size:
            path.unlink()
            raise Problem(422, "the file is empty", f"{path.name} has no bytes")
        return path


class Shown:
    """What a query from elsewhere may show: moments of the library and files that were sent, and no path of this
    machine."""

    def __init__(self, examples: ShowExample, file_of: Callable[[str], Path]) -> None:
        self._examples = examples
        self._file_of = file_of

    def __call__(self, library: Snapshot, kind: str, value: str) -> Example:
        """
        Raises:
                QueryError, MediaError: as `api.examples.Examples`.
        """
        if kind == "like":
            seen = cast(Snapshot, _Seen(library, only)) if (only := ONLY.get()) else library
            return self._examples(seen, kind, value)
        name, at, span = value.partition("@")
        return self._examples(library, kind, f"{self._file_of(name)}{at}{span}")


class _Seen:
    """A snapshot of which somebody sees one collection: no other media has a name."""

    def __init__(self, library: Snapshot, collection: str) -> None:
        self._library = library
        self._collection = collection

    def media(self, where: Filter = EVERYTHING) -> Sequence[Media]:
        return self._library.media(replace(where, collection=self._collection))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)


def media_name(name: str) -> str:
    """The name of a media that is sent.

    Raises:
        Problem: it would be read as a list of files of this machine.
    """
    made = plain_name(name)
    if Path(made).suffix.lower() in manifests.SUFFIXES:
        raise Problem(415, "not this type", f"{made} would be a list of files: send media, one by one")
    return made


def plain_name(name: str) -> str:
    """The last part of a name, without what a file system or a page might take amiss."""
    last = _NAME.sub("_", name.replace("\\", "/").rpartition("/")[2])
    while len(os.fsencode(last)) > LONGEST_NAME:
        last = last[1:]  # its end says what it is
    return last.strip("._") or "upload"
