"""Whisper on real clips: words where somebody speaks, none where nobody does."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.recognizers import whisper
from retriever.registry import Registry
from retriever.types import Line, Sound

RATE = 16_000


@pytest.fixture(scope="module")
def listener() -> Any:
    return whisper.build()


def heard(file: Path) -> np.ndarray:
    with Registry("indexer.media").load("pyav").build().open(file) as media:
        return np.concatenate(list(media.sound(RATE)))


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.casefold().replace("'", "")))


def texts(lines: list[Line]) -> str:
    return " ".join(line.text for line in lines)


@pytest.mark.parametrize("clip", ["s044.mp3", "s045.mp3", "s050.flac", "s051.wav"])
def test_speech_becomes_its_words(listener: Any, shared_media: Path, clip: str) -> None:
    pages = map(json.loads, (shared_media / "manifest.jsonl").read_text().splitlines())
    said = next(words(page["speech"]) for page in pages if page["file"] == clip)
    found = words(texts(listener.recognize(Sound(heard(shared_media / clip), RATE))))
    assert len(said & found) >= 0.9 * len(said)


@pytest.mark.parametrize("clip", ["s026.webm", "s028.webm", "s039.mp3", "s042.mp3", "s052.wav", "s053.ogg", "s055.wav"])
def test_music_animals_and_horns_become_none(listener: Any, shared_media: Path, clip: str) -> None:
    assert listener.recognize(Sound(heard(shared_media / clip), RATE)) == []


def test_speech_is_heard_after_half_a_minute_without_any(listener: Any, shared_media: Path) -> None:
    rain, speech = heard(shared_media / "s040.mp3")[: 30 * RATE], heard(shared_media / "s045.mp3")
    (line,) = listener.recognize(Sound(np.concatenate([rain, speech]), RATE, start=10.0))
    assert words(line.text) >= {"like", "eating", "cheese", "toast"}
    assert 39.5 <= line.span.start < line.span.end <= 43


def test_lines_are_sentences_where_they_are_said(listener: Any, shared_media: Path) -> None:
    lines = listener.recognize(Sound(heard(shared_media / "s048.ogg"), RATE))
    (gown,) = (line for line in lines if "gown" in line.text)
    assert gown.span.start == pytest.approx(9, abs=1.5)
    assert len(lines) >= 3


def test_another_rate_is_refused(listener: Any) -> None:
    with pytest.raises(ValueError, match="16000 samples a second, got 8000"):
        listener.recognize(Sound(np.zeros(8000, np.float32), 8000))
