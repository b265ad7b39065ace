"""What is derived is kept, and can be lost."""

from pathlib import Path

import numpy as np

from retriever.derived import NEWEST, Arrays, kept


class Maker:
    """Counts how often it has to work."""

    def __init__(self, number: int = 1) -> None:
        self.times = 0
        self._number = number

    def __call__(self) -> Arrays:
        self.times += 1
        return {"rows": np.full((2, 3), self._number, np.float32), "one": np.array(7)}


def test_made_once_and_read_again_as_it_was(tmp_path: Path) -> None:
    make = Maker()
    made, read = (kept(tmp_path / "derived", "rows", "key", make) for _ in range(2))
    assert make.times == 1
    assert read["rows"].dtype == np.float32
    np.testing.assert_array_equal(made["rows"], read["rows"])
    assert int(read["one"]) == 7


def test_another_key_is_another_thing(tmp_path: Path) -> None:
    assert kept(tmp_path, "rows", "a", Maker(1))["rows"][0, 0] == 1
    assert kept(tmp_path, "rows", "b", Maker(2))["rows"][0, 0] == 2
    assert kept(tmp_path, "rows", "a", Maker(3))["rows"][0, 0] == 1


def test_without_a_folder_nothing_is_kept() -> None:
    make = Maker()
    kept(None, "rows", "key", make)
    kept(None, "rows", "key", make)
    assert make.times == 2


def test_a_damaged_or_cut_off_file_is_made_again(tmp_path: Path) -> None:
    for damage in (b"", b"PK\x03\x04", b"nonsense", None):
        make = Maker()
        kept(tmp_path, "rows", "key", make)
        (file,) = tmp_path.glob("rows-*.npz")
        file.write_bytes(file.read_bytes()[:-40] if damage is None else damage)
        assert kept(tmp_path, "rows", "key", make)["rows"][0, 0] == 1
        assert make.times == 2
        file.unlink()


def test_what_was_pickled_is_never_read(tmp_path: Path) -> None:
    make = Maker()
    kept(tmp_path, "rows", "key", make)
    (file,) = tmp_path.glob("rows-*.npz")
    np.savez(file, rows=np.array([{"evil": 1}], dtype=object))
    assert kept(tmp_path, "rows", "key", make)["rows"][0, 0] == 1
    assert make.times == 2


def test_a_folder_that_cannot_be_made_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "no" / "derived", tmp_path / "file"):
        assert kept(folder, "rows", "key", Maker())["rows"][0, 0] == 1


def test_only_the_newest_of_a_name_stay(tmp_path: Path) -> None:
    for number in range(NEWEST + 3):
        kept(tmp_path, "rows", str(number), Maker())
    kept(tmp_path, "other", "key", Maker())
    assert len(list(tmp_path.glob("rows-*.npz"))) == NEWEST
    assert len(list(tmp_path.iterdir())) == NEWEST + 1
