"""Whoever is told: a web server of this machine that keeps what it is sent, and answers as it is told to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Message:
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def said(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


@dataclass
class Receiver:
    """`answers` are the next ones, 204 behind them; one with headers is a pair."""

    answers: list[int | tuple[int, dict[str, str]]] = field(default_factory=list)
    got: list[Message] = field(default_factory=list)
    url: str = ""
    stalls: threading.Event | None = None  # nothing is answered before this is set
    came: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, count: int) -> list[Message]:
        """The messages, once there are so many."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.got) >= count, 30), f"{len(self.got)} of {count} came"
            return list(self.got)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with receiver.came:
            receiver.got.append(Message({name.lower(): value for name, value in self.headers.items()}, body))
            answer = receiver.answers.pop(0) if receiver.answers else 204
            receiver.came.notify_all()
        if receiver.stalls:
            receiver.stalls.wait(30)
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def listening(*answers: int | tuple[int, dict[str, str]]) -> Iterator[Receiver]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.receiver = Receiver(list(answers), url=f"http://127.0.0.1:{server.server_port}/hook")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.receiver
    finally:
        if server.receiver.stalls:
            server.receiver.stalls.set()
        server.shutdown()
        server.server_close()
        thread.join()
