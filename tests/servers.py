"""Servers on this machine's own address: of the web, which count and fail as they are told; of S3; and of Google."""

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LONG_AGO = 1_700_000_000.0


@dataclass
class Shelf:
    """What a web server has, and how it behaves."""

    files: dict[str, bytes] = field(default_factory=dict)  # by path
    ranges: bool = True
    etags: bool = True
    dates: bool = True
    heads: bool = True  # whether HEAD is answered
    lengths: bool = True
    matches: bool = True  # whether If-Match is looked at
    written: float = LONG_AGO
    fails: list[int] = field(default_factory=list)  # the next answers are these
    after: int = 0  # but only after so many others
    torn: int = 0  # so many of the next answers break off in the middle
    stalls: bool = False  # nothing comes any more
    away: dict[str, str] = field(default_factory=dict)  # redirections
    served: int = 0  # bytes of bodies
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, range
    url: str = ""

    def etag(self, path: str) -> str:
        return f'"{hashlib.md5(self.files[path], usedforsecurity=False).hexdigest()}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_GET(self) -> None:
        self._answer("GET")

    def _answer(self, method: str) -> None:
        shelf, path = self.server.shelf, unquote(self.path.partition("?")[0])
        wanted = self.headers.get("Range", "")
        shelf.asked.append((method, self.path, wanted))
        if shelf.stalls:
            time.sleep(60)
        if shelf.fails and len(shelf.asked) > shelf.after:
            return self._status(shelf.fails.pop(0))
        if path in shelf.away:
            return self._status(302, ("Location", shelf.away[path]))
        if path not in shelf.files:
            return self._status(404)
        if method == "HEAD" and not shelf.heads:
            return self._status(405)
        data = shelf.files[path]
        if shelf.matches and self.headers.get("If-Match", shelf.etag(path)) != shelf.etag(path):
            return self._status(412)
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted) if shelf.ranges else None
        headers = [("Accept-Ranges", "bytes" if shelf.ranges else "none")]
        if shelf.etags:
            headers.append(("ETag", shelf.etag(path)))
        if shelf.dates:
            headers.append(("Last-Modified", formatdate(shelf.written, usegmt=True)))
        body = data
        if span:
            first, last = int(span[1]), min(int(span[2]), len(data) - 1)
            if first >= len(data):
                return self._status(416)
            body = data[first : last + 1]
            headers.append(("Content-Range", f"bytes {first}-{last}/{len(data)}"))
        self.send_response(206 if span else 200)
        for name, value in headers:
            self.send_header(name, value)
        if shelf.lengths:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if method == "HEAD":
            return None
        if shelf.torn:
            shelf.torn -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        shelf.served += len(body)
        try:
            self.wfile.write(body)
        except OSError:  # whoever asked has gone
            self.close_connection = True
        return None

    def _status(self, status: int, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    shelf: Shelf

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def web(**how: Any) -> Iterator[Shelf]:
    """A web server, as long as it is wanted."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.shelf = Shelf(**how)
    server.shelf.url = f"http://127.0.0.1:{server.server_port}"
    with _running(server):
        yield server.shelf


@contextmanager
def _running(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def saying(*pieces: bytes | Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that says this to whoever comes, whatever they ask."""
    door = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                line, _ = door.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(line,), daemon=True).start()

    def answer(line: socket.socket) -> None:
        with line:
            try:
                line.recv(65_536)
                for piece in pieces:
                    line.sendall(piece) if isinstance(piece, bytes) else piece(line)
            except OSError:
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
    finally:
        door.shutdown(socket.SHUT_RDWR)
        door.close()
        thread.join()


def drip(line: socket.socket) -> None:
    """Says next to nothing, for ever."""
    while True:
        line.sendall(b"x")
        threading.Event().wait(0.01)


@dataclass
class Buckets:
    """An S3 server with what it has, and a client of its own."""

    url: str
    client: Any

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=data)

    @property
    def environment(self) -> dict[str, str]:
        """What somebody's environment has who may read there."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def s3() -> Iterator[Buckets]:
    """moto's server of S3."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    buckets = Buckets(f"http://{host}:{port}", None)
    names = {"AWS_ACCESS_KEY_ID": "aws_access_key_id", "AWS_SECRET_ACCESS_KEY": "aws_secret_access_key"}
    keys = {names[name]: value for name, value in buckets.environment.items() if name in names}
    buckets.client = boto3.client("s3", endpoint_url=buckets.url, region_name="us-east-1", **keys)
    try:
        yield buckets
    finally:
        buckets.client.close()
        server.stop()


class _Google(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Store"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        asked, buckets = urlsplit(self.path), self.server.store.buckets
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        found = re.fullmatch(r"/(?:download/)?storage/v1/b/([^/]+)/o(?:/(.*))?", asked.path)
        bucket = buckets.get(found[1]) if found else None
        if not found or bucket is None:
            return self._send(404, b"{}")
        if found[2] is None:
            below = [name for name in sorted(bucket) if name.startswith(query.get("prefix", ""))]
            page = {"kind": "storage#objects", "items": [self._told(bucket, found[1], name) for name in below]}
            return self._send(200, json.dumps(page).encode())
        name = unquote(found[2])
        if name not in bucket or query.get("generation", str(bucket[name][1])) != str(bucket[name][1]):
            return self._send(404, b"{}")
        if query.get("alt") != "media":
            return self._send(200, json.dumps(self._told(bucket, found[1], name)).encode())
        data, span = bucket[name][0], re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        return self._send(206, data[int(span[1]) : int(span[2]) + 1]) if span else self._send(200, data)

    def _told(self, bucket: dict[str, tuple[bytes, int]], named: str, name: str) -> dict[str, str]:
        data, version = bucket[name]
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": named,
            "size": str(len(data)),
            "generation": str(version),
            "md5Hash": base64.b64encode(digest).decode(),
            "updated": "2026-01-02T03:04:05.678Z",
            "timeCreated": "2026-01-02T03:04:05.678Z",
        }

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Store(ThreadingHTTPServer):
    daemon_threads = True
    store: "Google"


@dataclass
class Google:
    """As much of Google Cloud Storage as reading wants; each object with its content and its version."""

    buckets: dict[str, dict[str, tuple[bytes, int]]]
    url: str = ""

    def put(self, bucket: str, name: str, data: bytes) -> None:
        held = self.buckets.setdefault(bucket, {})
        held[name] = data, held.get(name, (b"", 0))[1] + 1


@contextmanager
def google(files: dict[str, dict[str, bytes]]) -> Iterator[Google]:
    server = _Store(("127.0.0.1", 0), _Google)
    server.store = Google({}, f"http://127.0.0.1:{server.server_port}")
    for bucket, held in files.items():
        for name, data in held.items():
            server.store.put(bucket, name, data)
    with _running(server):
        yield server.store
