"""Webhooks: addresses that are told when something happens."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from api import hooks, wire
from api.callers import Administering, Caller
from api.problems import Problem
from retriever.notices import Delivery, Hook

routes = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
Document = dict[str, Any]
SHOWN = 100


@routes.get("", response_model=wire.Webhooks)
async def listed(caller: Administering) -> JSONResponse:
    """All webhooks, also those of single jobs, in the order in which they came."""

    def found() -> list[Document]:
        return [_document(caller, hook) for hook in caller.serving.library.store.catalog.notices.hooks()]

    return JSONResponse({"webhooks": await caller.serving.reading.take(found)})


@routes.post("", response_model=wire.NewWebhook, status_code=201)
async def made(asked: wire.Hook, caller: Administering) -> JSONResponse:
    """Set one.  Its secret is told this once."""

    def kept() -> Document:
        notices = caller.serving.library.store.catalog.notices
        if sum(not hook.job for hook in notices.hooks()) >= hooks.MOST:
            raise Problem(409, "too many webhooks", f"a library has {hooks.MOST} at most: delete one")
        hook = hooks.make(
            asked.url,
            caller.serving.rules,
            secret=asked.secret,
            events=asked.events,
            collection=asked.collection,
            owner=caller.id,
        )
        if not notices.write_hook(hook):
            raise Problem(401, "no such key", "the key was revoked just now, and webhooks end with their key")
        return {"webhook": _document(caller, hook), "secret": hook.secret}

    return JSONResponse(await caller.serving.reading.take(kept), 201)


@routes.get("/{id}", response_model=wire.Webhook)
async def one(id: str, caller: Administering) -> JSONResponse:
    """One webhook."""
    return JSONResponse(await caller.serving.reading.take(lambda: _document(caller, _named(caller, id))))


@routes.patch("/{id}", response_model=wire.Webhook)
async def changed(id: str, asked: wire.HookChange, caller: Administering) -> JSONResponse:
    """Change where it leads and what it hears of, or switch it off and on."""

    def change() -> Document:
        if asked.url is not None:
            hooks.judged(asked.url, caller.serving.rules)
        said = asked.model_dump(exclude_none=True)
        said |= {"events": hooks.kinds(asked.events)} if asked.events else {}
        notices = caller.serving.library.store.catalog.notices
        hook = notices.change_hook(id, lambda now: replace(now, **said)) or _named(caller, id)  # which is not there
        return _document(caller, hook)

    return JSONResponse(await caller.serving.reading.take(change))


@routes.delete("/{id}", status_code=204)
async def dropped(id: str, caller: Administering) -> Response:
    """Forget one, with what it was to be told."""

    def gone() -> None:
        caller.serving.library.store.catalog.notices.forget_hook(_named(caller, id).id)

    await caller.serving.reading.take(gone)
    return Response(status_code=204)


@routes.post("/{id}/ping", response_model=wire.Delivery, status_code=202)
async def pinged(id: str, caller: Administering) -> JSONResponse:
    """Send it a message of the type `ping`, to see whether it hears."""

    def sent() -> Document:
        return _delivery(hooks.ping(caller.serving.library.store, _named(caller, id)))

    document = await caller.serving.reading.take(sent)
    caller.serving.courier.call()
    return JSONResponse(document, 202)


@routes.get("/{id}/deliveries", response_model=wire.Deliveries)
async def deliveries(
    id: str, caller: Administering, limit: Annotated[int, Query(ge=1, le=1_000)] = SHOWN
) -> JSONResponse:
    """What it was told, newest first, and how that went; of a week."""

    def found() -> list[Document]:
        hook = _named(caller, id)
        return [_delivery(one) for one in caller.serving.library.store.catalog.notices.deliveries(hook.id, limit)]

    return JSONResponse({"deliveries": await caller.serving.reading.take(found)})


@routes.post("/{id}/deliveries/{message}/again", response_model=wire.Delivery, status_code=202)
async def again(id: str, message: wire.Text, caller: Administering) -> JSONResponse:
    """Send a message anew, under the id that it had."""

    def sent() -> Document:
        hook, notices = _named(caller, id), caller.serving.library.store.catalog.notices
        if not notices.again(hook.id, message):
            raise Problem(404, "no such message", f"{message} is no message to this webhook, or is being sent just now")
        return next(_delivery(one) for one in notices.deliveries(hook.id, SHOWN * 1_000) if one.id == message)

    document = await caller.serving.reading.take(sent)
    caller.serving.courier.call()
    return JSONResponse(document, 202)


def _named(caller: Caller, id: str) -> Hook:
    try:
        return hooks.named(caller.serving.library.store, id)
    except hooks.NoSuchHook as error:
        raise Problem(404, "no such webhook", str(error)) from error


def _document(caller: Caller, hook: Hook) -> Document:
    newest = caller.serving.library.store.catalog.notices.deliveries(hook.id, 1)
    return {
        "id": hook.id,
        "url": hook.url,
        "events": sorted(hook.events),
        "collection": hook.collection,
        "job": hook.job,
        "active": hook.active,
        "created_at": round(hook.created, 3),
        "last": _delivery(newest[0]) if newest else None,
    }


def _delivery(one: Delivery) -> Document:
    return {
        "id": one.id,
        "event": one.kind,
        "state": str(one.state),
        "tries": one.tries,
        "created_at": round(one.created, 3),
        "due_at": round(one.due, 3),
        "status": one.status,
        "told": one.told,
    }
