"""What the offline pack sees and hears in real clips, and that silence is nothing that sounds."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from encoders import concepts, minilm, soundevents
from encoders.concepts import Concepts
from encoders.minilm import MiniLM
from encoders.soundevents import SoundEvents
from retriever.types import Sound, Text


@pytest.fixture(scope="module")
def sentences() -> MiniLM:
    return minilm.build()


@pytest.fixture(scope="module")
def vision(sentences: MiniLM) -> Concepts:
    return concepts.build(sentences)


@pytest.fixture(scope="module")
def hearing(sentences: MiniLM) -> SoundEvents:
    return soundevents.build(sentences)


def clip(folder: Path, slug: str) -> Path:
    lines = (json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines())
    return next(folder / line["file"] for line in lines if line["slug"] == slug)


def one_frame(file: Path, second: float) -> np.ndarray:
    with av.open(str(file)) as container:
        for frame in container.decode(video=0):
            if frame.time >= second:
                return frame.to_ndarray(format="rgb24")[None]
    raise AssertionError(f"{file} is shorter than {second} s")


def sound_of(file: Path) -> Sound:
    resampler = av.AudioResampler("flt", "mono", 16_000)
    with av.open(str(file)) as container:
        blocks = [block for frame in container.decode(audio=0) for block in resampler.resample(frame)]
    return Sound(np.concatenate([block.to_ndarray()[0] for block in blocks]), 16_000)


@pytest.mark.parametrize(
    ("slug", "second", "question", "label"),
    [
        ("dog_fetch", 5.0, "a dog", "spaniel"),
        ("carpenter_bee", 1.0, "an insect on a flower", "bee"),
        ("airshow", 1.0, "an airplane", "airliner"),
    ],
)
def test_frames_are_seen(
    shared_media: Path, vision: Concepts, slug: str, second: float, question: str, label: str
) -> None:
    tokens = vision.encode_frames(one_frame(clip(shared_media, slug), second), np.array([[second, second + 0.5]]))
    assert any(label in name for name in tokens.labels[0])
    asked = vision.encode_query(Text(question))
    other = vision.encode_query(Text("a bowl of soup"))
    assert tokens.rows[0] @ asked > tokens.rows[0] @ other + 0.1


@pytest.mark.parametrize(
    ("slug", "question", "label"),
    [
        ("rooster_mp3", "a rooster crows", "Chicken, rooster"),
        ("crunch_mp3", "somebody chews", "Chewing, mastication"),
        ("trumpet_ogg", "a trumpet", "Trumpet"),
        ("counting_wav", "somebody speaks", "Speech"),
    ],
)
def test_sounds_are_heard(shared_media: Path, hearing: SoundEvents, slug: str, question: str, label: str) -> None:
    tokens = hearing.encode_sound(sound_of(clip(shared_media, slug)))
    assert any(label in names for names in tokens.labels)
    asked = hearing.encode_query(Text(question))
    other = hearing.encode_query(Text("a motorcycle engine"))
    assert (tokens.rows @ asked).max() > (tokens.rows @ other).max() + 0.1


def test_silence_is_heard_as_silence_alone(hearing: SoundEvents) -> None:
    tokens = hearing.encode_sound(Sound(np.zeros(64_000, np.float32), 16_000))
    assert set(tokens.labels) == {("Silence",)}
    questions = ["a dog barks", "a crowd cheers", "rain and thunder", "piano music", "a car horn"]
    asked = np.stack([hearing.encode_query(Text(question)) for question in questions])
    assert (tokens.rows @ asked.T).max() < 0.2
    assert (tokens.rows @ hearing.encode_query(Text("silence"))).min() > 0.4


def test_the_end_of_a_sound_is_not_taken_for_silence(hearing: SoundEvents) -> None:
    """The padding behind the last sample counts for nothing, however little is left for the last token."""
    rng = np.random.default_rng(0)
    noise = (0.2 * rng.normal(size=16_000)).astype(np.float32)
    for length in (8_000, 15_360, 16_000):
        tokens = hearing.encode_sound(Sound(noise[:length], 16_000))
        assert "Silence" not in tokens.labels[-1]
