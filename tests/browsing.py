"""Pages of a real browser that have to behave."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCREENSHOTS = os.environ.pop("REELSEEK_SCREENSHOTS", "")  # or settings would take it for a misspelt one of theirs
"""A folder that pictures of the page are written to; docs/screenshots has the last ones."""
PATIENCE_MS = 60_000


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
