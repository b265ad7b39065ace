"""Collections: named parts of a library, each seen alone by whoever has a key to it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api import strays, wire
from api.callers import Caller, Searching, Writing
from api.problems import Problem
from retriever.types import EVERYTHING, Filter, Media

routes = APIRouter(tags=["collections"])
Document = dict[str, Any]


@routes.get("/v1/collections", response_model=wire.CollectionList)
async def listed(caller: Searching) -> JSONResponse:
    """Those that have media, by name; first, without a name, what is in none."""

    def found() -> list[Document]:
        by_name: dict[str, list[Media]] = {}
        for item in caller.serving.library.media(caller.where(EVERYTHING)):
            by_name.setdefault(item.metadata.collection, []).append(item)
        return [_document(name, by_name[name]) for name in sorted(by_name)]

    return JSONResponse({"collections": await caller.serving.reading.take(found)})


@routes.get("/v1/collections/{name:path}", response_model=wire.Collection)
async def one(name: str, caller: Searching) -> JSONResponse:
    """One of them."""
    return JSONResponse(_document(name, await caller.serving.reading.take(_media, caller, name)))


@routes.delete("/v1/collections/{name:path}", response_model=wire.Deleted)
async def deleted(name: str, caller: Writing, file: bool = False) -> JSONResponse:
    """Take all of its media out of the library.  Files stay where they are; with `file=1` those that were sent go, also
    what was left of media that went before."""

    def gone() -> list[dict[str, str]]:
        library = caller.serving.library
        found = _found(caller, name)
        went = library.take_out(found) if found else []
        left: list[str] = []
        if file and name:
            caller.drop(path for item in went for path in item.paths)
            left = strays.drop(library.store, strays.into(library.store, name))
        if not went and not left:
            raise _nothing(name)
        taken = [{"id": item.key, "path": item.path} for item in went]
        return taken or [{"id": strays.key_of(Path(path)), "path": path} for path in left]

    return JSONResponse({"deleted": await caller.serving.reading.take(gone)})


def _media(caller: Caller, name: str) -> Sequence[Media]:
    """
    Raises:
        Problem: there is no media in it, or it is not theirs.
    """
    found = _found(caller, name)
    if not found:
        raise _nothing(name)
    return found


def _found(caller: Caller, name: str) -> Sequence[Media]:
    """
    Raises:
        Problem: it is not theirs.
    """
    return caller.serving.library.media(caller.where(Filter(collection=name))) if name else []


def _nothing(name: str) -> Problem:
    return Problem(404, "no such collection", f"no media is in the collection {name!r}; GET /v1/collections lists all")


def _document(name: str, media: Sequence[Media]) -> Document:
    return {
        "name": name,
        "media": len(media),
        "duration_s": round(sum(item.duration for item in media), 3),
        "bytes": sum(item.size for item in media),
        "kinds": dict(sorted(Counter(str(item.kind) for item in media).items())),
    }
