"""The command line over encoders that need no weights: real files, a real store, a real search."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
    """Three files that can be indexed, in `clips`; they are so short that one decoder is quickest."""
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
def towers_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder of this test alone, in which models that are named are read as ever, and nothing else needs
    weights: nobody reads or listens, and without a model
    colours are seen and loudness is heard."""
    blind = SimpleNamespace(digest="0" * 64, side=64, recognize=lambda frames, spans: [])
    recognizers = {"whisper": fakes.NoSpeech, "rapidocr": lambda: blind}
    whole = parts.ENCODERS
    plain = {"concepts": fakes.Colours, "soundevents": fakes.Loudness}

    def load(name: str) -> Any:
        return SimpleNamespace(build=lambda sentences: plain[name]()) if name in plain else whole.load(name)

    monkeypatch.setattr(parts, "sentences", lambda name: fakes.HashingSentences())
    monkeypatch.setattr(
        parts, "RECOGNIZERS", SimpleNamespace(load=lambda name: SimpleNamespace(build=recognizers[name]))
    )
    monkeypatch.setattr(parts, "ENCODERS", SimpleNamespace(load=load))
    monkeypatch.setenv("REELSEEK_LIBRARY", "lib")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def coloured(towers_only: Path) -> Path:
    """Films of two colours each, and a tone, in `films`."""
    folder = towers_only / "films"
    folder.mkdir()
    clips.film(folder / "first.mp4", ["red", "blue"])
    clips.film(folder / "second.mp4", ["green"])
    clips.film(folder / "third.mp4", ["yellow", "green"])
    clips.tone(folder / "tone.wav", [False, True])
    return folder


@pytest.fixture(scope="session")
def untaught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tower of open_clip that has learnt nothing: it is there to have a space of frames."""
    towers = pytest.importorskip("towers")
    folder = tmp_path_factory.mktemp("towers") / "frames"
    towers.openclip_folder(folder, towers.CLIP)
    return Path(folder)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    return _clips(tmp_path)


@pytest.fixture
def indexed(no_weights: None, media: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder `clips`, indexed into `lib`, for this test alone."""
    assert main(["index", str(media), "--jobs", "1"]) == 0
    capsys.readouterr()
    return media


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    clips.picture(folder / "red.png", "red")
    with pytest.MonkeyPatch.context() as patch:
        _in(folder, patch)
        assert main(["index", str(_clips(folder)), "--jobs", "1"]) == 0
    return folder


@pytest.fixture
def kept(_shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `indexed`, for tests that only look: all of them share it."""
    _in(_shared, monkeypatch)
    return _shared / "clips"
