"""The browser of the system."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("fastapi", reason="fastapi: the extra serve is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ARGUMENTS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--lang=en-GB", "--mute-audio"]


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """The browser of the system; none is downloaded.  Playwright keeps an event loop in this thread as long as it is
    open, and other tests want one of their own."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no Chromium: neither chromium nor chromium-browser is installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()
