"""The command line over encoders that need no weights: real files, a real store, a real search."""

from pathlib import Path

import clips
import fakes
import pytest

from api import parts
from api.main import main
from indexer.encoding import Encoders
from indexer.recipe import Recipe


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Encoders that know colours and tones; settings and working folder of this test alone."""

    def encoders(recipe: Recipe) -> Encoders:
        return Encoders(
            fakes.HashingSentences(),
            {"colours": fakes.Colours()},
            {"loudness": fakes.Loudness()},
            {"nospeech": fakes.NoSpeech()},
            {"subtitles": fakes.Subtitles()},
        )

    monkeypatch.setattr(parts, "encoders", encoders)
    monkeypatch.setattr(parts, "sentences", lambda name: fakes.HashingSentences())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REELSEEK_LIBRARY", "lib")


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """Three files that can be indexed."""
    folder = tmp_path / "clips"
    folder.mkdir()
    clips.film(folder / "first.mp4", ["red", "blue"])
    clips.film(folder / "second.mp4", ["green"])
    clips.tone(folder / "tone.wav", [False, True])
    return folder


@pytest.fixture
def indexed(no_weights: None, media: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder, indexed into `lib`."""
    assert main(["index", str(media)]) == 0
    capsys.readouterr()
    return media
