"""A served library on a port of its own, for tests that ask over real HTTP."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from api import app as http
from api import listening
from api.problems import KIND
from api.service import Library
from api.spans import Spans
from indexer import pipeline
from retriever.settings import Settings

CHILD = """
import sys
from pathlib import Path
import pytest
from end_to_end.conftest import _in
from api.main import main
_in(Path(sys.argv[1]), pytest.MonkeyPatch())
sys.exit(main(sys.argv[2:]))
"""
"""A program: the command line in a folder, over encoders that need no weights."""


CLEAR = False
"""How a client of a server without TLS is to `verify`: it reads no certificates, which takes longer than a question."""


@dataclass
class Served:
    """Whoever asks, and what is asked."""

    client: httpx.Client
    app: FastAPI
    url: str

    def search(self, query: str, **more: Any) -> httpx.Response:
        return self.client.post("/v1/search", json={"query": query, "min_confidence": 0, **more})

    def found(self, query: str, **more: Any) -> dict[str, Any]:
        answer = self.search(query, **more)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def events(self, job: str) -> Iterator[dict[str, Any]]:
        """What the server tells of a job until it is over."""
        with self.client.stream("GET", f"/v1/jobs/{job}/events") as told:
            assert told.headers["content-type"].startswith("text/event-stream")
            for line in told.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def over(self, job: str) -> dict[str, Any]:
        """The last that is told of a job."""
        *_, last = self.events(job)
        return last


def until(true: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for what is to come."""
    for _ in range(int(seconds / 0.05)):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


def raw(served: Served, text: bytes, wait: float = 5.0) -> bytes:
    """What comes back for these bytes."""
    url = httpx.URL(served.url)
    with socket.create_connection((url.host, url.port), timeout=wait) as line:
        line.sendall(text)
        said = b""
        try:
            while block := line.recv(65_536):
                said += block
        except (TimeoutError, ConnectionResetError):
            pass
    return said


def endless_jobs(patch: pytest.MonkeyPatch) -> None:
    """From now on jobs go on until somebody wishes otherwise."""
    index = pipeline.index

    def endless(found: Any, run: Any, *rest: Any) -> Any:
        while not run.wish():
            run.post.store.catalog.runs()
        return index(found, run, *rest)

    patch.setattr(pipeline, "index", endless)


class Prompt(uvicorn.Server):
    """Told to leave, it does so at once, and not at the next tenth of a second: hundreds are started and told."""

    async def main_loop(self) -> None:
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            await asyncio.sleep(0.02)


@contextmanager
def serving(
    opened: Callable[[], Library], settings: Settings | None = None, spans: Spans | None = None
) -> Iterator[Served]:
    app = http.build(opened, settings or Settings(), spans=spans)
    server = Prompt(listening.config(app, host="127.0.0.1", port=0))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            threading.Event().wait(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=60, verify=CLEAR) as client:
            yield Served(client, app, url)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def strict(model: type[BaseModel], document: Any) -> None:
    """The document has what the model says, and nothing else at any depth."""
    made = model.model_validate(document).model_dump(mode="json")
    assert json.loads(json.dumps(made)) == document


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == KIND
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert "\n" not in found["detail"] or found["detail"].count("\n") < 5
    return found
