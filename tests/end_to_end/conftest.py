"""The command line over encoders that need no weights: real files, a real store, a real search."""

from pathlib import Path

import clips
import fakes
import pytest

from api import parts
from api.main import main
from indexer.encoding import Encoders
from indexer.recipe import Recipe


def _encoders(recipe: Recipe, models: parts.ModelChoice) -> Encoders:
    return Encoders(
        fakes.HashingSentences(),
        {"colours": fakes.Colours()},
        {"loudness": fakes.Loudness()},
        {"nospeech": fakes.NoSpeech()},
        {"subtitles": fakes.Subtitles()},
    )


def _in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Encoders that know colours and tones; `lib` in `folder` is the library."""
    patch.setattr(parts, "encoders", _encoders)
    patch.setattr(parts, "sentences", lambda name: fakes.HashingSentences())
    patch.chdir(folder)
    patch.setenv("REELSEEK_LIBRARY", "lib")


def _clips(folder: Path) -> Path:
    """Three files that can be indexed, in `clips`."""
    made = folder / "clips"
    made.mkdir()
    clips.film(made / "first.mp4", ["red", "blue"])
    clips.film(made / "second.mp4", ["green"])
    clips.tone(made / "tone.wav", [False, True])
    return made


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A working folder of this test alone, without a library."""
    _in(tmp_path, monkeypatch)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    return _clips(tmp_path)


@pytest.fixture
def indexed(no_weights: None, media: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder `clips`, indexed into `lib`, for this test alone."""
    assert main(["index", str(media)]) == 0
    capsys.readouterr()
    return media


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        _in(folder, patch)
        assert main(["index", str(_clips(folder))]) == 0
    return folder


@pytest.fixture
def kept(_shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `indexed`, for tests that only look: all of them share it."""
    _in(_shared, monkeypatch)
    return _shared / "clips"
