"""Media in pieces, which can be gone on with where a line broke: tus 1.0 (https://tus.io/protocols/resumable-upload)."""

from contextlib import nullcontext
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response

from api import arrivals, bringing, describing, parcels, quotas, wire
from api.callers import Caller, Writing
from api.parcels import Parcel
from api.problems import Problem
from api.uploads import media_name
from retriever.crashpoints import reached
from retriever.types import Metadata

routes = APIRouter(prefix="/v1/uploads", tags=["media"])
VERSION = "1.0.0"
EXTENSIONS = "creation,termination"
PIECES = "application/offset+octet-stream"
Spoken = Annotated[str, Header(alias="Tus-Resumable", description="1.0.0")]


def _checked(version: str) -> None:
    if version != VERSION:
        raise Problem(412, "another tus", f"Tus-Resumable is {version!r}; this server speaks {VERSION}")


def _answer(status: int, **more: str) -> Response:
    headers = {"Tus-Resumable": VERSION, "Cache-Control": "no-store"}
    return Response(status_code=status, headers=headers | {name.replace("_", "-"): text for name, text in more.items()})


@routes.options("", status_code=204)
async def spoken(request: Request) -> Response:
    """Which tus this server speaks."""
    most = request.app.state.serving.parcels.largest
    return _answer(204, Tus_Version=VERSION, Tus_Extension=EXTENSIONS, **({"Tus_Max_Size": str(most)} if most else {}))


@routes.post("", status_code=201, response_class=Response)
async def begun(
    caller: Writing,
    upload_length: Annotated[int, Header(ge=1, le=1 << 50)],
    upload_metadata: Annotated[str, Header()] = "",
    tus_resumable: Spoken = VERSION,
) -> Response:
    """Begin an upload of so many bytes; `Location` is where its pieces go.  `Upload-Metadata` may have filename, title,
    tags (`a;b`), recorded and collection."""
    _checked(tus_resumable)
    said = parcels.told(upload_metadata)
    metadata = _metadata(caller, said)
    media_name(said.get("filename", ""))  # complaints come before anything is sent

    def begin() -> Parcel:
        serving = caller.serving
        parcel = serving.parcels.begin(upload_length, said, caller.id)
        try:
            file = serving.parcels.file(parcel)
            folder = serving.uploads.folder
            quotas.take(serving.library.store, folder, caller.id, metadata.collection, file, upload_length)
        except BaseException:
            serving.parcels.drop(parcel)
            raise
        return parcel

    parcel = await caller.serving.reading.take(begin)
    return _answer(201, Location=f"/v1/uploads/{parcel.id}", Upload_Offset="0")


@routes.head("/{id}", response_class=Response)
async def stands(id: str, caller: Writing) -> Response:
    """How much of it is there."""
    serving = caller.serving

    def found() -> tuple[Parcel, int]:
        parcel = serving.parcels.of(id, caller.id)
        return parcel, serving.parcels.come(parcel)

    parcel, there = await serving.reading.take(found)
    if there == parcel.length and not parcel.job:  # its last piece came, and no answer went back
        parcel = await serving.arriving.take(_whole, caller, parcel)
    return _answer(200, Upload_Offset=str(there), Upload_Length=str(parcel.length), **_job(parcel))


@routes.patch("/{id}", status_code=204, openapi_extra={
    "requestBody": {"required": True, "content": {PIECES: {"schema": {"type": "string", "format": "binary"}}}}
})  # fmt: skip
async def come(
    id: str,
    request: Request,
    caller: Writing,
    upload_offset: Annotated[int, Header(ge=0, le=1 << 50)],
    tus_resumable: Spoken = VERSION,
) -> Response:
    """Send the next piece.  With the last one the media is whole, and `Reelseek-Job` names the job that indexes it."""
    _checked(tus_resumable)
    if request.headers.get("content-type", "") != PIECES:
        raise Problem(415, "not this type", f"a piece is {PIECES}")
    serving = caller.serving
    parcel = await serving.reading.take(serving.parcels.of, id, caller.id)
    if parcel.job:
        raise Problem(409, "not where it ends", f"all {parcel.length:,} bytes are there")
    there = await serving.parcels.take(parcel, upload_offset, request.stream())
    if there == parcel.length:
        parcel = await serving.arriving.take(_whole, caller, parcel)
    return _answer(204, Upload_Offset=str(there), **_job(parcel))


@routes.delete("/{id}", status_code=204)
async def dropped(id: str, caller: Writing) -> Response:
    """Give an upload up."""
    held, counted = caller.serving.parcels, caller.serving.library.store.catalog.quotas

    def drop() -> None:
        parcel = held.of(id, caller.id)
        # its bytes may be about to become a media, which is to count; with its job it is one, and only its note is left
        with nullcontext() if parcel.job else held.held(parcel):
            held.drop(parcel)
            counted.withdraw(str(held.file(parcel)))

    await caller.serving.reading.take(drop)
    return _answer(204)


def _whole(caller: Caller, parcel: Parcel) -> Parcel:
    """Index what is whole.  Until its job is noted it lies there as a parcel, too: whoever asks again, also after a
    kill, begins the job."""
    serving = caller.serving
    metadata = _metadata(caller, parcel.said)
    file = serving.parcels.file(parcel)
    with serving.parcels.held(parcel):
        if (now := serving.parcels.of(parcel.id, caller.id)).job:  # another request has just done it
            return now
        place = serving.uploads.place(parcel.said.get("filename", ""))
        serving.uploads.linked(place, file)
        reached("upload-linked")
        try:
            job = arrivals.wanted(caller, place, metadata, counted=file)
        except BaseException:
            if not file.exists():  # it could not be linked
                place.rename(file)
            serving.uploads.drop(place)
            raise
        bringing.settle(caller, file, job)
        return serving.parcels.done(parcel, job.record.id)


def _metadata(caller: Caller, said: dict[str, str]) -> Metadata:
    names: dict[str, Any] = {name: said[name] for name in ("title", "recorded", "collection") if name in said}
    checked = wire.Said(**names, tags=[tag.strip() for tag in said.get("tags", "").split(";") if tag.strip()])
    return caller.said(describing.said(Metadata(), **checked.model_dump(exclude_none=True)))


def _job(parcel: Parcel) -> dict[str, str]:
    return {"Reelseek_Job": parcel.job} if parcel.job else {}
