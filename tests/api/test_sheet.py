"""The contact sheet: a thumbnail a moment in order, labels that can be read, and no words that break it."""

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import pictures, sheet
from retriever.errors import BadSettings
from retriever.types import Answer, Media, MediaKind, Moment, TimeSpan


def moment(number: int, name: str = "clip.mp4") -> Moment:
    media = Media(f"cafe{number}", (f"/clips/{name}",), MediaKind.VIDEO, 10.0, "recipe")
    return Moment(media, TimeSpan(1, 2 + number), 1.0, 0.5)


def tile(shade: int) -> sheet.Pixels:
    return np.full((sheet.HIGH, sheet.WIDE, 3), shade, np.uint8)


def read(page: sheet.Pixels, top: int, left: int, letters: int, size: int = sheet.SIZE) -> str:
    """What is written there, by comparing dots with letters."""
    told = ""
    for place in range(letters):
        at = left + place * size * 6
        cell = page[top : top + 8 * size : size, at : at + 5 * size : size]
        dots = (cell != np.array(sheet.PAGE)).any(axis=2)
        told += next(letter for letter, drawn in sheet._letters().items() if np.array_equal(drawn, dots))
    return told.rstrip()


def test_every_letter_is_there_and_no_two_are_alike():
    letters = sheet._letters()
    assert "".join(letters) == "".join(map(chr, range(32, 127)))
    shapes = [drawn.tobytes() for drawn in letters.values()]
    assert all(drawn.shape == (8, 5) for drawn in letters.values())
    assert len(set(shapes)) == len(shapes)


def test_thumbnails_stand_in_order_under_their_question():
    found = [moment(number) for number in range(6)]
    tiles = {one.ref: tile(40 * (number + 1)) for number, one in enumerate(found)}
    page = sheet.painted([("a bike", found)], tiles)
    step = sheet.WIDE + sheet.GAP
    assert page.shape[1] == 4 * step + sheet.GAP
    shades = []
    for number in range(6):
        row, place = divmod(number, 4)
        top = sheet._HEADING + row * (sheet.HIGH + sheet._CAPTION + sheet.GAP)
        shades.append(int(page[top + 90, sheet.GAP + place * step + 160, 0]))
    assert shades == [40, 80, 120, 160, 200, 240]
    assert read(page, 10, sheet.GAP, 6, sheet.SIZE + 1) == "a bike"
    caption = sheet._HEADING + sheet.HIGH + 6
    assert read(page, caption, sheet.GAP + step, 11) == "2. clip.mp4"
    assert read(page, caption + sheet._LINE, sheet.GAP + step, 23) == "0:01.0-0:03.0  50% sure"


def test_what_could_not_be_drawn_keeps_its_place():
    found = [moment(0), moment(1)]
    page = sheet.painted([("q", found)], {found[1].ref: tile(200)})
    middle = sheet._HEADING + 90
    assert tuple(page[middle, sheet.GAP + 160]) == sheet.ROOM
    assert page[middle, sheet.GAP * 2 + sheet.WIDE + 160, 0] == 200


def test_a_long_name_keeps_both_ends():
    long = "a_very_long_name_of_a_film_from_a_camera_2026_01_31.mp4"
    shown = sheet._fitting(long, 26)
    assert len(shown) == 26
    assert shown.startswith("a_very_long")
    assert shown.endswith("31.mp4")


@settings(max_examples=30)
@given(st.lists(st.tuples(st.text(), st.lists(st.text(min_size=1), max_size=3)), max_size=3))
def test_any_words_make_a_sheet_of_even_sides(asked):
    answers = [
        (query, [moment(number, name.replace("/", "_")) for number, name in enumerate(names)]) for query, names in asked
    ]
    page = sheet.painted([*answers, ("nothing", [])], {})
    assert page.dtype == np.uint8
    assert [side % 2 for side in page.shape[:2]] == [0, 0]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_file_is_the_picture(tmp_path, monkeypatch, suffix):
    found = (moment(0), moment(1))
    tiles = {one.ref: tile(shade) for one, shade in zip(found, (60, 220), strict=True)}
    monkeypatch.setattr(pictures, "tiles", lambda moments, size: tiles)
    file = tmp_path / f"sheet{suffix}"
    assert sheet.write([Answer("a bike", found)], file) == 2
    with av.open(str(file)) as picture:
        pixels = next(picture.decode(video=0)).to_ndarray(format="rgb24")
    wanted = sheet.painted([("a bike", found)], tiles)
    assert pixels.shape == wanted.shape
    apart = np.abs(pixels.astype(int) - wanted)
    assert apart.max() == 0 if suffix == ".png" else apart.mean() < 6
    assert [one.name for one in tmp_path.iterdir()] == [file.name]


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(BadSettings, match=r"'\.gif'; it wants \.jpg, \.jpeg, \.png"):
        sheet.suffix_of(tmp_path / "a.gif")


def test_letters_that_there_are_not_become_those_that_are_near():
    assert sheet._plain_letters("Café–Größe 猫") == "Cafe-Grosse ?"
    assert sheet._plain_letters("\x1b[31m") == "?[31m"


def test_a_folder_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "tiles", lambda moments, size: {})
    with pytest.raises(OSError, match="the sheet cannot be written"):
        sheet.write([Answer("q", ())], Path(tmp_path / "no" / "a.png"))
