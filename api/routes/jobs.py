"""Indexing jobs: what there is to do, how far it is, and what becomes of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse, Response

from api import describing, hooks, remedies, repeats, roots, strays, wire
from api.callers import Administering, Caller, Searching, Writing
from api.seats import Seated
from api.turns import Busy
from indexer import jobs as standing
from indexer.jobs import Standing
from retriever import processes
from retriever.errors import JobOver, NoSuchJob, StoreError
from retriever.types import Metadata, RunRecord, RunState

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
    return JSONResponse({"jobs": [remedies.job(one) for one in reversed(found)]})


@routes.post("", response_model=wire.Accepted, status_code=202)
async def wanted(
    asked: wire.Wanted, caller: Administering, idempotency_key: Annotated[str, Header(max_length=repeats.LONGEST)] = ""
) -> JSONResponse:
    """Index files, folders or manifests of the server, below its roots."""

    serving = caller.serving

    def register() -> Document:
        paths = tuple(roots.below(path, serving.roots) for path in asked.paths)
        said = describing.said(Metadata(), asked.title, asked.tags, asked.recorded, asked.collection)
        hook = hooks.of_job(asked, serving.rules, caller.id)
        job = serving.wanted(paths, said if said != Metadata() else None, asked.prune, hook)
        return {"job": remedies.job(job), "webhook": hooks.shown(hook, asked)}

    store, body = serving.library.store, asked.model_dump()
    made = await serving.reading.take(repeats.once, store, caller.id, idempotency_key, body, register)
    return JSONResponse(made, 202)


@routes.get("/{id}", response_model=wire.Job)
async def one(id: str, caller: Searching) -> JSONResponse:
    """One job."""
    return JSONResponse(remedies.job(await caller.serving.reading.take(caller.job, id)))


@routes.post("/{id}/pause", response_model=wire.Job)
async def paused(id: str, caller: Writing) -> JSONResponse:
    """Stop a job within a batch; what it has encoded stays."""

    def stop() -> Standing:
        return standing.pause(caller.serving.library.store, _steerable(caller, id, RunState.FAILED).id)

    return JSONResponse(remedies.job(await caller.serving.reading.take(stop)))


@routes.post("/{id}/resume", response_model=wire.Job)
async def resumed(id: str, caller: Writing) -> JSONResponse:
    """Go on with a job that was paused, interrupted or failed."""

    def again() -> Standing:
        return caller.serving.workshop.again(caller.serving.library, _steerable(caller, id))

    return JSONResponse(remedies.job(await caller.serving.reading.take(again)))


@routes.post("/{id}/cancel", response_model=wire.Job)
async def cancelled(id: str, caller: Writing) -> JSONResponse:
    """Stop a job for good; what it had begun and not committed goes, and what was sent for it alone."""

    def stop() -> Standing:
        store = caller.serving.library.store
        found = standing.cancel(store, _steerable(caller, id).id, processes.me())
        strays.left_by(store, found)
        return found

    return JSONResponse(remedies.job(await caller.serving.reading.take(stop)))


@routes.get("/{id}/events", responses=wire.answers("text/event-stream"), response_class=Response)
async def events(id: str, caller: Searching) -> Seated:
    """The job as server-sent events, each time that it changes, until it is over."""
    serving = caller.serving
    found = await serving.reading.take(caller.job, id)

    async def told() -> AsyncIterator[str]:
        last, quiet = "", 0.0
        while True:
            try:
                if not caller.stands:
                    return
                now = await serving.reading.take(serving.library.job, found.record.id)
            except NoSuchJob:  # the library was restored from before it
                return
            except (Busy, StoreError):  # it looks again in a while
                if not serving.ready:
                    return
                await asyncio.sleep(LOOK_S)
                continue
            text = json.dumps(remedies.job(now))
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

    leave = serving.following.take(caller.id)
    return Seated(told(), leave, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _steerable(caller: Caller, id: str, *stopped: RunState) -> RunRecord:
    """
    Raises:
        NoSuchJob: as `Caller.job`.
        JobOver: it is over, or `stopped` where that is as good.
    """
    found = caller.job(id)
    if found.is_over or found.record.state in stopped:
        raise JobOver(f"job {found.record.id} is {found.state}: there is nothing left of it to be steered")
    return found.record


def _is_over(found: Standing) -> bool:
    return found.is_over or found.state in ("failed", "paused")
