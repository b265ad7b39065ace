"""What tests of stores share."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from scribe import Scribe


@pytest.fixture(scope="session")
def scribe_process() -> Iterator[Scribe]:
    made = Scribe()
    yield made
    made.end()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place for a library: in memory where there is such a place, since a kill asks nothing of a disk."""
    memory_disk = Path("/dev/shm")
    place = memory_disk if os.access(memory_disk, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as made:
        yield Path(made) / "library"
