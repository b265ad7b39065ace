"""A contact sheet: one picture with a thumbnail a moment, each labelled with its rank, file, times and confidence.

    sheet.write(answers, Path("found.jpg"))

Thumbnails come from the child that draws pictures, as plain pixels of one size; everything else is painted here.
"""

import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api import keeping, pictures
from api.show import sure
from api.terminal import plain
from retriever.errors import BadSettings
from retriever.types import Answer, MediaKind, Moment

Pixels = NDArray[np.uint8]

SUFFIXES = (".jpg", ".jpeg", ".png")
WIDE, HIGH = 320, 180  # pixels of a thumbnail
ACROSS = 4
"""Thumbnails in a row at most."""
MOST = 400
"""Thumbnails on a sheet: more would be a picture that few programs open."""
GAP = 12
SIZE = 2
"""Pixels of a letter's dot; headings have a third more."""
PAGE, INK, SOFT, ROOM = (16, 19, 24), (233, 236, 241), (164, 173, 186), (25, 29, 36)
_LETTER_WIDE, _LETTER_HIGH = 5, 8
_LINE = SIZE * _LETTER_HIGH + 4
_CAPTION = 2 * _LINE + 8
_HEADING = 3 * _LETTER_HIGH + 16


def suffix_of(file: Path) -> str:
    """
    Raises:
        BadSettings: no picture is called so.
    """
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadSettings(f"--sheet {file} ends in {suffix or 'nothing'!r}; it wants {', '.join(SUFFIXES)}")
    return suffix


def write(answers: Sequence[Answer], file: Path) -> int:
    """Write the sheet, whole or not at all, over what is there; returns how many moments are on it.

    Raises:
        BadSettings: `suffix_of`.
        OSError: it cannot be written.
    """
    suffix = suffix_of(file)
    shown = [(answer.query, answer.moments[:MOST]) for answer in answers]
    tiles = pictures.tiles([moment for _, moments in shown for moment in moments], (WIDE, HIGH))
    pixels = painted(shown, tiles)
    from api import sketch  # PyAV: nobody else on the way to a sheet needs it

    keeping.data(file, sketch.png(pixels) if suffix == ".png" else sketch.jpeg(pixels), "the sheet")
    return sum(len(moments) for _, moments in shown)


def painted(answers: Sequence[tuple[str, Sequence[Moment]]], tiles: dict[str, Pixels]) -> Pixels:
    """`(H, W, 3)`, even on both sides; a heading a question, and under it its moments in order."""
    most = max((len(moments) for _, moments in answers), default=0)
    across = max(1, min(ACROSS, most))
    width = max(across, 2) * (WIDE + GAP) + GAP
    bands = [band for query, moments in answers for band in (_heading(query, width), *_rows(moments, tiles, width))]
    page = np.concatenate([*bands, _blank(GAP + sum(map(len, bands)) % 2, width)])
    assert page.shape[0] % 2 == page.shape[1] % 2 == 0
    return page


def _blank(height: int, width: int) -> Pixels:
    return np.full((height, width, 3), PAGE, np.uint8)


def _heading(query: str, width: int) -> Pixels:
    band = _blank(_HEADING, width)
    _write(band, query, GAP, 10, width - 2 * GAP, INK, SIZE + 1)
    return band


def _rows(moments: Sequence[Moment], tiles: dict[str, Pixels], width: int) -> list[Pixels]:
    if not moments:
        band = _blank(_LINE, width)
        _write(band, "nothing here answers this", GAP, 0, width - 2 * GAP, SOFT, SIZE)
        return [band]
    across = (width - GAP) // (WIDE + GAP)
    rows = []
    for first in range(0, len(moments), across):
        band = _blank(HIGH + _CAPTION + GAP, width)
        for place, moment in enumerate(moments[first : first + across]):
            left = GAP + place * (WIDE + GAP)
            band[:HIGH, left : left + WIDE] = tiles.get(moment.ref, np.full((HIGH, WIDE, 3), ROOM, np.uint8))
            _caption(band, first + place + 1, moment, left)
        rows.append(band)
    return rows


def _caption(band: Pixels, rank: int, moment: Moment, left: int) -> None:
    when = "picture" if moment.media.kind is MediaKind.IMAGE else str(moment.span)
    _write(band, f"{rank}. {Path(moment.media.path).name}", left, HIGH + 6, WIDE, INK, SIZE)
    _write(band, f"{when}  {sure(moment.confidence)} sure", left, HIGH + 6 + _LINE, WIDE, SOFT, SIZE)


def _write(page: Pixels, text: str, left: int, top: int, room: int, colour: tuple[int, int, int], size: int) -> None:
    """One line; what does not fit into `room` pixels is left out from its middle, where names differ least."""
    step = size * (_LETTER_WIDE + 1)
    for place, letter in enumerate(_fitting(_plain_letters(text), room // step)):
        dots = np.kron(_letters()[letter], np.ones((size, size), bool))
        at = left + place * step
        page[top : top + dots.shape[0], at : at + dots.shape[1]][dots] = colour


def _fitting(text: str, letters: int) -> str:
    if len(text) <= letters:
        return text
    tail = letters // 3
    return f"{text[: letters - tail - 2]}..{text[len(text) - tail :]}"


def _plain_letters(text: str) -> str:
    """With the letters that there are: accents go, and what is left of other scripts is `?`."""
    apart = unicodedata.normalize("NFKD", plain(text).replace("–", "-").replace("ß", "ss"))
    folded = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return "".join(letter if letter in _letters() else "?" for letter in folded)


@cache
def _letters() -> dict[str, NDArray[np.bool_]]:
    """`(8, 5)` dots by letter."""
    text = files("api").joinpath("letters.txt").read_text(encoding="ascii")
    found: dict[str, NDArray[np.bool_]] = {}
    for block in text.split("\n\n")[1:]:
        rows = [line.split() for line in block.splitlines()]
        for dots in zip(*rows, strict=True):
            found[chr(32 + len(found))] = np.array([[dot == "#" for dot in row] for row in dots])
    return found
