"""The real pack, killed and started again: the same media, segments, words and times; vectors within 1e-3."""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retriever.stores import local

pytestmark = pytest.mark.slow
CLIPS = ("s018.mp4", "s034.mp4", "s043.mp3")  # short, and all four modalities
POINTS = ("store-add-synced", "store-add-committed", "staging-after-checkpoint", "pipeline-before-commit")
KILLS = 16
"""With those at named points twenty."""


@pytest.fixture(scope="module")
def clips(shared_media: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name in CLIPS:
        shutil.copy(shared_media / name, folder)
    return folder


def index(library: Path, clips: Path, crash_at: str = "") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "api.main", "index", str(clips), "--library", str(library)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "REELSEEK_CRASH_AT": crash_at},
    )


def finish(library: Path, clips: Path) -> None:
    child = index(library, clips)
    _, said = child.communicate(timeout=300)
    assert child.returncode == 0, said.decode()


def held(library: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What must be equal, and what must be near, by media key."""
    store = local.build(library)
    try:
        with store.snapshot() as snapshot:
            equal: dict[str, Any] = {}
            near: dict[str, np.ndarray] = {}
            numbers = snapshot.numbers()
            table = snapshot.segments(numbers)
            media = snapshot.media_at(table.media)
            for at, (number, one) in enumerate(zip(numbers, media, strict=True)):
                part = numbers[at : at + 1]
                name = f"{one.key}@{table.spans[at].tolist()}"
                equal[name] = (one.kind, one.duration, one.missing, snapshot.lines(part)[0])
                for space in snapshot.spaces:
                    tokens = snapshot.tokens(part, space)
                    equal[f"{name} {space}"] = (tokens.spans.tolist(), list(tokens.labels))
                    near[f"{name} {space}"] = tokens.rows.astype(np.float32)
                assert number == part[0]
            return equal, near
    finally:
        store.close()


def test_the_real_pack_killed_at_named_points_and_at_random(clips: Path, tmp_path: Path) -> None:
    finish(tmp_path / "undisturbed", clips)
    library, dice = tmp_path / "killed", random.Random(7)
    for point in POINTS:
        child = index(library, clips, point)
        child.communicate(timeout=300)
        assert child.returncode != 0, f"{point} was never reached"
    for _ in range(KILLS):
        child = index(library, clips)
        time.sleep(dice.uniform(0.5, 8))
        child.kill()
        child.communicate(timeout=60)
    finish(library, clips)
    (equal, near), (other_equal, other_near) = held(tmp_path / "undisturbed"), held(library)
    assert equal == other_equal
    for name, rows in near.items():
        np.testing.assert_allclose(rows, other_near[name], atol=1e-3, err_msg=name)
