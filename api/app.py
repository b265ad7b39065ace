"""The HTTP application: routes from their folder, problems, and what is true of every request.

    app = build(lambda: Library.open("lib/"), settings)

Who may ask: without keys a server listens to its own machine alone, and to those who call it by that name, so that no
page of another origin can reach it through a browser (DNS rebinding).
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from secrets import token_hex
from time import perf_counter
from typing import Any

from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems, wire
from api.parts import AS_MADE, ModelChoice
from api.service import Library
from api.serving import HERE, Serving
from api.uploads import LARGEST_EXAMPLE
from retriever.registry import Registry
from retriever.settings import Settings

ROUTES = Registry("api.routes")
LOG = logging.getLogger("reelseek.http")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
KNOWN = SAFE | {"POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"}
"""Methods that figures name: a client may make up any number of others."""
FORM, PIECE = b"multipart/form-data", b"application/offset+octet-stream"
"""Types of bodies that may be large."""
MEDIA, SHOWN, PIECES = "/v1/media", ("/v1/search", "/v1/examples"), "/v1/uploads/"
"""Where they may be: what is sent elsewhere is read whole, and before anybody asks for a key."""
GONE = 499
"""Status, in figures, of a request whose sender went away before its end."""
LARGEST_JSON = 1_000_000
"""Bytes of a body that is no upload."""
FORM_ROOM = 1_000_000
"""Bytes of an upload beside its file."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


def build(opened: Callable[[], Library], settings: Settings, models: ModelChoice = AS_MADE) -> FastAPI:
    """An application over the library that `opened` opens; `models` are those of media to come."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        serving = app.state.serving = Serving.of(opened, settings, models)
        try:
            await serving.reading.take(serving.warm)  # which says nothing of how long questions take
        except BaseException as error:
            app.state.refused = error
            serving.close()
            raise
        serving.workshop.start()
        try:
            yield
        finally:
            serving.close()

    app = FastAPI(
        title="reelseek",
        summary="Search for moments in video, from what is seen, heard, said and written on screen.",
        version=_version(),
        lifespan=life,
        docs_url=None,  # they would be fetched from elsewhere
        redoc_url=None,
        responses={status: {"model": wire.Problem, "description": "A problem"} for status in ("4XX", "5XX")},
    )
    plain = app.openapi
    app.openapi = lambda: _told(plain())  # type: ignore[method-assign]
    problems.teach(app)
    for name in ROUTES.names():
        app.include_router(ROUTES.load(name).routes)
    hosts = HERE | {settings.host} if settings.host in HERE else frozenset[str]()
    app.add_middleware(Gate, hosts=hosts, largest=settings.most_bytes)
    return app


_PROBLEM = {"$ref": f"#/components/schemas/{wire.Problem.__name__}"}


def _told(description: dict[str, Any]) -> dict[str, Any]:
    """Problems have a type of their own, and nothing else is answered to a wrong request."""
    for methods in description["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            for status in ("4XX", "5XX"):
                operation["responses"][status]["content"] = {problems.KIND: {"schema": _PROBLEM}}
    for name in ("HTTPValidationError", "ValidationError"):
        description["components"]["schemas"].pop(name, None)
    return description


class Gate:
    """What is true of every request: who may call, how large, a number to be found by, headers, figures."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], largest: int) -> None:
        self._app = app
        self._hosts = hosts  # that it may be called by; none: any, and keys keep others out
        self._largest = largest  # bytes of an upload; 0: any

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = dict(reversed(scope["headers"]))  # of several of one name the first counts, as for the routes
        number, began = token_hex(8), perf_counter()
        status = 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *HEADERS, (b"x-request-id", number.encode())]
            await send(message)

        refused = self._refused(scope, headers)
        try:
            if refused:
                await refused(scope, receive, told)
            else:
                await self._app(scope, _limited(receive, self._most(scope, headers)), told)
        except ClientDisconnect:  # nobody is there who could be told
            status = status or GONE
        except Exception:
            LOG.exception("request %s, %s %s", number, scope["method"], scope["path"])
            if status:  # the answer had begun: it ends here, and whoever reads it sees that it is not whole
                raise
            await problems.answer(500, "it did not work", f"an error of ours; the log has it as request {number}")(
                scope, receive, told
            )
        if (serving := getattr(scope["app"].state, "serving", None)) is not None:
            route = getattr(scope.get("route"), "path", "")
            method = scope["method"] if scope["method"] in KNOWN else "other"
            serving.meters.requests.labels(method, route, str(status)).inc()
            serving.meters.seconds.labels(route).observe(perf_counter() - began)

    def _refused(self, scope: Scope, headers: dict[bytes, bytes]) -> ASGIApp | None:
        host = headers.get(b"host", b"").decode("latin-1").rpartition(":")
        name = host[0] if host[0] and not host[2].endswith("]") else host[2] if not host[0] else "".join(host)
        if self._hosts and name not in self._hosts:
            return problems.answer(421, "another host", f"this server is not called {name!r}: --host names it")
        origin, called = (headers.get(name, b"").decode("latin-1") for name in (b"origin", b"host"))
        if scope["method"] not in SAFE and origin and origin.partition("://")[2] != called:
            return problems.answer(403, "another origin", "a page of another origin may not send anything here")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            return problems.answer(400, "no length", "Content-Length is no number")
        most = self._most(scope, headers)
        if most and int(length) > most:
            return problems.answer(413, "too large", f"the body has {int(length):,} bytes, at most {most:,} are taken")
        return None

    def _most(self, scope: Scope, headers: dict[bytes, bytes]) -> int:
        """Bytes that the body may have; 0: any."""
        path, kind = scope["path"], headers.get(b"content-type", b"").lower()
        if scope["method"] == "POST" and path in SHOWN and kind.startswith(FORM):
            return LARGEST_EXAMPLE + FORM_ROOM
        media = scope["method"] == "POST" and path == MEDIA and kind.startswith(FORM)
        if media or (scope["method"] == "PATCH" and path.startswith(PIECES) and kind.startswith(PIECE)):
            return self._largest and self._largest + FORM_ROOM
        return LARGEST_JSON


def _limited(receive: Receive, most: int) -> Receive:
    """Also a body that does not say how long it is, or lies."""
    came = 0

    async def counted() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if most and came > most:
            raise problems.Problem(413, "too large", f"the body goes on behind {most:,} bytes, which is the most")
        return message

    return counted


def _version() -> str:
    try:
        return version("reelseek")
    except PackageNotFoundError:
        return "0"
