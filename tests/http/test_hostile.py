"""Lines that no honest client writes, and what goes wrong around a server."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import clips
import httpx
import pytest
from serving import CLEAR, Served, problem, raw

from api import Library
from retriever.errors import StoreUnavailable

ROOT = Path(__file__).parents[2]


BODY = b'{"query": "red"}'


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 16\r\nTransfer-Encoding: chunked",
        b"Content-Length: 16\r\nContent-Length: 0",
        b"Content-Length: +16",
        b"Content-Length: -1",
        b"Content-Length: 16, 16, 0",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding : chunked",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_read_in_none(shared: Served, head: bytes) -> None:
    """Smuggling: what a proxy takes for one request must not be two here."""
    inner = b"GET /v1/media HTTP/1.1\r\nHost: localhost\r\n\r\n"
    start = b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    said = raw(shared, start + head + b"\r\n\r\n" + BODY + inner, 2.0)
    assert said.count(b"HTTP/1.1 ") <= 1
    assert b" 200 " not in said[:20]
    assert shared.client.get("/healthz").status_code == 200


def test_who_writes_slowly_holds_up_nobody(shared: Served) -> None:
    url = httpx.URL(shared.url)
    lines = [socket.create_connection((url.host, url.port)) for _ in range(50)]
    try:
        for line in lines:
            line.sendall(b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n")
        begun = time.monotonic()
        assert shared.found("red")["moments"]
        assert time.monotonic() - begun < 10
    finally:
        for line in lines:
            line.close()


def test_a_body_that_ends_early_changes_nothing(own: Served) -> None:
    start = b"POST /v1/media HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    url = httpx.URL(own.url)
    with socket.create_connection((url.host, url.port)) as line:
        line.sendall(start + b"Content-Length: 100000\r\n\r\n" + part + b"half")
    time.sleep(0.2)
    assert own.client.get("/v1/jobs").json()["jobs"][0]["request"]["paths"] != []
    assert not list(Path("lib/uploads").rglob("*.mp4"))


def test_a_disk_that_is_full_is_told_and_nothing_is_half_kept(own: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    film = Path("clips/first.mp4").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", full)
        answer = own.client.post("/v1/media", files={"file": ("a.mp4", film)})
    assert problem(answer, 507)["title"] == "the disk is full"
    assert not [path for path in Path("lib/uploads").rglob("*") if path.is_file()]
    assert own.client.post("/v1/media", files={"file": ("a.mp4", film)}).status_code == 202


def test_a_store_that_is_gone_is_503_until_it_is_back(shared: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    store = shared.app.state.serving.library.store

    def gone() -> Any:
        raise StoreUnavailable("Qdrant did not answer for 60 s: look whether it runs there")

    with monkeypatch.context() as patch:
        patch.setattr(store, "snapshot", gone)
        for path in ("/readyz", "/v1/media"):
            answer = shared.client.get(path)
            assert "did not answer" in problem(answer, 503)["detail"]
            assert answer.headers["retry-after"] == "1"
        problem(shared.search("red"), 503)
        assert shared.client.get("/healthz").status_code == 200
    assert shared.client.get("/readyz").status_code == 200
    assert shared.found("red")["moments"]


def test_what_is_a_bug_is_told_without_its_inside(
    shared: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("/secret/path.py line 7")

    monkeypatch.setattr(shared.app.state.serving.library, "search", broken)
    answer = shared.search("a question that nobody has asked")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in problem(answer, 500)["detail"]
    assert answer.headers["x-request-id"] in caplog.text


@pytest.mark.parametrize("kind", ["picture", "archive"])
def test_a_bomb_is_refused_within_bounds(own: Served, tmp_path: Path, kind: str) -> None:
    """A picture of 60,000 × 60,000 points in a few kilobytes, and zeros without end in a small archive."""
    if kind == "picture":
        head = b"\x89PNG\r\n\x1a\n"
        import struct
        import zlib

        def chunk(name: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

        size = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
        bomb = head + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(10**7), 9)) + chunk(b"IEND", b"")
        name = "bomb.png"
    else:
        import gzip

        bomb, name = gzip.compress(bytes(10**7)), "bomb.mp4"
    assert len(bomb) < 20_000
    job = own.client.post("/v1/media", files={"file": (name, bomb)}).json()["job"]["id"]
    assert own.over(job)["state"] == "failed"
    assert len(own.client.get("/v1/quarantine").json()["quarantined"]) == 1
    answer = own.client.post("/v1/search", files={"image": (name, bomb)})
    problem(answer, 422)
    assert own.found("red")["moments"]


SERVER = """
import sys
from functools import partial
from pathlib import Path
import pytest, uvicorn
from end_to_end.conftest import _in
from api import Library, app
from retriever.settings import Settings
folder = Path(sys.argv[1])
_in(folder, pytest.MonkeyPatch())
settings = Settings(roots=str(folder / "clips"))
uvicorn.run(app.build(partial(Library.open, folder / "lib"), settings), port=int(sys.argv[2]), log_level="error")
"""


def test_killed_under_load_it_has_lost_nothing(folder: Path) -> None:
    """A server that is killed again and again while media come and people ask."""
    with Library.open("lib"):
        pass
    for number in range(6):
        clips.film(folder / "clips" / f"film{number}.mp4", ["red", "blue", "green"][: number % 3 + 1], 1 + number)
    command = [sys.executable, "-c", SERVER, str(folder)]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    wanted = sorted(str(path) for path in (folder / "clips").iterdir())
    job = ""
    for wait in (0.4, 0.9, 1.5, None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with subprocess.Popen([*command, str(port)], env=paths) as server:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, verify=CLEAR) as client:
                until = time.monotonic() + 60
                while time.monotonic() < until:
                    try:
                        client.get("/readyz")
                        break
                    except httpx.TransportError:
                        time.sleep(0.05)
                if not job:
                    job = client.post("/v1/jobs", json={"paths": [str(folder / "clips")]}).json()["job"]["id"]
                asked = time.monotonic()
                while wait is None or time.monotonic() - asked < wait:
                    assert client.post("/v1/search", json={"query": "red"}).status_code == 200
                    if wait is None and client.get(f"/v1/jobs/{job}").json()["state"] == "done":
                        break
                found = client.get("/v1/media", params={"limit": 100}).json()["media"]
            server.send_signal(signal.SIGTERM if wait is None else signal.SIGKILL)
            server.wait(60)
    assert sorted(path for one in found for path in one["paths"]) == wanted
