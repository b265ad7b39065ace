"""Killed anywhere and started again, a library is identical to an undisturbed one."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from libraries import contents
from nursery import Nursery
from reels import write_reel

from retriever.crashpoints import POINTS
from retriever.stores import local

CHILD = Path(__file__).with_name("index_child.py")
INDEXING = [name for name in POINTS if name.startswith(("store-create", "store-add", "staging", "pipeline"))]
TIMES = (1, 3)  # the first time a point is reached, and in the midst of things


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_reel(folder / "one.synthetic", "red", "blue", "green", "white")  # three chapters
    write_reel(folder / "two.synthetic", "green", "black")
    write_reel(folder / "bad.synthetic", "red", crash_at=1)
    write_reel(folder / "three.synthetic", "blue", tone=False)
    return folder


def finish(nursery: Nursery, library: Path, clips: Path) -> None:
    code, said = nursery.run(CHILD, library, clips)
    assert code == 0, said


def held(library: Path) -> dict[str, Any]:
    store = local.build(library)
    try:
        with store.snapshot() as snapshot:
            found = contents(snapshot)
        assert store.catalog.staged() == []
        assert store.catalog.leased() == {}
        found["quarantined"] = [Path(entry.path).name for entry in store.catalog.quarantined()]
        return found
    finally:
        store.close()


@pytest.fixture(scope="module")
def undisturbed(nursery: Nursery, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    library = tmp_path_factory.mktemp("undisturbed") / "lib"
    finish(nursery, library, clips)
    return held(library)


@pytest.mark.parametrize("point", INDEXING)
def test_killed_at_a_named_point(
    point: str, nursery: Nursery, clips: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    killed = 0
    for time_reached in TIMES:
        code, _ = nursery.run(CHILD, tmp_path / "lib", clips, crash_at=f"{point}:{time_reached}")
        killed += code == -signal.SIGKILL
    assert killed, f"{point} was never reached"
    finish(nursery, tmp_path / "lib", clips)
    assert held(tmp_path / "lib") == undisturbed


@pytest.mark.slow
def test_killed_at_random(nursery: Nursery, clips: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """Twenty kills, each at a moment drawn over the length of a run, the library going on from wherever it was."""
    dice = random.Random(20)
    library = tmp_path / "lib"
    for _ in range(20):
        child = subprocess.Popen(
            [sys.executable, str(CHILD), str(library), str(clips)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        time.sleep(dice.uniform(0.2, 2.5))
        child.kill()
        child.communicate(timeout=120)
    finish(nursery, library, clips)
    assert held(library) == undisturbed
