"""Who is let in, and what every answer carries."""

import socket
from typing import Any

import httpx
import pytest
from serving import Served


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
    assert shared.client.get("/v1/nothing").json()["status"] == 404
    assert shared.client.put("/v1/search").json()["status"] == 405
    assert "allow" in shared.client.put("/v1/search").headers


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
