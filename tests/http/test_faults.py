"""What happens around a server for real: small disks, a library that goes away, kills while all is asked of it, and
heads that no honest client writes."""

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import clips
import httpx
import pytest
from serving import CHILD, CLEAR, Served, problem, raw, serving

from api import Library
from api.problems import KIND
from retriever.errors import StoreUnavailable
from retriever.quotas import Deposit
from retriever.settings import Settings

ROOT = Path(__file__).parents[2]
SMALL = ["unshare", "--user", "--map-root-user", "--mount"]
SPOKEN = {"tus-resumable": "1.0.0"}
PIECE = SPOKEN | {"content-type": "application/offset+octet-stream"}


LINKLESS = f"""
import os
def refused(*_):
    raise PermissionError(1, "no links here")
os.link = refused
{CHILD}"""


@contextmanager
def running(
    folder: Path, *words: str, before: tuple[str, ...] = (), program: str = CHILD
) -> Iterator[tuple[httpx.Client, Any]]:
    """`reelseek serve` in a process of its own; `before` are commands of a shell that nobody else is to see."""
    command = [sys.executable, "-c", program, str(folder), "serve", "--create", "--port", "0", *words]
    if before:
        script = "; ".join(("set -e", *before, 'exec "$@"'))
        command = [*SMALL, "sh", "-c", script, "sh", *command]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    with subprocess.Popen(command, env=paths, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        url = server.stderr.readline().rpartition(" at ")[2].partition(";")[0]
        assert url.startswith("http"), server.stderr.read()
        drain = threading.Thread(target=server.stderr.read, daemon=True)
        drain.start()
        try:
            with httpx.Client(base_url=url, timeout=60, verify=CLEAR) as client:
                for _ in range(400):
                    try:
                        if client.get("/readyz").is_success:
                            break
                    except httpx.TransportError:
                        time.sleep(0.05)
                yield client, server
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)


# --------------------------------------------------------------------------------------------------------------- disks


@pytest.fixture(scope="module")
def mountable() -> None:
    mount = ["mount", "-t", "tmpfs", "none", "/mnt"]
    if not shutil.which(SMALL[0]) or subprocess.run([*SMALL, *mount], capture_output=True).returncode:
        pytest.skip("no small disk: this system lets nobody mount one")


def mounted(place: Path, size: str) -> str:
    place.mkdir(parents=True, exist_ok=True)
    return f"mount -t tmpfs -o size={size} none {place}"


def test_an_upload_for_which_there_is_no_room_is_not_half_kept(folder: Path, mountable: None) -> None:
    place, film = folder / "sent", clips.film(folder / "small.mp4", ["red"]).read_bytes()
    with running(folder, "--uploads", str(place), before=(mounted(place, "1m"),)) as (client, server):
        inside = Path(f"/proc/{server.pid}/root{place}")
        answer = client.post("/v1/media", files={"file": ("large.mp4", bytes(3_000_000))})
        assert problem(answer, 507)["title"] == "the disk is full"
        assert [file for file in inside.rglob("*") if file.is_file()] == []
        assert client.post("/v1/media", files={"file": ("small.mp4", film)}).status_code == 202
        assert client.post("/v1/search", json={"query": "red"}).is_success
        told = f"filename {b64encode(b'large.mp4').decode()}"
        headers = SPOKEN | {"upload-length": "3000000", "upload-metadata": told}
        at = client.post("/v1/uploads", headers=headers).headers["location"]
        problem(client.patch(at, headers=PIECE | {"upload-offset": "0"}, content=bytes(3_000_000)), 507)
        there = int(client.head(at, headers=SPOKEN).headers["upload-offset"])
        assert 0 < there < 3_000_000  # what came stays, and it goes on there
        assert client.delete(at, headers=SPOKEN).status_code == 204
        assert client.post("/v1/media", files={"file": ("small.mp4", film)}).status_code == 202


def test_a_small_disk_for_what_passes_through(folder: Path, mountable: None) -> None:
    """Forms lie in the folder of temporary files until they are whole."""
    place = folder / "passing"
    with running(folder, before=(mounted(place, "1m"), f"export TMPDIR={place}")) as (client, _):
        problem(client.post("/v1/media", files={"file": ("large.mp4", bytes(3_000_000))}), 507)
        film = clips.film(folder / "small.mp4", ["red"]).read_bytes()
        assert client.post("/v1/media", files={"file": ("small.mp4", film)}).status_code == 202
    assert not list((folder / "lib" / "uploads").rglob("large.mp4"))


def test_an_upload_without_an_end_has_one(folder: Path) -> None:
    """Whether it says how long it is, does not, or lies; in a form or in pieces; and to ask with."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    form = {"content-type": "multipart/form-data; boundary=x"}

    def endless() -> Iterator[bytes]:
        yield head
        for _ in range(200):
            yield bytes(65_536)

    settings = Settings(most_bytes=2_000_000)
    with Library.open("lib"), serving(partial(Library.open, folder / "lib"), settings) as served:
        client = served.client
        assert problem(client.post("/v1/media", content=endless(), headers=form), 413)["title"] == "too large"
        problem(client.post("/v1/media", files={"file": ("a.mp4", bytes(5_000_000))}), 413)
        problem(
            client.post("/v1/media", files={"file": ("a.mp4", bytes(2_000_001))}), 413
        )  # a form has some room beside
        problem(client.post("/v1/uploads", headers=SPOKEN | {"upload-length": "2000001"}), 413)
        at = client.post("/v1/uploads", headers=SPOKEN | {"upload-length": "2000000"}).headers["location"]
        problem(client.patch(at, headers=PIECE | {"upload-offset": "0"}, content=endless()), 413)
        assert client.delete(at, headers=SPOKEN).status_code == 204
        assert [file for file in (folder / "lib" / "uploads").rglob("*") if file.is_file()] == []


# ------------------------------------------------------------------------------------------------------------- library


def test_a_library_whose_disk_goes_is_never_an_error_of_ours(folder: Path) -> None:
    """It is moved away and back while people ask; nothing is made in its place."""
    with Library.open("lib") as library:
        library.index([folder / "clips"], jobs=1)
    film = clips.film(folder / "new.mp4", ["yellow"]).read_bytes()
    with running(folder) as (client, _):
        assert client.post("/v1/search", json={"query": "red", "min_confidence": 0}).json()["moments"]
        (folder / "lib").rename(folder / "away")
        for _ in range(3):
            assert "look whether its disk is" in problem(client.get("/readyz"), 503)["detail"]
            problem(client.post("/v1/media", files={"file": ("new.mp4", film)}), 503)
            problem(client.post("/v1/uploads", headers=SPOKEN | {"upload-length": "9"}), 503)
            problem(client.post("/v1/examples", files={"image": ("new.png", film)}), 503)
            for path in ("/v1/media", "/v1/jobs", "/v1/quarantine"):  # of what it has open it may tell
                assert client.get(path).status_code in (200, 503)
            asked = client.post("/v1/search", json={"query": "a blue one"})
            assert "look whether its disk is" in problem(asked, 503)["detail"]
        assert client.get("/healthz").is_success
        assert not (folder / "lib").exists()
        (folder / "away").rename(folder / "lib")
        assert client.get("/readyz").is_success
        assert client.post("/v1/search", json={"query": "red", "min_confidence": 0}).json()["moments"]
        job = client.post("/v1/media", files={"file": ("new.mp4", film)}).json()["job"]["id"]
        with client.stream("GET", f"/v1/jobs/{job}/events") as events:
            assert '"done"' in events.read().decode()


def test_who_follows_a_job_is_told_again_when_the_library_is_back(
    own: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = own.client.post("/v1/jobs", json={"paths": [str(folder / "clips")]}).json()["job"]["id"]
    own.over(job)
    plain, looks = Library.job, count()

    def away_for_a_while(library: Library, name: str) -> Any:
        if 0 < next(looks) < 4:
            raise StoreUnavailable("its disk is gone")
        return plain(library, name)

    monkeypatch.setattr(Library, "job", away_for_a_while)
    assert own.over(job)["state"] == "done"
    assert next(looks) >= 5


# --------------------------------------------------------------------------------------------------------------- kills


def test_killed_while_all_is_asked_of_it_no_answer_was_a_lie(folder: Path) -> None:
    """Whoever had an answer finds what it said: what was taken is there, what was taken out is not, and an upload in
    pieces goes on where it ended."""
    with Library.open("lib") as library:
        library.index([folder / "clips"], jobs=1)
        kept = {item.key for item in library.media()}
    films = [
        clips.film(folder / f"film{number}.mp4", [first, second], 0.4 + number / 10).read_bytes()
        for number, (first, second) in enumerate([("red", "blue"), ("green", "red"), ("yellow", "blue")] * 2)
    ]
    piece, at, offset = films[0] + bytes(50_000), "", 0
    taken: dict[int, str] = {}
    gone: set[str] = set()
    for wait in (0.3, 0.8, 1.4):
        with running(folder) as (client, server):
            killer = threading.Timer(wait, server.kill)
            killer.start()
            try:
                if not at:
                    headers = SPOKEN | {"upload-length": str(len(piece))}
                    at = client.post("/v1/uploads", headers=headers).headers["location"]
                while True:
                    for number, data in enumerate(films):
                        headers = {"idempotency-key": f"film-{number}"}
                        answer = client.post("/v1/media", files={"file": (f"{number}.mp4", data)}, headers=headers)
                        if answer.status_code == 202:
                            assert taken.setdefault(number, answer.json()["job"]["id"]) == answer.json()["job"]["id"]
                        assert answer.status_code in (202, 409, 503), answer.text
                        assert client.post("/v1/search", json={"query": "red"}).status_code in (200, 503)
                        offset = int(client.head(at, headers=SPOKEN).headers["upload-offset"])
                        if offset < len(piece) - 10_000:
                            part = piece[offset : offset + 5_000]
                            client.patch(at, headers=PIECE | {"upload-offset": str(offset)}, content=part)
                        if len(gone) < 1 and client.delete(f"/v1/media/{min(kept)}").is_success:
                            gone.add(min(kept))
            except httpx.TransportError:
                pass
            killer.join()
    with running(folder) as (client, _):
        assert int(client.head(at, headers=SPOKEN).headers["upload-offset"]) >= offset
        assert client.delete(at, headers=SPOKEN).status_code == 204
        for job in taken.values():
            with client.stream("GET", f"/v1/jobs/{job}/events") as events:
                assert '"done"' in events.read().decode(), job
        media = client.get("/v1/media", params={"limit": 500}).json()["media"]
        there = {one["id"] for one in media}
        assert kept - gone <= there
        assert not there & gone
        sent = [one for one in media if "/uploads/" in one["path"]]
        assert len(sent) >= len(taken)
        for one in sent:
            assert client.get(one["links"]["stream"]).content in films
        assert client.get("/v1/quarantine").json()["quarantined"] == []


def crash(
    folder: Path,
    patch: pytest.MonkeyPatch,
    point: str,
    asks: Callable[[httpx.Client], object],
    program: str = CHILD,
) -> None:
    """A server is killed at a point of what somebody asks of it."""
    with patch.context() as there:
        there.setenv("REELSEEK_CRASH_AT", point)
        with running(folder, program=program) as (client, server):
            with pytest.raises(httpx.TransportError):
                asks(client)
            server.wait(60)


def kept(folder: Path) -> tuple[list[bytes], list[str]]:
    """What lies in the uploads, of media and of what is on its way, and the paths that count."""
    with Library.open(folder / "lib") as library:
        deposits = library.store.catalog.quotas.deposits()
    found = [*(folder / "lib" / "uploads" / "media").rglob("*"), *(folder / "lib" / "uploads" / "coming").rglob("*.*")]
    return [file.read_bytes() for file in found if file.is_file()], [one.path for one in deposits]


@pytest.mark.parametrize(
    "point",
    ["upload-placed", *(pytest.param(one, marks=pytest.mark.slow) for one in ("upload-counted", "upload-asked"))],
)
def test_killed_between_a_place_and_its_job_a_media_is_there_for_somebody_or_not_at_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    film = clips.film(folder / "new.mp4", ["yellow", "red"]).read_bytes()

    def sends(client: httpx.Client) -> httpx.Response:
        return client.post("/v1/media", files={"file": ("new.mp4", film)})

    with Library.open("lib") as library:  # of what is left on purpose nothing goes
        there = folder / "lib" / "uploads" / "media" / "0123456789abcdef" / "old.mp4"
        there.parent.mkdir(parents=True)
        there.write_bytes(b"old")
        library.store.catalog.quotas.take(Deposit("d", "", "", str(there), 3, time.time()))
    crash(folder, monkeypatch, point, sends)
    with running(folder) as (client, _):
        jobs = [one["id"] for one in client.get("/v1/jobs").json()["jobs"]]
        assert len(jobs) == (point == "upload-asked")
        if not jobs:
            assert kept(folder) == ([b"old"], [str(there)])
        jobs.append(sends(client).json()["job"]["id"])
        for job in jobs:
            indexed(client, job)
        (media,) = client.get("/v1/media").json()["media"]
        assert client.get(media["links"]["stream"]).content == film
        files, counted = kept(folder)
        assert sorted(files) == sorted([b"old", film])
        assert sorted(counted) == sorted([str(there), media["path"]])


PLACES = pytest.mark.parametrize(
    "point",
    [
        "upload-placed",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("upload-linked", "upload-counted", "upload-asked")),
    ],
)


def in_pieces(client: httpx.Client, film: bytes) -> str:
    """The address of an upload that has just begun."""
    said = {"upload-length": str(len(film)), "upload-metadata": f"filename {b64encode(b'new.mp4').decode()}"}
    return str(client.post("/v1/uploads", headers=SPOKEN | said).headers["location"])


def last(client: httpx.Client, at: str, film: bytes) -> httpx.Response:
    return client.patch(at, headers=PIECE | {"upload-offset": "0"}, content=film)


class Sends:
    """Who sends a film in one piece, and where it goes."""

    def __init__(self, film: bytes) -> None:
        self.film, self.at = film, ""

    def __call__(self, client: httpx.Client) -> None:
        self.at = in_pieces(client, self.film)
        last(client, self.at, self.film)


@PLACES
def test_killed_over_its_last_piece_an_upload_goes_on_with_the_next_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    film = clips.film(folder / "new.mp4", ["yellow", "red"]).read_bytes()
    sends = Sends(film)
    crash(folder, monkeypatch, point, sends)
    with running(folder) as (client, _):
        assert len(kept(folder)[1]) == 1  # what is to come counts, and once
        told = client.head(sends.at, headers=SPOKEN)
        assert (told.status_code, told.headers["upload-offset"]) == (200, str(len(film)))
        indexed(client, told.headers["reelseek-job"])
        (media,) = client.get("/v1/media").json()["media"]
        assert client.get(media["links"]["stream"]).content == film
        assert kept(folder) == ([film], [media["path"]])
        assert [one.suffix for one in (folder / "lib" / "uploads" / "parcels").iterdir()] == [".json"]
        assert client.head(sends.at, headers=SPOKEN).headers["reelseek-job"] == told.headers["reelseek-job"]


@PLACES
def test_killed_over_its_last_piece_where_no_links_can_be_an_upload_is_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """And not locked for a day: whoever sent it begins again, and has one media."""
    film = clips.film(folder / "new.mp4", ["yellow", "red"]).read_bytes()
    sends = Sends(film)
    crash(folder, monkeypatch, point, sends, LINKLESS)
    with running(folder, program=LINKLESS) as (client, _):
        assert client.head(sends.at, headers=SPOKEN).status_code == 404
        problem(last(client, sends.at, film), 404)
        assert list((folder / "lib" / "uploads" / "parcels").iterdir()) == []
        indexed(client, last(client, in_pieces(client, film), film).headers["reelseek-job"])
        (media,) = client.get("/v1/media").json()["media"]
        assert client.get(media["links"]["stream"]).content == film
        assert kept(folder)[0] == [film]


def indexed(client: httpx.Client, job: str) -> None:
    with client.stream("GET", f"/v1/jobs/{job}/events") as events:
        assert '"done"' in events.read().decode()


# ---------------------------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 400_000,
        b'{"query": ' * 50_000,
        b'{"query": "red", "limit": 1e999}',
        b'{"query": "red", "limit": ' + b"9" * 5_000 + b"}",
        b'{"query": "red", "min_confidence": NaN}',
        b'{"query": "red", "query": {"$gt": ""}}',
        b'{"query": "\\ud800"}',
        b'{"query": "\xff\xfe"}',
        b'\xef\xbb\xbf{"query": "red"}',
        b'{"query": "' + b"a " * 400_000 + b'"}',
        b'{"query": "red", "filters": {"tags": [' + b'"a",' * 200_000 + b'"a"]}}',
        b'{"query": "red", ' + b",".join(b'"k%d": 1' % n for n in range(50_000)) + b"}",
        b'{"query": "' + b"(" * 9_000 + b'"}',
        b'{"query": "' + b"-" * 9_000 + b'"}',
        b'{"query": null}',
        b"null",
        b"",
        b"0",
    ],
)
def test_json_that_is_absurd_is_refused_soon(shared: Served, body: bytes) -> None:
    for path in ("/v1/search", "/v1/search/batch", "/v1/session", "/v1/jobs"):
        answer = shared.client.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (200, 400, 401, 403, 413, 422), (path, answer.text[:300])
        assert len(answer.content) < 1_000_000
    assert shared.client.get("/healthz").is_success


# --------------------------------------------------------------------------------------------------------------- heads


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/media HTTP/1.1\nHost: localhost\n\n",
        b"GET /v1/media HTTP/1.1\r\nHost: localhost\r\n X-Folded: a\r\n\r\n",
        b"GET /v1/media HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /v1/media HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n\r\n",
        b"GET http://evil.example/v1/media HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /v1/media HTTP/1.1\r\n\r\n",
        b"GET /v1/media HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"GET /v1/media HTTP/1.1\r\nHost: localhost\r\nX\x00: b\r\n\r\n",
        b"GET  /v1/media HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"POST /v1/search HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n",
        b"GET /v1/media HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: localhost\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
        b"GET /v1/media HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n",
        b"GET /v1/media HTTP/1.1\r\nHost: localhost.\r\n\r\n",
        b"GET /v1/media HTTP/1.1\r\nHost: localhost\r\nX-Original-URL: /metrics\r\n\r\n" + b"X" * 10,
        b"GET /v1/media HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(9_000)) + b"\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_a_head_that_is_none_opens_nothing(shared: Served, head: bytes) -> None:
    said = raw(shared, head, 2.0)
    answers = [part[:3] for part in said.split(b"HTTP/1.1 ")[1:]]
    if b"Original-URL" in head or head.startswith(b"GET /v1/media HTTP/1.1\n"):
        assert answers[:1] in ([b"200"], [b"400"])  # lines may end so (RFC 9112), and that header means nothing here
        assert b"reelseek_requests" not in said
    else:
        assert answers
        assert answers[0] in (b"400", b"403", b"415", b"421", b"431"), said[:300]
    assert len([one for one in answers if one == b"200"]) <= 1
    for answer in said.split(b"HTTP/1.1 ")[1:]:
        head, _, body = answer.partition(b"\r\n\r\n")
        if not answer.startswith(b"200"):
            assert KIND.encode() in head
            assert json.loads(body)["status"] == int(answer[:3])
    assert shared.client.get("/healthz").is_success


def test_what_turns_out_to_be_no_request_while_it_is_answered_breaks_off(
    shared: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that goes wrong behind an answer that has begun; nobody is at a loss."""
    head = b"GET /v1/media HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for wrong in (b"zz\r\n", b"5\r\nabcdefgh"):
        said = raw(shared, head + wrong, 2.0)
        assert said[:13] in (b"HTTP/1.1 200 ", b"HTTP/1.1 400 "), said[:300]
    for method in ("POST", "PUT"):
        with socket.create_connection((httpx.URL(shared.url).host, httpx.URL(shared.url).port or 80)) as line:
            line.sendall(head.replace(b"GET /v1/media", method.encode() + b" /v1/nothing"))
            assert line.recv(65_536).startswith(b"HTTP/1.1 404 ")
            line.sendall(b"zz\r\n")
            while line.recv(65_536):  # until it hangs up
                pass
    assert shared.client.get("/healthz").is_success
    assert [one for one in caplog.records if one.levelno > logging.WARNING] == []


def test_what_follows_a_request_that_was_refused_is_not_answered_in_its_place(shared: Served) -> None:
    """A body that nobody read is no request."""
    inner = b"GET /v1/media HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for first in (
        b"POST /v1/search HTTP/1.1\r\nHost: evil\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n",
        b"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n",
    ):
        said = raw(shared, first % len(inner) + inner, 2.0)
        assert said.count(b"HTTP/1.1 ") == 1, said
        assert b'"media"' not in said
