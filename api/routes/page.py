"""The page, and the files that it is made of."""

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import Response

from api.problems import Problem

routes = APIRouter(include_in_schema=False)
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
TYPES |= {".js": "text/javascript; charset=utf-8"}


def _file(name: str) -> Response:
    found = next((one for one in files("api").joinpath("web").iterdir() if one.name == name), None)
    kind = TYPES.get(f".{name.rpartition('.')[2]}")
    if found is None or kind is None:
        raise Problem(404, "not found", f"the page has no file {name}")
    return Response(found.read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"})


@routes.get("/")
async def page() -> Response:
    return _file("index.html")


@routes.get("/assets/{name}")
async def asset(name: str) -> Response:
    return _file(name)
