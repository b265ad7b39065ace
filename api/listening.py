"""How a server takes lines of the network: which of them it hangs up on, and how many there are at once.

uvicorn waits for ever for somebody who has sent half a request, or does not read the answer; this one does not.
"""

import asyncio
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.problems import KIND

LARGEST_HEAD = 65_536
"""Bytes of a request line with its headers."""
HEAD_S = 30.0
"""Seconds until they have to be there."""
QUIET_S = 60.0
"""Seconds that nothing may come of a body that was begun, or be read of an answer."""
LOOK_S = 1.0
"""Seconds between two looks at a line."""
MOST = 512
"""Lines at once: half of the files that a process may have open where nobody says otherwise."""
LEAVE_S = 10
"""Seconds that those who are being answered have when the server ends."""
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n"
    b"connection: close\r\ncontent-length: 88\r\n\r\n"
    b'{"type":"about:blank","title":"too many lines","status":503,"detail":"too many lines"}\r\n'
)
UNREADABLE = (
    b'{"type":"about:blank","title":"the request cannot be read","status":400,"detail":"what came is no request of '
    b'HTTP/1.1, or its head has more than %d bytes"}' % LARGEST_HEAD
)


class Line(H11Protocol):
    """One line, on which requests come one after the other."""

    _came = 0.0  # when it last could be said that somebody sends
    _head = 0.0  # since when a head is waited for
    _unread: float | None = None  # since when nobody reads what was sent
    _closing: float | None = None
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._came = self._head = self.loop.time()
        if len(self.connections) > MOST:
            transport.write(FULL)
            transport.close()
        self._watch = self.loop.call_later(LOOK_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._came = self.loop.time()
        if not self.transport.is_closing():
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered with a problem, as all is; an answer that has begun breaks off."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            length = str(len(UNREADABLE)).encode()
            headers = [(b"content-type", KIND.encode()), (b"content-length", length), (b"connection", b"close")]
            answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (answer, h11.Data(data=UNREADABLE), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def on_response_complete(self) -> None:
        self._head = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._unread = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread = None
        super().resume_writing()

    def _look(self) -> None:
        now = self.loop.time()
        if self.transport.is_closing():
            self._closing = self._closing or now
        if self._is_late(now):
            self.transport.abort()
        else:
            self._watch = self.loop.call_later(LOOK_S, self._look)

    def _is_late(self, now: float) -> bool:
        if self._closing is not None and now - self._closing > QUIET_S:
            return True
        if self._unread is not None and now - self._unread > QUIET_S:
            return True
        answered = self.cycle is not None and self.cycle.response_complete
        if self.conn.their_state is h11.IDLE or (answered and self.conn.their_state is h11.SEND_BODY):
            return now - self._head > HEAD_S  # the second: of a body that nobody wants any more
        waits = self.conn.their_state is h11.SEND_BODY and not self.flow.read_paused
        return waits and now - self._came > QUIET_S


def config(app: Any, **more: Any) -> uvicorn.Config:
    """How uvicorn is to serve an application: with lines as above, and a log that somebody else writes."""
    return uvicorn.Config(
        app,
        http=Line,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # `api.app` believes those that it was told to believe, and no others
        server_header=False,
        timeout_graceful_shutdown=LEAVE_S,
        h11_max_incomplete_event_size=LARGEST_HEAD,
        **more,
    )
