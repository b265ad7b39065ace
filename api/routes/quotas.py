"""Quotas: how much may be sent with a key, or into a collection, and how much was."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api import quotas, wire
from api.callers import Administering, Searching
from api.problems import Problem
from retriever.errors import BadSettings
from retriever.quotas import Quota, Whose

routes = APIRouter(tags=["quotas"])
Document = dict[str, Any]


@routes.get("/v1/quota", response_model=wire.QuotaList)
async def own(caller: Searching) -> JSONResponse:
    """What whoever asks may send, by their key and by its collection."""

    def found() -> list[Document]:
        store = caller.serving.library.store
        names = ((Whose.KEY, caller.id), (Whose.COLLECTION, caller.collection))
        return [quotas.of(store, caller.serving.uploads.folder, kind, name) for kind, name in names if name]

    return JSONResponse({"quotas": await caller.serving.reading.take(found)})


@routes.get("/v1/quotas", response_model=wire.QuotaList)
async def listed(caller: Administering) -> JSONResponse:
    """All that are set."""

    def found() -> list[Document]:
        return quotas.every(caller.serving.library.store, caller.serving.uploads.folder)

    return JSONResponse({"quotas": await caller.serving.reading.take(found)})


@routes.put("/v1/quotas/{kind}/{name:path}", response_model=wire.Quota)
async def changed(kind: Whose, name: wire.Text, asked: wire.QuotaChange, caller: Administering) -> JSONResponse:
    """Set one, in place of what was set; of a key by its name or id.  Without any limit there is none."""

    def change() -> Document:
        store = caller.serving.library.store
        try:
            id = quotas.whose(store, kind, name)
        except BadSettings as error:  # which tells somebody with a shell what to do
            raise Problem(404, "no such key", f"there is no key of the name or id {name!r}") from error
        store.catalog.quotas.set(Quota(kind, id, asked.most_bytes, asked.most_media, asked.most_s_a_day))
        return quotas.of(store, caller.serving.uploads.folder, kind, id)

    return JSONResponse(await caller.serving.reading.take(change))
