"""A Qdrant server for tests: its REST interface, as far as a library asks it, in front of an engine without one.

What travels is real (addresses, JSON, status codes); what answers is the engine of the client's `:memory:`, or that of
a server (`engines.Engine`).  Nothing here says how a real server spreads, copies or restarts.  `faults` are answered
first, one a request.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from qdrant_client import QdrantClient, models


@dataclass(frozen=True)
class Fault:
    """What a request gets in place of an answer."""

    status: int = 0  # 0: the connection is closed
    headers: tuple[tuple[str, str], ...] = ()
    only: str = ""  # a pattern in the path of those requests that it waits for
    after: bool = False  # the request is carried out before, and only its answer is lost
    seconds: float = 0.0  # to wait before


@dataclass
class Server:
    """What is asked, and what goes wrong."""

    client: Any = field(default_factory=lambda: QdrantClient(":memory:"))
    asked: list[tuple[str, str]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)  # API keys that came
    made: dict[str, dict[str, Any]] = field(default_factory=dict)  # collection → how it was wanted
    faults: list[Fault] = field(default_factory=list)
    wanted_key: str = ""
    url: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def fault(self, path: str) -> Fault | None:
        with self.lock:
            found = next((fault for fault in self.faults if re.search(fault.only, path)), None)
            if found:
                self.faults.remove(found)
            return found


def _carried_out(server: Server, method: str, path: str, body: Any) -> Any:
    client = server.client
    if path in ("", "/"):
        return {"title": "tests", "version": "1.16.0"}
    if path == "/collections":
        return client.get_collections()
    _, _, name, *rest = path.split("/", 3)
    action = (method, rest[0] if rest else "")
    if action == ("GET", "exists"):
        return {"exists": client.collection_exists(name)}
    if action == ("PUT", ""):
        made = models.CreateCollection(**body)
        server.made[name] = body
        return client.create_collection(name, made.vectors or {})
    if action == ("DELETE", ""):
        return client.delete_collection(name)
    if action == ("GET", ""):
        return client.get_collection(name)
    if action == ("PUT", "index"):
        given = {"lookup": body["field_schema"]["lookup"], "range": body["field_schema"]["range"]}
        if not isinstance(client, QdrantClient):  # the client's own engine has no indexes
            client.create_payload_index(name, body["field_name"], models.IntegerIndexParams(type="integer", **given))
        return {"operation_id": 0, "status": "completed"}
    if action == ("PUT", "points"):
        return client.upsert(name, models.PointsList(**body).points)
    if action == ("POST", "points"):
        asked = models.PointRequest(**body)
        return client.retrieve(name, asked.ids, asked.with_payload, asked.with_vector or False)
    if action == ("POST", "points/batch"):
        return client.batch_update_points(name, models.UpdateOperations(**body).operations)
    if action == ("POST", "points/query/batch"):
        searches = models.QueryRequestBatch(**body).searches
        if isinstance(client, QdrantClient):  # it says that it takes no parameters
            searches = [each.model_copy(update={"params": None}) for each in searches]
        return client.query_batch_points(name, searches)
    if action == ("POST", "points/count"):
        return client.count(name, models.CountRequest(**body).filter)
    raise KeyError(f"{method} {path} is nothing that a library asks")


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            path = self.path.partition("?")[0].rstrip("/")
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            key = self.headers.get("api-key") or ""
            fault = server.fault(path)
            with server.lock:
                server.asked.append((self.command, path))
                server.keys.add(key)
                if fault is None or fault.after:
                    status, found = self.carried_out(path, body, key)
            if fault:
                time.sleep(fault.seconds)
                if not fault.status:
                    self.close_connection = True
                    self.connection.close()
                    return
                status, found = fault.status, {"status": {"error": "as the test wants it"}, "time": 0.0}
            told = json.dumps(found).encode()
            self.send_response(status)
            for name, value in fault.headers if fault else ():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def carried_out(self, path: str, body: Any, key: str) -> tuple[int, Any]:
            if server.wanted_key and key != server.wanted_key:
                return 401, {"status": {"error": "Must provide an API key"}, "time": 0.0}
            try:
                found = _plain(_carried_out(server, self.command, path, body))
            except ValueError as error:  # as the engine refuses
                status = 404 if re.search("not found", str(error)) else 400
                return status, {"status": {"error": str(error)}, "time": 0.0}
            return 200, found if path == "" else {"result": found, "status": "ok", "time": 0.0}

        do_GET = do_PUT = do_POST = do_DELETE = answer

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (ConnectionError, ValueError):  # a client that went, or a connection that a fault closed
                self.close_connection = True

    return Handler


@contextmanager
def serving(port: int = 0, server: Server | None = None) -> Iterator[Server]:
    """A server at `server.url` for as long as the block runs; given one again, it has what it had."""
    held = server or Server()
    http = ThreadingHTTPServer(("127.0.0.1", port), _handler(held))
    http.daemon_threads = True
    held.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield held
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
