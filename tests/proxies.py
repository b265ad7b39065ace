"""A small reverse proxy that speaks TLS to whoever comes, and plain HTTP to what is behind it, as people put one before
a server."""

import http.client
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME = "clips.example.org"
HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"})


@dataclass(frozen=True)
class Front:
    """Where it is, and who has signed for it."""

    port: int
    certificate: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        line = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=30)
        line.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP and not (name.lower() == "host" and self.server.renames):
                line.putheader(name, value)
        if self.server.renames:  # as nginx does unless told otherwise
            line.putheader("Host", f"127.0.0.1:{self.server.behind}")
        if self.server.tells:
            line.putheader("X-Forwarded-For", self.client_address[0])
            line.putheader("X-Forwarded-Proto", "https")
        line.putheader("Content-Length", str(len(body)))
        line.endheaders(body)
        answer = line.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        line.close()

    do_GET = do_POST = do_DELETE = do_PATCH = _pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    behind = 0
    renames = False
    tells = True


@contextmanager
def fronting(behind: int, folder: Path, *, renames: bool = False, tells: bool = True) -> Iterator[Front]:
    """A proxy before a port of this machine, called `NAME`; `renames`: it asks by the name of what is behind
    it; `tells`: it says for whom."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", f"/CN={NAME}"]
    subprocess.run([*made, "-addext", f"subjectAltName=DNS:{NAME}"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.behind, server.renames, server.tells = behind, renames, tells
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Front(server.server_port, certificate)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
