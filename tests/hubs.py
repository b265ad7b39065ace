"""A hub of models on this machine: real HTTP over loopback, and what goes wrong with it."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".bin", ".pt")
"""Kept as the hub keeps large files: with their SHA-256."""


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    span: str  # its Range
    authorised: bool
    agent: str  # what its library says of itself


@dataclass
class Hub:
    """What the hub has, and how it behaves; tests set these while it runs."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)  # path → content
    pages: dict[str, dict[str, Any]] = field(default_factory=dict)  # repository → what its API tells
    statuses: dict[str, int] = field(default_factory=dict)  # path → refusal
    served: dict[str, bytes] = field(default_factory=dict)  # path → another content than was announced
    cuts: dict[str, list[int]] = field(default_factory=dict)  # path → bytes after which the connections end, in turn
    moved: dict[str, str] = field(default_factory=dict)  # path → where it really lies
    held: dict[str, threading.Event] = field(default_factory=dict)  # path → half of it waits for this
    ranges: bool = True
    asked: list[Asked] = field(default_factory=list)

    def add(self, name: str, files: dict[str, bytes], licence: str = "mit", gated: bool = False) -> None:
        """A repository `ORG/NAME`."""
        siblings = []
        for file, body in files.items():
            self.files[self.path(name, file)] = body
            blob = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
            one: dict[str, Any] = {"rfilename": file, "size": len(body), "blobId": blob}
            if file.endswith(LARGE):
                one["lfs"] = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}
            siblings.append(one)
        self.pages[name] = {
            "_id": "0",
            "id": name,
            "sha": COMMIT,
            "private": False,
            "gated": "manual" if gated else False,
            "tags": [],
            "cardData": {"license": licence},
            "siblings": siblings,
        }

    def path(self, name: str, file: str) -> str:
        return f"/{name}/resolve/{COMMIT}/{file}"

    def url(self, path: str) -> str:
        return self.address + path

    def gets(self, path: str) -> list[Asked]:
        """How often a file was asked for."""
        return [one for one in self.asked if one.path == path and one.method == "GET"]


@contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            path, span = urlsplit(self.path).path, self.headers.get("Range", "")
            agent = self.headers.get("User-Agent", "")
            hub.asked.append(Asked(self.command, path, span, "Authorization" in self.headers, agent))
            if path in hub.statuses:
                self._head(hub.statuses[path], {"Content-Length": "0"})
            elif path in hub.moved:
                self._head(302, {"Location": hub.moved[path], "Content-Length": "0"})
            elif path.startswith("/api/models/"):
                self._page(path.removeprefix("/api/models/"))
            elif path in hub.files:
                self._file(path, span, body)
            else:
                self._head(404, {"Content-Length": "0"})

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def _page(self, name: str) -> None:
            name = name.removesuffix(f"/revision/{COMMIT}")
            if name not in hub.pages:
                self._head(404, {"Content-Length": "0", "X-Error-Code": "RepoNotFound"})
                return
            body = json.dumps(hub.pages[name]).encode()
            self._head(200, {"Content-Length": str(len(body)), "Content-Type": "application/json"})
            self.wfile.write(body)

        def _file(self, path: str, span: str, body: bool) -> None:
            content = hub.served.get(path, hub.files[path])
            begin = int(span.removeprefix("bytes=").rstrip("-")) if span and hub.ranges else 0
            if begin and begin >= len(content):
                self._head(416, {"Content-Length": "0"})
                return
            headers = {"Content-Length": str(len(content) - begin)}
            if begin:
                headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            self._head(206 if begin else 200, headers)
            if not body:
                return
            cuts = hub.cuts.get(path)
            end = cuts.pop(0) if cuts else len(content)
            if path in hub.held:
                half = begin + (end - begin) // 2
                self.wfile.write(content[begin:half])
                self.wfile.flush()
                hub.held[path].wait(60)
                begin = half
            self.wfile.write(content[begin:end])

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:  # whoever asked was killed by its test
            ...

    with Server(("127.0.0.1", 0), Handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            for event in hub.held.values():
                event.set()
            server.shutdown()
            thread.join()
