"""Around every request: a number to be found by, a line in the log, figures, and a trace where somebody wants those.

Neither a path nor a query is noted, but the route that answered; of a key its id, and never the key.
"""

import logging
import re
from secrets import token_hex
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.crowds import Crowd
from api.logs import tell
from api.serving import Serving
from api.spans import Spans
from api.trails import Trail, following

LOG = logging.getLogger("reelseek.http")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
KNOWN = SAFE | {"POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"}
"""Methods that are named: a client may make up any number of others."""
GONE = 499
"""Status of a request whose sender went away before its end."""
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
"""Routes that are asked every few seconds, and of which nobody wants to read."""
BUSY = (429, 503)
"""Turned away: there may be thousands of them a second."""
NOT_OURS = (502, 504, 507)
"""A server that somebody named did not answer as it should, or there is no room: no error of this program."""
_NUMBER = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""A number that a client may give its request: nothing that could be taken for anything else."""


class Noted:
    """The outermost layer."""

    def __init__(self, app: ASGIApp, spans: Spans | None = None) -> None:
        self._app = app
        self._spans = spans
        self._crowd = Crowd(LOG)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = dict(reversed(scope["headers"]))
        said = headers.get(b"x-request-id", b"").decode("latin-1")
        trail = Trail(said if _NUMBER.fullmatch(said) else token_hex(8))
        method = scope["method"] if scope["method"] in KNOWN else "other"
        span = self._spans.begin(method, scope, headers) if self._spans else None
        began = perf_counter()
        status, first, came, went = 0, 0.0, 0, 0

        async def heard() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            return message

        async def told(message: Message) -> None:
            nonlocal status, first, went
            if message["type"] == "http.response.start":
                status, first = message["status"], perf_counter() - began
                message["headers"] = [*message["headers"], (b"x-request-id", trail.id.encode())]
            went += len(message.get("body", b""))
            await send(message)

        try:
            with following(trail):
                await self._app(scope, heard, told)
        finally:
            took = perf_counter() - began
            status, route = (
                status or GONE,
                getattr(scope.get("route"), "path", "").replace(":path}", "}"),
            )  # as the API has it
            if span:
                span.end(route, status, trail)
            if isinstance(serving := getattr(scope["app"].state, "serving", None), Serving):
                serving.meters.request(method, route, status, first or took, trail.seconds)
            if status in BUSY:
                self._crowd.turned_away(trail.problem or str(status))
            tell(
                LOG,
                _level(route, status),
                "request",
                request=trail.id,
                trace=span and span.trace,
                method=method,
                route=route or "none",
                status=status,
                ms=_ms(took),
                received=came,
                bytes=went,
                client=(scope.get("client") or ("",))[0],
                key=trail.key,
                collection=trail.collection,
                stages={name: _ms(seconds) for name, seconds in trail.seconds.items()},
            )


def _level(route: str, status: int) -> int:
    if status in NOT_OURS:
        return logging.WARNING
    if status >= 500 and status not in BUSY:
        return logging.ERROR
    return logging.DEBUG if route in QUIET and status < 400 else logging.INFO


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)
