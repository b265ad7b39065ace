"""Media in pieces, sent by the public client of tus (tuspy), and lines that break."""

import errno
import fcntl
import os
from base64 import b64encode
from pathlib import Path
from typing import Never

import clips
import httpx
import pytest
from serving import CLEAR, Served, problem

from api import parcels, uploads
from api.problems import Problem
from retriever.errors import StoreLocked

tus = pytest.importorskip("tusclient.client", reason="tuspy: the extra test is not installed")

SPOKEN = {"tus-resumable": "1.0.0"}
PIECE = SPOKEN | {"content-type": "application/offset+octet-stream"}


def begun(served: Served, length: int, **said: str) -> httpx.Response:
    told = ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in said.items())
    headers = SPOKEN | {"upload-length": str(length), "upload-metadata": told}
    return served.client.post("/v1/uploads", headers=headers)


def piece(served: Served, at: str, offset: int, data: bytes) -> httpx.Response:
    return served.client.patch(at, headers=PIECE | {"upload-offset": str(offset)}, content=data)


def test_its_public_client_sends_a_film_that_is_found(own: Served, tmp_path: Path) -> None:
    film = clips.film(tmp_path / "sea.mp4", ["yellow", "green"])
    client = tus.TusClient(f"{own.url}/v1/uploads")
    said = {"filename": "sea.mp4", "title": "The sea", "tags": "a;b"}
    with film.open("rb") as file:
        uploader = client.uploader(file_stream=file, chunk_size=1_000, metadata=said)
        uploader.upload_chunk()  # and then the line breaks
        again = client.uploader(file_stream=file, url=uploader.url, chunk_size=1_000, metadata=said)
        assert again.offset == 1_000
        again.upload()
    job = own.client.head(uploader.url, headers=SPOKEN).headers["reelseek-job"]
    assert own.over(job)["state"] == "done"
    first = own.found("yellow", limit=1)["moments"][0]["media"]
    assert (first["title"], Path(first["path"]).name) == ("The sea", "sea.mp4")
    assert Path(first["path"]).read_bytes() == film.read_bytes()


def test_pieces_go_where_the_last_one_ended(own: Served) -> None:
    answer = begun(own, 10, filename="a.mp4")
    assert (answer.status_code, answer.headers["tus-resumable"]) == (201, "1.0.0")
    at = answer.headers["location"]
    assert piece(own, at, 0, b"01234").headers["upload-offset"] == "5"
    problem(piece(own, at, 0, b"01234"), 409)
    problem(piece(own, at, 6, b"6789"), 409)
    stands = own.client.head(at, headers=SPOKEN)
    assert (stands.headers["upload-offset"], stands.headers["upload-length"]) == ("5", "10")
    problem(piece(own, at, 5, b"567890"), 413)  # behind its end
    assert own.client.head(at, headers=SPOKEN).headers["upload-offset"] == "5"
    assert "reelseek-job" in piece(own, at, 5, b"56789").headers
    problem(piece(own, at, 10, b"x"), 409)


@pytest.mark.parametrize("links", [True, False], ids=["links", "none"])
def test_what_cannot_be_a_job_yet_is_an_upload_still(own: Served, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """Whole, and counted where it lies; whoever asks again begins the job.  Also where a disk has no links."""

    def refused(*_: object) -> Never:
        raise PermissionError(errno.EPERM, "no links here")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    at = begun(own, 5, filename="a.mp4").headers["location"]
    catalog, parts = own.app.state.serving.library.store.catalog, Path("lib/uploads/parcels").absolute()

    def busy(*_: object, **__: object) -> Never:
        raise StoreLocked("somebody is at it")

    with monkeypatch.context() as patch:
        patch.setattr(own.app.state.serving.workshop, "register", busy)
        problem(piece(own, at, 0, b"01234"), 503)
        assert own.client.head(at, headers=SPOKEN).status_code == 503
    (data,) = (file for file in parts.iterdir() if not file.suffix)
    assert (data.read_bytes(), [one.path for one in catalog.quotas.deposits()]) == (b"01234", [str(data)])
    assert not list(Path("lib/uploads").rglob("a.mp4"))
    held = os.open(data, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)  # somebody else makes a media of it
    assert own.client.head(at, headers=SPOKEN).status_code == 423
    os.close(held)  # who has died
    assert own.over(own.client.head(at, headers=SPOKEN).headers["reelseek-job"])["state"] == "failed"
    (file,) = Path("lib/uploads").absolute().rglob("a.mp4")
    assert [one.path for one in catalog.quotas.deposits()] == [str(file)]
    assert [file.suffix for file in parts.iterdir()] == [".json"]


def test_what_was_moved_away_is_at_somebodys_hands_or_over(own: Served) -> None:
    """A disk without links has a media in one place: in that of the upload, or where it is to stay."""
    at = begun(own, 10).headers["location"]
    piece(own, at, 0, b"01234")
    data, note = sorted(Path("lib/uploads/parcels").iterdir())
    data.rename("moved")
    with note.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # somebody makes a media of it
        for answer in (own.client.head(at, headers=SPOKEN), piece(own, at, 5, b"56789")):
            assert answer.status_code == 423
        Path("moved").rename(data)  # it could be none yet
        assert own.client.head(at, headers=SPOKEN).headers["upload-offset"] == "5"
        data.rename("moved")
    assert own.client.head(at, headers=SPOKEN).status_code == 404  # they have died
    problem(piece(own, at, 5, b"56789"), 404)
    assert not list(Path("lib/uploads/parcels").iterdir())


def test_what_is_given_up_is_gone(own: Served) -> None:
    at = begun(own, 10).headers["location"]
    piece(own, at, 0, b"01234")
    assert own.client.delete(at, headers=SPOKEN).status_code == 204
    for answer in (own.client.delete(at, headers=SPOKEN), piece(own, at, 5, b"5")):
        problem(answer, 404)
    assert own.client.head(at, headers=SPOKEN).status_code == 404
    assert not list(Path("lib/uploads/parcels").iterdir())


def test_what_somebody_is_at_is_not_given_up(own: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a media could be made of it that counts nowhere."""
    serving, parts = own.app.state.serving, Path("lib/uploads/parcels").absolute()
    at = begun(own, 5, filename="a.mp4").headers["location"]
    (data,) = (file for file in parts.iterdir() if not file.suffix)
    linked = serving.uploads.linked
    told: list[int] = []

    def meanwhile(*args: Path) -> None:
        for now in (linked, lambda *_: None):  # before and after
            told.append(httpx.delete(own.url + at, headers=SPOKEN, verify=CLEAR).status_code)
            now(*args)

    with monkeypatch.context() as patch:
        patch.setattr(serving.uploads, "linked", meanwhile)
        job = piece(own, at, 0, b"01234").headers["reelseek-job"]
    assert told == [423, 423]
    assert own.over(job)["state"] == "failed"
    counted = serving.library.store.catalog.quotas
    (file,) = Path("lib/uploads").absolute().rglob("a.mp4")
    assert [one.path for one in counted.deposits()] == [str(file)]
    assert own.client.delete(at, headers=SPOKEN).status_code == 204  # only the note of it goes
    assert (file.is_file(), data.exists(), list(parts.iterdir())) == (True, False, [])
    assert [one.path for one in counted.deposits()] == [str(file)]


def test_what_can_be_put_nowhere_leaves_no_folder(tmp_path: Path) -> None:
    made = uploads.Uploads(tmp_path, 0)
    place = made.place("a.mp4")
    with pytest.raises(FileNotFoundError):
        made.linked(place, tmp_path / "nothing")
    assert not place.parent.exists()
    made.clear()


def test_what_cannot_be_is_refused_before_it_is_sent(own: Served) -> None:
    problem(begun(own, 0), 422)
    problem(begun(own, -1), 422)
    problem(begun(own, 10, recorded="soon"), 422)
    (wrong,) = problem(begun(own, 10, titel="The sea"), 422)["errors"]
    assert wrong["path"] == "header.Upload-Metadata.titel"
    assert "collection, filename, " in wrong["message"]
    said = {"name": "a.mp4", "type": "video/mp4", "filetype": "video/mp4", "relativePath": "null"}  # as Uppy says
    assert begun(own, 10, filename="a.mp4", **said).status_code == 201
    problem(own.client.post("/v1/uploads", headers=SPOKEN | {"upload-length": "9", "upload-metadata": "title !"}), 422)
    problem(own.client.post("/v1/uploads", headers={"tus-resumable": "0.2.2", "upload-length": "9"}), 412)
    at = begun(own, 10).headers["location"]
    problem(own.client.patch(at, headers=SPOKEN | {"upload-offset": "0"}, content=b"x"), 415)
    problem(own.client.patch("/v1/uploads/..%2f..%2fx", headers=PIECE | {"upload-offset": "0"}, content=b"x"), 404)
    spoken = own.client.options("/v1/uploads")
    assert (spoken.status_code, spoken.headers["tus-extension"]) == (204, "creation,termination")


async def _blocks(*blocks: bytes):
    for block in blocks:
        yield block


def test_a_parcel_has_one_writer_and_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    held = parcels.Parcels(tmp_path, largest=100)
    with pytest.raises(Problem, match="at most 100 bytes"):
        held.begin(101, {}, "")
    parcel = held.begin(10, {}, "me")
    with pytest.raises(Problem, match="no upload of this server"):
        held.of(parcel.id, "you")

    async def two_at_once() -> None:
        async def first():
            yield b"01"
            with pytest.raises(Problem, match="another request writes"):
                await held.take(parcel, 2, _blocks(b"23"))
            yield b"23"

        assert await held.take(parcel, 0, first()) == 4

    asyncio.run(two_at_once())
    now = held.file(parcel).stat().st_mtime
    monkeypatch.setattr("api.parcels.time", lambda: now + parcels.LIFE_S + 10)
    other = held.begin(5, {}, "me")
    with pytest.raises(Problem, match="or it is over"):
        held.of(parcel.id, "me")
    assert held.of(other.id, "me") == other
    assert held.file(other).read_bytes() == b""


def test_what_nobody_goes_on_with_is_thrown_away_unless_somebody_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = parcels.Parcels(tmp_path, largest=100)
    there = held.begin(10, {}, "me")

    def killed(*_: object, **__: object) -> Never:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr("api.parcels.Parcels._write", killed)  # a server that is killed where it begins one
        with pytest.raises(InterruptedError):
            held.begin(10, {}, "me")
    later = held.file(there).stat().st_mtime + parcels.LIFE_S + 10
    monkeypatch.setattr("api.parcels.time", lambda: later)
    with held.file(there).open("rb") as data:
        fcntl.flock(data, fcntl.LOCK_EX)
        other = held.begin(5, {}, "me")
        assert held.of(there.id, "me") == there
        assert {file.stem for file in (tmp_path / "parcels").iterdir()} == {there.id, other.id}
    held.drop(other)
    other = held.begin(5, {}, "me")
    assert {file.stem for file in (tmp_path / "parcels").iterdir()} == {other.id}
