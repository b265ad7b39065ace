"""Pictures of the page for docs/, of real clips under the real pack: only where REELSEEK_SCREENSHOTS names a folder."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browsing import SCREENSHOTS, opened, until
from serving import serving

from api.main import main
from api.service import Library
from retriever.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CLIPS = {
    "s010.mp4": "bottles.mp4",
    "s011.mp4": "crossing-from-above.mp4",
    "s017.mp4": "red-flower.mp4",
    "s019.mp4": "brook.mp4",
    "s020.mp4": "rabbit.mp4",
    "s021.mp4": "frog.mp4",
    "s026.webm": "bunny.webm",
    "s044.mp3": "bears.mp3",
    "s045.wav": "toast.wav",
    "s046.ogg": "whales.ogg",
    "s047.ogg": "robin.ogg",
    "s053.ogg": "trumpet.ogg",
}
"""Of the labelled clips those that may be shown (CC0, CC BY, public domain), and in which nobody can be recognised."""
SHOWN = "/films"
"""What the folder of the clips is called in the pictures."""
LARGEST = 150_000


WEB = Path(__file__).parents[2] / "api" / "web"


def small(picture: bytes) -> bytes:
    """The same as a PNG of few colours, as many as there is room for; those of the page itself are among them."""
    from PIL import Image

    whole = Image.open(BytesIO(picture)).convert("RGB")
    said = "".join((WEB / name).read_text("utf-8") for name in ("app.css", "icon.svg"))
    own = {*re.findall(r"#[0-9a-f]{6}\b", said), "#ffffff"}
    for colours in (256, 160, 128, 96):
        page = Image.new("P", (1, 1))
        found = whole.quantize(colours - len(own)).getpalette() or []
        page.putpalette([*b"".join(bytes.fromhex(one[1:]) for one in sorted(own)), *found][: 3 * colours])
        made = BytesIO()
        whole.quantize(palette=page, dither=Image.Dither.NONE).save(made, "PNG", optimize=True)
        if made.tell() <= LARGEST:
            return made.getvalue()
    raise AssertionError("a picture is larger than there is room for")


@pytest.fixture(scope="module")
def films(shared_media: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    found = {file.stem: file for file in shared_media.iterdir()}
    for name, called in CLIPS.items():
        file = found[Path(name).stem]
        shutil.copy(file, folder / Path(called).with_suffix(file.suffix))
    (folder / "holiday.mp4").touch()
    return folder


@pytest.fixture(scope="module")
def server(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    library = str(tmp_path_factory.mktemp("library") / "lib")
    assert main(["index", str(films), "--library", library]) == 0
    with serving(partial(Library.open, library), replace(Settings(), library=library)) as served:
        yield f"{served.url}/"


def _renamed(page: "Page", films: Path) -> None:
    def told(route: Any) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, body=reply.text().replace(str(films), SHOWN))

    for path in ("**/v1/search", "**/v1/media?*", "**/v1/quarantine"):
        page.route(path, told)


WIDE, PHONE = {"viewport": {"width": 1280, "height": 760}}, {"viewport": {"width": 360, "height": 740}}
PICTURES: dict[str, tuple[str, dict[str, Any], str]] = {
    "start": ("", WIDE, ""),
    "light": ("q=seen:bird+heard:birds&sure=0", WIDE, "bunny"),
    "dark": ("q=water+running+between+stones&sure=0.5", {**WIDE, "color_scheme": "dark"}, "brook"),
    "phone": ("q=a+red+flower+opens&sure=0.5", PHONE, "flower"),
    "empty": ("q=fireworks+over+a+harbour", WIDE, "misses"),
    "library": ("view=library", WIDE, ""),
}
"""By name: what stands behind "#" in the address, how the browser is, and which of the results is opened."""

if SCREENSHOTS:

    @pytest.mark.parametrize("name", PICTURES)
    def test_the_page_looks_as_in_the_docs(chromium: "Browser", server: str, films: Path, name: str) -> None:
        hash, traits, then = PICTURES[name]
        with opened(chromium, **traits) as page:
            _renamed(page, films)
            page.goto(f"{server}#{hash}")
            page.wait_for_load_state("networkidle")
            if then not in ("", "misses"):
                page.locator("#list .open", has_text=then).first.click()
                until(page, "(document.querySelector('video, audio')?.currentTime ?? 0) > 0")
                page.wait_for_selector("#timeline .hill")
                page.wait_for_timeout(900)
                page.evaluate("document.querySelector('video, audio').pause()")
            if then == "misses":
                page.click("#empty button")
            page.mouse.move(0, 0)
            until(page, "[...document.images].every((one) => one.complete || one.loading === 'lazy')")
            page.wait_for_timeout(1_500)
            folder = Path(SCREENSHOTS)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.png").write_bytes(small(page.screenshot()))
