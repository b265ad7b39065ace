"""A span of a media file as a file of its own, whole or not at all.

    written = cut(Path("film.mp4"), TimeSpan(4, 6.2), Path("cut.mp4"))      # from the keyframe before on; no loss
    written = cut(Path("film.mp4"), TimeSpan(4, 6.2), Path("cut.mp4"), exact=True)  # these very pictures, encoded anew

A decoder child does it beside the target, and what it made is renamed when it is whole; a file that crashes its
decoder costs the child.
"""

import errno
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.decoding import Decoder
from indexer.places import Place
from retriever.errors import BadSettings, CannotDecode
from retriever.types import TimeSpan

PICTURES = (".mp4", ".mkv", ".webm", ".mov")
SOUNDS = (".wav", ".m4a", ".mp3", ".flac", ".ogg")
ALWAYS_EXACT = (".wav", ".flac")
"""Nothing is lost in them, so there is nothing that a copy could save."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of a file; `why` says why it was left out."""

    kind: str  # "video", "audio", "subtitle", …
    codec: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Cut:
    """What was written."""

    file: Path
    span: TimeSpan  # of the media: a copy begins at a keyframe, which may be before what was asked for
    exact: bool
    size: int  # bytes
    streams: tuple[Stream, ...]
    left_out: tuple[Stream, ...]


def silent(second: float) -> None:
    """A watcher that says nothing."""


def suffix_of(out: Path) -> str:
    """
    Raises:
        BadSettings: no such file can be written.
    """
    suffix = out.suffix.lower()
    if suffix not in (*PICTURES, *SOUNDS):
        raise BadSettings(
            f"{out} ends in {suffix or 'nothing'!r}; it wants {', '.join(PICTURES)}, or for sound {', '.join(SOUNDS)}"
        )
    return suffix


def cut(
    source: Place,
    span: TimeSpan,
    out: Path,
    *,
    exact: bool = False,
    force: bool = False,
    watch: Callable[[float], None] = silent,
) -> Cut:
    """Write what `source` has in `span` to `out`, whose suffix says the format; `watch` hears how far it is, in seconds
    of the media.

    Raises:
        BadSettings: a suffix that is none of ours, or a format that cannot hold the streams as they are.
        MediaError: the file cannot be used, or has no such stream.
        DiskFull: there is no room.
        OSError: `out` is there already and not to be written over (`force`), is `source`, or cannot be written.
    """
    suffix = suffix_of(out)
    if isinstance(source, Path) and out.exists() and source.exists() and out.samefile(source):
        raise FileExistsError(errno.EEXIST, "it is the media itself: name another file", str(out))
    if out.exists() and not force:
        raise _there(out)
    half = out.with_name(f".reelseek-{secrets.token_hex(6)}.part")
    try:
        half.open("xb").close()
        made = _made(source, span, half, out, suffix, exact, watch)
        size = half.stat().st_size
        _placed(half, out, force)
    except OSError as error:
        if isinstance(error, FileExistsError):
            raise
        raise OSError(error.errno, f"it cannot be written: {error.strerror}", str(out)) from error
    finally:
        with suppress(OSError):
            half.unlink()
    start, end = made["span"]["start"], made["span"]["end"]
    return Cut(
        out,
        TimeSpan(start, end),
        exact or suffix in ALWAYS_EXACT,
        size,
        tuple(Stream(*each) for each in made["streams"]),
        tuple(Stream(*each) for each in made["left_out"]),
    )


def _made(
    source: Place, span: TimeSpan, half: Path, out: Path, suffix: str, exact: bool, watch: Callable[[float], None]
) -> dict[str, Any]:
    order = {
        "start": span.start,
        "end": span.end,
        "exact": exact,
        "suffix": suffix,
        "half": str(half.absolute()),
        "out": str(out),
    }
    with Decoder() as decoder:
        for page in decoder.cut(source, order):
            if "cut" in page:
                made: dict[str, Any] = page["cut"]
                return made
            watch(float(page["at"]))
    raise CannotDecode(f"{source}: its decoder said nothing of a cut")


def _placed(half: Path, out: Path, force: bool) -> None:
    """Under its own name; not over what came there meanwhile."""
    if force:
        half.replace(out)
        return
    try:
        os.link(half, out)
    except FileExistsError as error:
        raise _there(out) from error
    except OSError:  # a file system without links
        if out.exists():
            raise _there(out) from None
        half.rename(out)


def _there(out: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "it is there already: --force writes over it", str(out))
