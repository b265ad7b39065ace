"""What goes wrong over HTTP, as `application/problem+json` (RFC 9457): one line for people, and where it is."""

import errno
import re
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from api import remedies
from api.terminal import plain
from api.trails import Trail
from api.turns import Busy
from retriever import errors

KIND = "application/problem+json"
FULL = (errno.ENOSPC, errno.EDQUOT)
MOST_WRONG = 20
"""Fields of a request that are told to be wrong: it may have any number of them."""
LONGEST_PATH = 200
"""Characters of a path that come back to whoever asked for it."""
RETRY_S = 1
"""Seconds after which somebody who was turned away may come again."""

_STATUS: Sequence[tuple[type[Exception], int, str]] = (
    (errors.QueryError, 422, "the query cannot be read"),
    (errors.BadSettings, 422, "a value is wrong"),
    (errors.NoSuchMedia, 404, "no such media"),
    (errors.NoSuchJob, 404, "no such job"),
    (errors.JobOver, 409, "the job is over"),
    (errors.SpaceMismatch, 409, "the library was made with other weights"),
    (errors.WrongRecipe, 409, "the library was made otherwise"),
    (errors.WrongFormat, 409, "the library is of another format"),
    (errors.StoreLocked, 503, "the library is busy"),
    (errors.StoreUnavailable, 503, "the library cannot be reached"),
    (errors.DiskFull, 507, "the disk is full"),
    (errors.PluginError, 501, "something is not installed"),
    (errors.WeightsError, 501, "a model is not here"),
    (errors.NoSuchStream, 404, "no such stream"),
    (errors.OverLimit, 413, "too large"),
    (errors.MediaError, 410, "the file cannot be used"),
    (errors.ReelseekError, 500, "it did not work"),
)
"""The first that fits counts."""
_AT = re.compile(r"at character (\d+)")


class Problem(HTTPException):
    """An answer that is not the one that was hoped for.

    An `HTTPException`, since the framework makes a 400 of whatever else is raised while it reads a body.
    """

    def __init__(self, status: int, title: str, detail: str = "", **more: Any) -> None:
        super().__init__(status, detail or title)
        self.status, self.title, self.detail, self.more = status, title, detail, more


def answer(status: int, title: str, detail: str = "", **more: Any) -> JSONResponse:
    """The document of one problem."""
    wait = more.pop("retry_s", RETRY_S if status in (429, 503) else 0)
    headers = {"Retry-After": str(wait)} if wait else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail or title, **more}
    if trail := Trail.here():
        document["request"], trail.problem = trail.id, title
    return JSONResponse(document, status, headers, media_type=KIND)


def teach(app: FastAPI) -> None:
    """Everything that is raised becomes a problem."""
    app.add_exception_handler(errors.ReelseekError, _ours)
    app.add_exception_handler(RequestValidationError, _wrong)
    app.add_exception_handler(ValidationError, _wrong)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Problem, _said)
    app.add_exception_handler(Busy, _busy)
    app.add_exception_handler(OSError, _system)


def of(error: "errors.ReelseekError | Problem", **more: Any) -> JSONResponse:
    """The document of what was raised, with `more` in it."""
    if isinstance(error, Problem):
        return answer(error.status, error.title, error.detail, **error.more, **more)
    status, title = next((status, title) for kind, status, title in _STATUS if isinstance(error, kind))
    at = _AT.search(str(error)) if isinstance(error, errors.QueryError) else None
    if at:  # it quotes what was asked, word for word
        return answer(status, title, str(error), position=int(at[1]) - 1, **more)
    ours = status == 404 or isinstance(error, errors.QueryError)  # to mend, for those who asked
    return answer(status, title, remedies.elsewhere(str(error), "" if ours else remedies.OTHERS), **more)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.ReelseekError)
    return of(error)


async def _wrong(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError | ValidationError)  # the second: of what a route put together
    wrong = error.errors()
    found = [{"path": ".".join(map(str, one["loc"])), "message": str(one["msg"])} for one in wrong[:MOST_WRONG]]
    more = f"; and {len(wrong) - MOST_WRONG:,} more" if len(wrong) > MOST_WRONG else ""
    detail = "; ".join(f"{one['path']}: {one['message']}" for one in found) + more
    return answer(422, "the request cannot be read", detail, errors=found)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail, headers = "", dict(error.headers or {})
    path, method = plain(request.url.path)[:LONGEST_PATH], request.method[:16]
    if error.status_code == 404:
        detail = f"there is nothing at {path}; /openapi.json tells what there is"
    if error.status_code == 405:
        headers["allow"] = ", ".join(_allowed(request, headers.get("Allow", "")))
        detail = f"{method} is not taken at {path}; it takes {headers['allow']}"
    said = answer(error.status_code, str(error.detail).lower(), detail)
    said.headers.update(headers)
    return said


def _allowed(request: Request, known: str) -> list[str]:
    """All methods of a path: a router tells of those of one route, which are `known`, and not that HEAD is where GET
    is (`api.heads`)."""
    paths: dict[str, dict[str, object]] = request.app.openapi()["paths"]
    found = [
        method.upper()
        for path, methods in paths.items()
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)), request.url.path)
        for method in methods
    ]
    every = {*(found or known.split(", "))}
    return sorted(every | {"HEAD"} if "GET" in every else every)


async def _said(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return of(error)


async def _busy(request: Request, error: Exception) -> JSONResponse:
    return answer(
        503, "too many ask at once", "so many wait already that an answer would be late: try again in a second"
    )


async def _system(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    if error.errno in FULL:
        return answer(507, "the disk is full", "there is no room on the disk of this server, and nothing was kept")
    return answer(500, "the system refused", error.strerror or "input or output failed")
