"""Media: what there is, what is known of it, the file itself, small pictures, cuts, lines, relevance over time."""

import mimetypes
from functools import partial
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Header, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.datastructures import UploadFile
from starlette.types import Message, Receive, Scope, Send

from api import (
    answering,
    bringing,
    clipping,
    describing,
    export,
    fetching,
    heads,
    hooks,
    known,
    paging,
    quotas,
    remedies,
    repeats,
    schemas,
    strays,
    wire,
)
from api.callers import Caller, Searching, Writing
from api.leaving import heeding
from api.problems import Problem, answer
from api.wire import answers
from retriever.errors import BadSettings, NoSuchMedia
from retriever.types import Filter, MediaKind, Metadata, Modality, Quarantined

routes = APIRouter(tags=["media"])
PAGE = 50
TOLD = ("title", "recorded", "collection")
"""What a form says of a file beside its tags."""
HEARD = ("webhook", "webhook_secret")
"""And of whom its job tells."""
JSON = "application/json"
LARGEST_FIELD = 16_384
"""Bytes of one of those, of which memory holds all."""
PLAYED = frozenset({"video", "audio", "image"})
"""Kinds of content that a browser is told; others are bytes to it, whatever they are called."""


@routes.get("/v1/media", response_model=wire.MediaList)
async def listed(
    caller: Searching,
    limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
    page: Annotated[str, Query(max_length=500)] = "",
    tag: Annotated[list[str], Query(max_length=100)] = [],  # noqa: B006 - FastAPI copies it
    collection: str = "",
    path: str = "",
    kind: Annotated[list[MediaKind], Query(max_length=3)] = [],  # noqa: B006
) -> JSONResponse:
    """The media of the library, by path."""
    asked = wire.Filters(tags=tag, collection=collection, path=path, kinds=[one.value for one in kind])

    def found() -> dict[str, Any]:
        with caller.serving.library.store.snapshot() as snapshot:
            everything = list(snapshot.media(caller.where(answering.narrowed(asked))))
            generation = snapshot.generation
        same = [asked.model_dump(), caller.collection]
        first = paging.first(page, generation, same) if page else 0
        shown = everything[first : first + limit]
        more = len(everything) > first + limit
        return {
            "media": [answering.media(item) for item in shown],
            "total": len(everything),
            "next_page": paging.token(generation, same, first + limit) if more else None,
        }

    return JSONResponse(await caller.serving.reading.take(found))


@routes.post("/v1/media", response_model=wire.Accepted, status_code=202, openapi_extra={
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "tags": {"type": "array", "items": {"type": "string"}},
                        **{name: {"type": "string"} for name in (*TOLD, *HEARD)},
                    },
                }
            },
            "application/json": {"schema": wire.Fetched.model_json_schema()},
        },
    }
})  # fmt: skip
async def sent(
    request: Request, caller: Writing, idempotency_key: Annotated[str, Header(max_length=repeats.LONGEST)] = ""
) -> JSONResponse:
    """Send a media, or as JSON its address; it is indexed by a job.  With an `Idempotency-Key` it may be sent again,
    and comes once."""
    serving = caller.serving
    store, once = serving.library.store, partial(repeats.once, serving.library.store, caller.id, idempotency_key)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON:
        named = wire.Fetched.model_validate_json(await request.body())
        if serving.settings.allow_urls != "yes":
            raise Problem(
                403, "no addresses here", "it fetches nothing; whoever runs this server can let it (allow_urls)"
            )
        metadata = _metadata(caller, named)

        def fetch() -> dict[str, Any]:
            hook = hooks.of_job(named, serving.rules, caller.id)
            room = quotas.room(store, serving.uploads.folder, caller.id, metadata.collection)
            largest = min(filter(None, (serving.uploads.largest, room)), default=0)
            kept = fetching.fetched(named.url, serving.rules, serving.uploads, largest, lambda: not serving.ready)
            job = bringing.brought(caller, kept, kept.stat().st_size, lambda: None, metadata, hook)
            return {"job": remedies.job(job), "webhook": hooks.shown(hook, named)}

        return JSONResponse(await serving.errands.run(caller.id, once, named.model_dump(), fetch), 202)
    async with request.form(max_files=1, max_fields=200, max_part_size=LARGEST_FIELD) as form:
        known.form(form, (*TOLD, *HEARD, "tags"), ("file",))
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Problem(422, "no file", "the form has no file in its field `file`")
        said = {name: value for name in (*TOLD, *HEARD) if isinstance(value := form.get(name), str)}
        told = wire.Sent(**said, tags=[tag for tag in form.getlist("tags") if isinstance(tag, str) and tag])
        metadata = _metadata(caller, told)
        asked = [told.model_dump(), file.filename, file.size]

        def register() -> dict[str, Any]:
            hook = hooks.of_job(told, serving.rules, caller.id)
            place = serving.uploads.place(file.filename or "")
            keep = partial(serving.uploads.keep, place, file.file)
            job = bringing.brought(caller, place, file.size or 0, keep, metadata, hook)
            return {"job": remedies.job(job), "webhook": hooks.shown(hook, told)}

        made = await serving.arriving.take(once, asked, register)
    return JSONResponse(made, 202)


def _metadata(caller: Caller, said: wire.Said) -> Metadata:
    known = said.model_dump(include={"title", "tags", "recorded", "collection"}, exclude_none=True)
    return caller.said(describing.said(Metadata(), **known))


@routes.get("/v1/media/{id}", response_model=wire.Media)
async def one(id: str, caller: Searching) -> JSONResponse:
    """One media."""
    return JSONResponse(await caller.serving.reading.take(lambda: answering.media(caller.media(id))))


@routes.patch("/v1/media/{id}", response_model=wire.Media)
async def amended(id: str, said: wire.Said, caller: Writing) -> JSONResponse:
    """Change what is known of a media; what the body does not name stays."""

    def change() -> dict[str, Any]:
        media = caller.media(id)
        now = caller.said(describing.said(media.metadata, **said.model_dump(exclude_none=True)))
        caller.serving.library.store.set_metadata({media.key: now})
        return answering.media(caller.media(media.key))

    answering.checked(said.model_dump(exclude_none=True))
    return JSONResponse(await caller.serving.reading.take(change))


@routes.delete("/v1/media/{id}", response_model=wire.Deleted)
async def deleted(id: str, caller: Writing, file: bool = False) -> JSONResponse:
    """Take a media out of the library.  Its file stays where it is; with `file=1` one that was sent here goes, too, now
    or later."""

    def gone() -> list[dict[str, str]]:
        library, strange = caller.serving.library, partial(strays.of, caller.serving.library.store)
        try:
            went = library.delete(caller.media(id).key)
        except NoSuchMedia:
            left = strays.drop(library.store, strange(id, caller.collection)) if file else []
            if not left:
                raise
            return [{"id": id, "path": path} for path in left]
        if file:
            caller.drop(path for item in went for path in item.paths)
            for item in went:
                strays.drop(library.store, strange(item.key, caller.collection))
        return [{"id": item.key, "path": item.path} for item in went]

    return JSONResponse({"deleted": await caller.serving.reading.take(gone)})


@routes.get("/v1/quarantine", response_model=wire.Quarantine)
async def quarantined(caller: Searching) -> JSONResponse:
    """Files that could not be indexed, and why."""

    def found() -> list[Quarantined]:
        return [entry for entry in caller.serving.library.quarantined() if caller.brought(entry.path)]

    entries = await caller.serving.reading.take(found)
    shown = schemas.media([], entries)["quarantined"]
    return JSONResponse({"quarantined": [one | {"reason": remedies.elsewhere(one["reason"])} for one in shown]})


@routes.delete("/v1/quarantine", response_model=wire.Dropped)
async def dropped(caller: Writing, path: Annotated[str, Query(min_length=1, max_length=4_096)]) -> JSONResponse:
    """Away with a file that was sent here and could not be indexed."""

    def gone() -> None:
        entries = caller.serving.library.quarantined()
        there = any(entry.path == path and caller.brought(path) for entry in entries)
        if not (there and caller.serving.uploads.has(path)):
            raise Problem(404, "no such file", f"{path} is no file in quarantine that was sent here")
        if not caller.drop([path]):
            detail = f"a media is made of {path}, a job is to look at it again, or it lies on another machine"
            raise Problem(409, "somebody wants it", detail)

    await caller.serving.reading.take(gone)
    return JSONResponse({"dropped": path})


@routes.get("/v1/media/{id}/stream", response_class=Response, responses=answers("*/*"))
async def stream(id: str, caller: Searching) -> Response:
    """The file as it lies, whole or in byte ranges."""
    file = await caller.serving.reading.take(_file, caller, id)
    return _Ranged(file, media_type=_type(file), headers={"Cache-Control": "private, no-cache"})


@routes.get("/v1/media/{id}/thumbnail", response_class=Response, responses=answers("image/jpeg"))
async def thumbnail(
    id: str,
    request: Request,
    caller: Searching,
    t: Annotated[float, Query(ge=0, le=1e7, allow_inf_nan=False)] = 0.0,
    w: Annotated[int, Query(ge=16, le=2_000)] = 320,
) -> Response:
    """The picture on show at a second, as JPEG; 404 where there is no picture."""

    serving = caller.serving
    picture = await serving.reading.take(lambda: serving.thumbnails.known(caller.media(id), t, w))
    if picture is None and not heads.alone(request):
        picture = await serving.drawing.take(lambda: serving.thumbnails.of(caller.media(id), t, w))
    told = Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})
    if picture is None:
        del told.headers["Content-Length"]  # nobody knows it before the picture is drawn
    return told


@routes.get("/v1/media/{id}/clip", response_class=Response, responses=answers("*/*"))
async def clip(
    id: str,
    request: Request,
    caller: Searching,
    after: BackgroundTasks,
    start: Annotated[float, Query(ge=0, le=1e7, allow_inf_nan=False)],
    end: Annotated[float, Query(gt=0, le=1e7, allow_inf_nan=False)],
    exact: bool = False,
) -> Response:
    """A stretch as a file of its own: packets copied from the keyframe before on, or, `exact`, encoded anew."""
    if end <= start:
        raise Problem(422, "no such stretch", f"`end` is {end:g}; it wants more than `start`, {start:g}")
    ref = f"{id}@{start:f}-{end:f}"
    if heads.alone(request):
        await caller.serving.reading.take(_cuttable, caller, id, ref)
        head = Response(headers={"Accept-Ranges": "bytes"})
        del head.headers["Content-Length"]  # nobody knows it before the clip is cut, nor what container holds it
        return head
    folder = TemporaryDirectory(prefix="reelseek-clip-")
    after.add_task(folder.cleanup)

    def cut() -> Path:
        heeded()
        media = caller.media(id)
        for suffix in (".mp4", ".mkv") if media.kind is MediaKind.VIDEO else (".m4a", ".wav", ".mka"):
            out = Path(folder.name) / f"{media.key}-{start:.2f}-{end:.2f}{suffix}"
            try:
                return caller.serving.library.clip(ref, out, exact=exact, watch=heeded).cut.file
            except BadSettings as error:  # this container cannot hold these streams as they are
                refused = error
        raise refused

    try:
        async with heeding(request) as heeded:
            made = await caller.serving.cutting.take(cut)
    except BaseException:
        folder.cleanup()
        raise
    return _Cut(made, media_type=_type(made), filename=made.name, background=after)


class _Ranged(FileResponse):
    """A file, whole or in byte ranges; of a range that cannot be it says so as of any problem."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = False

        async def told(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refused, status = True, message["status"]
                why = "the file has no such bytes" if status == 416 else "`Range` wants bytes=FROM-TO"
                problem = answer(status, "no such range", why)
                kept = [(name, value) for name, value in message["headers"] if name == b"content-range"]
                problem.raw_headers.extend(kept)
                return await problem(scope, receive, send)
            if not refused:
                await send(message)

        await super().__call__(scope, receive, told)


class _Cut(_Ranged):
    """A file whose folder goes after it, also where no byte was sent: a range behind its end, a line that broke."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        after, self.background = self.background, None
        try:
            await super().__call__(scope, receive, send)
        finally:
            if after is not None:
                await after()


@routes.get("/v1/media/{id}/transcript.vtt", response_class=Response, responses=answers("text/vtt"))
async def transcript(id: str, caller: Searching) -> Response:
    """What is said, as WebVTT."""
    return await _subtitles(caller, id, Modality.SPEECH)


@routes.get("/v1/media/{id}/written.vtt", response_class=Response, responses=answers("text/vtt"))
async def written(id: str, caller: Searching) -> Response:
    """What is written on screen, as WebVTT."""
    return await _subtitles(caller, id, Modality.TEXT)


@routes.get("/v1/media/{id}/timeline", response_model=wire.Timeline)
async def timeline(
    id: str, caller: Searching, query: Annotated[str, Query(min_length=1, max_length=wire.LONGEST_QUERY)]
) -> JSONResponse:
    """How relevant each second is to a question, by modality."""

    def found() -> dict[str, Any]:
        media = caller.media(id)
        with caller.answered():
            (strip,) = caller.serving.library.relevance(query, media.key)
        curves = {
            str(modality): {
                "edges": [round(float(edge), 3) for edge in curve.edges],
                "heights": [round(height, 4) if isfinite(height) else None for height in curve.heights.tolist()],
            }
            for modality, curve in strip.curves.items()
        }
        chance = round(strip.chance, 4) if isfinite(strip.chance) else None
        return {"duration_s": round(media.duration, 3), "chance": chance, "curves": curves}

    return JSONResponse(await caller.serving.asking.take(found))


async def _subtitles(caller: Caller, id: str, modality: Modality) -> Response:
    def found() -> str:
        media = caller.media(id)
        with caller.serving.library.store.snapshot() as snapshot:
            numbers = snapshot.numbers(Filter(media=frozenset({media.key})))
            lines = [line for group in snapshot.lines(numbers) for line in group if line.modality is modality]
        return "\n".join(export.vtt(lines))

    text = await caller.serving.reading.take(found)
    return Response(text.encode("utf-8", "replace"), media_type="text/vtt; charset=utf-8")


def _cuttable(caller: Caller, id: str, ref: str) -> None:
    """
    Raises:
        ReelseekError: nothing can be cut there, as `Library.clip`.
    """
    media = caller.media(id)
    clipping.source(caller.serving.library.store, media, clipping.timed(ref)[1])


def _file(caller: Caller, id: str) -> Path:
    place = clipping.intact(caller.serving.library.store, caller.media(id))
    if not isinstance(place, Path):
        raise Problem(501, "not on this machine", f"{place} is on a server: ask for it there")
    return place


def _type(file: Path) -> str:
    kind = mimetypes.guess_type(file.name)[0] or ""
    return kind if kind.partition("/")[0] in PLAYED and not kind.startswith("image/svg") else "application/octet-stream"
