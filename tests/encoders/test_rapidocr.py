"""Reading what stands on screen, on real clips and on cards made for it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from encoders.recognizers import rapidocr
from retriever.registry import Registry
from retriever.types import Line


class Counted:
    """A method, and how often it was called with what."""

    def __init__(self, method: Any) -> None:
        self.method, self.calls = method, list[tuple[Any, ...]]()

    def __call__(self, *given: Any) -> Any:
        self.calls.append(given[1:])
        return self.method(*given)


@pytest.fixture
def eye() -> Any:
    return rapidocr.build()


@pytest.fixture
def looks(eye: Any, monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted(eye._finder.find)
    monkeypatch.setattr(eye._finder, "find", counted)
    return counted


@pytest.fixture
def reads(eye: Any, monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted(eye._reader.read)
    monkeypatch.setattr(eye._reader, "read", counted)
    return counted


def seconds(count: int) -> list[tuple[float, float]]:
    return [(float(number), number + 1.0) for number in range(count)]


def pages(file: Path, times: range) -> list[np.ndarray]:
    with Registry("indexer.media").load("pyav").build().open(file) as media:
        return [frame.rgb() for frame in media.frames_at(np.array(times, np.float64))]


def card(word: str, noise: int = 0, seed: int = 0) -> np.ndarray:
    page = np.zeros((360, 640, 3), np.uint8)
    cv2.putText(page, word, (40, 200), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (255, 255, 255), 3)
    loud = page + np.random.default_rng(seed).integers(-noise, noise + 1, page.shape, np.int16)
    return loud.clip(0, 255).astype(np.uint8)


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


def test_a_title_card_is_read_as_one_phrase(eye: Any, shared_media: Path) -> None:
    lines = eye.recognize(pages(shared_media / "s034.mp4", range(2, 7)), seconds(5))
    assert "THANKS FOR WATCHING" in texts(lines)


def test_lines_below_each_other_are_one_phrase(eye: Any, shared_media: Path) -> None:
    lines = eye.recognize(pages(shared_media / "s026.webm", range(20, 24)), seconds(4))
    assert texts(lines) == ["THE PEACH OPEN MOVIE PROJECT PRESENTS"]


def test_shop_signs_in_a_street_are_read(eye: Any, shared_media: Path) -> None:
    found = " ".join(texts(eye.recognize(pages(shared_media / "s030.mp4", range(2)), seconds(2))))
    assert "FUTURE SHOP" in found
    assert "SHOPPERS" in found


@pytest.mark.parametrize("clip", ["s002.mp4", "s005.mp4", "s010.mp4", "s019.mp4", "s024.mp4", "s031.mov", "s033.mp4"])
def test_what_is_no_writing_becomes_none(eye: Any, shared_media: Path, clip: str) -> None:
    assert eye.recognize(pages(shared_media / clip, range(2)), seconds(2)) == []


def test_the_same_words_through_time_are_one_line(eye: Any) -> None:
    shown = [card("WELCOME", 30, seed) for seed in range(4)] + [card("GOODBYE", 30, seed) for seed in range(3)]
    lines = eye.recognize(shown, seconds(7))
    assert [(line.text, line.span.start, line.span.end) for line in lines] == [("WELCOME", 0, 4), ("GOODBYE", 4, 7)]


def test_a_still_picture_is_looked_at_once(eye: Any, looks: Counted) -> None:
    (line,) = eye.recognize([card("WELCOME", 2, seed) for seed in range(20)], seconds(20))
    assert (line.text, line.span.start, line.span.end) == ("WELCOME", 0, 20)
    assert len(looks.calls) == 1


def test_a_picture_first_seen_from_afar_is_looked_at_again_if_it_stays(eye: Any, looks: Counted) -> None:
    eye.recognize([card(""), card("WELCOME"), card("WELCOME"), card("WELCOME")], seconds(4))
    assert [side for (side,) in looks.calls] == [eye.options.near, eye.options.far, eye.options.near]


def test_pictures_that_move_are_looked_at_from_near_by_every_few_seconds(eye: Any, looks: Counted) -> None:
    eye.recognize([card("", 120, seed) + np.uint8(20 * (seed % 2)) for seed in range(9)], seconds(9))
    assert [side == eye.options.near for (side,) in looks.calls] == [number % 4 == 0 for number in range(9)]


def test_a_line_read_a_moment_ago_is_not_read_again(eye: Any, reads: Counted) -> None:
    moving = [np.roll(card("WELCOME"), 8 * number, axis=1) for number in range(4)]
    assert texts(eye.recognize(moving, seconds(4))) == ["WELCOME"]
    assert len(reads.calls) < 4
