"""What tests of faults share: a process that indexes, clips, and what indexing them comes to if nothing happens."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty import Faulty, held
from reels import write_reel


@pytest.fixture(scope="session")
def faulty() -> Iterator[Faulty]:
    made = Faulty()
    yield made
    made.close()


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three media, of which one has three chapters, and a file that kills its decoder."""
    folder = tmp_path_factory.mktemp("clips")
    write_reel(folder / "one.synthetic", "red", "blue", "green", "white")
    write_reel(folder / "two.synthetic", "green", "black")
    write_reel(folder / "bad.synthetic", "red", crash_at=1)
    write_reel(folder / "three.synthetic", "blue", tone=False)
    return folder


@pytest.fixture
def disk() -> Iterator[Path]:
    """A place for libraries: in memory where there is such a place."""
    memory_disk = Path("/dev/shm")
    place = memory_disk if os.access(memory_disk, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as made:
        yield Path(made)


@pytest.fixture(scope="session")
def undisturbed(faulty: Faulty, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a library of the clips holds and answers."""
    library = tmp_path_factory.mktemp("undisturbed") / "lib"
    assert faulty.index(library, clips).code == 0
    return held(library)
