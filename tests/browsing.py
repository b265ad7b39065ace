"""A server of this process, and pages of a real browser that have to behave."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from api.service import Library
from retriever.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCREENSHOTS = os.environ.pop("REELSEEK_SCREENSHOTS", "")  # or settings would take it for a misspelt one of theirs
"""A folder that pictures of the page are written to; docs/screenshots has the last ones."""
PATIENCE_MS = 20_000
START_S = 120


@contextmanager
def served(opened: Callable[[], Library], settings: Settings) -> Iterator[str]:
    """The address of a server in a thread of this process; it ends with the block."""
    uvicorn = pytest.importorskip("uvicorn")
    from api import app

    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app.build(opened, settings), log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        up = threading.Event()
        begin = server.startup

        async def startup(*given: Any, **named: Any) -> None:
            await begin(*given, **named)
            up.set()

        server.startup = startup
        worker = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
        worker.start()
        assert up.wait(START_S), "the server did not start"
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}/"
        finally:
            server.should_exit = True
            worker.join(START_S)
            assert not worker.is_alive(), "the server did not end"


@contextmanager
def opened(browser: "Browser", **traits: Any) -> Iterator["Page"]:
    """A page that has to behave: an error in its script, or something that its policy forbids, fails the test."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, "locale": "en-GB", **traits})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    try:
        yield page
    finally:
        context.close()
    assert wrong == []


def until(page: "Page", expression: str) -> None:
    """Wait for an expression to hold.  Playwright's own way evaluates text in the page, which its policy forbids."""
    deadline = monotonic() + PATIENCE_MS / 1_000
    while not page.evaluate(expression):
        assert monotonic() < deadline, f"it never came to be that {expression}"
        page.wait_for_timeout(30)
