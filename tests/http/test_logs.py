"""What a server says of each request and job: whole lines, nothing secret, and nothing that a request could forge."""

import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import clips
import httpx
import pytest
from serving import CHILD, Served, problem, raw, serving, until

from api import Library, keys, logs
from api.main import main

ROOT = Path(__file__).parents[2]


class Said:
    """The log of a test."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def lines(self, event: str = "", **like: Any) -> list[dict[str, Any]]:
        """The objects of all lines that are of an event and have these values."""
        found = [json.loads(line) for line in self.text.splitlines()]
        return [one for one in found if one.get("event") == event or not event if like.items() <= one.items()]

    def line(self, event: str, **like: Any) -> dict[str, Any]:
        """The one that is so, once it is there."""
        until(lambda: self.lines(event, **like))
        (found,) = self.lines(event, **like)
        return found


@pytest.fixture
def said() -> Iterator[Said]:
    made = Said()
    with logs.telling("json", "info", made.stream):
        yield made


def test_each_request_is_a_line_with_its_number(shared: Served, said: Said) -> None:
    number = shared.search("red and new").headers["x-request-id"]
    line = said.line("request", request=number)
    assert line.items() >= {"level": "info", "method": "POST", "route": "/v1/search", "status": 200}.items()
    assert line["bytes"] > 100
    assert line["received"] > 10
    assert line["ms"] > 0
    assert set(line["stages"]) >= {"wait", "encode", "first", "moments"}
    assert sum(line["stages"].values()) <= line["ms"] + 1
    assert line["client"] == "127.0.0.1"
    assert line["time"].endswith("Z")
    assert "red" not in json.dumps(line)


def test_a_batch_and_a_timeline_have_stages_too(shared: Served, said: Said) -> None:
    number = shared.client.post(
        "/v1/search/batch", json={"searches": [{"query": "red"}, {"query": "a blue, then red"}]}
    )
    assert said.line("request", request=number.headers["x-request-id"])["stages"]["moments"] > 0
    (film, *_) = shared.client.get("/v1/media", params={"kind": "video"}).json()["media"]
    number = shared.client.get(f"/v1/media/{film['id']}/timeline", params={"query": "red"})
    assert "encode" in said.line("request", request=number.headers["x-request-id"])["stages"]


def test_figures_have_the_stages(shared: Served) -> None:
    shared.found("red")
    text = shared.client.get("/metrics").text
    for stage in ("wait", "encode", "first", "moments"):
        assert f'reelseek_stage_seconds_count{{stage="{stage}"}}' in text


def test_a_number_of_ones_own_is_kept_if_it_is_one(shared: Served, said: Said) -> None:
    for number in ("7d4e1f8a-0000-4bcd-9e55-0123456789ab", "a", "x" * 64, "job_7.2"):
        answer = shared.client.get("/v1/nothing", headers={"x-request-id": number})
        assert answer.headers["x-request-id"] == number
        assert problem(answer, 404)["request"] == number
        assert said.line("request", request=number)["status"] == 404
    for number in ("", "x" * 65, "a b", 'a"b', "a,b", "é", "{}", "../x", "a\tb"):
        answer = shared.client.get("/healthz", headers={"x-request-id": number.encode("utf-8")})
        assert len(answer.headers["x-request-id"]) == 16
    two = [("x-request-id", "first"), ("x-request-id", "second")]
    assert shared.client.get("/healthz", headers=two).headers["x-request-id"] == "first"


HOSTILE = '\n{"event": "request", "status": 200, "forged": 1}\r\n\x1b[31m\x7f\x85\u2028'


def test_nothing_that_is_sent_forges_a_line(shared: Served, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError(HOSTILE)

    at = "/v1/media/%0A%7B%22event%22%3A%22request%22%7D%1B%5B31m"
    problem(shared.client.get(at), 404)
    problem(shared.client.get(f"{at}?q=%0A"), 422)
    shared.search(HOSTILE)
    shared.client.request("MADE", f"/x%0d%0a{'y' * 5_000}")
    monkeypatch.setattr(shared.app.state.serving.library, "search", broken)
    number = shared.search("what breaks").headers["x-request-id"]
    raw(shared, b"GET /\x00\x1b HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until(lambda: "Invalid HTTP request" in said.text)
    lines = said.lines()
    assert not any("forged" in line for line in lines)
    assert said.line("error", request=number)["level"] == "error"
    assert "forged" in said.line("error", request=number)["error"]
    assert said.line("request", request=number)["status"] == 500
    assert all(letter == "\n" or (letter.isprintable() and letter.isascii()) for letter in said.text)
    assert {line["method"] for line in said.lines("request")} <= {"GET", "POST", "other"}
    assert all(len(line) < 30_000 for line in said.text.splitlines())


def test_lines_for_people_are_as_hard_to_forge(shared: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError(f"{HOSTILE}\n2026-01-01T00:00:00.000Z info forged")

    said = Said()
    with logs.telling("plain", "info", said.stream):
        number = shared.search("red").headers["x-request-id"]
        monkeypatch.setattr(shared.app.state.serving.library, "search", broken)
        shared.search("what breaks for people")
        until(lambda: "status=500" in said.text)
    assert f"info request request={number} method=POST route=/v1/search status=200" in said.text
    assert not [line for line in said.text.splitlines() if line.startswith(("{", "2026-01-01"))]
    assert "\x1b" not in said.text


def test_what_is_secret_stays_so(folder: Path, said: Said) -> None:
    with Library.open("lib") as library:
        key, text = keys.make(library.store, "tenant", "search", "ours")
    secret = text.rpartition("_")[2]
    with serving(partial(Library.open, folder / "lib")) as served:
        number = served.client.get("/v1/media", headers={"authorization": f"Bearer {text}"}).headers["x-request-id"]
        served.client.get(f"/v1/media?key={text}&path=hidden", headers={"cookie": f"reelseek_key={text}"})
        served.client.post("/v1/session", json={"key": text})
        served.client.post("/v1/session", json={"key": text + "x"})
        served.client.get(f"/v1/{text}")
        line = said.line("request", request=number)
        assert (line["key"], line["collection"]) == (key.id, "ours")
    assert secret not in said.text
    assert "hidden" not in said.text


def test_levels_say_how_bad_it_is(shared: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from retriever.errors import StoreUnavailable

    def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("its disk is gone")

    said = Said()
    with logs.telling("json", "warning", said.stream), monkeypatch.context() as patch:
        shared.client.get("/healthz")
        shared.search("red")
        patch.setattr(shared.app.state.serving.library, "search", away)
        shared.search("what is away")
        said.line("turned away")
    assert [line["level"] for line in said.lines()] == ["warning"]
    quiet, loud = Said(), Said()
    with logs.telling("json", "info", quiet.stream):
        shared.client.get("/healthz")
        assert shared.client.get("/v1/media", timeout=60).is_success
        until(lambda: quiet.lines("request"))
    assert [line["route"] for line in quiet.lines()] == ["/v1/media"]
    with logs.telling("json", "debug", loud.stream):
        shared.client.get("/healthz")
        assert loud.line("request", route="/healthz")["level"] == "debug"


def test_who_is_turned_away_is_told_of_now_and_then(folder: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and then how many more there were: not a line each where there are thousands."""
    from api import crowds

    monkeypatch.setattr(crowds, "EVERY_S", 1.0)
    with Library.open("lib") as library:
        key = keys.make(library.store, "eager", "search", rate=0.001)[1]
    with serving(partial(Library.open, folder / "lib")) as served:

        def asks() -> int:
            return served.client.get("/v1/media", headers={"authorization": f"Bearer {key}"}).status_code

        assert [asks() for _ in range(21)] == [200] + [429] * 20
        until(lambda: sum(line["requests"] for line in said.lines("turned away")) == 20)
        first, *more = said.lines("turned away")
        assert (first["level"], first["requests"]) == ("warning", 1)
        assert first["reasons"] == {"too many requests": 1}
        assert len(more) < 10
        assert {line["level"] for line in said.lines("request", status=429)} == {"info"}


def test_jobs_and_their_media_are_told(own: Served, folder: Path, said: Said) -> None:
    clips.film(folder / "clips" / "third.mp4", ["yellow"])
    (folder / "clips" / "bad.mp4").write_text("no film")
    job = own.client.post("/v1/jobs", json={"paths": [str(folder / "clips")]}).json()["job"]["id"]
    own.over(job)
    last = said.line("job", job=job, state="done")
    assert last["counts"]["indexed"] == 1
    assert said.line("job", job=job, state="running")["level"] == "info"
    made, aside = (said.lines("media", job=job, level=level) for level in ("info", "warning"))
    assert made[0]["media"] in [one["id"] for one in own.client.get("/v1/media").json()["media"]]
    assert made[0]["stages_s"]
    assert "bad.mp4" in aside[0]["reason"] or aside[0]["reason"]


def test_who_is_gone_before_the_end_is_told_of(shared: Served, said: Said) -> None:
    url = httpx.URL(shared.url)
    with socket.create_connection((url.host, url.port)) as line:
        line.sendall(b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        line.sendall(b"Content-Length: 99\r\n\r\n{")
        time.sleep(0.2)
    assert said.line("request", status=499)["route"] == "/v1/search"


def test_a_thread_that_falls_is_told_of_in_a_line() -> None:
    from threading import Thread

    said = Said()
    with logs.telling("json", "info", said.stream):
        thread = Thread(target=lambda: 1 / 0, name="faller")
        thread.start()
        thread.join()
    assert "ZeroDivisionError" in said.line("thread", thread="faller")["error"]


def test_afterwards_all_is_as_before() -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    with logs.telling("json", "info", io.StringIO()):
        assert root.handlers != before[0]
    assert (root.handlers, root.level) == before


# --------------------------------------------------------------------------------------------------- the command line


def test_all_that_a_server_says_is_json(folder: Path) -> None:
    """From the first line to the last, also what uvicorn says."""
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-c", CHILD, str(folder), "serve", "--create", "--port", "0", "--log", "json"]
    with subprocess.Popen(command, env=paths, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        first = json.loads(server.stderr.readline())
        assert first["event"] == "serving"
        line = server.stderr.readline()  # once it is ready
        assert json.loads(line)["event"] == "ready"
        assert httpx.get(f"{first['url']}/v1/media", timeout=60).is_success
        with socket.create_connection(("127.0.0.1", httpx.URL(first["url"]).port)) as broken:
            broken.sendall(b"nonsense\r\n\r\n")
            assert broken.recv(100).startswith(b"HTTP/1.1 400")
        server.send_signal(signal.SIGTERM)
        rest = [json.loads(line) for line in server.stderr.read().splitlines()]
        server.wait(60)
    assert [one.get("route") for one in rest if one.get("event") == "request"] == ["/v1/media"]
    assert any(one.get("message") == "Invalid HTTP request received." for one in rest)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--log", "xml"], "--log is 'xml'; it wants plain or json"),
        (["--log-level", "loud"], "--log-level is 'loud'; it wants auto or debug or info or warning or error"),
        (["--public-url", "clips.example.org"], "it wants an address without a path"),
        (["--public-url", "https://a.example/x"], "it wants an address without a path"),
        (["--public-url", "https://clips.example.org"], "--public-url is https://clips.example.org; without keys"),
        (["--trusted-proxies", "everybody"], "it wants networks"),
        (["--trusted-proxies", "*"], "it wants networks"),
        (["--allow-networks", "::1, 127.0.0.1/8"], "127.0.0.1/8 is in, 127.0.0.0/8, or that address alone"),
    ],
)
def test_what_cannot_be_is_told_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    assert main(["serve", "--create", "--port", "0", *words]) == 2
    assert complaint in capsys.readouterr().err
