"""Objects on servers: web servers by fsspec's HTTP, S3 and Google Cloud Storage by s3fs and gcsfs.

An object is read by ranges: what a demuxer asks for comes in blocks, which a temporary file keeps, so pictures and
sound that are read one after the other come once.  Who reads on is given ever longer stretches, who jumps only what it
asked for.

An object is looked at before it is read, and each range names the version that was seen.  A server that is busy or gone
is asked again for `PATIENCE` seconds; after that nobody asks it for `REST` seconds.  Keys and passwords are those of
the environment, as the three libraries find them.
"""

import hashlib
import io
import logging
import os
import random
import re
import ssl
import tempfile
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from threading import Lock
from time import monotonic, sleep
from typing import IO, Any, Protocol, TypeVar

import aiohttp
from fsspec.asyn import sync
from fsspec.implementations.http import HTTPFileSystem

from indexer.places import KEY_LETTERS, WEB, Address, Place
from indexer.waiting import waiting
from retriever.errors import CannotOpen, FileChanged, MediaError, MissingExtra, NotThere, Unreachable
from retriever.types import FileStat

PATIENCE = 45.0
"""Seconds for which a server that is busy, slow or gone is asked again."""
REST = 60.0
"""Seconds for which a server that spent all patience is not asked."""
CONNECT, SILENCE, LONGEST = 10.0, 15.0, 120.0
"""Seconds to get through, between two pieces of an answer, and for all of one."""
EDGE = 1 << 20
"""Bytes of each end of an object that its key is made of."""
BLOCK = 1 << 16
WIDEST = 1 << 23
"""Most bytes asked for at once."""
NEAR = 1 << 20
"""Bytes that are read rather than jumped over: to ask once more takes as long."""
KEPT = 1 << 29
"""Most bytes of an object that its temporary file keeps."""
WHOLE = 1 << 30
"""Largest object that is fetched whole, where the server gives no ranges."""
WHOLE_SECONDS = 600.0

T = TypeVar("T")

for _name in ("s3fs", "gcsfs", "fsspec", "aiobotocore", "botocore"):
    logging.getLogger(_name).addHandler(logging.NullHandler())  # or Python prints what they say of each try


class NoRanges(Exception):
    """The server gives its objects whole or not at all."""


class Answered(Exception):
    """A web server answered, and not with what was asked for."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}".strip())
        self.status = status


@dataclass(frozen=True, slots=True)
class Details:
    """What a server says of an object."""

    size: int  # bytes
    written: int = 0  # seconds of the epoch; 0: it does not say
    tag: str = ""  # what it calls this version; empty: it does not
    by_content: bool = False  # the tag follows from the content, wherever that lies
    ranges: bool = True  # as far as it says

    def stat(self) -> FileStat:
        """As a file system would have it.  The version is a number in `inode`, and also what is less than a second of
        the time, since not all who compare look at both."""
        if not (self.tag or self.written):
            return FileStat(self.size, 0, 0, "")
        version = int(hashlib.sha256(f"{self.tag}|{self.written}".encode()).hexdigest()[:15], 16)
        return FileStat(self.size, self.written * 1_000_000_000 + version % 1_000_000_000, version, "")


class System(Protocol):
    """Servers of one kind."""

    def details(self, address: Address) -> Details | None:
        """None: it is a folder."""
        ...

    def listed(self, folder: Address) -> Iterator[tuple[Address, Details]]: ...

    def fetch(self, address: Address, seen: Details, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` of the version that was seen."""
        ...

    def pour(self, address: Address, seen: Details, into: IO[bytes]) -> None:
        """All of it."""
        ...


# -------------------------------------------------------------------------------------------------------------- the web


class Web:
    """Web servers."""

    def __init__(self) -> None:
        options = {"timeout": _limits(LONGEST), "trust_env": True, "auto_decompress": False}
        self._files = HTTPFileSystem(skip_instance_cache=True, client_kwargs=options)

    def details(self, address: Address) -> Details:
        found: Details = sync(self._files.loop, self._details, address)
        return found

    def listed(self, folder: Address) -> Iterator[tuple[Address, Details]]:
        yield folder, self.details(folder)  # a server has no list of what it has

    def fetch(self, address: Address, seen: Details, start: int, stop: int) -> bytes:
        body: bytes = sync(self._files.loop, self._fetch, address, seen, start, stop)
        return body

    def pour(self, address: Address, seen: Details, into: IO[bytes]) -> None:
        sync(self._files.loop, self._pour, address, seen, into)

    async def _ask(self, method: str, address: Address, headers: dict[str, str], **options: Any) -> Any:
        session = await self._files.set_session()
        asked = {"Accept-Encoding": "identity", **headers}
        url = self._files.encode_url(str(address))
        return await session.request(method, url, headers=asked, allow_redirects=True, **options)

    async def _details(self, address: Address) -> Details:
        async with await self._ask("HEAD", address, {}) as answer:
            size = answer.headers.get("Content-Length", "")
            if answer.status < 300 and size:
                return _of_headers(answer.headers, size)
            if answer.status >= 300 and answer.status not in (400, 405, 501):
                raise Answered(answer.status, answer.reason)
        async with await self._ask("GET", address, {"Range": "bytes=0-0"}) as answer:  # no HEAD there
            if answer.status >= 300:
                raise Answered(answer.status, answer.reason)
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            size = total if answer.status == 206 else answer.headers.get("Content-Length", "")
            return _of_headers(answer.headers, size)

    async def _fetch(self, address: Address, seen: Details, start: int, stop: int) -> bytes:
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        if seen.tag.startswith('"'):  # a weak tag never matches
            headers["If-Match"] = seen.tag
        async with await self._ask("GET", address, headers) as answer:
            if answer.status == 200:
                raise NoRanges
            if answer.status in (412, 416):
                raise FileChanged(_changed(address))
            if answer.status != 206:
                raise Answered(answer.status, answer.reason)
            given = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", ""))
            if not given or int(given[1]) != start:
                raise NoRanges
            now = _of_headers(answer.headers, given[3].replace("*", str(seen.size)))
            if (now.size, now.tag, now.written) != (seen.size, seen.tag, seen.written):
                raise FileChanged(_changed(address))
            body: bytes = await answer.content.readexactly(stop - start)
            return body

    async def _pour(self, address: Address, seen: Details, into: IO[bytes]) -> None:
        async with await self._ask("GET", address, {}, timeout=_limits(WHOLE_SECONDS)) as answer:
            if answer.status != 200:
                raise Answered(answer.status, answer.reason)
            came = 0
            async for piece in answer.content.iter_chunked(EDGE):
                came += len(piece)
                if came > seen.size:
                    raise FileChanged(_changed(address))
                into.write(piece)
            now = _of_headers(answer.headers, str(seen.size))
            if came < seen.size or (now.tag, now.written) != (seen.tag, seen.written):
                raise FileChanged(_changed(address))


def _limits(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT, sock_read=SILENCE)


def _of_headers(headers: Any, size: str) -> Details:
    if not size.isdecimal() or headers.get("Content-Encoding", "identity") not in ("identity", ""):
        raise CannotOpen("its server does not say how many bytes it has: fetch it, and name the file")
    written = 0
    with suppress(ValueError, TypeError, OverflowError):
        written = max(0, int(parsedate_to_datetime(headers.get("Last-Modified", "")).timestamp()))
    ranges = headers.get("Accept-Ranges", "").strip().lower() != "none"
    return Details(int(size), written, headers.get("ETag", ""), ranges=ranges)


# ---------------------------------------------------------------------------------------------------- object stores


class Cloud(ABC):
    """Buckets."""

    def __init__(self, scheme: str, files: Any) -> None:
        self._scheme, self._files = scheme, files

    def details(self, address: Address) -> Details | None:
        said = self._files.info(address.rest)
        return _of_info(said) if said["type"] == "file" else None

    def listed(self, folder: Address) -> Iterator[tuple[Address, Details]]:
        root = folder.rest.rstrip("/")
        found = self._files.find(root, detail=True)
        for name in sorted(found):
            if name.startswith(f"{root}/") and not name.endswith("/"):
                yield Address(self._scheme, name), _of_info(found[name])

    def fetch(self, address: Address, seen: Details, start: int, stop: int) -> bytes:
        try:
            return self._fetch(address, seen, start, stop)
        except FileNotFoundError as error:  # it was there
            raise FileChanged(_changed(address)) from error

    def pour(self, address: Address, seen: Details, into: IO[bytes]) -> None:
        for start in range(0, seen.size, WIDEST):
            into.write(self.fetch(address, seen, start, min(start + WIDEST, seen.size)))

    @abstractmethod
    def _fetch(self, address: Address, seen: Details, start: int, stop: int) -> bytes:
        """Bytes of this version of an object; FileNotFoundError: it has another one by now, or none."""


class Amazon(Cloud):
    """S3, and whoever speaks as it does."""

    def __init__(self) -> None:
        from s3fs import S3FileSystem

        # Asking again is done here, in one way for all.
        limits = {"connect_timeout": CONNECT, "read_timeout": SILENCE, "retries": {"total_max_attempts": 1}}
        files = S3FileSystem(skip_instance_cache=True, use_listings_cache=False, config_kwargs=limits)
        files.retries = 1
        super().__init__("s3", files)
        self._open: tuple[Address, str, Any] | None = None  # the one that is being read, and its version
        self._guard = Lock()

    def _fetch(self, address: Address, seen: Details, start: int, stop: int) -> bytes:
        with self._guard:
            if self._open is None or self._open[:2] != (address, seen.tag):
                file = self._files.open(address.rest, "rb", cache_type="none")  # it asks for this version alone
                if _of_info(file.details).tag != seen.tag:
                    raise FileChanged(_changed(address))
                self._open = address, seen.tag, file
            file = self._open[2]
            file.seek(start)
            got: bytes = file.read(stop - start)
            return got


class Google(Cloud):
    """Google Cloud Storage."""

    def __init__(self) -> None:
        from gcsfs.core import GCSFileSystem  # and not what is built upon it, which asks Google over gRPC at each turn

        limits = _limits(LONGEST)
        super().__init__(
            "gs", GCSFileSystem(skip_instance_cache=True, use_listings_cache=False, requests_timeout=limits)
        )

    def _fetch(self, address: Address, seen: Details, start: int, stop: int) -> bytes:
        version = seen.tag.partition("#")[2]
        got: bytes = self._files.cat_file(address.rest, start=start, end=stop, generation=version or None)
        return got


def _of_info(said: dict[str, Any]) -> Details:
    """What s3fs or gcsfs says.  Both hash content, but for an object of Google's that was composed of others."""
    written = said.get("LastModified") or said.get("updated") or ""
    if isinstance(written, str):
        with suppress(ValueError):
            written = datetime.fromisoformat(written)
    seconds = int(written.timestamp()) if isinstance(written, datetime) else 0
    if "ETag" in said:
        tag = str(said["ETag"] or "")
        return Details(int(said["size"]), seconds, tag, bool(tag))
    digest, version = said.get("md5Hash"), said.get("generation") or ""
    return Details(int(said["size"]), seconds, f"{digest or ''}#{version}", bool(digest))


# --------------------------------------------------------------------------------------------------- one object's bytes


class Held:
    """An object that is being read, and what came of it so far."""

    def __init__(self, address: Address, seen: Details, system: System) -> None:
        self.address, self.seen = address, seen
        self._system = system
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it goes with what is held
        self._slots: OrderedDict[int, int] = OrderedDict()  # block → its place in the file, the longest unread first
        self._fronts: OrderedDict[int, int] = OrderedDict()  # block behind what came last → how many blocks that were
        self._whole = False
        self.trouble: MediaError | None = None

    def read(self, start: int, length: int) -> bytes:
        """
        Raises:
            CannotOpen, Unreachable, FileChanged: and again, whoever asks: what comes after is not to be trusted.
            OSError: the disk is full.
        """
        if self.trouble:
            raise self.trouble
        try:
            return self._read(start, min(length, self.seen.size - start))
        except MediaError as error:
            self.trouble = error
            raise

    def close(self) -> None:
        self._file.close()

    def _read(self, start: int, length: int) -> bytes:
        pieces: list[bytes] = []
        while length > 0:
            block, within = divmod(start, BLOCK)
            if not self._whole and block not in self._slots:
                self._bring(block, (start + length - 1) // BLOCK)
            slot = block if self._whole else self._slots[block]
            piece = os.pread(self._file.fileno(), min(length, BLOCK - within), slot * BLOCK + within)
            if not self._whole:
                self._slots.move_to_end(block)
            pieces.append(piece)
            start, length = start + len(piece), length - len(piece)
        return b"".join(pieces)

    def _bring(self, block: int, last: int) -> None:
        """Fetch a block, those up to `last`, and more behind if somebody reads on."""
        front = next((front for front in self._fronts if 0 <= block - front <= NEAR // BLOCK), None)
        wide = 1
        if front is not None:
            wide = min(2 * self._fronts.pop(front), WIDEST // BLOCK)
        first = block if front is None else front
        while first in self._slots:
            first += 1
        end = min(max(last + 1, first + wide), first + WIDEST // BLOCK, -(-self.seen.size // BLOCK))
        end = max(end, block + 1)
        end = next((held for held in range(block + 1, end) if held in self._slots), end)
        try:
            if not self.seen.ranges:
                raise NoRanges
            data = ranged(self.address, self.seen, self._system, first * BLOCK, min(end * BLOCK, self.seen.size))
        except NoRanges:
            return self._bring_all()
        for number in range(first, end):
            self._keep(number, data[(number - first) * BLOCK : (number + 1 - first) * BLOCK])
        self._fronts[end] = max(wide, end - first)
        while len(self._fronts) > 4:  # pictures, sound, and an index
            self._fronts.popitem(last=False)

    def _keep(self, block: int, data: bytes) -> None:
        if block in self._slots:
            return
        full = len(self._slots) >= KEPT // BLOCK
        slot = self._slots.popitem(last=False)[1] if full else len(self._slots)
        place = slot * BLOCK
        while data:
            done = os.pwrite(self._file.fileno(), data, place)
            data, place = data[done:], place + done
        self._slots[block] = slot

    def _bring_all(self) -> None:
        poured(self.address, self.seen, self._system, self._file)
        self._whole = True
        self._slots.clear()


def ranged(address: Address, seen: Details, system: System, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop` of an object, all of them.

    Raises:
        as `patiently`.
    """

    def once() -> bytes:
        data = system.fetch(address, seen, start, stop)
        if len(data) != stop - start:
            raise ConnectionError("its answer breaks off")
        return data

    return patiently(address, once)


def poured(address: Address, seen: Details, system: System, into: IO[bytes]) -> None:
    """Fetch an object of a server without ranges.

    Raises:
        CannotOpen: it is too large for that.
        Unreachable, FileChanged: as `patiently`.
    """
    if seen.size > WHOLE:
        raise CannotOpen(
            f"{address} has {seen.size:,} bytes, and its server gives no ranges; up to {WHOLE:,} are fetched whole: "
            "fetch it, and name the file"
        )

    def once() -> None:
        into.seek(0)
        into.truncate()
        system.pour(address, seen, into)
        into.flush()

    patiently(address, once)


class Ranges(io.RawIOBase):
    """A file that brings what is read of an object."""

    def __init__(self, held: Held) -> None:
        super().__init__()
        self.name = ""
        self._held, self._place = held, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._held.seen.size}[whence]
        if base + offset < 0:
            raise OSError(f"there is nothing {-(base + offset)} bytes before the beginning")
        self._place = base + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        data = self._held.read(self._place, len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


# -------------------------------------------------------------------------------------------------- what places ask for


class Objects:
    """Addresses of one kind of server, as `places.Ground` has it."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._held: Held | None = None  # of whoever reads one media after the other

    def stat(self, address: Address) -> FileStat:
        seen = self._details(address)
        if self._held and self._held.address == address and (self._held.seen != seen or self._held.trouble):
            self._drop()  # who reads it next begins anew
        return seen.stat()

    def key(self, address: Address) -> str:
        seen = self._details(address)
        if not seen.size:
            raise CannotOpen(f"{address} is empty")
        hashed = hashlib.sha256()
        try:
            for data in self._telling(address, seen):
                hashed.update(data)
        except NoRanges:
            with tempfile.TemporaryFile() as file:
                poured(address, seen, self._system, file)
                file.seek(0)
                hashed = hashlib.file_digest(file, "sha256")
        return hashed.hexdigest()[:KEY_LETTERS]

    def open(self, address: Address) -> Ranges:
        if self._held is None or self._held.address != address or self._held.trouble:
            self._drop()
            seen = self._details(address)
            if not seen.size:
                raise CannotOpen(f"{address} is empty")
            self._held = Held(address, seen, self._system)
        return Ranges(self._held)

    def is_gone(self, address: Address) -> bool:
        try:
            self.is_folder(address) or self._look(address)
        except NotThere:
            return True
        return False

    def is_folder(self, address: Address) -> bool:
        """Buckets have no folders: what ends in a slash, or has something below it and is nothing itself, is one."""
        if address.scheme in WEB:
            return False
        return not address.path or address.path.endswith("/") or self._look(address) is None

    def walk(self, folder: Address) -> Iterator[tuple[Place, FileStat | None]]:
        length = len(str(folder).rstrip("/"))
        for address, seen in self._all(folder):
            if not any(part.startswith(".") for part in str(address)[length:].split("/")):
                yield address, seen.stat()

    def there(self, root: Address) -> Callable[[str], bool]:
        return frozenset(str(address) for address, _ in self._all(root)).__contains__

    def _all(self, folder: Address) -> list[tuple[Address, Details]]:
        return patiently(folder, lambda: list(self._system.listed(folder)))

    def _look(self, address: Address) -> Details | None:
        return patiently(address, lambda: self._system.details(address))

    def _details(self, address: Address) -> Details:
        seen = self._look(address)
        if seen is None:
            raise CannotOpen(f"{address} is a folder, and no object")
        return seen

    def _telling(self, address: Address, seen: Details) -> Iterator[bytes]:
        """What the key is made of: all of a small object, and of one whose server tells no version; else both ends and
        the version, and where the version does not follow from the content, the address."""
        if not seen.ranges:
            raise NoRanges
        ends = [(0, EDGE), (seen.size - EDGE, seen.size)]
        if seen.size <= 2 * EDGE or not (seen.tag or seen.written):
            ends = [(start, min(start + WIDEST, seen.size)) for start in range(0, seen.size, WIDEST)]
        else:
            tag = seen.tag.partition("#")[0] if seen.by_content else f"{seen.tag}|{seen.written}|{address}"
            yield f"reelseek remote 1|{seen.size}|{tag}|".encode()
        for start, stop in ends:
            yield ranged(address, seen, self._system, start, stop)

    def _drop(self) -> None:
        if self._held:
            self._held.close()
            self._held = None


_OBJECTS: dict[type[System], Objects] = {}


def objects(address: Address) -> Objects:
    """
    Raises:
        MissingExtra: the library for this kind of address is not installed.
    """
    kind = Web if address.scheme in WEB else {"s3": Amazon, "gs": Google}[address.scheme]
    if kind not in _OBJECTS:
        try:
            _OBJECTS[kind] = Objects(kind())
        except ImportError as error:
            raise MissingExtra(f"{address} needs {error.name}: pip install 'reelseek[remote]'") from error
    return _OBJECTS[kind]


def close() -> None:
    """Let go of all servers."""
    for each in _OBJECTS.values():
        each._drop()
    _OBJECTS.clear()
    _AWAY.clear()


# ------------------------------------------------------------------------------------------------------ what goes wrong


_AWAY: dict[str, tuple[float, str]] = {}
"""Servers that spent all patience: until when nobody asks them, by the monotonic clock, and what they said last."""


def patiently(address: Address, ask: Callable[[], T]) -> T:
    """What `ask` brings, asked again while its server is busy or gone.

    Raises:
        NotThere, CannotOpen: the server says no.
        Unreachable: patience is at its end.
        FileChanged: the object is another one by now.
        NoRanges: as `System.fetch`.
    """
    whose = f"{address.scheme}://{address.host}"
    rest, said = _AWAY.get(whose, (0.0, ""))
    if (rest := rest - monotonic()) > 0:
        raise Unreachable(f"{address}: {said}, and is asked again in {rest:.0f} s")
    with waiting(whose, f"waits for {whose}, which has not answered yet: it is asked for {PATIENCE:.0f} s"):
        return _asked_again(address, whose, ask)


def _asked_again(address: Address, whose: str, ask: Callable[[], T]) -> T:
    until, wait = monotonic() + PATIENCE, 0.5
    while True:
        try:
            return ask()
        except (NoRanges, FileChanged):
            raise
        except Exception as error:
            judged = _judged(address, error)
            if not isinstance(judged, Unreachable):
                raise judged from error
            if monotonic() + wait > until:
                _AWAY[whose] = monotonic() + REST, str(judged).removeprefix(f"{address}: ")
                raise judged from error
        sleep(wait * random.uniform(0.5, 1.0))
        wait = min(2 * wait, 10.0)


_BUSY = frozenset({408, 425, 429, *range(500, 600)})
_PASSES = (TimeoutError, ConnectionError, EOFError, aiohttp.ClientError)
_NO_LUCK = re.compile(r"Timeout|Connection|Endpoint|HTTPClient|ResponseStreaming|IncompleteRead|Proxy|Transport")
_NO_KEY = re.compile(r"Credential|RefreshError|TokenRetrieval|Profile")


def _judged(address: Address, error: Exception) -> MediaError:
    """What an error of a library means.  Its own text may quote a signed address, so little of it is told."""
    if isinstance(error, MediaError):
        return type(error)(str(error) if str(address) in str(error) else f"{address}: {error}")
    chain = list(_chain(error))
    status = next((found for one in chain if (found := _status(one))), 0)
    names = [kind.__name__ for one in chain for kind in type(one).__mro__]
    if status in (404, 410) or any(isinstance(one, FileNotFoundError) for one in chain):
        return NotThere(f"{address} is not there: its server knows no such object")
    if status == 412 or "FileExpired" in names:
        return FileChanged(_changed(address))
    if status in _BUSY:
        return Unreachable(f"{address}: its server is out of order or busy ({status})")
    if any(_NO_KEY.search(name) for name in names):
        return CannotOpen(f"{address} wants credentials, and the environment has none that fit: see docs/remote.md")
    if status in (401, 403) or any(isinstance(one, PermissionError) or "Forbidden" in str(one) for one in chain):
        return CannotOpen(f"{address} may not be read with the credentials of the environment ({status or 403})")
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in chain) or "ClientSSLError" in names:
        return CannotOpen(f"{address}: the certificate of its server cannot be trusted")
    if {"InvalidURL", "RedirectClientError", "TooManyRedirects"} & set(names):
        return CannotOpen(f"{address} leads nowhere that can be read: only redirections to http and https are followed")
    if any(isinstance(one, _PASSES) for one in chain) or any(_NO_LUCK.search(name) for name in names):
        return Unreachable(f"{address}: its server gives no answer ({type(error).__name__})")
    told = f"{status} {type(error).__name__}" if status else type(error).__name__
    return CannotOpen(f"{address} cannot be read ({told})")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    left: BaseException | None = error
    while left is not None and id(left) not in seen:
        seen.add(id(left))
        yield left
        left = left.__cause__ or left.__context__


def _status(error: BaseException) -> int:
    """The status that a server answered with, where an error knows it."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    for name in ("status", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
            return int(value)
    return 0


def _changed(address: Address) -> str:
    return f"{address} changed while it was being read: index it again"
