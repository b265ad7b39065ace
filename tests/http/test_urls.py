"""Media that are sent by their address on the web."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import clips
import httpx
import pytest
from servers import Shelf, drip, saying, web
from serving import Served, problem, serving, strict, until

from api import Library, fetching, keys, wire
from api.serving import RUNNING_EACH
from retriever.settings import Settings

ROOT = Path(__file__).parents[2]
HERE = "127.0.0.1"
FETCHING = Settings(allow_urls="yes", allow_networks=HERE, most_bytes=1_000_000)


@pytest.fixture
def taking(folder: Path) -> Iterator[Served]:
    """An empty library whose server fetches what this machine serves."""
    with serving(partial(Library.open, folder / "lib"), FETCHING) as served:
        yield served


@pytest.fixture
def shelf(folder: Path) -> Iterator[Shelf]:
    film = clips.film(folder / "far.mp4", ["yellow", "green"]).read_bytes()
    with web(files={"/films/By the sea.mp4": film, "/plain": film}) as found:
        yield found


def named(served: Served, url: str, **said: Any) -> httpx.Response:
    return served.client.post("/v1/media", json={"url": url, **said})


def kept(folder: Path) -> list[str]:
    return [file.name for file in (folder / "lib" / "uploads").rglob("*") if file.is_file() and file.name[0] != "."]


def test_a_film_on_the_web_is_fetched_and_found(taking: Served, folder: Path, shelf: Shelf) -> None:
    shelf.away["/short"] = "/films/By%20the%20sea.mp4"
    answer = named(taking, f"{shelf.url}/short", title="Sea", tags=["far"], collection="web")
    assert answer.status_code == 202, answer.text
    strict(wire.Accepted, answer.json())
    assert taking.over(answer.json()["job"]["id"])["state"] == "done"
    media = taking.found("yellow", limit=1)["moments"][0]["media"]
    assert media["title"] == "Sea"
    assert Path(media["path"]).name == "By_the_sea.mp4"
    assert Path(media["path"]).read_bytes() == shelf.files["/plain"]
    assert taking.client.get("/v1/media", params={"tag": "far", "collection": "web"}).json()["total"] == 1
    again = named(taking, f"{shelf.url}/plain").json()["job"]["id"]  # the same bytes are one media
    assert taking.over(again)["counts"]["unchanged"] == 1
    assert kept(folder) == ["By_the_sea.mp4"]


def test_it_may_be_asked_for_twice(taking: Served, shelf: Shelf) -> None:
    headers = {"idempotency-key": "one"}
    body = {"url": f"{shelf.url}/plain"}
    first, second = (taking.client.post("/v1/media", json=body, headers=headers).json() for _ in range(2))
    assert first == second
    assert len(shelf.asked) == 1
    problem(taking.client.post("/v1/media", json={"url": f"{shelf.url}/other"}, headers=headers), 422)


def test_a_server_fetches_nothing_unasked(own: Served, shelf: Shelf) -> None:
    assert "whoever runs this server can let it" in problem(named(own, f"{shelf.url}/plain"), 403)["detail"]
    assert shelf.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/plain",
        "http://localhost:{port}/plain",
        "http://[::1]:{port}/plain",
        "http://[::ffff:127.0.0.1]:{port}/plain",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/a.mp4",
        "http://[fd00:ec2::254]/",
        "https://user:pass@example.org/a.mp4",
        "file:///etc/passwd",
        "https://1.1.1.1:22/",
    ],
)
def test_nothing_near_is_fetched(folder: Path, shelf: Shelf, url: str) -> None:
    with serving(partial(Library.open, folder / "lib"), Settings(allow_urls="yes")) as served:
        answer = named(served, url.format(port=shelf.url.rpartition(":")[2]))
        assert problem(answer, 403)["title"] == "not this address"
    assert shelf.asked == []
    assert kept(folder) == []


def test_a_redirection_to_what_is_near_is_not_followed(taking: Served, folder: Path, shelf: Shelf) -> None:
    for to in ("http://[::1]:9/a", "http://169.254.169.254/", "file:///etc/passwd"):
        shelf.away["/away"] = to
        problem(named(taking, f"{shelf.url}/away"), 403)
    assert kept(folder) == []


def endless(line: socket.socket) -> None:
    while True:
        line.sendall(b"x" * 65_536)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((OK + b"\r\n", endless), 413),
        ((OK + b"Content-Length: 99999999999\r\n\r\n", endless), 413),
        ((OK + b"Content-Length: 100\r\n\r\nxxx",), 502),
        ((OK + b"Content-Length: 0\r\n\r\n",), 422),
        ((OK + b"Content-Type: text/html\r\nContent-Length: 1\r\n\r\nx",), 415),
        ((OK + b"Content-Type: image/svg+xml\r\nContent-Length: 1\r\n\r\nx",), 415),
        ((OK + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",), 415),
        ((b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",), 502),
        ((b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",), 502),
        ((b"SSH-2.0-OpenSSH\r\n",), 502),
        ((OK + b"Content-Length: 1000\r\n\r\n", drip), 502),
    ],
    ids=("endless", "declared", "torn", "empty", "html", "svg", "zipped", "none", "nowhere", "ssh", "slow"),
)
def test_what_goes_wrong_leaves_nothing(
    taking: Served,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    pieces: tuple[bytes | Callable[[socket.socket], None], ...],
    status: int,
) -> None:
    monkeypatch.setattr(fetching, "LONGEST_S", 2.0)
    caplog.set_level(logging.INFO, "reelseek.http")
    with saying(*pieces) as url:
        problem(named(taking, f"{url}/a.mp4"), status)
    assert list((folder / "lib" / "uploads").rglob("*.*")) == []
    assert taking.app.state.serving.library.store.catalog.quotas.deposits() == []
    assert taking.client.get("/v1/jobs").json()["jobs"] == []
    told = [one for one in caplog.records if f"'status': {status}" in one.getMessage()]
    assert [one.levelname for one in told] == ["WARNING" if status == 502 else "INFO"]  # it is no error of ours
    assert not any(one.exc_info for one in caplog.records)


def test_what_is_no_media_is_set_aside_and_can_be_thrown_away(taking: Served, folder: Path) -> None:
    body = OK + b"Content-Type: video/mp4\r\nContent-Length: 9\r\n\r\nno film !"
    with saying(body) as url:
        assert taking.over(named(taking, f"{url}/a.mp4").json()["job"]["id"])["state"] == "failed"
        problem(named(taking, f"{url}/list.jsonl"), 415)
    (entry,) = taking.client.get("/v1/quarantine").json()["quarantined"]
    for path in ("/etc/passwd", entry["path"] + "x", f"{folder}/clips/first.mp4"):
        problem(taking.client.delete("/v1/quarantine", params={"path": path}), 404)
    gone = taking.client.delete("/v1/quarantine", params={"path": entry["path"]})
    strict(wire.Dropped, gone.json())
    assert kept(folder) == []
    assert taking.client.get("/v1/quarantine").json()["quarantined"] == []


def test_what_cannot_be_read_is_refused(taking: Served) -> None:
    for body in ({}, {"url": ""}, {"url": 5}, {"url": "http://a", "path": "/etc"}, {"url": "x" * 3_000}, [], None):
        problem(taking.client.post("/v1/media", json=body), 422)
    said = taking.client.post("/v1/media", content=b"{", headers={"content-type": "application/json"})
    problem(said, 422)
    assert re.match(r"the address", problem(named(taking, "ftp://example.org/a"), 403)["detail"])


def test_one_key_leaves_room_for_others(folder: Path, shelf: Shelf) -> None:
    with Library.open("lib") as library:
        one, other = (keys.make(library.store, name, "write")[1] for name in ("one", "other"))
    over = threading.Event()

    def waits(line: socket.socket) -> None:
        over.wait(30)

    def fetches(served: Served, url: str, key: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.post(f"{served.url}/v1/media", json={"url": url}, headers=headers, timeout=60)

    with (
        saying(waits) as slow,
        serving(partial(Library.open, folder / "lib"), FETCHING) as served,
        ThreadPoolExecutor(RUNNING_EACH) as crew,
    ):
        try:
            held = [crew.submit(fetches, served, f"{slow}/{number}", one) for number in range(RUNNING_EACH)]
            until(lambda: served.app.state.serving.errands.depth == RUNNING_EACH)
            answer = fetches(served, f"{shelf.url}/plain", one)
            assert "3 of these on their way already" in problem(answer, 429)["detail"]
            assert answer.headers["retry-after"] == "5"
            assert fetches(served, f"{shelf.url}/plain", other).status_code == 202
        finally:
            over.set()
        assert {answer.result().status_code for answer in held} == {502}
        assert fetches(served, f"{shelf.url}/plain", one).status_code == 202


KILLED = """
import os, signal, sys
from functools import partial
from pathlib import Path
import pytest, uvicorn
from end_to_end.conftest import _in
from api import Library, app, arrivals, bringing, listening, quotas
from retriever.settings import Settings
folder = Path(sys.argv[1])
_in(folder, pytest.MonkeyPatch())
killed = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
where, name = {"count": (quotas, "take"), "job": (arrivals, "wanted"), "end": (bringing, "settle")}[sys.argv[2]]
setattr(where, name, killed)
served = app.build(partial(Library.open, "lib"), Settings(allow_urls="yes", allow_networks="127.0.0.1"))
server = uvicorn.Server(listening.config(served, host="127.0.0.1", port=int(sys.argv[3])))
server.run()
"""


@pytest.mark.parametrize("before", ["count", pytest.param("job", marks=pytest.mark.slow), "end"])
def test_what_was_on_its_way_when_a_server_was_killed_is_somebodys_or_goes(
    folder: Path, shelf: Shelf, before: str
) -> None:
    """Fetched and not counted yet, or counted and no job's yet: it goes.  What a job has counts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-c", KILLED, str(folder), before, port]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env=paths) as server:

        def is_ready() -> bool:
            with suppress(httpx.TransportError):
                return httpx.get(f"{url}/readyz", timeout=60).is_success
            assert server.poll() is None
            return False

        until(is_ready, 60.0)
        with pytest.raises(httpx.TransportError):
            httpx.post(f"{url}/v1/media", json={"url": f"{shelf.url}/plain"}, timeout=60)
        assert server.wait(60) == -signal.SIGKILL
    assert kept(folder) == ["plain"]
    with serving(partial(Library.open, folder / "lib"), FETCHING) as served:
        counted = served.app.state.serving.library.store.catalog.quotas
        assert kept(folder) == (["plain"] if before == "end" else [])
        assert [Path(one.path).is_file() for one in counted.deposits()] == [True] * (before == "end")
        job = named(served, f"{shelf.url}/plain").json()["job"]["id"]
        assert served.over(job)["state"] == "done"
        assert [Path(one.path).is_file() for one in counted.deposits()] == [True]
    assert kept(folder) == ["plain"]


def test_what_is_on_its_way_to_another_server_is_left_alone(taking: Served, folder: Path, shelf: Shelf) -> None:
    came, over = threading.Event(), threading.Event()

    def waits(line: socket.socket) -> None:
        line.sendall(shelf.files["/plain"][:100])
        came.set()
        over.wait(30)
        line.sendall(shelf.files["/plain"][100:])

    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(shelf.files["/plain"])
    with saying(head, waits) as url, ThreadPoolExecutor(1) as crew:
        asked = crew.submit(named, taking, f"{url}/a.mp4")
        assert came.wait(30)
        until(lambda: list((folder / "lib" / "uploads" / "coming").rglob("*.part")))
        with serving(partial(Library.open, folder / "lib")):
            over.set()
            assert asked.result().status_code == 202
    assert kept(folder) == ["a.mp4"]


def test_a_server_that_ends_waits_for_nobody(folder: Path) -> None:
    came = threading.Event()

    def waits(line: socket.socket) -> None:
        came.set()
        drip(line)

    with saying(OK, waits) as url, ThreadPoolExecutor(1) as crew:
        with serving(partial(Library.open, folder / "lib"), FETCHING) as served:
            asked = crew.submit(served.client.post, "/v1/media", json={"url": f"{url}/a.mp4"})
            assert came.wait(30)
        assert isinstance(asked.exception(), httpx.HTTPError) or asked.result().status_code == 502
    assert kept(folder) == []
