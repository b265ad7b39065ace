"""Documents that a server answers with: those of docs/schema.md, with what a page wants beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote

from api import filters, paging, quotes, schemas, wire
from api.callers import Caller
from api.problems import Problem
from api.service import Library
from indexer import places
from retriever.errors import MediaError
from retriever.types import Filter, Line, Media, Moment

Document = dict[str, Any]
MOST = 1_000
"""Results behind which no page begins."""


def answer(caller: Caller, asked: wire.Search) -> Document:
    """The answer to one question; runs in a thread.

    Raises:
        QueryError, BadSettings, SpaceMismatch, StoreError: as `Library.search`.
        Problem: the page that is asked for cannot be, or the collection is not theirs.
    """
    began = perf_counter()
    serving, library, wanted = caller.serving, caller.serving.library, _wanted(caller, asked)
    generation, limit = _generation(library), wanted.pop("limit")
    same = [asked.model_dump(exclude={"page", "limit"}), caller.collection]
    first = paging.first(asked.page, generation, same) if asked.page else 0
    most = min(first + limit, MOST)
    with caller.answered():
        found = library.search(asked.query, **wanted, limit=min(most + 1, MOST))
    shown = replace(found, moments=found.moments[first:most], misses=found.misses if not first else ())
    document = schemas.search(shown, wanted["by"])
    for name in ("moments", "misses"):
        document[name] = [moment(library, one) for one in getattr(shown, name)]
    more = len(found.moments) > most
    serving.meters.searches.observe(perf_counter() - began)
    return document | {"generation": generation, "next_page": paging.token(generation, same, most) if more else None}


def narrowed(asked: wire.Filters) -> Filter:
    """
    Raises:
        BadSettings: a limit or a date cannot be read.
    """
    return filters.parsed(
        durations=asked.duration,
        tags=asked.tags,
        path=asked.path,
        collection=asked.collection,
        after=asked.after,
        before=asked.before,
        kinds=asked.kinds,
    )


def media(item: Media) -> Document:
    """All that is known of a media, and where the rest is."""
    at = f"/v1/media/{item.key}"
    links = {
        "thumbnail": f"{at}/thumbnail",
        "stream": f"{at}/stream",
        "transcript": f"{at}/transcript.vtt",
        "written": f"{at}/written.vtt",
        "timeline": f"{at}/timeline",
    }
    return schemas.one_media(item) | {"there": there(item), "links": links}


def there(item: Media) -> bool:
    """Whether a file of it is where it was; that of an address is believed to be."""
    for path in item.paths:
        try:
            place = places.of(path)
        except MediaError:
            continue
        if not isinstance(place, Path) or place.is_file():
            return True
    return False


def _wanted(caller: Caller, asked: wire.Search) -> dict[str, Any]:
    names = ("by", "limit", "min_confidence", "depth", "copies", "most_per_media")
    said = {name: getattr(asked, name) for name in names}
    usual = {name: getattr(caller.serving.settings, name) for name, value in said.items() if value is None}
    return said | usual | {"where": caller.where(narrowed(asked.filters))}


def _generation(library: Library) -> str:
    with library.store.snapshot() as snapshot:
        return snapshot.generation


def moment(library: Library, found: Moment) -> Document:
    """A result: what docs/schema.md has of it, its lines, and where the rest is."""
    media, ref = found.media, quote(found.ref, safe="@")
    at = f"/v1/media/{media.key}"
    lines = library.lines(found)
    return schemas.moment(found) | {
        "media": {
            "id": media.key,
            "path": media.path,
            "title": media.metadata.title,
            "kind": str(media.kind),
            "duration_s": round(media.duration, 3),
            "there": there(media),
        },
        "lines": [_line(line, _words(found, line)) for line in lines],
        "links": {
            "thumbnail": f"{at}/thumbnail?t={_best_second(found):.2f}",
            "stream": f"{at}/stream",
            "clip": f"{at}/clip?start={found.start_s:.3f}&end={found.end_s:.3f}",
            "similar": f"/v1/similar/{ref}",
        },
    }


def _best_second(found: Moment) -> float:
    from api.pictures import best_second

    return best_second(found)


def _words(found: Moment, line: Line) -> Sequence[str]:
    return [word for piece in found.evidence if piece.modality is line.modality for word in piece.words]


def _line(line: Line, words: Sequence[str]) -> Document:
    return schemas.line(line) | {"marks": [list(pair) for pair in quotes.marks(line.text, line.modality, words)]}


def checked(told: Mapping[str, Any]) -> None:
    """
    Raises:
        Problem: nothing was said.
    """
    if not told:
        raise Problem(422, "nothing to change", "the body names none of title, tags, recorded, collection")
