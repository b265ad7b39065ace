"""Media whose files lie elsewhere by now."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api import roots, schemas, wire
from api.callers import Administering
from api.problems import Problem
from indexer import places
from retriever.errors import CannotOpen

routes = APIRouter(tags=["media"])


@routes.post("/v1/relocations", response_model=wire.Relocated)
async def relocated(asked: wire.Relocation, caller: Administering) -> JSONResponse:
    """Mend paths whose files have the content that was indexed; `new` lies below the server's roots."""

    def mend() -> dict[str, Any]:
        serving, old = caller.serving, _old(asked.old)
        new = roots.below(asked.new, serving.roots)
        found = serving.library.relocate(new, old, dry_run=asked.dry_run, stopped=lambda: not serving.ready)
        return schemas.relocated(found, asked.dry_run)

    return JSONResponse(await caller.serving.errands.run(caller.id, mend))


def _old(text: str | None) -> str | None:
    """
    Raises:
        Problem: it is neither a whole path nor an address.
    """
    try:
        whole = text is None or places.is_address(text) or text.startswith("/")
        if whole and text is not None:
            places.of(text)
    except CannotOpen as error:
        raise Problem(422, "no such place", f"old: {error}") from error
    if not whole:
        raise Problem(422, "no such place", f"old is {text!r}; it wants a whole path, or an address")
    return text
