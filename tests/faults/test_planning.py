"""Killed while files are looked at, and started again: the same library, and hardly a file is read twice."""

import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty import held
from nursery import Nursery
from reels import write_reel

from retriever.crashpoints import POINTS

HERE = Path(__file__).parent
PLANNING = [name for name in POINTS if name.startswith("plan")]
TIMES = (1, 2)
NAMES = "abcdef"


@pytest.fixture
def child(nursery: Nursery) -> Callable[..., int]:
    def run(library: Path, log: Path, clips: Path, crash_at: str = "") -> int:
        code, said = nursery.run(HERE / "planning_child.py", library, log, clips, crash_at=crash_at)
        assert code in (0, -signal.SIGKILL), said
        return code

    return run


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        write_reel(folder / f"{name}.synthetic", "red", seconds=1.0 + number)
    return folder


def tangle(folder: Path) -> None:
    """Two change places, one is renamed, one copied, and another one comes where one was."""
    a, b, c, d, e = (folder / f"{name}.synthetic" for name in NAMES[:5])
    a.rename(folder / "t"), b.rename(a), (folder / "t").rename(b)
    c.rename(folder / "z.synthetic")
    shutil.copy(d, folder / "y.synthetic")
    e.rename(folder / "x.synthetic")
    write_reel(e, "blue")


def read(log: Path) -> Counter[str]:
    return Counter(log.read_text().split()) if log.exists() else Counter()


@pytest.mark.parametrize("point", PLANNING)
def test_killed_while_files_are_looked_at(point: str, child: Callable[..., int], clips: Path, tmp_path: Path) -> None:
    undisturbed: list[dict[str, Any]] = []
    for library, disturbed in ((tmp_path / "still", False), (tmp_path / "lib", True)):
        folder = tmp_path / "media"
        shutil.copytree(clips, folder)
        killed = 0
        for step in (None, tangle):
            log = tmp_path / f"log-{library.name}-{bool(step)}"
            if step:
                step(folder)
            for number in TIMES if disturbed else ():
                killed += child(library, log, folder, f"{point}:{number}") == -signal.SIGKILL
            assert child(library, log, folder) == 0
            if not disturbed:
                undisturbed.append(held(library))
            else:
                assert held(library) == undisturbed[bool(step)]
                twice = [name for name, times in read(log).items() if times > 1]
                assert len(twice) <= len(TIMES), "a kill costs a batch at most"
            before = read(log)
            assert child(library, log, folder) == 0
            assert read(log) == before
            assert held(library) == undisturbed[bool(step)]
        assert killed or not disturbed, f"{point} was never reached"
        shutil.rmtree(folder)
