"""Killed anywhere on its way to another model and started again, a library is identical to an undisturbed one."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from libraries import contents
from nursery import Nursery
from reels import write_reel

from retriever.crashpoints import POINTS
from retriever.stores import local
from retriever.types import Searched

HERE = Path(__file__).parent
BUILDING = [name for name in POINTS if name.startswith(("store-begin", "store-extend", "staging", "reembed"))]
BUILDING = [name for name in BUILDING if "drop" not in name]
ENDING = [name for name in POINTS if name.startswith(("store-choose", "store-compact")) or "drop" in name]
TIMES = (1, 3)
PLACES = os.pathsep.join([str(HERE.parents[1]), str(HERE.parent)])


Child = Callable[..., int]


def started(script: str, *words: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(HERE / script), *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": PLACES},
    )


def ended(process: subprocess.Popen[bytes]) -> int:
    _, said = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), said.decode()
    return process.returncode


@pytest.fixture(scope="module")
def child(nursery: Nursery) -> Child:
    """Runs a script to its end; `crash_at` is where that comes."""

    def run(script: str, *words: str | Path, crash_at: str = "") -> int:
        code, said = nursery.run(HERE / script, *words, crash_at=crash_at)
        assert code in (0, -signal.SIGKILL), said
        return code

    return run


@pytest.fixture(scope="module")
def indexed(child: Child, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of four clips by the old recipe, one of whose files is gone."""
    folder = tmp_path_factory.mktemp("reembed")
    clips = folder / "clips"
    clips.mkdir()
    write_reel(clips / "one.synthetic", "red", "blue", "green", "white")  # three chapters
    write_reel(clips / "two.synthetic", "green", "black")
    write_reel(clips / "three.synthetic", "blue", tone=False)
    assert child("index_child.py", folder / "lib", clips) == 0
    return folder / "lib"


def held(library: Path) -> dict[str, Any]:
    """What is searched of it, old and new, and that nothing is left over."""
    store = local.build(library)
    found: dict[str, Any] = {}
    try:
        for searched in Searched if store.catalog.reembedding() else ():
            store.choose(searched)
            with store.snapshot() as snapshot:
                found[searched] = contents(snapshot)
        if not found:
            with store.snapshot() as snapshot:
                found["alone"] = contents(snapshot)
        else:
            store.choose(Searched.OLD)
        assert store.catalog.staged() == []
        assert store.catalog.leased() == {}
        return found
    finally:
        store.close()
        assert [line for line in local.problems(library) if "a crash left it" not in line] == []


@pytest.fixture(scope="module")
def built(child: Child, indexed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library with both recipes, never disturbed."""
    library = tmp_path_factory.mktemp("built") / "lib"
    shutil.copytree(indexed, library)
    assert child("reembed_child.py", library) == 0
    return library


@pytest.fixture(scope="module")
def undisturbed(built: Path) -> dict[str, Any]:
    return held(built)


@pytest.fixture(scope="module")
def alone(
    child: Child, built: Path, undisturbed: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    library = tmp_path_factory.mktemp("alone") / "lib"
    shutil.copytree(built, library)
    assert child("reembed_child.py", library, "old") == 0
    found = held(library)
    assert found == {"alone": undisturbed[Searched.NEW]}
    return found


def test_until_it_is_chosen_nothing_changes(indexed: Path, undisturbed: dict[str, Any]) -> None:
    assert held(indexed) == {"alone": undisturbed[Searched.OLD]}
    assert undisturbed[Searched.NEW]["answers"] != undisturbed[Searched.OLD]["answers"]


@pytest.mark.parametrize("point", BUILDING)
def test_killed_while_building(
    point: str, child: Child, indexed: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    library = tmp_path / "lib"
    shutil.copytree(indexed, library)
    killed = [child("reembed_child.py", library, crash_at=f"{point}:{time}") for time in TIMES]
    assert -signal.SIGKILL in killed, f"{point} was never reached"
    assert child("reembed_child.py", library) == 0
    assert held(library) == undisturbed


@pytest.mark.parametrize("point", ENDING)
def test_killed_while_dropping(point: str, child: Child, built: Path, alone: dict[str, Any], tmp_path: Path) -> None:
    library = tmp_path / "lib"
    shutil.copytree(built, library)
    assert child("reembed_child.py", library, "old", crash_at=point) == -signal.SIGKILL
    assert child("reembed_child.py", library, "old") == 0
    assert held(library) == alone


def test_two_at_once_and_a_compaction(indexed: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    library = tmp_path / "lib"
    shutil.copytree(indexed, library)
    both = [started("reembed_child.py", library) for _ in range(2)]
    store = local.build(library)
    while any(process.poll() is None for process in both):
        store.compact()
    store.close()
    assert [ended(process) for process in both] == [0, 0]
    assert held(library) == undisturbed


def test_files_are_indexed_meanwhile(child: Child, indexed: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    shutil.copytree(indexed.parent / "clips", clips)
    write_reel(clips / "four.synthetic", "white", "red")
    one, other = tmp_path / "one", tmp_path / "other"
    shutil.copytree(indexed, one)
    at_once = [started("reembed_child.py", one), started("index_child.py", one, clips)]
    assert [ended(process) for process in at_once] == [0, 0]
    assert child("reembed_child.py", one) == 0
    shutil.copytree(indexed, other)
    assert child("index_child.py", other, clips) == child("reembed_child.py", other) == 0
    assert held(one) == held(other)
