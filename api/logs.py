"""What a server says while it serves: a line an event on standard error, for people or for programs.

    with telling("json", "info"):
        tell(LOG, logging.INFO, "request", status=200, ms=3.1)

{"time": "2026-11-29T16:45:16.120Z", "level": "info", "event": "request", "status": 200, "ms": 3.1}

An event is one line, whatever stands in it: no request can forge another one.
"""

import json
import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from traceback import format_exception
from typing import Any, TextIO

from api.terminal import plain

OURS = "reelseek"
"""The logger whose events have names and fields; those of libraries are told by their message."""
LONGEST = 20_000
"""Characters of a text, of which a line has no more."""
_TOLD = "reelseek_told"


def _least(form: str, level: str) -> str:
    """`auto` stands for what usually is told."""
    return {"json": "info", "plain": "warning"}[form] if level == "auto" else level


def tell(log: logging.Logger, level: int, event: str, **told: Any) -> None:
    """An event of ours; what is None or empty is left out.  An error that is at hand is told with it, from
    `logging.ERROR` on."""
    if log.isEnabledFor(level):
        fields = {name: value for name, value in told.items() if value not in (None, "", {})}
        at_hand = level >= logging.ERROR and sys.exc_info()[0] is not None
        log.log(level, "%s %s", event, fields, extra={_TOLD: (event, fields)}, exc_info=at_hand)


@contextmanager
def telling(form: str, level: str, stream: TextIO | None = None) -> Iterator[None]:
    """Meanwhile all that is logged in this process is told so: `form` is `json` or `plain`, `level` the least of it."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Lines() if form == "json" else Plain())
    root, ours = logging.getLogger(), logging.getLogger(OURS)
    before, least, own, fallen = root.handlers[:], root.level, ours.level, threading.excepthook
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    ours.setLevel(_least(form, level).upper())
    logging.captureWarnings(True)
    threading.excepthook = _fallen
    try:
        yield
    finally:
        threading.excepthook = fallen
        logging.captureWarnings(False)
        root.handlers[:] = before
        root.setLevel(least)
        ours.setLevel(own)


def _fallen(what: threading.ExceptHookArgs) -> None:
    """A thread ended by an error: it is told as everything is."""
    if what.exc_type is not SystemExit and what.exc_value is not None:
        error = (what.exc_type, what.exc_value, what.exc_traceback)
        name = what.thread.name if what.thread else "?"
        logging.getLogger(OURS).error("thread", extra={_TOLD: ("thread", {"thread": name})}, exc_info=error)


class Lines(logging.Formatter):
    """A JSON object a line, ASCII and without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        document = {"time": _instant(record), "level": record.levelname.lower(), **_event(record), **_fields(record)}
        if record.exc_info and record.exc_info[1]:
            document["error"] = "".join(format_exception(record.exc_info[1]))[-LONGEST:]
        text = json.dumps(document, default=str)
        return text.replace("\x7f", "\\u007f")


class Plain(logging.Formatter):
    """A line for people: further lines of an error are indented, so that none of them looks like an event."""

    def format(self, record: logging.LogRecord) -> str:
        event = _event(record)
        said = plain(str(event.get("event") or f"{event['logger']}: {event['message']}"))
        fields = "".join(f" {name}={_shown(value)}" for name, value in _fields(record).items())
        error = "".join(format_exception(record.exc_info[1])) if record.exc_info and record.exc_info[1] else ""
        lines = "".join(f"\n    {plain(line)}" for line in error[-LONGEST:].splitlines())
        return f"{_instant(record)} {record.levelname.lower()} {said}{fields}{lines}"


def _instant(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _event(record: logging.LogRecord) -> dict[str, str]:
    if told := getattr(record, _TOLD, None):
        return {"event": str(told[0])}
    return {"logger": record.name, "message": record.getMessage()[:LONGEST]}


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    told: dict[str, Any] = getattr(record, _TOLD, ("", {}))[1]
    return {name: value[:LONGEST] if isinstance(value, str) else value for name, value in told.items()}


def _shown(value: Any) -> str:
    text = ",".join(f"{name}:{each}" for name, each in value.items()) if isinstance(value, Mapping) else str(value)
    text = plain(text)
    return text if text and all(letter.isalnum() or letter in "-_./:{}+@," for letter in text) else json.dumps(text)
