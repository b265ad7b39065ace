"""The HTTP application: routes from their folder, problems, and what is true of every request.

    app = build(lambda: Library.open("lib/"), settings)

Who may ask: without keys a server listens to its own machine alone, and to those who call it by that name, so that no
page of another origin can reach it through a browser (DNS rebinding).
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api import problems, wire
from api.heads import Heads
from api.listening import LARGEST_HEAD
from api.logs import tell
from api.noting import SAFE, Noted
from api.parts import AS_MADE, ModelChoice
from api.service import Library
from api.serving import HERE, Serving
from api.spans import Spans
from api.trails import Trail
from api.uploads import LARGEST_EXAMPLE
from retriever.errors import ReelseekError
from retriever.registry import Registry
from retriever.settings import Settings

ROUTES = Registry("api.routes")
LOG = logging.getLogger("reelseek.http")
FORM, PIECE = b"multipart/form-data", b"application/offset+octet-stream"
"""Types of bodies that may be large."""
MEDIA, SHOWN, PIECES = "/v1/media", ("/v1/search", "/v1/examples"), "/v1/uploads/"
"""Where they may be: what is sent elsewhere is read whole, and before anybody asks for a key."""
BEHIND = (b"x-forwarded-for", b"x-real-ip", b"forwarded")
"""Headers that proxies say for whom they ask by."""
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


def build(
    opened: Callable[[], Library],
    settings: Settings,
    models: ModelChoice = AS_MADE,
    spans: Spans | None = None,
    ready: Callable[[], None] = lambda: None,
) -> FastAPI:
    """An application over the library that `opened` opens; `models` are those of media to come, `spans` is where
    traces go, and `ready` is called before the first request is taken."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        try:
            serving = app.state.serving = Serving.of(opened, settings, models, spans)
        except BaseException as error:
            app.state.refused = error
            raise
        try:
            await serving.reading.take(serving.warm)  # which says nothing of how long questions take
        except BaseException as error:
            app.state.refused = error
            serving.close()
            raise
        serving.workshop.start()
        tell(LOG, logging.INFO, "ready")
        serving.courier.start()
        ready()
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
        redirect_slashes=False,  # where nothing is, it is said
        responses={status: {"model": wire.Problem, "description": "A problem"} for status in ("4XX", "5XX")},
    )
    plain = app.openapi
    app.openapi = lambda: _told(plain())  # type: ignore[method-assign]
    problems.teach(app)
    for name in ROUTES.names():
        app.include_router(ROUTES.load(name).routes)
    public = urlsplit(settings.public_url).netloc
    hosts = HERE | {settings.host, urlsplit(settings.public_url).hostname or settings.host}
    app.add_middleware(Heads)
    app.add_middleware(
        Gate,
        hosts=hosts if settings.host in HERE else frozenset[str](),
        public=public,
        largest=settings.most_bytes,
        proxied=bool(settings.trusted_proxies),
    )
    app.add_middleware(Noted, spans=spans)
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=settings.trusted_proxies)
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
    """What is true of every request: who may call, how large, headers, and errors that nobody thought of."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], public: str, largest: int, proxied: bool) -> None:
        self._app = app
        self._hosts = hosts  # that it may be called by; none: any, and keys keep others out
        self._public = public  # host and port that people know it by; empty: those that it is called by
        self._largest = largest  # bytes of an upload; 0: any
        self._proxied = proxied  # whether somebody has named the proxies before it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = dict(reversed(scope["headers"]))  # of several of one name the first counts, as for the routes
        began = False

        async def told(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        try:
            if refused := self._refused(scope, headers):
                await refused(scope, receive, told)
            else:
                await self._app(scope, _limited(receive, self._most(scope, headers)), told)
        except ClientDisconnect:  # nobody is there who could be told
            return
        except ReelseekError as error:  # the library cannot be asked who may ask
            if began:
                raise
            await problems.of(error)(scope, receive, told)
        except Exception:
            number = trail.id if (trail := Trail.here()) else ""
            route = getattr(scope.get("route"), "path", "none")
            tell(LOG, logging.ERROR, "error", request=number, method=scope["method"][:16], route=route)
            if began:  # the answer ends here, and whoever reads it sees that it is not whole
                raise
            await problems.answer(500, "it did not work", f"an error of ours; the log has it as request {number}")(
                scope, receive, told
            )

    def _refused(self, scope: Scope, headers: dict[bytes, bytes]) -> ASGIApp | None:
        head = len(scope.get("raw_path", b"")) + len(scope["query_string"])
        if head + sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > LARGEST_HEAD:
            return problems.answer(431, "too large", f"the head of the request has more than {LARGEST_HEAD:,} bytes")
        host = headers.get(b"host", b"").decode("latin-1").rpartition(":")
        name = host[0] if host[0] and not host[2].endswith("]") else host[2] if not host[0] else "".join(host)
        if self._hosts and name not in self._hosts:
            return problems.answer(
                421,
                "another host",
                f"this server is not called {name!r}; whoever runs it says how it is called (host, public_url)",
            )
        serving: Serving = scope["app"].state.serving
        if not self._proxied and any(name in headers for name in BEHIND) and serving.is_open:
            return problems.answer(
                403,
                "behind a proxy",
                "a server without keys answers its own machine alone, and this came through a proxy; whoever runs it "
                "can make keys, or name a proxy that lets nobody else through (trusted_proxies)",
            )
        origin, called = (headers.get(name, b"").decode("latin-1") for name in (b"origin", b"host"))
        if scope["method"] not in SAFE and origin and origin.partition("://")[2] not in (called, self._public):
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
