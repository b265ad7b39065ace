"""Indexes are derived: without them answers are the same, and they come back."""

import subprocess
import sys
from pathlib import Path

import pytest
from libraries import entry, held

from retriever.stores import _ann, local


@pytest.fixture
def library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> local.LocalStore:
    """Small, but with indexes all the same."""
    monkeypatch.setattr(_ann, "FLAT_UP_TO", 8)
    store = local.build(folder)
    for key in "abcdef":
        store.add(entry(key))
    return store


def indexes(folder: Path) -> list[Path]:
    return sorted((folder / "index").glob("*"))


def test_an_index_changes_no_answer_and_comes_back(library: local.LocalStore, folder: Path) -> None:
    before = held(library)
    assert indexes(folder) == []
    library.refresh()
    made = indexes(folder)
    assert len(made) == 2
    assert held(library) == before
    library.refresh()  # nothing to do
    assert indexes(folder) == made
    for index in made:
        index.unlink()
    assert len(local.problems(folder)) == 2
    fresh = local.build(folder)
    assert held(fresh) == before
    fresh.refresh()
    assert indexes(folder) == made
    assert held(fresh) == before
    assert local.problems(folder) == []
    fresh.close()


def test_rows_behind_an_index_are_found_and_taken_into_the_next(library: local.LocalStore, folder: Path) -> None:
    library.refresh()
    first = indexes(folder)
    library.add(entry("g"))  # fewer rows than deserve another index
    library.refresh()
    assert indexes(folder) == first
    before = held(library)
    assert "g" in str(before["answers"])
    library.add(entry("h", segments=6))
    library.delete(["h"])
    library.refresh()
    second = indexes(folder)
    assert len(second) == 2
    assert set(first) & set(second) == set()
    assert held(library) == before


def test_compaction_makes_indexes_of_the_new_rows(library: local.LocalStore, folder: Path) -> None:
    library.refresh()
    library.delete(["a"])
    before = held(library)
    library.compact()
    assert [".2-" in file.name for file in indexes(folder)] == [True, True]
    assert held(library) == before
    assert local.problems(folder) == []


def test_an_index_that_cannot_be_read_is_made_again(library: local.LocalStore, folder: Path) -> None:
    library.refresh()
    before = held(library)
    for index in indexes(folder):
        index.write_bytes(b"not an index")
    store = local.build(folder)
    assert held(store) == before
    store.refresh()
    assert min(file.stat().st_size for file in indexes(folder)) > 100
    assert held(store) == before
    store.close()


def test_without_faiss_every_row_is_looked_at(
    library: local.LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.refresh()
    before = held(library)
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(_ann, "worthwhile", lambda rows: False)
    store = local.build(folder)
    assert held(store) == before
    store.compact()
    assert held(store) == before
    store.close()


def test_a_small_library_is_searched_without_heavy_libraries(folder: Path) -> None:
    store = local.build(folder)
    store.add(entry("a"))
    store.close()
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from retriever.stores import local\n"
        "store = local.build(Path(sys.argv[1]), create=False)\n"
        "with store.snapshot() as snapshot:\n"
        "    for key, space in snapshot.spaces.items():\n"
        "        assert len(snapshot.nearest(np.eye(1, space.dimension, dtype=np.float32), key, 5)[0])\n"
        "print(*sorted({'faiss', 'torch', 'transformers', 'numba'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
