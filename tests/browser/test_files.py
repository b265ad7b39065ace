"""What the page's files promise by themselves, without a browser."""

import re
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "api" / "web"
FILES = sorted(file for file in WEB.iterdir() if file.suffix in (".html", ".css", ".js", ".svg"))
NAMESPACE = "http://www.w3.org/2000/svg"  # a name, which nobody fetches
MOST = 60 * 1024
INKS = ("ink", "soft", "accent", "sure", "unsure", "bad", "vision", "sound", "speech", "text")


def test_the_page_is_small() -> None:
    assert {file.name for file in FILES} == {"index.html", "app.css", "app.js", "icon.svg"}
    assert sum(file.stat().st_size for file in FILES) <= MOST


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_is_fetched_from_elsewhere(file: Path) -> None:
    text = file.read_text("utf-8").replace(NAMESPACE, "")
    assert re.findall(r"https?:|//[a-z]+\.|@import|\burl\(", text) == []


def test_markup_has_neither_scripts_nor_styles_of_its_own() -> None:
    text = (WEB / "index.html").read_text("utf-8")
    assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text) == []
    assert re.findall(r"\sstyle=|\son[a-z]+=|<script", (WEB / "icon.svg").read_text("utf-8")) == []


def test_the_script_makes_no_markup_out_of_text() -> None:
    text = (WEB / "app.js").read_text("utf-8")
    unsafe = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser"
    assert re.findall(unsafe, text) == []


def test_every_element_that_the_script_names_is_there() -> None:
    ids = set(re.findall(r'\sid="([\w-]+)"', (WEB / "index.html").read_text("utf-8")))
    text = (WEB / "app.js").read_text("utf-8")
    assert set(re.findall(r"\bui\.(\w+)", text)) <= ids
    assert {f"i-{name}" for name in ("video", "sound", "image")} <= ids


def _schemes() -> dict[str, dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", (WEB / "app.css").read_text("utf-8"), re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", block)) for block in blocks)
    return {"light": light, "dark": dark}


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of `#rgb` or `#rrggbb`."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    shares = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_ink_stands_out_from_its_ground(scheme: str) -> None:
    """WCAG 2.2 AA: 4.5 for text, 3 for the edges of controls and for what a picture tells by colour."""
    colours = _schemes()[scheme]
    weak = {
        (ink, ground): round(_contrast(colours[ink], colours[ground]), 2)
        for ink, ground, least in [
            *((ink, ground, 4.5) for ink in INKS for ground in ("page", "card")),
            *((ink, "track", 4.5) for ink in ("ink", "soft", "bad")),
            ("on-accent", "accent", 4.5),
            ("mark-ink", "mark", 4.5),
            *(("edge", ground, 3.0) for ground in ("page", "card")),
            *(("moment", ground, 3.0) for ground in ("card", "track")),
            *((modality, "track", 3.0) for modality in ("vision", "sound", "speech", "text")),
        ]
        if _contrast(colours[ink], colours[ground]) < least
    }
    assert weak == {}
