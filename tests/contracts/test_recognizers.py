"""What holds for every recognizer in the folder, each with its real weights."""

import socket
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from retriever.registry import Registry
from retriever.types import Line, Modality, Sound

RECOGNIZERS = Registry("encoders.recognizers")
SIDES = [(360, 640), (640, 360), (1, 1), (7, 900), (144, 176)]


@pytest.fixture(scope="module", params=RECOGNIZERS.names())
def built(request: pytest.FixtureRequest) -> tuple[Any, Modality]:
    """A recognizer and its modality, built where nothing can be fetched."""
    plugin = RECOGNIZERS.load(request.param)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket.socket, "connect", refuse)
        patched.setattr(socket, "getaddrinfo", refuse)
        return plugin.build(), plugin.MODALITY


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a recognizer reaches for the network")


def card(*words: str, height: int = 360, width: int = 640) -> np.ndarray:
    """A page with white words on black, one below the other."""
    page = np.zeros((height, width, 3), np.uint8)
    for number, word in enumerate(words):
        cv2.putText(page, word, (30, 120 + 60 * number), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (255, 255, 255), 3)
    return page


def hiss(seconds: float, rate: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)).astype(np.float32)


def recognized_nothing(recognizer: Any, modality: Modality) -> list[Line]:
    """What is recognized where there is nothing: all kinds of it."""
    lines: list[Line] = []
    if modality is Modality.SPEECH:
        for samples in (np.zeros(0), np.zeros(1), np.zeros(48_000), hiss(3, recognizer.rate), np.ones(100)):
            lines += recognizer.recognize(Sound(samples.astype(np.float32), recognizer.rate))
    else:
        grey = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)
        lines += recognizer.recognize([], [])
        for page in [grey, *(np.zeros((*side, 3), np.uint8) for side in SIDES)]:
            lines += recognizer.recognize([page], [(0.0, 1.0)])
    return lines


def test_where_there_is_nothing_nothing_is_recognized(built: tuple[Any, Modality]) -> None:
    assert recognized_nothing(*built) == []


def test_the_digest_names_weights_and_code(built: tuple[Any, Modality]) -> None:
    recognizer, _ = built
    assert len(recognizer.digest) == 64
    assert int(recognizer.digest, 16)
    assert recognizer.digest == type(recognizer)(recognizer.options, threads=1).digest


def test_recognizing_reaches_for_no_network(built: tuple[Any, Modality], monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer, modality = built
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    if modality is Modality.SPEECH:
        recognizer.recognize(Sound(hiss(1, recognizer.rate), recognizer.rate))
    else:
        assert recognizer.recognize([card("OPEN")], [(0.0, 1.0)])


def heard(file: Path, rate: int, start: float = 0.0) -> Sound:
    """The sound of a file, as if it began at `start`."""
    with Registry("indexer.media").load("pyav").build().open(file) as media:
        return Sound(np.concatenate(list(media.sound(rate))), rate, start)


def lines_of(recognizer: Any, modality: Modality, start: float, request: pytest.FixtureRequest) -> list[Line]:
    """Real lines: a page read aloud, or cards with words, from second `start` on."""
    if modality is Modality.SPEECH:
        clips: Path = request.getfixturevalue("shared_media")
        return recognizer.recognize(heard(clips / "s048.ogg", recognizer.rate, start))
    cards = [card("OPEN"), card("OPEN"), card("THANKS FOR", "WATCHING"), card()]
    return recognizer.recognize(cards, [(start + number, start + number + 1) for number in range(4)])


def test_lines_are_in_order_on_the_clock_and_sure(built: tuple[Any, Modality], request: pytest.FixtureRequest) -> None:
    recognizer, modality = built
    lines = lines_of(recognizer, modality, 100.0, request)
    assert len(lines) > 1
    assert 100 <= lines[0].span.start < lines[-1].span.end <= 114
    assert all(before.span.start <= after.span.start for before, after in pairwise(lines))
    for line in lines:
        assert line.modality is modality
        assert line.text.strip() == line.text != ""
        assert 0 < line.confidence <= 1


def test_what_came_before_changes_nothing(built: tuple[Any, Modality], request: pytest.FixtureRequest) -> None:
    recognizer, modality = built
    once = lines_of(recognizer, modality, 0.0, request)
    recognized_nothing(recognizer, modality)
    assert lines_of(recognizer, modality, 0.0, request) == once
