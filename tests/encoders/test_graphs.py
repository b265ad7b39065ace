"""What conversion made is kept, and never trusted blindly."""

import logging
from pathlib import Path

import numpy as np
import pytest

from encoders._graphs import BATCHES, Arrays, batches, cache_folder, kept


class Maker:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Arrays:
        self.calls += 1
        numbers = np.arange(12, dtype=np.float32).reshape(3, 4)
        return {"numbers": numbers, "turned": numbers.T, "letters": np.frombuffer(b"abc", np.uint8)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REELSEEK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(arrays: Arrays) -> None:
    wanted = Maker()()
    assert arrays.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(arrays[name], wanted[name])


def test_arrays_are_made_once(folder: Path) -> None:
    make = Maker()
    same(kept("net", "key", make))
    same(kept("net", "key", make))
    assert make.calls == 1
    assert len(list(folder.iterdir())) == 1  # nothing is left beside the file


def test_another_key_is_another_file(folder: Path) -> None:
    make = Maker()
    kept("net", "one", make)
    kept("net", "two", make)
    assert make.calls == 2


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_damaged_file_is_made_again(folder: Path, damage: bytes | None) -> None:
    make = Maker()
    kept("net", "key", make)
    (file,) = folder.iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content if damage is None else damage)
    same(kept("net", "key", make))
    same(kept("net", "key", make))
    assert make.calls == 2


def test_a_folder_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("REELSEEK_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        same(kept("net", "key", Maker()))
    assert "set REELSEEK_CACHE" in caplog.text


def test_the_cache_lies_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.delenv("REELSEEK_CACHE", raising=False)
    assert cache_folder() == Path("/xdg/reelseek")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/home/somebody/.cache/reelseek")
    monkeypatch.setenv("REELSEEK_CACHE", "~/mine")
    assert cache_folder() == Path("/home/somebody/mine")


@pytest.mark.parametrize("count", [0, 1, 3, 4, 16, 23, 40])
def test_batches_take_every_row_once_in_few_sizes(count: int) -> None:
    slices = list(batches(count))
    assert [row for rows in slices for row in range(count)[rows]] == list(range(count))
    assert {rows.stop - rows.start for rows in slices} <= set(BATCHES)
