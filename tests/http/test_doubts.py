"""What a sceptic asked of the server: bodies before keys, keys that end, pieces that wait, workers that fall."""

import logging
import os
import socket
import time
from base64 import b64encode
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import clips
import httpx
import pytest
from serving import CLEAR, Served, problem, serving, until

from api import Library, indexing, keys, parcels
from api.indexing import Asked
from api.main import main
from api.uploads import Uploads, plain_name
from indexer import jobs
from retriever.settings import Settings
from retriever.types import Metadata, RunState

SPOKEN = {"tus-resumable": "1.0.0"}
PIECE = SPOKEN | {"content-type": "application/offset+octet-stream"}


def by(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


# -------------------------------------------------------------------------------------------------------------- bodies


@pytest.mark.parametrize("path", ["/v1/session", "/v1/search/batch", "/v1/jobs", "/v1/nothing"])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/offset+octet-stream"])
def test_only_what_takes_uploads_takes_large_bodies(shared: Served, path: str, kind: str) -> None:
    """Others read a body whole, and some before they ask for a key."""
    body = b"x" * 1_000_001
    problem(shared.client.post(path, content=body, headers={"content-type": kind}), 413)


def test_the_first_of_two_types_counts(shared: Served) -> None:
    headers = [("content-type", "application/json"), ("content-type", "multipart/form-data; boundary=x")]
    problem(shared.client.post("/v1/search", content=b" " * 1_000_001, headers=headers), 413)


@pytest.mark.parametrize("path", ["/v1/session", "/v1/search/batch"])
def test_a_body_without_a_length_is_as_limited(shared: Served, path: str) -> None:
    blocks = (b" " * 1_000 for _ in range(1_500))
    problem(shared.client.post(path, content=blocks, headers={"content-type": "application/json"}), 413)


def test_methods_that_nobody_knows_are_one_in_the_figures(shared: Served) -> None:
    for number in range(3):
        shared.client.request(f"MADEUP{number}", "/healthz")
    assert "MADEUP" not in shared.client.get("/metrics").text


# --------------------------------------------------------------------------------------------------------- wrong words


def test_words_that_are_too_long_are_told_so(own: Served) -> None:
    long = "x" * 2_000
    problem(own.client.get("/v1/media", params={"collection": long}), 422)
    problem(own.client.get("/v1/media", params={"path": "a\0b"}), 422)
    problem(own.client.post("/v1/media", files={"file": ("a.mp4", b"x")}, data={"title": long}), 422)
    told = f"title {b64encode(long.encode()).decode()}"
    problem(own.client.post("/v1/uploads", headers=SPOKEN | {"upload-length": "1", "upload-metadata": told}), 422)
    problem(own.client.get(f"/v1/similar/{'x' * 9_000}"), 422)
    problem(own.client.get("/v1/similar/a%00b"), 422)


def test_a_stretch_may_begin_anywhere(own: Served) -> None:
    (film, *_) = own.client.get("/v1/media", params={"kind": "video"}).json()["media"]
    answer = own.client.get(f"/v1/media/{film['id']}/clip", params={"start": "0.00001", "end": "1"})
    assert answer.status_code == 200, answer.text


def test_a_name_is_no_longer_than_a_file_may_have() -> None:
    assert len(os.fsencode(plain_name("界" * 200 + ".mp4"))) < 240
    assert plain_name("界" * 200 + ".mp4").endswith("界.mp4")


def test_a_media_of_a_long_name_is_taken(own: Served, tmp_path: Path) -> None:
    film = clips.film(tmp_path / "a.mp4", ["yellow"])
    answer = own.client.post("/v1/media", files={"file": ("界" * 100 + ".mp4", film.read_bytes())})
    assert answer.status_code == 202, answer.text


def test_a_rate_is_a_number(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rate in ("nan", "inf"):
        assert main(["keys", "add", f"x{rate}", "--create", "--rate", rate]) == 2
        assert "--rate is" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------- tenants


def test_a_timeline_shows_a_tenant_nothing_of_others(folder: Path) -> None:
    with Library.open("lib") as library:
        for collection, colour in (("ours", "red"), ("theirs", "green")):
            film = clips.film(folder / f"{collection}.mp4", [colour])
            library.index([film], metadata=Metadata(collection=collection))
        tenant = by(keys.make(library.store, "tenant", "search", "ours")[1])
        held = {item.metadata.collection: item for item in library.media()}
    with serving(partial(Library.open, folder / "lib")) as served:
        at = f"/v1/media/{held['ours'].key}/timeline"
        for name in (held["theirs"].key, held["theirs"].key[:6], held["theirs"].path):
            answer = served.client.get(at, params={"query": f"like:{name}@0-1"}, headers=tenant)
            assert answer.status_code == 422, (name, answer.text)
        own = served.client.get(at, params={"query": f"like:{held['ours'].key}@0-1"}, headers=tenant)
        assert own.status_code == 200


def test_the_beginning_of_an_id_tells_a_tenant_of_no_other_job(folder: Path) -> None:
    with Library.open("lib") as library:
        for id in ("abcd0001", "abcd0002"):
            library.store.catalog.write_run(
                jobs.RunRecord(id, Asked(("/x",), metadata=Metadata(collection="theirs")).text, 1.0, RunState.DONE)
            )
        ours = jobs.RunRecord("abcd0003", Asked(("/x",), metadata=Metadata(collection="ours")).text, 1.0, RunState.DONE)
        tenant = by(keys.make(library.store, "tenant", "search", "ours")[1])
        with serving(partial(Library.open, folder / "lib")) as served:
            told = [served.client.get(f"/v1/jobs/{id}", headers=tenant) for id in ("abcd", "ffff")]
            assert problem(told[0], 404)["detail"].replace("abcd", "ffff") == problem(told[1], 404)["detail"]
            library.store.catalog.write_run(ours)
            assert served.client.get("/v1/jobs/abcd", headers=tenant).json()["id"] == "abcd0003"


def test_who_sends_the_same_bytes_takes_nothing_from_another_collection(folder: Path) -> None:
    """A library holds them once."""
    film = clips.film(folder / "new.mp4", ["yellow"]).read_bytes()
    with Library.open("lib") as library:
        library.index([folder / "new.mp4"], metadata=Metadata(title="a secret", collection="theirs"))
        tenant, other = (by(keys.make(library.store, name, "write", name)[1]) for name in ("ours", "theirs"))
    with serving(partial(Library.open, folder / "lib")) as served:
        told = problem(served.client.post("/v1/media", files={"file": ("b.mp4", film)}, headers=tenant), 409)
        assert "new.mp4" not in str(told)
        length = {"upload-length": str(len(film))}
        at = served.client.post("/v1/uploads", headers=SPOKEN | tenant | length).headers["location"]
        sent = served.client.patch(at, headers=PIECE | tenant | {"upload-offset": "0"}, content=film)
        problem(sent, 409)
        assert served.client.get("/v1/media", headers=tenant).json()["total"] == 0
        assert served.client.get("/v1/media", headers=other).json()["media"][0]["metadata"]["title"] == "a secret"
        assert served.client.post("/v1/media", files={"file": ("b.mp4", film)}, headers=other).status_code == 202
    assert list(Path("lib/uploads/media").iterdir()) == []  # what was refused is not kept, nor what the library has


def test_a_link_in_a_folder_leads_nowhere_else(own: Served, folder: Path) -> None:
    (folder / "clips" / "link.mp4").symlink_to(clips.film(folder / "secret.mp4", ["yellow"]))
    problem(own.client.post("/v1/jobs", json={"paths": [str(folder / "clips")]}), 403)
    (folder / "clips" / "link.mp4").unlink()
    (folder / "clips" / "link.mp4").symlink_to(folder / "clips" / "first.mp4")
    assert own.client.post("/v1/jobs", json={"paths": [str(folder / "clips")]}).status_code == 202


def test_a_cut_of_which_nothing_is_sent_leaves_no_folder(own: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would remove it some time, and warn of it."""
    made: list[Path] = []

    class Noted(TemporaryDirectory[str]):
        def __init__(self, **how: Any) -> None:
            super().__init__(**how)
            made.append(Path(self.name))

    monkeypatch.setattr("api.routes.media.TemporaryDirectory", Noted)
    (film, *_) = own.client.get("/v1/media", params={"kind": "video"}).json()["media"]
    span = {"start": "0", "end": "1"}
    for ranges in ("bytes=99999999-", "bytes=x-"):
        answer = own.client.get(f"/v1/media/{film['id']}/clip", params=span, headers={"range": ranges})
        assert answer.status_code in (400, 416)
    assert len(made) == 2
    until(lambda: not any(folder.exists() for folder in made))


# ---------------------------------------------------------------------------------------------------------------- keys


def test_who_watches_a_job_with_a_key_that_is_revoked_is_told_no_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "KNOWN_S", 0.0)
    held = Event()
    monkeypatch.setattr(indexing, "resume", lambda *_: held.wait(20))
    with Library.open("lib") as library, serving(partial(Library.open, folder / "lib")) as served:
        try:
            record = jobs.register(library.store, Asked((str(folder / "clips"),)).text)
            reader = by(keys.make(library.store, "reader", "search")[1])
            keys.make(library.store, "other", "search")
            with served.client.stream("GET", f"/v1/jobs/{record.id}/events", headers=reader, timeout=60) as told:
                lines = told.iter_lines()
                assert next(lines) == "event: job"
                keys.revoke(library.store, "reader")
                list(lines)  # it ends
        finally:
            held.set()


# -------------------------------------------------------------------------------------------------------------- pieces


def begun(served: Served, length: int, **said: str) -> str:
    told = ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in said.items())
    headers = SPOKEN | {"upload-length": str(length), "upload-metadata": told}
    return str(served.client.post("/v1/uploads", headers=headers).headers["location"])


def piece(served: Served, at: str, offset: int, data: bytes) -> httpx.Response:
    return served.client.patch(at, headers=PIECE | {"upload-offset": str(offset)}, content=data)


def test_what_is_whole_and_has_no_job_yet_gets_one(own: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends pieces takes an upload for done when all of its bytes are there."""
    at = begun(own, 5, filename="a.mp4")
    with monkeypatch.context() as patch:
        patch.setattr(own.app.state.serving.workshop, "register", _refuse)
        assert piece(own, at, 0, b"01234").status_code == 503
    stands = own.client.head(at, headers=SPOKEN)
    assert (stands.status_code, stands.headers["upload-offset"]) == (200, "5")
    assert own.over(stands.headers["reelseek-job"])["state"] == "failed"  # it is no film


def _refuse(*_: Any) -> Any:
    from retriever.errors import StoreLocked

    raise StoreLocked("somebody is at it")


def test_a_slow_disk_holds_up_nobody_else(own: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    at, plain = begun(own, 10, filename="a.mp4"), os.fsync

    def slow(descriptor: int) -> None:
        time.sleep(1.5)
        plain(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("api.parcels.os.fsync", slow)
        sender = Thread(target=piece, args=(own, at, 0, b"01234"))
        sender.start()
        time.sleep(0.5)
        began = time.monotonic()
        with httpx.Client(base_url=own.url, timeout=60, verify=CLEAR) as other:
            assert other.get("/healthz").is_success
        waited = time.monotonic() - began
        sender.join()
    assert waited < 0.7


def test_a_line_that_breaks_is_no_error_of_ours(
    own: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, url = begun(own, 1_000, filename="a.mp4"), httpx.URL(own.url)
    taken, alone = Event(), parcels._alone

    def told(descriptor: int) -> None:
        alone(descriptor)
        taken.set()  # in the same breath what came is read

    monkeypatch.setattr(parcels, "_alone", told)
    with socket.create_connection((url.host, url.port)) as line:
        line.sendall(
            f"PATCH {at} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
            f"Content-Type: {PIECE['content-type']}\r\nContent-Length: 1000\r\n\r\n01234".encode()
        )
        assert taken.wait(20)
    until(lambda: own.client.head(at, headers=SPOKEN).headers["upload-offset"] == "5")
    until(lambda: 'method="PATCH"' in own.client.get("/metrics").text)
    assert 'method="PATCH",route="/v1/uploads/{id}",status="499"' in own.client.get("/metrics").text
    assert "request" not in caplog.text


def test_two_servers_keep_each_their_own_examples(tmp_path: Path) -> None:
    picture = clips.picture(tmp_path / "red.png", "red")
    one, two = Uploads(tmp_path / "uploads", 0), Uploads(tmp_path / "uploads", 0)
    with picture.open("rb") as file:
        held = two.example("image", "red.png", file)
    old = held.path.with_name("upload-beef.png")
    old.write_bytes(b"left by one that was killed")
    os.utime(old, (1, 1))
    one.clear()
    assert held.path.is_file()
    assert not old.exists()
    two.clear()
    assert not held.path.exists()


# ---------------------------------------------------------------------------------------------------------------- jobs


def test_one_job_that_breaks_stops_no_other(own: Served, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised."""
    clips.film(folder / "clips" / "third.mp4", ["yellow"])
    with monkeypatch.context() as patch:
        patch.setattr(indexing, "resume", _break)
        broken = own.client.post("/v1/jobs", json={"paths": [str(folder / "clips")]}).json()["job"]["id"]
        last = own.over(broken)
    assert (last["state"], last["error"]) == ("failed", "an error of ours: RuntimeError: nobody thought of this")
    job = own.client.post("/v1/jobs", json={"paths": [str(folder / "clips" / "third.mp4")]}).json()["job"]["id"]
    assert own.over(job)["state"] == "done"


def _break(*_: Any) -> Any:
    raise RuntimeError("nobody thought of this")


def test_a_library_that_is_busy_for_a_moment_ends_no_worker(
    own: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips.film(folder / "clips" / "third.mp4", ["yellow"])
    failed = Event()

    def refused(*_: Any) -> Any:
        failed.set()
        _refuse()

    with monkeypatch.context() as patch:
        patch.setattr("api.workshop.jobs.standing", refused)
        assert failed.wait(60)
    job = own.client.post("/v1/jobs", json={"paths": [str(folder / "clips" / "third.mp4")]}).json()["job"]["id"]
    assert own.over(job)["state"] == "done"


def test_a_folder_that_is_watched_holds_up_no_other_job(folder: Path) -> None:
    """`index --watch` that was killed: its job has no end, and a server does one after the other."""
    with Library.open("lib") as library:
        watched = Asked((str(folder / "clips"),), every=60.0)
        record = jobs.register(library.store, watched.text)
        library.store.catalog.write_run(jobs.replace(record, state=RunState.RUNNING))  # and nobody is at it
    with serving(partial(Library.open, folder / "lib"), Settings(roots=str(folder / "clips"))) as served:
        time.sleep(1.5)
        job = served.client.post("/v1/jobs", json={"paths": [str(folder / "clips" / "first.mp4")]}).json()["job"]["id"]
        with (
            httpx.Client(base_url=served.url, timeout=60, verify=CLEAR) as client,
            client.stream("GET", f"/v1/jobs/{job}/events") as told,
        ):
            assert '"done"' in told.read().decode()


def test_a_server_that_cannot_begin_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.serving import Serving
    from retriever.errors import SpaceMismatch

    def other(_: Serving) -> None:
        raise SpaceMismatch("made with other weights")

    monkeypatch.setattr(Serving, "warm", other)
    assert main(["serve", "--create", "--port", "0"]) not in (0, None)
    said = capsys.readouterr()
    assert "made with other weights" in said.err
    assert "Traceback" not in said.err
    assert not logging.getLogger("uvicorn.error").filters  # whoever serves next in this process hears all
