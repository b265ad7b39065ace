"""Where a Qdrant library lies: its address, the folder of its catalog, and how its collections are made.

http://host:6333/NAME     the points; NAME is the library's among others of that server
catalog folder            what exists: by default below the user's data folder, one for each address
postgresql://user@host/db what exists, where several machines write: the same folder then has what is of one machine
catalog/qdrant.toml       how collections are made, for whoever wants it otherwise
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from retriever.errors import BadSettings, StoreUnavailable

MEMORY = ":memory:"
"""The address of a library that is gone with its process."""
API_KEY = "REELSEEK_QDRANT_API_KEY"
PORT = 6333
OPTIONS = "qdrant.toml"
WANTED = "http(s)://HOST:6333/NAME"
CATALOG_PASSWORD = "REELSEEK_CATALOG_PASSWORD"
CATALOG_WANTED = "postgresql://USER@HOST:5432/DATABASE"

_COLLAPSED = re.compile(r"(https?:)/+")
_POSTGRES = re.compile(r"postgres(ql)?:/+")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")  # no dot: behind one comes a space's id


def is_address(place: str | os.PathLike[str]) -> bool:
    """Whether a library named so lies on a server; `pathlib` may have made one slash of two."""
    return _COLLAPSED.match(os.fspath(place)) is not None


def is_catalog_address(catalog: str | os.PathLike[str]) -> bool:
    """Whether a catalog named so is in PostgreSQL, and not in a folder."""
    return _POSTGRES.match(os.fspath(catalog)) is not None


@dataclass(frozen=True, slots=True)
class Address:
    """One library of one server."""

    scheme: str
    host: str
    port: int
    prefix: str  # path before the name, where the server lies behind a proxy
    name: str

    @classmethod
    def parse(cls, place: str | os.PathLike[str]) -> Self:
        """
        Raises:
            StoreUnavailable: this is no address of a library.
        """
        text = _COLLAPSED.sub(r"\1//", os.fspath(place), count=1)
        told = f"{without_secrets(text)!r} is no address of a library in Qdrant"
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            why = "" if "@" in text else f" ({error})"  # which may quote a part of a password
            raise StoreUnavailable(f"{told}{why}: it wants {WANTED}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StoreUnavailable(f"{told}: it wants {WANTED}")
        if parts.username is not None or parts.query or parts.fragment:
            raise StoreUnavailable(f"{told}: it wants {WANTED} alone, and a key in {API_KEY}")
        prefix, _, name = parts.path.rstrip("/").rpartition("/")
        if not _NAME.fullmatch(name):
            raise StoreUnavailable(f"{told}: its NAME is {name!r}, it wants letters, digits, '_' and '-', at most 100")
        return cls(parts.scheme, parts.hostname, PORT if port is None else port, prefix.strip("/"), name)

    @property
    def server(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{'/' if self.prefix else ''}{self.prefix}"

    def __str__(self) -> str:
        return f"{self.server}/{self.name}"

    @property
    def catalog(self) -> Path:
        """The folder of the catalog where none is named: one for each address."""
        data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
        slug = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{self.host}-{self.port}-{self.name}")
        return Path(data) / "reelseek" / "catalogs" / f"{slug}-{sha256(str(self).encode()).hexdigest()[:8]}"

    def options(self, folder: Path) -> Path:
        """The file of its options: in its folder, else beside those of all libraries of this user."""
        own = folder / OPTIONS
        return own if own.is_file() else self.catalog.parent / OPTIONS

    def key(self, environ: Mapping[str, str]) -> str | None:
        """The API key that the environment has, if it has one.

        Raises:
            StoreUnavailable: it would travel in the clear.
        """
        key = environ.get(API_KEY) or None
        if key and self.scheme == "http" and not is_here(self.host):
            raise StoreUnavailable(f"{API_KEY} would travel to {self.server} in the clear: name it with https://")
        return key


def without_secrets(text: str) -> str:
    """An address as it may be shown."""
    shown = re.sub(r"//.*@", "//…@", text, flags=re.DOTALL)  # up to the last: passwords have slashes and @ in them
    return re.sub(r"([?#]).+", r"\1…", shown, flags=re.DOTALL)


def is_here(host: str) -> bool:
    """Whether what goes to this host stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


# ------------------------------------------------------------------------------------------------------------- options


@dataclass(frozen=True, slots=True)
class Options:
    """How collections are made, and how long is waited.  What is zero is left to the server."""

    shard_number: int = 0  # pieces that a collection is spread in; cannot be changed later
    replication_factor: int = 1  # copies of each piece
    write_consistency_factor: int = 0  # copies that must have a write before it counts; 0: all
    datatype: str = "float32"  # or "float16": half the room, and the question is rounded, too: scores to 2e-4
    quantisation: str = "none"  # or "int8": vectors in memory as bytes, the best rescored from the whole ones
    on_disk: bool = False  # vectors and their graph on the disk and not in memory
    timeout_s: int = 60  # seconds for one answer
    patience_s: int = 60  # seconds for which a server that is busy or gone is asked again

    @classmethod
    def read(cls, file: Path) -> Self:
        """Those of a TOML file; the defaults where there is none.

        Raises:
            BadSettings: with all complaints.
        """
        if not file.is_file():
            return cls()
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadSettings(f"{file} is not TOML: {error}") from error
        known = {f.name: f.default for f in fields(cls)}
        complaints = [
            f"{file}: {name} is {value!r}; {wanted}"
            for name, value in table.items()
            if (wanted := _amiss(known, name, value))
        ]
        if complaints:
            raise BadSettings("\n".join(complaints))
        made = cls(**table)
        if made.write_consistency_factor > made.replication_factor:
            raise BadSettings(
                f"{file}: write_consistency_factor is {made.write_consistency_factor}; it wants no more than "
                f"replication_factor, which is {made.replication_factor}"
            )
        return made


_CHOICES = {"datatype": ("float32", "float16"), "quantisation": ("none", "int8")}


def _amiss(known: Mapping[str, Any], name: str, value: Any) -> str:
    """What is wrong with one line of the file; empty if nothing is."""
    if name not in known:
        return f"known are {', '.join(known)}"
    if name in _CHOICES:
        return "" if value in _CHOICES[name] else f"it wants {' or '.join(map(repr, _CHOICES[name]))}"
    if isinstance(known[name], bool):
        return "" if isinstance(value, bool) else "it wants true or false"
    least = 0 if known[name] == 0 else 1
    whole = isinstance(value, int) and not isinstance(value, bool) and least <= value <= 100_000
    return "" if whole else f"it wants a whole number from {least} to 100000"
