"""Files that people send: media that come into the library, and pictures, sounds and clips that they ask with.

folder/coming/3f9c0ffe/4f0c1d2e/holiday.mp4    on its way (api/coming.py)
folder/media/3fa9c0ffee12ab34/holiday.mp4      stays: the library plays it from there (api/arrivals.py)
folder/asked/3f9c….png                         goes after an hour
"""

import os
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from threading import Lock
from time import monotonic, time
from typing import Any, BinaryIO, cast

from api.coming import Coming, Landing
from api.ground import Ground
from api.problems import Problem
from indexer import manifests, showing
from retriever.errors import BadSettings, MediaError, OverLimit, QueryError, ReelseekError
from retriever.ports import ShowExample, Snapshot
from retriever.settings import Settings
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
        self.folder, self._ground = folder, Ground(folder)
        self._coming = Coming(folder / "coming")
        self.largest = largest  # bytes of a media; 0: any
        self._held: dict[str, Held] = {}
        self._guard = Lock()

    def place(self, name: str) -> Path:
        """Where a media of this name is to lie until a job is to know of it: under it, as far as that can be one, in a
        folder of its own.

        Raises:
            Problem: it would be a list of files (415).
            StoreUnavailable: the folder of all is gone.
        """
        named = media_name(name)
        self._ground.check()
        return self._coming.place() / named

    def keep(self, place: Path, file: BinaryIO, largest: int | None = None) -> None:
        """Keep a media at a place of its own, of at most `largest` bytes; None: as many as this server takes, 0: any.

        Raises:
            OverLimit: it is too large.
            Problem: it is empty (422).
        """
        try:
            self._kept(place, file, (self.largest if largest is None else largest) or None)
        except BaseException:
            self.drop(place)
            raise

    def drop(self, media: Path) -> None:
        """Away with a media, and its folder."""
        media.unlink(missing_ok=True)
        with suppress(OSError):  # somebody put something beside it, or it never was
            media.parent.rmdir()

    def sweep(self) -> tuple[list[Path], list[Landing]]:
        """Away with media that were on their way when their server was killed; returns folders in which they lay, and
        which of them were about to stay."""
        return self._coming.sweep()

    def landing(self, to: Path, counted: Path) -> AbstractContextManager[None]:
        """Meanwhile a media that was on its way gets the place `to`, and its job."""
        return self._coming.landing(to, counted)

    @property
    def home(self) -> Path:
        """Where media stay, each in a folder of its own."""
        return self.folder / "media"

    def has(self, path: str) -> bool:
        """Whether it is a media that was sent here, and lies where those lie."""
        place = Path(path)
        return place.parent.parent == self.home and ".." not in place.parts and not place.is_symlink()

    def linked(self, place: Path, file: Path) -> None:
        """A file that is there already, beside this folder, is a media, too."""
        self._ground.check()
        place.parent.mkdir(parents=True)
        try:
            os.link(file, place)
        except OSError:  # a file system without links
            try:
                file.rename(place)
            except OSError:
                self.drop(place)
                raise

    def example(self, kind: str, name: str, file: BinaryIO) -> Held:
        """Keep a file to ask with for an hour: `kind` is `image`, `sound` or `clip`.

        Raises:
            OverLimit: it is too large.
        """
        key = PREFIX + token_hex(8)
        path = self._kept(self.folder / "asked" / f"{key}{Path(plain_name(name)).suffix}", file, LARGEST_EXAMPLE)
        held = Held(f"{kind}:{key}", path, monotonic() + LIFE_S, time() + LIFE_S)
        with self._guard:
            self._held[key] = held
            gone = [name for name, one in self._held.items() if one.until < monotonic()]
            gone += list(self._held)[: max(0, len(self._held) - len(gone) - MOST_ASKED)]
            for name in gone:
                self._held.pop(name).path.unlink(missing_ok=True)
        return held

    def judge(self, held: Held) -> None:
        """Away with a file that cannot be asked with as what it was called.

        Raises:
            Problem: it is one (422).
        """
        kind, _, key = held.term.partition(":")
        try:
            showing.fits(held.path, kind)
        except (QueryError, MediaError) as error:
            with self._guard:
                self._held.pop(key, None)
            held.path.unlink(missing_ok=True)
            told = _told(error, held.path, lambda as_kind: f"`{as_kind or kind}`")
            raise Problem(422, "the file cannot be used", told) from error

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
        self._coming.close()
        for one in held.values():
            one.path.unlink(missing_ok=True)
        for file in (self.folder / "asked").glob("*"):
            with suppress(OSError):  # another one clears too
                if time() - file.stat().st_mtime > LIFE_S:
                    file.unlink()
        with suppress(OSError):  # the other has some
            (self.folder / "asked").rmdir()

    def _kept(self, path: Path, file: BinaryIO, largest: int | None) -> Path:
        self._ground.check()
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
            QueryError: as `api.examples.Examples`, or the file cannot be used; it names no file of this machine.
        """
        if kind == "like":
            seen = cast(Snapshot, _Seen(library, only)) if (only := ONLY.get()) else library
            return self._examples(seen, kind, value)
        name, at, span = value.partition("@")
        file = self._file_of(name)
        try:
            return self._examples(library, kind, f"{file}{at}{span}")
        except (QueryError, MediaError) as error:
            raise QueryError(_told(error, file, lambda as_kind: f"{as_kind or kind}:{name}")) from error


class _Seen:
    """A snapshot of which somebody sees one collection: no other media has a name."""

    def __init__(self, library: Snapshot, collection: str) -> None:
        self._library = library
        self._collection = collection

    def media(self, where: Filter = EVERYTHING) -> Sequence[Media]:
        return self._library.media(replace(where, collection=self._collection))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)


def _told(error: ReelseekError, file: Path, named: Callable[[str], str]) -> str:
    """What is wrong with a file to ask with; `named` has the name by which whoever sent it knows it, as a kind or as
    none."""
    return re.sub(rf"(?:(\w+):)?{re.escape(str(file))}", lambda found: named(found[1] or ""), str(error))


def folder(settings: Settings, library: Path) -> Path:
    """Where a library keeps what is sent.

    Raises:
        BadSettings: no folder can be there.
    """
    named = Path(settings.uploads).absolute() if settings.uploads else library.absolute() / "uploads"
    there = next(place for place in (named, *named.parents) if place.exists())
    if not there.is_dir():
        raise BadSettings(f"what is sent is to be kept in {named}, and {there} is no folder: name one with --uploads")
    return named


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
