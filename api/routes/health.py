"""Whether the server lives, is ready, and how it fares; and what the library holds."""

from collections import Counter
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api import parts
from api.callers import Administering, Searching
from api.serving import Serving
from api.wire import answers
from retriever.types import Filter

routes = APIRouter(tags=["health"])


@routes.get("/healthz")
async def lives() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@routes.get("/readyz")
async def is_ready(request: Request) -> JSONResponse:
    """Questions are answered: models are loaded, and the library can be read."""
    serving: Serving = request.app.state.serving

    def generation() -> str:
        serving.ground.check()
        with serving.library.store.snapshot() as snapshot:
            return snapshot.generation

    return JSONResponse({"status": "ready", "generation": await serving.reading.take(generation)})


@routes.get("/metrics", response_class=Response, responses=answers("text/plain"))
async def metrics(caller: Administering) -> Response:
    """Figures for Prometheus."""
    serving = caller.serving

    def counted() -> bytes:
        meters = serving.meters
        with serving.library.store.snapshot() as snapshot:
            counts = snapshot.counts()
        for what in ("media", "segments", "tokens", "lines", "bytes"):
            meters.held.labels(what).set(counts[what])
        plain = (serving.reading, serving.arriving, serving.drawing, serving.cutting)
        for turns in (serving.asking, *plain, serving.errands, serving.following):
            meters.waiting.labels(turns.name).set(turns.depth)
        meters.indexes.clear()
        for one in parts.indexes(serving.settings.store, serving.library.place, serving.settings.store_catalog):
            recall = one.measured.ten if one.measured else None
            meters.index(one.space, rows=one.rows, of=one.of, bytes=one.bytes, recall_at_10=recall)
        meters.jobs.clear()
        for state, number in Counter(one.state for one in serving.library.jobs()).items():
            meters.jobs.labels(state).set(number)
        return meters.text()

    return Response(await serving.reading.take(counted), media_type=CONTENT_TYPE_LATEST)


@routes.get("/v1/library")
async def library(caller: Searching) -> dict[str, Any]:
    """What the library holds, as `reelseek stats --json` has it; of a collection its media, and how long they are."""

    def told() -> dict[str, Any]:
        if not caller.collection:
            return caller.serving.library.stats()
        with caller.serving.library.store.snapshot() as snapshot:
            kinds = snapshot.kinds(Filter(collection=caller.collection)).values()
        return {
            "collection": caller.collection,
            "media": sum(count for count, _ in kinds),
            "duration_s": round(sum(seconds for _, seconds in kinds), 3),
        }

    return await caller.serving.reading.take(told)
