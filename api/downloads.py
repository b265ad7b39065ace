"""One file brought over the network: whole and as it should be, or not at all.

    found = fetch(Remote("model.safetensors", "https://…", size=…, sha256=…), folder, watch)

A file comes under the name `NAME.part`, and gets its own once it is whole, checked and on the disk.  Where its SHA-256
is known beforehand, a part that an earlier try left is gone on with.
"""

import errno
import hashlib
import http.client
import ipaddress
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from api.terminal import amount
from retriever.errors import PullError

CHUNK = 1 << 20  # bytes
PATIENCE = 30.0  # seconds without a byte
TRIES = 4
"""How often a connection may break, as long as each brings something."""
PAGE = 1 << 20
"""Bytes that a configuration may have."""

Watch = Callable[[str, int, int], None]
"""Told the file's name, the bytes that are here, and of how many (0: not known)."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file that lies elsewhere."""

    name: str  # what it is to be called here
    url: str
    size: int = 0  # bytes; 0: not known
    sha256: str = ""  # "": not known
    blob: str = ""  # Git's name of the content, for files that the hub keeps in Git; "": not known
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)  # headers for this host alone


class Broken(PullError):
    """The connection ended early.  What came is kept, so that the next try can go on."""


def fetch(remote: Remote, folder: Path, watch: Watch) -> str:
    """Bring a file into `folder`.  Returns its SHA-256.

    Raises:
        Broken: no network, or it ended early; the part is kept if it can be gone on with.
        PullError: it is not there, not allowed, another file than was wanted, or there is no room.
    """
    whole, part = folder / remote.name, folder / f"{remote.name}.part"
    if remote.sha256 and whole.is_file() and _hashed(whole).hexdigest() == remote.sha256:
        return remote.sha256
    if not remote.sha256:
        part.unlink(missing_ok=True)  # it may be of another file of that name
    try:
        found = _brought(remote, part, watch)
        os.replace(part, whole)
    except Broken:
        if not remote.sha256:
            part.unlink(missing_ok=True)
        raise
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise unwritable(folder, error) from error
    except PullError:
        part.unlink(missing_ok=True)
        raise
    return found


def read(remote: Remote) -> bytes:
    """A small file, into memory.

    Raises:
        PullError: see `fetch`.
    """
    with _opened(remote) as answer:
        try:
            body: bytes = answer.read(PAGE + 1)
        except (OSError, http.client.HTTPException) as error:
            raise _no_answer(remote, error) from error
    if len(body) > PAGE:
        raise PullError(f"{remote.url} has more than {amount(PAGE)}, which no configuration has")
    _check(remote, len(body), hashlib.sha256(body).hexdigest(), _blob(body))
    return body


def size(remote: Remote) -> int:
    """What the host says of a file's size in bytes, 0 if nothing.

    Raises:
        PullError: see `fetch`.
    """
    with _opened(remote) as answer:  # not HEAD, which hosts of signed addresses refuse
        return int(answer.headers.get("Content-Length") or 0)


def _brought(remote: Remote, part: Path, watch: Watch) -> str:
    """Fill `part`, over as many connections as it takes.  Returns its SHA-256."""
    old = part.exists()
    try:
        return _filled(remote, part, watch)
    except Broken:
        raise
    except PullError:
        if not old:
            raise
    part.unlink()  # what an earlier try left was of another file
    return _filled(remote, part, watch)


def _filled(remote: Remote, part: Path, watch: Watch) -> str:
    for left in reversed(range(TRIES)):
        before = _length(part)
        try:
            _append(remote, part, watch)
            break
        except Broken:
            if not left or _length(part) <= before:
                raise
    found = _hashed(part).hexdigest()
    _check(remote, _length(part), found, _blob(part.read_bytes()) if remote.blob else "")
    return found


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _append(remote: Remote, part: Path, watch: Watch) -> None:
    """Go on with `part` over one connection."""
    here = _length(part)
    if remote.size and here == remote.size:
        return
    with _opened(remote, begin=here) as answer:
        here = here if _goes_on(answer, here) else 0
        coming = int(answer.headers.get("Content-Length") or 0)
        total = here + coming if coming else remote.size
        _check_room(remote, part.parent, max(total, remote.size) - here)
        with part.open("r+b" if here else "wb") as stream:
            stream.seek(here)
            stream.truncate()
            while chunk := _chunk(answer, remote):
                stream.write(chunk)
                here += len(chunk)
                watch(remote.name, here, total)
                if remote.size and here > remote.size:
                    raise PullError(f"{remote.url} is larger than the {amount(remote.size)} that were announced")
            stream.flush()
            os.fsync(stream.fileno())
    if total and here < total:
        raise Broken(f"{remote.url} ended after {amount(here)} of {amount(total)}")


def _goes_on(answer: Any, here: int) -> bool:
    """Whether the host sends what follows the first `here` bytes, and not the file anew."""
    span = answer.headers.get("Content-Range") or ""  # bytes 10-19/20
    return bool(here) and answer.status == 206 and span.startswith(f"bytes {here}-")


def _chunk(answer: Any, remote: Remote) -> bytes:
    try:
        chunk: bytes = answer.read(CHUNK)
        return chunk
    except http.client.IncompleteRead as error:
        return error.partial
    except (OSError, http.client.HTTPException) as error:
        raise _no_answer(remote, error) from error


def _check_room(remote: Remote, folder: Path, wanted: int) -> None:
    status = os.statvfs(folder)
    if (free := status.f_bavail * status.f_frsize) < wanted:
        raise PullError(
            f"{folder} has {amount(free)} free, {remote.name} needs {amount(wanted)}: make room, or set REELSEEK_CACHE "
            "to a folder on another disk"
        )


def _check(remote: Remote, length: int, sha256: str, blob: str) -> None:
    """Whether it is the file that was wanted."""
    if remote.size and length != remote.size:
        raise PullError(
            f"{remote.url} has {length:,} bytes, wanted {remote.size:,}: it is not the file that was pinned"
        )
    for name, found, wanted in (("SHA-256", sha256, remote.sha256), ("Git blob", blob, remote.blob)):
        if wanted and found != wanted:
            raise PullError(
                f"{remote.url} has {name} {found[:12]}…, wanted {wanted[:12]}…: it is not the file that was pinned, "
                "and was not kept"
            )


def _hashed(file: Path) -> "hashlib._Hash":
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256")


def _blob(body: bytes) -> str:
    """How Git names a content (git-hash-object)."""
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


# --------------------------------------------------------------------------------------------------------- the network


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to where a file really lies, never down to plain http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _allowed(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _allowed(url: str) -> None:
    """Encrypted, or of this machine.

    Raises:
        PullError: it is neither.
    """
    parts = urlsplit(url)
    if not (parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname or ""))):
        raise PullError(f"{url} is not a https:// address, and weights are pulled over nothing else")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _opened(remote: Remote, begin: int = 0) -> Any:
    """An answer with the content from byte `begin` on."""
    _allowed(remote.url)
    request = urllib.request.Request(remote.url, headers={"Accept-Encoding": "identity"})
    for name, value in remote.secret.items():
        request.add_unredirected_header(name, value)  # the host that is redirected to is another
    if begin:
        request.add_header("Range", f"bytes={begin}-")
    try:
        return urllib.request.build_opener(_Redirects).open(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the part is longer than the file
            return _opened(remote)
        raise _refused(remote, error.code) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _no_answer(remote, error) from error


def _refused(remote: Remote, code: int) -> PullError:
    if code in (401, 403):
        return PullError(
            f"{remote.url} is not open to everybody ({code}): accept its terms on its page, log in with hf auth login, "
            "and pull again"
        )
    if code in (404, 410):
        return PullError(f"{remote.url} is not there ({code}): look whether the name is right")
    return Broken(f"{remote.url} answers {code}: pull again later")


def _no_answer(remote: Remote, error: Exception) -> Broken:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    host = urlsplit(remote.url).netloc
    return Broken(f"no answer from {host} ({reason}): look whether there is a network, and pull again")


def unwritable(folder: Path, error: OSError) -> PullError:
    """What to say of a folder in which nothing could be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PullError(f"{folder} is full: make room, or set REELSEEK_CACHE to a folder on another disk")
    return PullError(f"{folder} cannot be written ({error.strerror or error}): set REELSEEK_CACHE to one that can")
