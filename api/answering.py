"""Documents that a server answers with: those of docs/schema.md, with what a page wants beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote

from api import filters, paging, quotes, schemas, wire
from api.callers import Caller
from api.crew import Told
from api.problems import Problem
from api.service import Library
from indexer import places
from retriever.errors import MediaError
from retriever.query import parse
from retriever.types import Filter, Line, Media, Moment

Document = dict[str, Any]
MOST = 1_000
"""Results behind which no page begins."""
RESULTS = ("moments", "misses")
REMEMBERED = 30
"""Results of an answer that is kept; longer ones are few, and large."""


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
    made = _found(caller, asked.query, generation, wanted, first, most)
    serving.meters.searches.observe(perf_counter() - began)
    if asked.page:  # the library may have changed since the token was looked at
        paging.first(asked.page, made.generation, same)
    following = paging.token(made.generation, same, most) if made.document.pop("more") else None
    return made.document | {"generation": made.generation, "next_page": following}


def told(library: Library, query: str, wanted: Mapping[str, Any], first: int, most: int) -> Told:
    """Of an answer the results from the `first` to before the `most`-th, and whether there are `more`.  It is of the
    state that was searched, and lasts if that is how the library was before, and is still.

    Raises:
        as `Library.search`.
    """
    before = _generation(library)
    known = library.searcher.calibrator.knows(before)
    found = library.search(query, **wanted, limit=min(most + 1, MOST))
    shown = replace(found, moments=found.moments[first:most], misses=found.misses if not first else ())
    document = schemas.search(shown, wanted["by"]) | {"more": len(found.moments) > most}
    for name in RESULTS:
        document[name] = moments(library, getattr(shown, name))
    lasts = known and before == found.generation == _generation(library)
    return Told(document, lasts, found.generation)


def _found(caller: Caller, query: str, generation: str, wanted: dict[str, Any], first: int, most: int) -> Told:
    """What the library answers, or has answered of late: the same question to the same state of it has the same answer,
    once what chance does there is known and not lent, and as long as it shows no file, which is somebody's own."""
    library, recent, crew = caller.serving.library, caller.serving.answers, caller.serving.crew
    key = (generation, query, *sorted(wanted.items()), first, most)
    known = recent.get(key)
    if known is not None:
        return Told(_as_it_is(library, known), True, generation)
    caller.serving.ground.check()  # what is open of a library that went is not all that a question wants
    shows = parse(query).shows
    if crew and not shows:
        made = crew.ask(query, wanted, first, most)
    else:
        with caller.answered():
            made = told(library, query, wanted, first, most)
    few = sum(len(made.document[name]) for name in RESULTS) <= REMEMBERED
    if few and made.lasts and made.generation == generation and not shows:
        recent.put(key, made.document)
    return replace(made, document=dict(made.document))


def _as_it_is(library: Library, known: Document) -> Document:
    """An answer that was given before; files may have gone since."""
    ids = frozenset(one["media"]["id"] for name in RESULTS for one in known[name])
    still = {item.key: there(item) for item in library.media(Filter(media=ids))} if ids else {}
    shown = {
        name: [one | {"media": one["media"] | {"there": still.get(one["media"]["id"], False)}} for one in known[name]]
        for name in RESULTS
    }
    return known | shown


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


def moments(library: Library, found: Sequence[Moment]) -> list[Document]:
    """Results: what docs/schema.md has of each, its lines, and where the rest is."""
    with library.store.snapshot() as snapshot:
        lines = snapshot.lines_over([(one.media.key, one.span) for one in found])
    return [_moment(one, said) for one, said in zip(found, lines, strict=True)]


def _moment(found: Moment, lines: Sequence[Line]) -> Document:
    media, ref = found.media, quote(found.ref, safe="@")
    at = f"/v1/media/{media.key}"
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
