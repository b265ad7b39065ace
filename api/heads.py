"""HEAD wherever GET is: the same answer, and no byte of its body.

A route that takes HEAD itself, as an upload does, is asked as it is; one that would work long for its body may look
whether anybody wants that (`alone`).
"""

from fastapi import Request
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALONE = "reelseek.head"


class Heads:
    """Asks routes for what GET has, for who asks for its head alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = {**scope, "method": "GET", _ALONE: True}
        if scope["type"] != "http" or scope["method"] != "HEAD" or _takes(scope) or not _takes(asked):
            return await self._app(scope, receive, send)

        async def told(message: Message) -> None:
            more = message.get("more_body", False)
            if message["type"] == "http.response.body":
                message = {"type": message["type"], "body": b"", "more_body": False}
            await send(message)
            if more:  # of a film, or of events without an end
                raise _Enough

        try:
            await self._app(asked, receive, told)
        except _Enough:
            return
        finally:
            scope.update({name: asked[name] for name in ("route",) if name in asked})  # for whoever takes note


def alone(request: Request) -> bool:
    """Whether whoever asks wants the head, and no body."""
    return _ALONE in request.scope


class _Enough(Exception):
    """The head has been told."""


def _takes(scope: Scope) -> bool:
    return any(route.matches(scope)[0] is Match.FULL for route in scope["app"].routes)
