"""Who is let in, and what every answer carries."""

import re
import socket
from pathlib import Path
from typing import Any, Never

import httpx
import pytest
from serving import Served, problem

from api.problems import KIND
from indexer import cutting
from indexer.decoding import Decoder


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::2]"])
def test_who_calls_it_by_another_name_is_refused(shared: Served, host: str) -> None:
    """A page of another origin whose name has come to mean this machine."""
    answer = shared.client.get("/healthz", headers={"host": host})
    assert (answer.status_code, answer.json()["title"]) == (421, "another host")


@pytest.mark.parametrize("host", ["localhost", "localhost:99", "127.0.0.1:1", "[::1]:8000", "[::1]"])
def test_its_own_names_are_known(shared: Served, host: str) -> None:
    assert shared.client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/media", "/v1/nothing", "/assets/app.js", "/v1/media/x"])
def test_every_answer_keeps_others_out(shared: Served, path: str) -> None:
    headers = shared.client.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
    assert len(headers["x-request-id"]) == 16


def test_no_other_origin_may_send(shared: Served) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in shared.client.options("/v1/search", headers=headers).headers


def test_a_body_that_is_too_large_is_refused_before_it_is_read(shared: Served) -> None:
    answer = shared.client.post("/v1/search", content=b"x" * 1_000_001, headers={"content-type": "application/json"})
    assert answer.status_code == 413

    def endless() -> Any:
        for _ in range(3_000):
            yield b" " * 1_000

    chunked = {"content-type": "application/json"}
    assert shared.client.post("/v1/search", content=endless(), headers=chunked).status_code == 413


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /v1/media/../../etc/passwd HTTP/1.1",
        b"GET /assets/..%2f..%2fapp.py HTTP/1.1",
        b"GET /assets/%2e%2e/app.py HTTP/1.1",
        b"GET /v1/media/..%2f..%2f..%2fetc%2fpasswd/stream HTTP/1.1",
        b"GET /assets/__init__.py HTTP/1.1",
    ],
)
def test_no_path_leads_out(shared: Served, request_line: bytes) -> None:
    url = httpx.URL(shared.url)
    with socket.create_connection((url.host, url.port)) as line:
        line.sendall(request_line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        said = b""
        while block := line.recv(65_536):
            said += block
    assert said.split(b" ", 2)[1] in (b"404", b"400"), said[:200]
    assert b"root:" not in said


def test_what_is_not_there_and_what_is_not_done(shared: Served) -> None:
    nothing = problem(shared.client.get("/v1/nothing"), 404)
    assert nothing["detail"] == "there is nothing at /v1/nothing; /openapi.json tells what there is"
    for method, path, allowed in (
        ("PUT", "/v1/search", "POST"),
        ("POST", "/v1/media/x", "DELETE, GET, HEAD, PATCH"),
        ("PATCH", "/v1/quotas/key/x", "PUT"),
        ("POST", "/", "GET, HEAD"),
        ("HEAD", "/v1/search", "POST"),
    ):
        answer = shared.client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        if method != "HEAD":  # of which nobody sees what is said
            assert problem(answer, 405)["detail"] == f"{method} is not taken at {path}; it takes {allowed}"
    problem(shared.client.get("/v1/media/"), 404)
    long = problem(shared.client.request("M" * 99, f"/v1/search?{'x' * 999}"), 405)
    assert long["detail"].startswith("MMMMMMMMMMMMMMMM is not taken at /v1/search; ")
    assert len(problem(shared.client.get(f"/{'x' * 9_999}"), 404)["detail"]) < 300


def test_the_head_of_what_get_has(shared: Served) -> None:
    """All of its head, and not a byte of what is behind."""
    (media, *_) = shared.client.get("/v1/media", params={"kind": "video"}).json()["media"]
    at = f"/v1/media/{media['id']}"
    for path in ("/", "/assets/app.js", "/healthz", "/readyz", "/openapi.json", "/v1/media", "/v1/jobs", at):
        whole, head = shared.client.get(path), shared.client.head(path)
        assert (whole.status_code, head.status_code, head.content) == (200, 200, b""), path
        for name in ("content-length", "content-type", "content-security-policy"):
            assert head.headers[name] == whole.headers[name]
    whole, part = shared.client.head(f"{at}/stream"), shared.client.head(f"{at}/stream", headers={"range": "bytes=0-9"})
    assert int(whole.headers["content-length"]) == media["bytes"]
    assert (part.status_code, part.headers["content-length"]) == (206, "10")
    assert shared.client.head(f"{at}/thumbnail").headers["content-type"] == "image/jpeg"
    for path in ("/v1/media/nothing", "/v1/nothing"):
        gone = shared.client.head(path)
        assert (gone.status_code, gone.headers["content-type"]) == (404, KIND)


def test_the_head_of_a_picture_is_told_without_drawing_it(shared: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there would be one; how large it is where it was drawn before."""
    ids = [one["id"] for one in shared.client.get("/v1/media").json()["media"]]
    asked = [(id, {"t": t, "w": 600}) for id in (*ids, "nothing") for t in (0.5, 99, "nan")]

    def drawn(*_: object) -> Never:
        raise AssertionError("it was drawn")

    def heads() -> list[httpx.Response]:
        with monkeypatch.context() as patch:
            patch.setattr(Decoder, "pictures", drawn)
            return [shared.client.head(f"/v1/media/{id}/thumbnail", params=said) for id, said in asked]

    before = heads()
    whole = [shared.client.get(f"/v1/media/{id}/thumbnail", params=said) for id, said in asked]
    for first, wanted, later in zip(before, whole, heads(), strict=True):
        for head in (first, later):
            assert (head.status_code, head.content) == (wanted.status_code, b""), wanted.url
            assert all(head.headers.get(name) == wanted.headers.get(name) for name in ("content-type", "cache-control"))
        assert not wanted.is_success or "content-length" not in first.headers
        assert not wanted.is_success or int(later.headers["content-length"]) == len(wanted.content)
    assert {answer.status_code for answer in whole} == {200, 404, 422}


def test_the_head_of_a_clip_is_told_without_cutting_it(shared: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there would be one, and not how large, or in which container."""
    ids = {Path(one["path"]).name: one["id"] for one in shared.client.get("/v1/media").json()["media"]}
    stretches = ((0, 1), (3, 1), (0, 0.0000001), (99, 100), ("nan", 1))
    asked = [(id, {"start": start, "end": end}) for id in (*ids.values(), "nothing") for start, end in stretches]
    asked += [(ids["tone.wav"], {"start": 0}), (ids["tone.wav"], {"start": 0, "end": 1, "odd": 1})]
    whole = [shared.client.get(f"/v1/media/{id}/clip", params=said) for id, said in asked]

    def cut(*_: object, **__: object) -> Never:
        raise AssertionError("it was cut")

    monkeypatch.setattr(cutting, "cut", cut)
    for (id, said), wanted in zip(asked, whole, strict=True):
        head = shared.client.head(f"/v1/media/{id}/clip", params=said)
        assert (head.status_code, head.content) == (wanted.status_code, b""), (id, said)
        same = ["content-security-policy"] + (["accept-ranges"] if wanted.is_success else ["content-type"])
        assert [head.headers[name] for name in same] == [wanted.headers[name] for name in same]
        assert "content-length" not in head.headers or not head.is_success
    assert {answer.status_code for answer in whole} == {200, 404, 422}


def test_nobody_over_http_is_told_of_a_shell(shared: Served) -> None:
    """What is wrong, and who can mend it: who asks has neither commands nor flags."""
    asked = [
        shared.search("red", filters={"duration": ["soon"], "after": "never"}),
        shared.client.get("/v1/jobs/nothing"),
        shared.client.get("/v1/media/nothing"),
        shared.client.get("/v1/similar/nothing@0-1"),
        shared.client.post("/v1/jobs", json={"paths": ["/etc/passwd"]}),
        shared.client.post("/v1/relocations", json={"new": "/etc"}),
        shared.client.post("/v1/media", json={"url": "https://example.org/a.mp4"}),
        shared.client.post("/v1/webhooks", json={"url": "http://10.0.0.1/"}),
        shared.client.put("/v1/quotas/key/nobody", json={}),
        shared.client.get("/healthz", headers={"host": "another.example"}),
        shared.client.get("/healthz", headers={"x-forwarded-for": "192.0.2.1"}),
        shared.search("image:/etc/passwd"),
    ]
    for answer in asked:
        detail = problem(answer, answer.status_code)["detail"]
        assert answer.is_client_error, answer.text
        assert not re.search(r"reelseek [a-z]|--[a-z]|pip ", detail), detail


def test_health_and_figures(shared: Served) -> None:
    assert shared.client.get("/healthz").json() == {"status": "ok"}
    ready = shared.client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["generation"] == shared.client.get("/v1/library").json()["generation"]
    shared.found("blue")
    text = shared.client.get("/metrics").text
    assert 'reelseek_requests_total{method="POST",route="/v1/search",status="200"}' in text
    assert 'reelseek_library{what="media"} 3.0' in text
    assert "reelseek_search_seconds_count" in text
    assert 'reelseek_queue_depth{queue="asking"}' in text


def test_the_description_is_whole(shared: Served) -> None:
    described = shared.client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    for path, methods in described["paths"].items():
        for method, told in methods.items():
            assert told.get("summary"), (method, path)
            assert told.get("description") or path.startswith("/v1/library"), (method, path)
    names = set(described["components"]["schemas"])
    assert {"Search", "Answer", "Moment", "Media", "Job", "Problem"} <= names
    text = str(described)
    assert all(ref.split("'")[0] in names for ref in text.split("#/components/schemas/")[1:])
