"""The Python client against a real server, at once and awaited; and against servers that are busy, or are none."""

import asyncio
import inspect
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import av
import clips
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import Served, endless_jobs, serving

from api import Library, calls, keys, wire
from api.calls import Call, Patience
from api.client import AsyncReelseekClient, ClientError, ReelseekClient
from retriever.errors import BadSettings
from retriever.settings import resolve

ROOT = Path(__file__).parents[2]
Ask = Callable[..., Any]
FOR_OTHERS = ("/healthz", "/readyz", "/metrics", "/v1/session", "/v1/uploads")
"""Parts of the server that are for whoever watches it, for the page, and for clients of tus."""


def _now(url: str, name: str, *args: Any, **named: Any) -> Any:
    how = {"patience_s": named.pop("patience_s", 20.0), "key": named.pop("key", None)}
    with ReelseekClient(url, **how) as client:
        found = getattr(client, name)(*args, **named)
        return list(found) if isinstance(found, Iterator) else found


def _soon(url: str, name: str, *args: Any, **named: Any) -> Any:
    how = {"patience_s": named.pop("patience_s", 20.0), "key": named.pop("key", None)}

    async def asked() -> Any:
        async with AsyncReelseekClient(url, **how) as client:
            found = getattr(client, name)(*args, **named)
            return [one async for one in found] if inspect.isasyncgen(found) else await found

    return asyncio.run(asked())


@pytest.fixture(params=[_now, _soon], ids=["at once", "awaited"])
def ask(request: pytest.FixtureRequest) -> Ask:
    found: Ask = request.param
    return found


def refused(ask: Ask, status: int, *args: Any, **named: Any) -> ClientError:
    with pytest.raises(ClientError) as caught:
        ask(*args, **named)
    assert caught.value.status == status
    assert "\n" not in str(caught.value)
    return caught.value


# ---------------------------------------------------------------------------------------------------- what is answered


def test_answers_are_those_of_the_server(shared: Served, ask: Ask) -> None:
    at = partial(ask, shared.url)
    document = shared.found("blue")
    found: wire.Answer = at("search", "blue", min_confidence=0)
    assert found.model_dump(mode="json") == wire.Answer.model_validate(document).model_dump(mode="json")
    first, id = found.moments[0], found.moments[0].media.id
    narrowed = at("search", "blue", min_confidence=0, by="video", filters=wire.Filters(kinds=["sound"]))
    assert {one.media.kind for one in narrowed.moments} == {"sound"}
    both = at("batch", ["red", wire.Search(query="blue", min_confidence=0, limit=1)])
    assert [one.query for one in both] == ["red", "blue"]
    assert [one.ref for one in both[1].moments] == [first.ref]
    assert first.ref not in [one.ref for one in at("similar", first.ref, min_confidence=0, limit=2).moments]
    listed = shared.client.get("/v1/media").json()
    assert at("media").model_dump(mode="json") == listed
    assert at("media", kinds=["sound"], limit=1).total == 1
    assert at("one", id).model_dump(mode="json") == next(one for one in listed["media"] if one["id"] == id)
    assert "blue" in at("written", id)
    assert at("transcript", id).strip() == "WEBVTT"
    assert set(at("timeline", id, "blue").curves) >= {"vision"}
    assert at("library") == shared.client.get("/v1/library").json()
    assert [one.model_dump(mode="json") for one in at("jobs")] == shared.client.get("/v1/jobs").json()["jobs"]
    assert at("job", at("jobs")[0]).state == "done"
    assert at("quarantine") == []


def test_pages_come_one_after_the_other(shared: Served, ask: Ask) -> None:
    whole = ask(shared.url, "search", "red", copies="show", min_confidence=0).moments
    pages = ask(shared.url, "pages", "red", copies="show", min_confidence=0, limit=1)
    assert [one.ref for page in pages for one in page.moments] == [one.ref for one in whole]
    assert [len(page.moments) for page in pages] == [1] * len(whole)
    listed = ask(shared.url, "media_pages", limit=2)
    assert [len(page.media) for page in listed] == [2, 1]


def test_a_file_asks(shared: Served, ask: Ask) -> None:
    for image in ("red.png", Path("red.png"), Path("red.png").read_bytes()):
        term = ask(shared.url, "example", image=image).term
        first = ask(shared.url, "search", f"{term} -blue", min_confidence=0).moments[0]
        assert (Path(first.media.path).name, first.start_s) == ("first.mp4", 0.0)
    for wrong in ({}, {"image": b"x", "clip": b"y"}):
        with pytest.raises(BadSettings, match="one of image, sound, clip"):
            ask(shared.url, "example", **wrong)


def test_files_come_whole_or_not_at_all(shared: Served, ask: Ask, tmp_path: Path) -> None:
    at = partial(ask, shared.url)
    first = at("search", "blue", min_confidence=0, filters=wire.Filters(path="first")).moments[0]
    whole = at("stream", first.media.id, tmp_path / "whole.mp4")
    assert whole == tmp_path / "whole.mp4"
    assert whole.read_bytes() == Path("clips/first.mp4").read_bytes()
    assert at("thumbnail", first.media.id, tmp_path / "a.jpg", t=3.0, w=64).read_bytes().startswith(b"\xff\xd8")
    with av.open(str(at("clip", first.ref, tmp_path / "cut.mp4", exact=True))) as cut:
        assert 1.9 <= (cut.duration or 0) / av.time_base <= 2.2
    kept = sorted(tmp_path.iterdir())
    refused(ask, 404, shared.url, "stream", "beef", tmp_path / "none.mp4")
    refused(ask, 422, shared.url, "clip", f"{first.media.id}@50-60", whole)
    assert sorted(tmp_path.iterdir()) == kept
    assert whole.read_bytes() == Path("clips/first.mp4").read_bytes()
    for wrong in ("beef", "beef@soon", "beef@3-1"):
        with pytest.raises(BadSettings):
            at("clip", wrong, tmp_path / "none.mp4")


def test_a_film_is_sent_described_and_taken_out(own: Served, ask: Ask, tmp_path: Path) -> None:
    at = partial(ask, own.url)
    film = clips.film(tmp_path / "new.mp4", ["yellow", "green"])
    job = at("upload", film, title="Sea", tags=["a", "b"], idempotency_key="one")
    assert at("upload", film, title="Sea", tags=["a", "b"], idempotency_key="one").id == job.id
    assert refused(ask, 422, own.url, "upload", film, idempotency_key="one").title == "another request"
    last = at("wait", job)
    assert (last.id, last.state, last.counts["indexed"]) == (job.id, "done", 1)
    assert at("events", job.id)[-1] == last
    (media,) = at("media", tags=["a", "b"]).media
    assert media.metadata.title == "Sea"
    changed = at("patch", media.id, title="Lake", tags=[])
    assert (changed.metadata.title, changed.metadata.tags) == ("Lake", [])
    assert at("patch", media.id, recorded="2026-01-31").metadata.title == "Lake"
    assert [one["id"] for one in at("delete", media.id)] == [media.id]
    refused(ask, 404, own.url, "delete", media.id)
    with pytest.raises(FileNotFoundError):
        at("upload", tmp_path / "nothing.mp4")


def test_a_job_is_steered(own: Served, ask: Ask, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless_jobs(monkeypatch)
    at = partial(ask, own.url)
    clips.film(folder / "clips" / "third.mp4", ["yellow"])
    job = at("index", [folder / "clips"], tags=["asked"], prune=True)
    assert (job.request["prune"], job.request["metadata"]["tags"]) == (True, ["asked"])
    at("pause", job)
    assert at("wait", job).state == "paused"
    assert at("resume", job.id).state in ("queued", "running")
    at("cancel", job)
    assert at("wait", job.id).state == "cancelled"
    for what in ("pause", "resume", "cancel"):
        assert "is cancelled" in refused(ask, 409, own.url, what, job).detail
    refused(ask, 404, own.url, "wait", "beefbeef")
    assert refused(ask, 403, own.url, "index", ["/etc"]).title == "not below a root"


def test_what_is_refused_is_told(shared: Served, ask: Ask) -> None:
    at = partial(refused, ask)
    assert at(422, shared.url, "search", "red THEN").position == 4
    second = at(422, shared.url, "batch", ["red", "red THEN"])
    assert (second.search, second.position) == (1, 4)
    wrong = at(422, shared.url, "search", "red", limit=0)
    assert [one["path"] for one in wrong.errors] == ["body.limit"]
    assert "beef" in at(404, shared.url, "one", "beef").detail
    assert at(404, shared.url, "one", "../jobs").title == "not found"
    assert at(422, shared.url, "search", "red", page="nonsense").title == "no such page"
    with pytest.raises(BadSettings, match="characters"):
        ask(shared.url, "search", "half of \ud83d")


def test_a_key_opens_what_is_locked(
    folder: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Library.open("lib") as library:
        library.index([folder / "clips"], jobs=1)
        key = keys.make(library.store, "reader", "search")[1]
    with serving(partial(Library.open, folder / "lib")) as served:
        assert refused(ask, 401, served.url, "search", "red").title == "a key is needed"
        assert refused(ask, 401, served.url, "search", "red", key="rs_beef_wrong").title == "no such key"
        assert ask(served.url, "media", key=key).total == 3
        monkeypatch.setenv("REELSEEK_API_KEY", key)
        assert ask(served.url, "media").total == 3
        refused(ask, 401, served.url, "media", key="")
        assert refused(ask, 403, served.url, "delete", "beef").title == "not with this key"
    resolve({}, {"REELSEEK_API_KEY": key})  # no complaint: it is no setting


@pytest.mark.parametrize(
    ("url", "key", "complaint"),
    [
        ("clips.example.org", "", "it wants http://HOST:PORT"),
        ("ftp://clips.example.org", "", "it wants http://HOST:PORT"),
        ("http://a b:port", "", "it wants http://HOST:PORT"),
        ("http://[::1", "", "it wants http://HOST:PORT"),
        ("http://clips.example.org", "rs_a_b", "in the clear"),
        ("https://clips.example.org", "rs_ä_\n", "characters that no key has"),
    ],
)
def test_a_server_is_named_rightly(url: str, key: str, complaint: str) -> None:
    for client in (ReelseekClient, AsyncReelseekClient):
        with pytest.raises(BadSettings, match=complaint):
            client(url, key=key)


def test_both_clients_ask_everything_that_is_served(shared: Served) -> None:
    def public(client: type) -> dict[str, inspect.Signature]:
        return {name: inspect.signature(getattr(client, name)) for name in dir(client) if not name.startswith("_")}

    one, other = public(ReelseekClient), public(AsyncReelseekClient)
    events = ("events", "wait", "close")
    assert {name: found for name, found in one.items() if name not in events} == {
        name: found for name, found in other.items() if name not in events
    }
    assert all(getattr(ReelseekClient, name).__doc__ for name in one if name != "close")
    asked = set()
    for name in one:
        if name not in ("wait", "close", "events"):
            call = getattr(ReelseekClient, name)(*_some(name), **({"image": b"x"} if name == "example" else {}))
            assert isinstance(call, Call)
            asked.add((call.method.lower(), call.path))
    asked.add(("get", f"{calls.one_job('beef').path}/events"))
    described = shared.client.get("/openapi.json").json()["paths"]
    served = {(method, re.sub(r"\{\w+\}", "beef", path)) for path, methods in described.items() for method in methods}
    assert asked <= served
    assert {found for found in served - asked if not found[1].startswith(FOR_OTHERS)} == set()


def _some(name: str) -> tuple[Any, ...]:
    """Arguments that this request can be described with."""
    known: dict[str, tuple[Any, ...]] = {"batch": (["a"],), "clip": ("beef@0-1", "x"), "timeline": ("beef", "a")}
    known |= {"index": (["/a"],), **dict.fromkeys(("stream", "thumbnail"), ("beef", "x"))}
    known |= dict.fromkeys(("media", "media_pages", "jobs", "library", "quarantine", "example"), ())
    known |= dict.fromkeys(("webhooks", "quota", "quotas", "collections"), ()) | dict.fromkeys(
        ("deliver", "set_quota"), ("beef", "beef")
    )
    return known.get(name, ("beef",))


def in_a_new_process(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    return (done.stdout + done.stderr).strip()


def test_a_client_needs_neither_models_nor_a_server() -> None:
    heavy = ("torch", "openvino", "av", "faiss", "fastapi", "uvicorn")
    told = in_a_new_process(f"import sys, api.client; print([name for name in {heavy} if name in sys.modules])")
    assert told == "[]"


@pytest.mark.parametrize(
    ("module", "needs", "extra"),
    [
        ("api.client", "httpx", "client"),
        ("api.adapters.langchain", "langchain_core", "langchain"),
        ("api.adapters.llamaindex", "llama_index", "llamaindex"),
    ],
)
def test_what_is_not_installed_is_named(module: str, needs: str, extra: str) -> None:
    told = in_a_new_process(f"import sys; sys.modules[{needs!r}] = None; import {module}").splitlines()[-1]
    assert told.startswith("retriever.errors.MissingExtra: ")
    assert told.endswith(f" needs {needs}: pip install 'reelseek[{extra}]'")


# ------------------------------------------------------------------------------------------ servers that do not answer

JOB: dict[str, Any] = {
    "id": "beef",
    "state": "running",
    "wish": "",
    "by": "",
    "request": {},
    "created_at": 1.0,
    "began_at": None,
    "ended_at": None,
    "counts": {},
    "error": "",
}
LISTED = (200, {}, b'{"media": [], "total": 0, "next_page": null}')
BUSY = (503, {"retry-after": "0"}, b'{"type": "about:blank", "title": "busy", "status": 503, "detail": "later"}')
LOST = None


@contextmanager
def scripted(*answers: tuple[int, dict[str, str], bytes] | None) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that answers so, one request after the other; None hangs up.  Yields its URL and the headers it saw."""
    left, seen = list(answers), list[dict[str, str]]()

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            seen.append({name.lower(): value for name, value in self.headers.items()})
            answer = left.pop(0)
            self.close_connection = True
            if answer is None:
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = do

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_who_is_busy_is_asked_again(ask: Ask) -> None:
    with scripted(BUSY, (429, {"retry-after": "0"}, b""), LISTED) as (url, seen):
        assert ask(url, "media").total == 0
        assert len(seen) == 3
    later = (429, {"retry-after": "3600"}, b"")
    with scripted(later) as (url, seen):
        refused(ask, 429, url, "media")
    with scripted(BUSY, BUSY) as (url, seen):
        assert refused(ask, 503, url, "media", patience_s=0.0).detail == "later"
        assert len(seen) == 1


def test_a_lost_connection_does_nothing_twice(ask: Ask, tmp_path: Path) -> None:
    accepted = (202, {}, json.dumps({"job": JOB}).encode())
    (tmp_path / "a.mp4").write_bytes(b"film" * 1000)
    with scripted(LOST, LISTED) as (url, seen):
        assert ask(url, "media").total == 0
    with scripted(LOST, LOST, accepted) as (url, seen):
        assert ask(url, "upload", tmp_path / "a.mp4").id == "beef"
        assert len({one["idempotency-key"] for one in seen}) == 1
        assert [one["content-length"] for one in seen] == [seen[0]["content-length"]] * 3
    for name, args in (("patch", ("beef",)), ("delete", ("beef",)), ("cancel", ("beef",))):
        with scripted(LOST, LISTED) as (url, seen):
            assert refused(ask, 0, url, name, *args).title == "no answer"
            assert len(seen) == 1
    refused(ask, 0, url, "media", patience_s=0.0)  # nobody listens there any more


def test_half_a_file_is_none(ask: Ask, tmp_path: Path) -> None:
    half = (200, {"content-length": "10"}, b"half")
    with scripted(half, half, (200, {"content-length": "5"}, b"whole")) as (url, _):
        assert ask(url, "stream", "beef", tmp_path / "a").read_bytes() == b"whole"
    for name in ("a", "b"):
        with scripted(half) as (url, _):
            refused(ask, 0, url, "stream", "beef", tmp_path / name, patience_s=0.0)
    assert [one.name for one in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_who_answers_is_no_reelseek(ask: Ask) -> None:
    page = b"<html>\n<h1>Hello</h1></html>"
    with scripted((200, {}, page), (502, {}, page), (200, {}, b"data: {}\n\n")) as (url, _):
        assert refused(ask, 200, url, "media").title == "not understood"
        assert str(refused(ask, 502, url, "media")) == "Bad Gateway: <html> <h1>Hello</h1></html>"
        refused(ask, 200, url, "wait", "beef")


def test_events_go_on_where_they_were_lost(ask: Ask) -> None:
    def told(*states: str) -> tuple[int, dict[str, str], bytes]:
        lines = [f"event: job\ndata: {json.dumps(JOB | {'state': state})}\n\n: still here\n\n" for state in states]
        return 200, {"content-type": "text/event-stream"}, "".join(lines).encode()

    with scripted(told("queued"), LOST, BUSY, told("queued", "running"), told("running", "done")) as (url, seen):
        assert [one.state for one in ask(url, "events", "beef")] == ["queued", "running", "done"]
        assert len(seen) == 5
    with scripted(told("running"), LOST) as (url, _):
        assert refused(ask, 0, url, "wait", "beef", patience_s=0.0).title == "no answer"


def test_patience_is_for_one_silence_and_not_for_a_whole_job(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count(step=6)
    monkeypatch.setattr("api.client.Patience", lambda seconds: Patience(seconds, lambda: float(next(ticks))))
    answers = [
        (200, {}, f"data: {json.dumps(JOB | {'state': one})}\n\n".encode()) for one in ("queued", "running", "done")
    ]
    with scripted(*answers) as (url, _):
        assert ask(url, "wait", "beef", patience_s=10.0).state == "done"


def test_no_proxy_of_the_environment_is_shown_a_key(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with scripted(LISTED) as (url, seen):
        assert ask(url, "media", key="rs_a_b", patience_s=0.0).total == 0
        assert seen[0]["authorization"] == "Bearer rs_a_b"


def test_what_never_arrived_may_always_be_sent_again() -> None:
    for call in (calls.delete("beef"), calls.media(), calls.cancel("beef")):
        for lost in (httpx.ConnectError("refused"), httpx.ConnectTimeout("nobody")):
            assert Patience(10.0).after(call, lost) is not None
    assert Patience(10.0).after(calls.delete("beef"), httpx.ReadTimeout("late")) is None
    busy = httpx.Response(409, headers={"retry-after": "1"})
    assert Patience(10.0).after(calls.upload("a.mp4"), busy) is not None  # its first request is at work still
    assert Patience(10.0).after(calls.upload("a.mp4"), httpx.Response(409)) is None


@given(
    seconds=st.floats(0, 100),
    outcomes=st.lists(st.none() | st.integers(0, 50), max_size=200),
)
def test_nobody_waits_longer_than_their_patience(seconds: float, outcomes: list[int | None]) -> None:
    """None is a lost connection, a number somebody busy who says when."""
    now = 0.0
    patience, call = Patience(seconds, lambda: now), calls.media()
    for said in outcomes:
        outcome = httpx.ReadError("lost") if said is None else httpx.Response(503, headers={"retry-after": str(said)})
        wait = patience.after(call, outcome)
        if wait is None:
            break
        assert wait >= (said or 0)
        assert wait > 0
        now += wait
    assert now <= seconds
