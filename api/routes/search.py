"""Questions: one, several, by a file that is sent, and more of the same."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from api import answering, known, problems, wire
from api.callers import Searching
from api.problems import Problem
from api.serving import Serving
from api.terminal import counted
from api.uploads import Held
from retriever.errors import ReelseekError

routes = APIRouter(tags=["search"])
FILES = ("image", "sound", "clip")
"""Fields of a form that carry what is asked with."""
_FORM = {
    "type": "object",
    "properties": {"search": {"type": "string", "description": "a Search as JSON"}}
    | {name: {"type": "string", "format": "binary"} for name in FILES},
}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/Search"}},
        "multipart/form-data": {"schema": _FORM},
    },
}


@routes.post("/v1/search", response_model=wire.Answer, openapi_extra={"requestBody": _BODY})
async def search(request: Request, caller: Searching) -> JSONResponse:
    """The moments that answer a question, best first; with files beside it, those stand for themselves."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        asked = await _by_form(request, caller.serving)
    elif kind == "application/json":
        asked = _read(await request.body())
    else:
        raise Problem(415, "not this type", "a question is application/json, or multipart/form-data with files")
    return JSONResponse(await caller.serving.asking.take(answering.answer, caller, asked))


@routes.post("/v1/search/batch", response_model=wire.Answers)
async def batch(asked: wire.Batch, caller: Searching) -> JSONResponse:
    """Several questions; the answers come in their order."""

    def all_of() -> JSONResponse:
        answers = []
        for place, one in enumerate(asked.searches):
            try:
                answers.append(answering.answer(caller, one))
            except (ReelseekError, Problem) as error:
                return problems.of(error, search=place)
        return JSONResponse({"answers": answers})

    return await caller.serving.asking.take(all_of)


@routes.get("/v1/similar/{ref}", response_model=wire.Answer)
async def similar(
    ref: str,
    caller: Searching,
    limit: Annotated[int | None, Query(ge=1, le=wire.MOST)] = None,
    min_confidence: Annotated[float | None, Query(ge=0, le=1)] = None,
) -> JSONResponse:
    """Moments that are like this one: `ID@start-end`."""
    asked = wire.Search(query=f"like:{ref}", limit=limit, min_confidence=min_confidence)
    return JSONResponse(await caller.serving.asking.take(answering.answer, caller, asked))


@routes.post(
    "/v1/examples",
    response_model=wire.Term,
    status_code=201,
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}},
)
async def example(request: Request, caller: Searching) -> JSONResponse:
    """Send a picture, a sound or a clip to ask with; its term stands in any query for an hour."""
    async with request.form(max_files=8, max_fields=8) as form:
        known.form(form, (), FILES)
        if len(form.multi_items()) != 1:
            files = counted(len(form.multi_items()), "file")
            raise Problem(422, "one file", f"the form has {files}; it wants one, as {', '.join(FILES)}")
        (held,) = await _held(form, caller.serving)
    await caller.serving.reading.take(caller.serving.uploads.judge, held)
    return JSONResponse({"term": held.term, "expires_at": round(held.expires, 3)}, 201)


def _read(body: bytes) -> wire.Search:
    try:
        return wire.Search.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from error


async def _by_form(request: Request, serving: Serving) -> wire.Search:
    async with request.form(max_files=8, max_fields=8) as form:
        known.form(form, ("search",), FILES)
        asked, held = _read(str(form.get("search", '{"query": ""}')).encode()), await _held(form, serving)
    terms = " ".join(one.term for one in held)
    return asked.model_copy(update={"query": f"{asked.query} {terms}".strip()})


async def _held(form: FormData, serving: Serving) -> list[Held]:
    """Keep the files of a form that are there to be asked with."""
    found = [(name, file) for name, file in form.multi_items() if isinstance(file, UploadFile)]
    return [
        await serving.reading.take(serving.uploads.example, name, file.filename or "", file.file)
        for name, file in found
    ]
