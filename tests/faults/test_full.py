"""The disk is full, from a step of a run on or for one: it is told in one line, and with room the run ends the same."""

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty import Faulty, Outcome, held

FEW, MANY = 6, 50
ROOMY = 244
"""Steps that take room in a run that nothing happens to, about."""
SMALL = ["unshare", "--user", "--map-root-user", "--mount"]
"""In this, disks can be mounted that nobody else sees."""


def is_told(outcome: Outcome) -> bool:
    return outcome.error.startswith("DiskFull: ") and "\n" not in outcome.error


@pytest.mark.parametrize("times", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_at_any_step_it_is_told_in_one_line_and_nothing_is_lost(
    times: int, faulty: Faulty, clips: Path, undisturbed: dict[str, Any], disk: Path
) -> None:
    dice = random.Random(times)
    (disk / "frames").mkdir()
    for number in range(times):
        library, step = disk / str(number) / "lib", dice.randint(1, ROOMY)
        until = {"until": step} if number % 2 else {}  # somebody makes room at once
        outcome = faulty.index(library, clips, full=step, below=disk, temporary=disk / "frames", **until)
        assert is_told(outcome) or (until and outcome.code == 0), outcome
        assert list((disk / "frames").iterdir()) == [], "room for frames was not given back"
        assert faulty.index(library, clips).code == 0
        assert held(library) == undisturbed


@pytest.fixture(scope="module")
def mounting() -> Iterator[Faulty]:
    mount = ["mount", "-t", "tmpfs", "none", "/mnt"]
    if not shutil.which(SMALL[0]) or subprocess.run([*SMALL, *mount], capture_output=True).returncode:
        pytest.skip("no small disk: this system lets nobody mount one")
    made = Faulty(*SMALL)
    yield made
    made.close()


def small(place: Path, size: str) -> list[str]:
    return ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)]


@pytest.mark.parametrize("size", ["64k", "128k", "256k", "400k"])
def test_a_small_disk(size: str, mounting: Faulty, clips: Path, undisturbed: dict[str, Any], disk: Path) -> None:
    (disk / "small").mkdir()
    library = disk / "small" / "lib"
    outcome = mounting.index(library, clips, before=[small(disk / "small", size)])
    assert is_told(outcome), outcome
    larger = ["mount", "-o", "remount,size=64m", str(disk / "small")]
    out = ["cp", "-r", str(library), str(disk / "out")]
    again = mounting.index(library, clips, before=[larger], behind=[out])
    assert again.code == 0, again
    assert held(disk / "out") == undisturbed


@pytest.mark.parametrize("size", ["4k", "16k", "48k"])
def test_a_small_disk_for_frames(
    size: str, mounting: Faulty, clips: Path, undisturbed: dict[str, Any], disk: Path
) -> None:
    (disk / "frames").mkdir()
    outcome = mounting.index(disk / "lib", clips, before=[small(disk / "frames", size)], temporary=disk / "frames")
    assert is_told(outcome), outcome
    assert "TMPDIR" in outcome.error
    assert mounting.index(disk / "lib", clips).code == 0
    assert held(disk / "lib") == undisturbed
