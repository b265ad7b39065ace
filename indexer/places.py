"""Where a media lies: in a file of this machine, or on a server that an address names.

    of("films/a.mp4")                  # an absolute Path
    of("s3://bucket/films/a.mp4")      # an Address, as https://host/a.mp4 and gs://bucket/a.mp4 are
    stat_of(place), key_of(place), opened(place), walked(place)

What of the two it is, is asked here and nowhere else.  Files are read by the system, and addresses by
`indexer/_remote.py`, which the extra `remote` brings what it needs.
"""

import hashlib
import io
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import parse_qsl, urlsplit

from retriever.errors import CannotOpen, MediaError, MissingExtra
from retriever.types import FileStat

KEY_LETTERS = 16
"""Of a SHA-256 in hex: 64 bits; two of ten million media share a key once in 370,000 libraries."""
WEB = ("http", "https")
SCHEMES = (*WEB, "s3", "gs")

_BEGINS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}")  # `pathlib` may have made one slash of two
_HALF = re.compile("[\ud800-\udfff]")  # of a character: no server is asked for one
_SECRET = re.compile(
    r"signature|credential|token|secret|passw|authorization|api[-_]?key|access[-_]?(key|id)|key-pair|^(sig|key|auth)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Address:
    """An object on a server, or a folder of such.  Its text has no password in it, so it may be shown and kept."""

    scheme: str  # one of SCHEMES
    rest: str  # host or bucket, and all that follows

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Raises:
            CannotOpen: it is no address that can be read, or has a password in it.
        """
        begin = _BEGINS.match(text)
        scheme, rest = (begin[1].lower(), text[begin.end() :]) if begin else ("", "")
        shown = f"{scheme}://{_without_secrets(rest)}"
        if scheme not in SCHEMES:
            raise CannotOpen(f"{shown} is no address that is read here: they begin with {', '.join(SCHEMES)}")
        host, _, inside = rest.partition("/")
        if "@" in host or (scheme not in WEB and ":" in host) or (scheme in WEB and _has_password(text)):
            raise CannotOpen(
                f"{shown} has a password in it: name the address without, and give the password by the environment"
            )
        if not host or "\0" in text or _HALF.search(text):
            raise CannotOpen(
                f"{shown!r} names no object: it wants {scheme}://{'HOST' if scheme in WEB else 'BUCKET'}/…"
            )
        if scheme not in WEB:
            return cls(scheme, rest)
        split = _split(f"{scheme}://{rest}")
        if split is None or split.fragment or not split.hostname:
            raise CannotOpen(f"{shown} names no file of a server: it wants {scheme}://HOST/… without a #")
        if any(_SECRET.search(name) for name, _ in parse_qsl(split.query, keep_blank_values=True)):
            raise CannotOpen(
                f"{shown} has a key or a signature behind its question mark, which the library would keep and show: "
                "name an address without, such as s3://BUCKET/…, and give the key by the environment"
            )
        return cls(scheme, f"{split.netloc.lower()}/{inside}")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.rest}"

    @property
    def host(self) -> str:
        """Whose it is: the server, or the bucket."""
        return self.rest.partition("/")[0]

    @property
    def path(self) -> str:
        """Where in the host it lies; of a folder with a slash at its end, or empty."""
        inside = self.rest.partition("/")[2]
        return inside.partition("?")[0] if self.scheme in WEB else inside

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name or self.host

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.path).suffix

    def absolute(self) -> Self:
        return self


Place = Path | Address
"""Where a media lies."""


def of(text: str | os.PathLike[str], base: Path | None = None) -> Place:
    """The place that a person means, a file by its absolute path, from `base` or the working folder on.

    Raises:
        CannotOpen: it is an address that cannot be read.
    """
    text = os.fspath(text)
    if begin := _BEGINS.match(text):
        known = begin[1].lower() in SCHEMES
        if known or begin.group().endswith("//"):
            return Address.parse(text)
    return (base or Path()).joinpath(text).absolute()


def named(text: str | os.PathLike[str]) -> str:
    """The same as text."""
    return str(of(text))


def _split(text: str) -> Any:
    try:
        split = urlsplit(text)
        _ = split.port
    except ValueError:
        return None
    return split


def _has_password(text: str) -> bool:
    split = _split(text)
    return split is not None and split.username is not None


def _without_secrets(rest: str) -> str:
    host, slash, inside = rest.partition("/")
    if "@" in rest:  # up to the last: passwords have slashes and @ in them
        return f"…@{rest.rpartition('@')[2]}".partition("?")[0]
    host = re.sub(r":.*\D.*", ":…", host)  # no port
    return host + slash + re.sub(r"([?#]).+", r"\1…", inside, flags=re.DOTALL)


# ------------------------------------------------------------------------------------------------- what there is to ask

P = TypeVar("P", contravariant=True)


class Ground(Protocol[P]):
    """Where places of one kind lie."""

    def stat(self, place: P) -> FileStat: ...

    def key(self, place: P) -> str: ...

    def open(self, place: P) -> io.RawIOBase: ...

    def is_gone(self, place: P) -> bool: ...

    def is_folder(self, place: P) -> bool: ...

    def walk(self, folder: P) -> Iterator[tuple[Place, FileStat | None]]: ...

    def there(self, root: P) -> Callable[[str], bool]:
        """Whether something is at a path below `root`."""
        ...


def _ground(place: Place) -> Ground[Any]:
    """
    Raises:
        MissingExtra: it is an address, and what reads those is not installed.
    """
    if isinstance(place, Path):
        return Files()
    try:
        from indexer import _remote
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{place} needs {error.name}: pip install 'reelseek[remote]'") from error
    return _remote.objects(place)


def reachable(place: Place) -> None:
    """
    Raises:
        MissingExtra: places of this kind cannot be read here.
    """
    _ground(place)


def stat_of(place: Place) -> FileStat:
    """What the file system or the server says now; the key is left empty.

    Raises:
        CannotOpen: nothing is there, or it may not be looked at.
        Unreachable: its server gives no answer.
        MissingExtra: as `reachable`.
    """
    return _ground(place).stat(place)


def key_of(place: Place) -> str:
    """What its content is known by: the beginning of its SHA-256, or of an object above 2 MiB of that of its two ends
    and of what the server says of the version.

    Raises:
        CannotOpen: it is empty, or cannot be read.
        Unreachable, MissingExtra: as `stat_of`.
    """
    return _ground(place).key(place)


def opened(place: Place) -> io.RawIOBase:
    """Its bytes, to be read from anywhere; only what is read is brought.

    Raises:
        CannotOpen: missing, unreadable, empty or no file.
        Unreachable, MissingExtra: as `stat_of`.  Reading from an address raises them too, and FileChanged.
    """
    return _ground(place).open(place)


def same(before: FileStat | None, now: FileStat) -> bool:
    """Whether a look says that nothing changed; one that says nothing but a size cannot."""
    return before is not None and bool(now.mtime_ns or now.inode) and _look(before) == _look(now)


def _look(seen: FileStat) -> tuple[int, int, int]:
    return seen.size, seen.mtime_ns, seen.inode


def is_gone(place: Place) -> bool:
    """Whether surely nothing is there.  What cannot be asked may be there."""
    try:
        return _ground(place).is_gone(place)
    except (MediaError, MissingExtra):
        return False


def is_folder(place: Place) -> bool:
    """
    Raises:
        CannotOpen, Unreachable, MissingExtra: as `stat_of`, of an address.
    """
    return _ground(place).is_folder(place)


def walked(folder: Place) -> Iterator[tuple[Place, FileStat | None]]:
    """What lies below a folder, by name, hidden ones left out; and what the listing said of it, if it did.

    Raises:
        CannotOpen: it, or a folder below it, cannot be listed.
        Unreachable, MissingExtra: as `stat_of`.
    """
    return _ground(folder).walk(folder)


def is_below(path: str, root: Place) -> bool:
    """Whether a path or an address, as text, is this place or lies in it."""
    if isinstance(root, Path):
        return Path(path).is_relative_to(root)
    return path == str(root) or path.startswith(f"{str(root).rstrip('/')}/")


def is_address(path: str) -> bool:
    """Whether this text names an object on a server."""
    begin = _BEGINS.match(path)
    return begin is not None and begin[1].lower() in SCHEMES


class Missing:
    """What is below `root` no more; what a server has there is listed once, when it is asked for first."""

    def __init__(self, root: Place) -> None:
        self._root = root
        self._there: Callable[[str], bool] | None = None

    def among(self, paths: Iterable[str]) -> set[str]:
        """Those of these below `root` where surely nothing is: none while a server gives no answer.  A listing may be
        older than an object, so what it lacks is asked for by itself."""
        below = [path for path in paths if is_below(path, self._root)]
        if below and self._there is None:
            try:
                self._there = _ground(self._root).there(self._root)
            except (MediaError, MissingExtra):
                self._there = _as_ever
        return {path for path in below if self._there and not self._there(path) and is_gone(of(path))}


def _as_ever(path: str) -> bool:
    """What nobody can say of a path: that it may be there."""
    return True


# ----------------------------------------------------------------------------------------------------- of this machine


class Files:
    """Files of this machine."""

    def stat(self, path: Path) -> FileStat:
        try:
            seen = path.stat()
        except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
            raise CannotOpen(f"{path} cannot be opened: {_why(error)}") from error
        return FileStat(seen.st_size, seen.st_mtime_ns, seen.st_ino, "")

    def key(self, path: Path) -> str:
        with self.open(path) as file:  # which waits for no pipe, and reads no device to its end
            try:
                return hashlib.file_digest(file, "sha256").hexdigest()[:KEY_LETTERS]
            except OSError as error:
                raise CannotOpen(f"{path} cannot be read: {error.strerror}") from error

    def open(self, path: Path) -> io.FileIO:
        try:
            # Not to wait for a writer where the name is that of a pipe: it is refused below.
            source = io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except (OSError, ValueError) as error:
            raise CannotOpen(f"{path} cannot be opened: {_why(error)}") from error
        state = os.fstat(source.fileno())
        if not stat.S_ISREG(state.st_mode) or not state.st_size:
            source.close()
            raise CannotOpen(f"{path} is " + ("empty" if stat.S_ISREG(state.st_mode) else "not a file"))
        return source

    def is_gone(self, path: Path) -> bool:
        """Not as `Path.exists` has it, for which from Python 3.14 on whatever cannot be looked at is not there."""
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name with a zero byte
            return True
        except OSError:  # no right to look, a disk that fails: it may be there
            return False
        return False

    def is_folder(self, path: Path) -> bool:
        return path.is_dir()

    def walk(self, folder: Path) -> Iterator[tuple[Place, FileStat | None]]:
        """Links to folders are not followed, so there is no way round."""
        for here, folders, files in os.walk(folder, onerror=_refuse):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith("."):
                    yield Path(here, name), None

    def there(self, root: Path) -> Callable[[str], bool]:
        return lambda path: not self.is_gone(Path(path))


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _refuse(error: OSError) -> None:
    raise CannotOpen(f"{error.filename} cannot be listed: {error.strerror}") from error
