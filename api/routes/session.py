"""A key kept by a browser, for the page: players and pictures cannot say one themselves."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from api.callers import COOKIE, Searching, judged
from api.serving import Serving

routes = APIRouter(prefix="/v1/session", tags=["session"])
DAYS = 30


class Key(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(max_length=200)]


class Session(BaseModel):
    """Who asks, and what they may do; without keys everybody may do everything."""

    name: str
    scopes: list[str]
    collection: str


@routes.post("", response_model=Session)
async def begun(asked: Key, request: Request) -> JSONResponse:
    """Keep a key in a cookie that no script can read and no other site can use."""
    serving: Serving = request.app.state.serving
    key = judged(serving, asked.key, request.client.host if request.client else "")
    answer = JSONResponse(_told(key.name, sorted(key.scopes), key.collection))
    secure = "https" in (request.url.scheme, serving.settings.public_url.partition(":")[0])
    answer.set_cookie(COOKIE, asked.key, max_age=DAYS * 86_400, httponly=True, samesite="strict", secure=secure)
    return answer


@routes.get("", response_model=Session)
async def stands(caller: Searching) -> JSONResponse:
    """Who asks."""
    if caller.key is None:
        return JSONResponse(_told("", ["admin", "search", "write"], ""))
    return JSONResponse(_told(caller.key.name, sorted(caller.key.scopes), caller.collection))


@routes.delete("", status_code=204)
async def ended() -> Response:
    """Forget the key."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def _told(name: str, scopes: list[str], collection: str) -> dict[str, object]:
    return {"name": name, "scopes": scopes, "collection": collection}
