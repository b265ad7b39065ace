"""A moment as a file of its own: which media and seconds a reference means, and the cut."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer import cutting, places
from indexer.cutting import Cut
from indexer.places import Place
from retriever.errors import BadSettings, CannotOpen, MediaError, NoSuchStream
from retriever.ports import Store
from retriever.types import Media, MediaKind, TimeSpan, clock, parse_seconds

Named = Callable[[str, Sequence[Media]], Media]
"""Which of several media a person means by a name."""
_TIMES = re.compile(r"([\d:.]+)-([\d:.]+)")


@dataclass(frozen=True, slots=True)
class Clip:
    """What was asked for, and what was written."""

    media: Media
    span: TimeSpan  # asked for, margins counted in
    cut: Cut

    @property
    def early(self) -> float:
        """Seconds by which it begins before what was asked for."""
        return max(0.0, self.span.start - self.cut.span.start)


def clip(
    store: Store,
    named: Named,
    ref: str,
    out: Path,
    *,
    margin: float = 0.0,
    exact: bool = False,
    force: bool = False,
    watch: Callable[[float], None] = cutting.silent,
) -> Clip:
    """As `Library.clip`."""
    if margin < 0:
        raise BadSettings(f"--margin is {margin:g}; it wants seconds, 0 or more")
    cutting.suffix_of(out)  # before anything is read
    with store.snapshot() as snapshot:
        media, span = asked(ref, list(snapshot.media()), named)
    place, wanted = source(store, media, span, margin)
    made = cutting.cut(place, wanted, out, exact=exact, force=force, watch=watch)
    return Clip(media, wanted, made)


def source(store: Store, media: Media, span: TimeSpan | None, margin: float = 0.0) -> tuple[Place, TimeSpan]:
    """Where a media lies that a clip can be cut out of, and which stretch that is to be; nothing is cut yet.

    Raises:
        NoSuchStream: it is a picture.
        BadSettings, CannotOpen: as `within` and `intact`.
    """
    if media.kind is MediaKind.IMAGE:
        raise NoSuchStream(f"{media.path} is a picture: there is nothing to cut out of it")
    wanted = within(media, span, margin)
    return intact(store, media), wanted


def asked(ref: str, everything: Sequence[Media], named: Named) -> tuple[Media, TimeSpan | None]:
    """`NAME@start-end` as media and span, NAME being an id, the beginning of one, or a path; NAME alone is all of it.

    Raises:
        NoSuchMedia: nobody has this name, or several have.
        BadSettings: its times are none.
    """
    name, span = timed(ref)
    return named(name, everything), span


def timed(ref: str) -> tuple[str, TimeSpan | None]:
    """`NAME@start-end` as both; a name alone has no span.

    Raises:
        BadSettings: its times are none.
    """
    name, at, times = ref.rpartition("@")
    found = _TIMES.fullmatch(times) if at else None
    if not found:
        return ref, None
    try:
        return name, TimeSpan(parse_seconds(found[1]), parse_seconds(found[2]))
    except ValueError as error:
        raise BadSettings(f"{ref}: {error}") from error


def within(media: Media, span: TimeSpan | None, margin: float = 0.0) -> TimeSpan:
    """The part of a span, with `margin` seconds on both sides, that lies in its media.

    Raises:
        BadSettings: none does.
    """
    if span is None:
        return TimeSpan(0.0, media.duration)
    if span.start >= media.duration:
        raise BadSettings(
            f"{span} begins behind the end of {media.path}, which lasts {clock(media.duration)}: name an earlier span"
        )
    return TimeSpan(max(0.0, span.start - margin), min(media.duration, span.end + margin))


def intact(store: Store, media: Media) -> Place:
    """A path, or an address, where the media lies as it was indexed.

    Raises:
        CannotOpen: it is gone, or another file has taken its place.
    """
    why: list[str] = []
    for path in media.paths:
        try:
            place = places.of(path)
            now, known = places.stat_of(place), store.catalog.stat(path)
            if known and known.key == media.key and places.same(known, now):
                return place
            if places.key_of(place) == media.key:
                return place
            why.append(f"{path} has changed since it was indexed: index it again")
        except MediaError as error:
            why.append(f"{error}: if it was moved, its path has to follow: reelseek media relocate mends it")
    raise CannotOpen(why[0] if why else f"{media.key} has no path")


def document(made: Clip) -> dict[str, Any]:
    """As docs/schema.md has it."""
    cut = made.cut
    return {
        "file": str(cut.file),
        "media": {"id": made.media.key, "path": made.media.path},
        "asked": {"start_s": round(made.span.start, 3), "end_s": round(made.span.end, 3)},
        "start_s": round(cut.span.start, 3),
        "end_s": round(cut.span.end, 3),
        "exact": cut.exact,
        "bytes": cut.size,
        "streams": [{"kind": one.kind, "codec": one.codec} for one in cut.streams],
        "left_out": [{"kind": one.kind, "codec": one.codec, "why": one.why} for one in cut.left_out],
    }
