"""Media that come in pieces, over as many connections as it takes: the tus protocol 1.0 (https://tus.io/protocols).

folder/parcels/ID         what has come so far
folder/parcels/ID.json    how long it will be, its name, what is said of it, whose it is, the job once it is whole
"""

import json
import os
from asyncio import to_thread
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from secrets import token_hex
from time import time

from api import known
from api.problems import Problem
from retriever import wholes

LIFE_S = 86_400.0
"""Seconds after which a parcel that nobody goes on with is thrown away."""
MOST_SAID = 10_000
"""Characters of what is said of a parcel."""
SAID = ("filename", "title", "tags", "recorded", "collection")
PASSED_OVER = ("filetype", "name", "type", "relativePath")
"""What clients of tus say unasked; the content tells."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One media on its way."""

    id: str
    length: int  # bytes that it will have
    owner: str = ""  # id of the key that sends it; empty: nobody needs one
    said: dict[str, str] = field(default_factory=dict)  # `SAID`, tags as a;b
    job: str = ""  # once it is whole


class Parcels:
    """Those of one server; several may share the folder, one writes to a parcel at a time."""

    def __init__(self, folder: Path, largest: int) -> None:
        self._folder = folder / "parcels"
        self.largest = largest  # bytes; 0: any

    def begin(self, length: int, said: dict[str, str], owner: str) -> Parcel:
        """
        Raises:
            Problem: it would be too large.
        """
        if self.largest and length > self.largest:
            raise Problem(413, "too large", f"Upload-Length is {length:,}, at most {self.largest:,} bytes are taken")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._clear()
        parcel = Parcel(token_hex(16), length, owner, said)
        self._write(parcel)  # first: by its note it is found, and thrown away, if a server is killed here
        self.file(parcel).touch()
        return parcel

    def of(self, id: str, owner: str) -> Parcel:
        """
        Raises:
            Problem: there is none of this id, or it is another's: nobody learns which.
        """
        note = self._note(id)
        if len(id) == 32 and set(id) <= set("0123456789abcdef") and note.is_file():
            parcel = Parcel(**json.loads(note.read_text(encoding="utf-8")))
            if parcel.owner == owner:
                return parcel
        raise _none(id)

    def file(self, parcel: Parcel) -> Path:
        return self._folder / parcel.id

    def come(self, parcel: Parcel) -> int:
        """Bytes that are there.

        Raises:
            Problem: another request makes a media of it (423), or it is over (404).
        """
        try:
            return parcel.length if parcel.job else self.file(parcel).stat().st_size
        except FileNotFoundError as error:
            raise self._missing(parcel) from error

    async def take(self, parcel: Parcel, at: int, blocks: AsyncIterator[bytes]) -> int:
        """Append what comes, which begins at byte `at`; returns the bytes that are there then.  What came before a line
        broke stays.

        Raises:
            Problem: it begins elsewhere than the parcel ends (409), goes on behind its end (413), another writes (423),
                it is over (404).
        """
        try:
            descriptor = os.open(self.file(parcel), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise self._missing(parcel) from error
        with os.fdopen(descriptor, "ab") as kept:
            _alone(kept.fileno())
            there = os.fstat(kept.fileno()).st_size
            if at != there:
                raise Problem(409, "not where it ends", f"Upload-Offset is {at:,}, {there:,} bytes are there")
            async for block in blocks:
                if there + len(block) > parcel.length:
                    raise Problem(413, "too large", f"it goes on behind Upload-Length, {parcel.length:,} bytes")
                kept.write(block)
                there += len(block)
            kept.flush()
            await to_thread(os.fsync, kept.fileno())  # a disk takes its time, and others are answered meanwhile
        return there

    @contextmanager
    def held(self, parcel: Parcel) -> Iterator[None]:
        """Nobody else is at a parcel meanwhile; whoever is killed holds none.

        Raises:
            Problem: another request is at it (423), or it is over (404).
        """
        with ExitStack() as both:
            for file in (self.file(parcel), self._note(parcel.id)):  # the note stays where the file has to be moved
                try:
                    _lock(both, file)
                except FileNotFoundError as error:
                    raise self._missing(parcel) from error
            yield

    def done(self, parcel: Parcel, job: str) -> Parcel:
        """It is whole, and no file of the parcels any more."""
        parcel = replace(parcel, job=job)
        self._write(parcel)
        self.file(parcel).unlink(missing_ok=True)
        return parcel

    def drop(self, parcel: Parcel) -> None:
        for file in (self.file(parcel), self._note(parcel.id)):
            file.unlink(missing_ok=True)

    def _missing(self, parcel: Parcel) -> Problem:
        """Why the file of a parcel is not there.  On a disk without links it is moved to become a media; whoever was
        killed over that has taken it along, and then the upload is over."""
        with suppress(FileNotFoundError), self._note(parcel.id).open("rb") as note:
            try:
                _alone(note.fileno())
            except Problem as held:
                return held
            if self.of(parcel.id, parcel.owner).job or self.file(parcel).exists():
                return _held()  # until just now
            self.drop(parcel)
        return _none(parcel.id)

    def _note(self, id: str) -> Path:
        return self._folder / f"{id}.json"

    def _write(self, parcel: Parcel) -> None:
        wholes.write(self._note(parcel.id), json.dumps(asdict(parcel)).encode())

    def _clear(self) -> None:
        """Away with what nobody goes on with."""
        for note in self._folder.glob("*.json"):
            data = self._folder / note.stem
            with suppress(FileNotFoundError):  # another request has dropped or finished it
                touched = max(file.stat().st_mtime for file in (note, data) if file.exists() or file is note)
                if time() - touched <= LIFE_S:
                    continue
                with ExitStack() as both, suppress(Problem):  # somebody goes on with it just now
                    for file in (data, note):
                        if file.exists() or file is note:
                            _lock(both, file)
                    self.drop(Parcel(note.stem, 0))


def told(header: str) -> dict[str, str]:
    """`Upload-Metadata`: names with their values in base64, with commas between.

    Raises:
        Problem: it is none.
        RequestValidationError: it says what nobody knows.
    """
    if len(header) > MOST_SAID:
        raise Problem(413, "too large", f"Upload-Metadata has more than {MOST_SAID:,} characters")
    said: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        name, _, value = pair.partition(" ")
        try:
            said[name] = b64decode(value, validate=True).decode("utf-8")
        except ValueError as error:
            raise Problem(422, "not said rightly", f"Upload-Metadata: {name} has no text in base64") from error
    known.names("header.Upload-Metadata", said, (*SAID, *PASSED_OVER))
    return said


def _lock(files: ExitStack, file: Path) -> None:
    _alone(files.enter_context(file.open("rb")).fileno())


def _alone(descriptor: int) -> None:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _held() from error


def _none(id: str) -> Problem:
    return Problem(404, "no such upload", f"{id} is no upload of this server, or it is over")


def _held() -> Problem:
    return Problem(423, "somebody is at it", "another request writes to this upload")
