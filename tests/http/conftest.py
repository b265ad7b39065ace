"""A small library of real files, served."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="fastapi: the extra serve is not installed")

import clips
from end_to_end.conftest import _clips, _in
from serving import Served, serving

from api import Library
from retriever.settings import Settings


@pytest.fixture(scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Encoders that know colours and tones, for all tests of one file."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        _in(folder, patch)
        clips.picture(folder / "red.png", "red")
        with Library.open("lib") as library:
            library.index([_clips(folder)], jobs=1)
        yield folder


@pytest.fixture(scope="module")
def shared(_folder: Path) -> Iterator[Served]:
    """For tests that only look."""
    with serving(partial(Library.open, _folder / "lib")) as served:
        yield served


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder of this test alone, with `clips` in it."""
    _in(tmp_path, monkeypatch)
    _clips(tmp_path)
    return tmp_path


@pytest.fixture
def own(folder: Path) -> Iterator[Served]:
    """A served library of this test alone, with two films and a tone in it; `clips` is a root."""
    with Library.open("lib") as library:
        library.index([folder / "clips"], jobs=1)
    with serving(partial(Library.open, folder / "lib"), Settings(roots=str(folder / "clips"))) as served:
        yield served
