"""A media that somebody names by its address, fetched as if they had sent it."""

import mimetypes
from collections.abc import Callable, Iterator
from io import RawIOBase
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from api.outward import Answer, NoAnswer, NotAllowed, Rules, asked
from api.problems import Problem
from api.uploads import Uploads
from retriever.errors import OverLimit

LONGEST_S = 540.0
"""Seconds that one may take, from the first look-up to its last byte: less than it is believed that somebody is at a
request with an `Idempotency-Key`."""
KINDS = frozenset({"video", "audio", "image"})
PLAIN = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/mp4", "application/ogg"})
"""What servers call media that they do not know."""


def fetched(url: str, rules: Rules, uploads: Uploads, largest: int, stopped: Callable[[], bool]) -> Path:
    """The media at `url`, kept below the uploads; `largest` is the most bytes, 0 for any.  It ends once `stopped` says
    so.

    Raises:
        Problem: it may not be fetched (403), is not there or breaks off (502), or is no media (415).
        OverLimit: it is too large.
    """
    try:
        with asked("GET", url, rules, limit_s=LONGEST_S, stopped=stopped, headers={"Accept": "*/*"}) as answer:
            return _kept(answer, uploads, largest)
    except NotAllowed as error:
        raise Problem(403, "not this address", str(error)) from error
    except NoAnswer as error:
        raise Problem(502, "it cannot be fetched", str(error)) from error


def _kept(answer: Answer, uploads: Uploads, largest: int) -> Path:
    if answer.status != 200:
        raise Problem(502, "it cannot be fetched", f"its server answers {answer.status}")
    kind, coded = answer.headers.get_content_type(), answer.headers.get("Content-Encoding", "identity")
    said = kind if answer.headers.get("Content-Type") else ""
    if (said.partition("/")[0] not in KINDS and said not in PLAIN) or said.startswith("image/svg"):
        raise Problem(415, "not this type", f"its server says that it is {said[:100]}: video, audio or image is taken")
    if coded.lower() not in ("identity", ""):
        raise Problem(415, "not this type", "it comes in a coding that nobody asked for")
    length = answer.headers.get("Content-Length", "")
    if largest and length.isdigit() and int(length) > largest:
        raise OverLimit(f"it has {int(length):,} bytes, at most {largest:,} are taken")
    place = uploads.place(_name(answer.url, said))
    uploads.keep(place, _Blocks(answer.blocks()), largest)  # type: ignore[arg-type]
    return place


def _name(url: str, kind: str) -> str:
    name = unquote(PurePosixPath(urlsplit(url).path).name) or "media"
    return name if PurePosixPath(name).suffix else name + (mimetypes.guess_extension(kind) or "")


class _Blocks(RawIOBase):
    """Blocks as a file that is read from its beginning to its end."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        super().__init__()
        self._blocks, self._left = blocks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            try:
                self._left = next(self._blocks)
            except StopIteration:
                return 0
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size
