"""Indexing jobs: what there is to do, how far it is, and what becomes of it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse, Response, StreamingResponse

from api import describing, repeats, schemas, wire
from api.callers import Administering, Searching, Writing
from api.problems import Problem
from api.turns import Busy
from indexer import jobs as standing
from indexer import manifests
from indexer.jobs import Standing
from retriever import processes
from retriever.errors import NoSuchJob
from retriever.types import Metadata

routes = APIRouter(prefix="/v1/jobs", tags=["jobs"])
Document = dict[str, Any]
LOOK_S = 0.3
"""Seconds between two looks at a job that somebody watches."""
BREATH_S = 15.0
"""And between two signs of life, so that nobody on the way hangs up."""


@routes.get("", response_model=wire.Jobs)
async def listed(caller: Searching) -> JSONResponse:
    """All jobs that are remembered, newest first."""
    found = await caller.serving.reading.take(caller.jobs)
    return JSONResponse(schemas.jobs(reversed(found)))


@routes.post("", response_model=wire.Accepted, status_code=202)
async def wanted(
    asked: wire.Wanted, caller: Administering, idempotency_key: Annotated[str, Header(max_length=repeats.LONGEST)] = ""
) -> JSONResponse:
    """Index files, folders or manifests of the server, below its roots."""

    serving = caller.serving

    def register() -> Document:
        paths = tuple(_below(path, serving.roots) for path in asked.paths)
        said = describing.said(Metadata(), asked.title, asked.tags, asked.recorded, asked.collection)
        return {"job": schemas.job(serving.wanted(paths, said if said != Metadata() else None, asked.prune))}

    store, body = serving.library.store, asked.model_dump()
    made = await serving.reading.take(repeats.once, store, caller.id, idempotency_key, body, register)
    return JSONResponse(made, 202)


@routes.get("/{id}", response_model=wire.Job)
async def one(id: str, caller: Searching) -> JSONResponse:
    """One job."""
    return JSONResponse(schemas.job(await caller.serving.reading.take(caller.job, id)))


@routes.post("/{id}/pause", response_model=wire.Job)
async def paused(id: str, caller: Writing) -> JSONResponse:
    """Stop a job within a batch; what it has encoded stays."""

    def stop() -> Standing:
        return standing.pause(caller.serving.library.store, caller.job(id).record.id)

    return JSONResponse(schemas.job(await caller.serving.reading.take(stop)))


@routes.post("/{id}/resume", response_model=wire.Job)
async def resumed(id: str, caller: Writing) -> JSONResponse:
    """Go on with a job that was paused, interrupted or failed."""

    def again() -> Standing:
        return caller.serving.workshop.again(caller.serving.library, caller.job(id).record)

    return JSONResponse(schemas.job(await caller.serving.reading.take(again)))


@routes.post("/{id}/cancel", response_model=wire.Job)
async def cancelled(id: str, caller: Writing) -> JSONResponse:
    """Stop a job for good; what it had begun and not committed goes."""

    def stop() -> Standing:
        return standing.cancel(caller.serving.library.store, caller.job(id).record.id, processes.me())

    return JSONResponse(schemas.job(await caller.serving.reading.take(stop)))


@routes.get("/{id}/events", responses=wire.answers("text/event-stream"), response_class=Response)
async def events(id: str, caller: Searching) -> StreamingResponse:
    """The job as server-sent events, each time that it changes, until it is over."""
    serving = caller.serving
    found = await serving.reading.take(caller.job, id)

    async def told() -> AsyncIterator[str]:
        last, quiet = "", 0.0
        while True:
            if not caller.stands:
                return
            try:
                now = await serving.reading.take(serving.library.job, found.record.id)
            except Busy:  # it looks again in a while
                await asyncio.sleep(LOOK_S)
                continue
            except NoSuchJob:  # the library was restored from before it
                return
            text = json.dumps(schemas.job(now))
            if text != last:
                yield f"event: job\ndata: {text}\n\n"
                last, quiet = text, 0.0
            elif quiet >= BREATH_S:
                yield ": still here\n\n"
                quiet = 0.0
            if _is_over(now) or not serving.ready:
                return
            await asyncio.sleep(LOOK_S)
            quiet += LOOK_S

    return StreamingResponse(told(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _is_over(found: Standing) -> bool:
    return found.is_over or found.state in ("failed", "paused")


def _below(text: str, roots: tuple[Path, ...]) -> str:
    """The real path of a file of the server, which must lie below a root, links and all.

    Raises:
        Problem: it does not, or it is not there; nobody learns which.
    """
    real = Path(text).resolve()
    if not Path(text).is_absolute() or not _is_below(real, roots) or not real.exists():
        raise Problem(403, "not below a root", f"{text} is no whole path below the roots of this server (--roots)")
    if real.is_file() and real.suffix.lower() in manifests.SUFFIXES:
        for place, _ in manifests.read(real):
            if not isinstance(place, Path) or not _is_below(place.resolve(), roots):
                raise Problem(403, "not below a root", f"{text} lists {place}, which is not below a root")
    for folder, _, names in os.walk(real):  # of a file: nothing
        for file in (Path(folder, name) for name in names):
            if file.is_symlink() and not _is_below(file.resolve(), roots):
                raise Problem(403, "not below a root", f"{file} is a link to what is not below a root")
    return str(real)


def _is_below(path: Path, roots: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(root.resolve()) for root in roots)
