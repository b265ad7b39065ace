"""What stays for long has its end, and its number: clips, streams of events, lines over which nothing comes."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import CLEAR, Served, endless_jobs, problem, raw, serving, until

from api import Library, keys, listening
from api.indexing import Asked
from indexer import cutting, jobs, places


def film(served: Served) -> str:
    (first, *_) = served.client.get("/v1/media", params={"path": "first"}).json()["media"]
    return str(first["id"])


def figure(served: Served, queue: str) -> float:
    text = served.client.get("/metrics").text
    (line,) = (line for line in text.splitlines() if line.startswith(f'reelseek_queue_depth{{queue="{queue}"}}'))
    return float(line.split()[1])


# --------------------------------------------------------------------------------------------------------------- clips


class Slow:
    """Cuts that take as long as somebody looks at them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begun, self.ended = threading.Semaphore(0), threading.Semaphore(0)
        self.over = threading.Event()
        plain = cutting.cut

        def cut(*args: Any, watch: Any = cutting.silent, **more: Any) -> Any:
            self.begun.release()
            try:
                while not self.over.is_set():
                    watch(0.0)
                    time.sleep(0.02)
            finally:
                self.ended.release()
            return plain(*args, **more)

        patch.setattr("api.clipping.cutting.cut", cut)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    made = Slow(monkeypatch)
    yield made
    made.over.set()


@contextmanager
def asking(served: Served, path: str) -> Iterator[socket.socket]:
    """Somebody who asks, and waits until they hang up."""
    url = httpx.URL(served.url)
    with socket.create_connection((url.host, url.port), timeout=60) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield line


def test_so_many_clips_are_cut_at_once_and_the_next_one_is_told(own: Served, slow: Slow) -> None:
    at = f"/v1/media/{film(own)}/clip?start=0&end=1"
    with ExitStack() as there:
        for _ in range(10):
            there.enter_context(asking(own, at))
        until(lambda: figure(own, "cutting") == 10)
        answer = own.client.get(at)
        assert problem(answer, 503)["title"] == "too many ask at once"
        assert answer.headers["retry-after"] == "1"
        assert own.client.get("/v1/media").is_success  # who does not cut does not wait for them
        assert own.found("red")["moments"]
    until(lambda: figure(own, "cutting") == 0)  # they hung up, and nobody goes on for them
    slow.over.set()
    assert own.client.get(at).is_success


def test_a_clip_that_nobody_waits_for_is_given_up(own: Served, slow: Slow) -> None:
    with asking(own, f"/v1/media/{film(own)}/clip?start=0&end=1"):
        assert slow.begun.acquire(timeout=60)
    assert slow.ended.acquire(timeout=60)
    until(lambda: 'route="/v1/media/{id}/clip",status="499"' in own.client.get("/metrics").text)


# ------------------------------------------------------------------------------------------------------------ arrivals


def test_who_looks_does_not_wait_for_what_arrives_or_is_drawn(
    own: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Media that were sent are stored and hashed, whole and in pieces, and pictures drawn, on a disk that is slow."""
    go, key_of, drawn = threading.Event(), places.key_of, own.app.state.serving.thumbnails.of

    def slow_key(place: Any) -> str:
        assert "coming" not in str(place) or go.wait(60)
        return key_of(place)

    def slow_picture(*args: Any) -> bytes:
        assert go.wait(60)
        return bytes(drawn(*args))

    monkeypatch.setattr(places, "key_of", slow_key)
    monkeypatch.setattr(own.app.state.serving.thumbnails, "of", slow_picture)
    data, id = (folder / "clips" / "first.mp4").read_bytes(), film(own)
    spoken = {"tus-resumable": "1.0.0", "content-type": "application/offset+octet-stream", "upload-offset": "0"}
    begun = own.client.post("/v1/uploads", headers=spoken | {"upload-length": str(len(data))})
    with ThreadPoolExecutor(8) as crew:

        def ask(method: str, path: str, **more: Any) -> Future[httpx.Response]:
            return crew.submit(httpx.request, method, own.url + path, timeout=60, verify=CLEAR, **more)

        answers = [ask("PATCH", begun.headers["location"], headers=spoken, content=data)]
        answers += [ask("POST", "/v1/media", files={"file": ("a.mp4", data)}) for _ in range(3)]
        answers += [ask("GET", f"/v1/media/{id}/thumbnail", params={"t": t}) for t in range(4)]
        try:
            until(lambda: (figure(own, "arriving"), figure(own, "drawing")) == (4, 4))
            for path in ("/readyz", "/v1/media", "/v1/jobs"):
                assert own.client.get(path, timeout=20).is_success
            with monkeypatch.context() as patch:
                patch.setattr(own.app.state.serving.arriving, "_most", 4)
                full = own.client.post("/v1/media", files={"file": ("a.mp4", data)})
            assert problem(full, 503)["title"] == "too many ask at once"
            assert full.headers["retry-after"] == "1"
        finally:
            go.set()
    assert all(answer.result().is_success for answer in answers)


# -------------------------------------------------------------------------------------------------------------- events


@pytest.fixture
def followed(own: Served, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A job that goes on."""
    endless_jobs(monkeypatch)
    job = own.client.post("/v1/jobs", json={"paths": [str(folder / "clips")]}).json()["job"]["id"]
    return f"/v1/jobs/{job}/events"


def test_so_many_follow_at_once_and_who_leaves_makes_room(own: Served, followed: str) -> None:
    own.app.state.serving.following._most = 3
    with ExitStack() as there:
        for _ in range(3):
            assert there.enter_context(asking(own, followed)).recv(100).startswith(b"HTTP/1.1 200")
        answer = own.client.get(followed)
        assert problem(answer, 503)["title"] == "too many ask at once"
        assert answer.headers["retry-after"] == "1"
        assert figure(own, "following") == 3
    until(lambda: figure(own, "following") == 0)
    with asking(own, followed) as line:
        assert line.recv(100).startswith(b"HTTP/1.1 200")


def test_who_leaves_before_the_first_word_makes_room_too(own: Served, followed: str) -> None:
    for _ in range(20):
        with asking(own, followed):
            pass
    until(lambda: figure(own, "following") == 0)


def test_one_key_does_not_take_all_places(folder: Path) -> None:
    with Library.open("lib") as library:
        one, other = (keys.make(library.store, name, "search")[1] for name in ("one", "other"))
        record = jobs.register(library.store, Asked(("/nothing",), every=60.0).text)  # nobody takes it up
    with serving(partial(Library.open, folder / "lib")) as served, ExitStack() as there:
        served.app.state.serving.following._each = 2
        clients = [there.enter_context(httpx.Client(base_url=served.url, timeout=60, verify=CLEAR)) for _ in range(3)]
        for client, key in zip(clients, (one, one, other), strict=True):
            headers = {"authorization": f"Bearer {key}"}
            stream = client.stream("GET", f"/v1/jobs/{record.id}/events", headers=headers)
            assert there.enter_context(stream).status_code == 200
        answer = served.client.get(f"/v1/jobs/{record.id}/events", headers={"authorization": f"Bearer {one}"})
        assert problem(answer, 429)["title"] == "too many at once"
        assert answer.headers["retry-after"] == "5"


# --------------------------------------------------------------------------------------------------------------- lines


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that waits for nobody."""
    monkeypatch.setattr(listening, "HEAD_S", 0.5)
    monkeypatch.setattr(listening, "QUIET_S", 1.0)
    monkeypatch.setattr(listening, "LOOK_S", 0.1)


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: loc",
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHo",
        b"POST /v1/session HTTP/1.1\r\nHost: evil\r\nContent-Length: 99\r\n\r\n{",
    ],
    ids=["nothing", "half a head", "half a body", "half a second head", "a body that nobody wants"],
)
def test_who_sends_half_a_request_is_hung_up_on(shared: Served, hasty: None, half: bytes) -> None:
    url = httpx.URL(shared.url)
    with socket.create_connection((url.host, url.port), timeout=60) as line:
        line.sendall(half)
        try:
            while line.recv(65_536):
                pass
        except ConnectionResetError:
            pass
    assert shared.client.get("/healthz").is_success


def test_who_sends_a_letter_now_and_then_is_hung_up_on(shared: Served, hasty: None) -> None:
    url = httpx.URL(shared.url)
    with socket.create_connection((url.host, url.port), timeout=60) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        with pytest.raises(OSError):  # noqa: PT012 - at which of them, the network decides
            for number in range(200):
                line.sendall(f"X-{number}: x\r\n".encode())
                time.sleep(0.05)


def test_who_does_not_read_the_answer_is_hung_up_on(own: Served, hasty: None, folder: Path) -> None:
    with (folder / "clips" / "first.mp4").open("ab") as grown:
        grown.write(bytes(30_000_000))
    with Library.open("lib") as library:
        library.index([folder / "clips" / "first.mp4"])
    with asking(own, f"/v1/media/{film(own)}/stream"):
        until(lambda: 'route="/v1/media/{id}/stream"' in own.client.get("/metrics").text)


def test_who_takes_long_over_an_answer_of_ours_is_not(
    shared: Served, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = shared.app.state.serving.library.search

    def slow(*args: Any, **named: Any) -> Any:
        time.sleep(1.5)
        return plain(*args, **named)

    monkeypatch.setattr(shared.app.state.serving.library, "search", slow)
    assert shared.search("what takes long").status_code == 200


def test_there_are_only_so_many_lines(shared: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MOST", 5)
    url = httpx.URL(shared.url)
    with ExitStack() as there:
        for _ in range(5):
            there.enter_context(socket.create_connection((url.host, url.port)))
        until(lambda: b"503" in raw(shared, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 1.0)[:20])
        said = raw(shared, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 1.0)
        assert b"retry-after: 1\r\n" in said
        assert said.endswith(b'too many lines"}\r\n')
    until(
        lambda: (
            b"200" in raw(shared, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 1.0)[:20]
        )
    )


def test_a_websocket_is_none_here(shared: Served) -> None:
    said = raw(
        shared, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n"
    )
    assert said.startswith(b"HTTP/1.1 200")
