"""Kill a writer anywhere: what was committed is there, what was not never was, and doing it again ends the same."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import scribe
from libraries import entry, found, held
from scribe import Scribe

from retriever.crashpoints import POINTS
from retriever.stores import _format, local, memory

ROOT = Path(__file__).parents[3]
CRASHES = [point for point in POINTS if point.startswith("store-") and "upgrade" not in point]
KILLS = 20


@pytest.fixture(scope="module")
def history() -> list[dict[str, Any]]:
    """What an undisturbed library holds after each change, the empty one first: the plain twin tells."""
    store = memory.build()
    states = [held(store)]
    for change in scribe.CHANGES:
        change(store)
        states.append(held(store))
    store.close()
    return states


def only_left_overs(folder: Path) -> bool:
    """A crash may leave files that belong to nothing, and nothing worse."""
    return all("a crash left it" in line for line in local.problems(folder))


def finished(folder: Path, history: list[dict[str, Any]]) -> None:
    """Index again: the library is identical to an undisturbed one, and whole."""
    store = local.build(folder)
    scribe.carry_out(store)
    assert held(store) == history[-1]
    store.close()
    assert only_left_overs(folder)


@pytest.mark.parametrize("point", CRASHES)
def test_killed_at_a_named_point(
    point: str, folder: Path, scribe_process: Scribe, history: list[dict[str, Any]]
) -> None:
    for time_of_point in (1, 2) if point.startswith(("store-add", "store-extend")) else (1,):
        scribe_process.start(folder, crash_at=f"{point}:{time_of_point}")
        assert scribe_process.wait() == -signal.SIGKILL
        if "create" not in point:
            assert found(folder) in history
            assert only_left_overs(folder)
    finished(folder, history)


def test_every_named_point_is_one_that_the_code_comes_to() -> None:
    code = "\n".join(file.read_text() for file in (ROOT / "retriever").rglob("*.py"))
    named = [point for point in POINTS if point.startswith("store-")]
    assert [point for point in named if code.count(f'reached("{point}")') == 0] == []


def test_killed_at_random(folder: Path, scribe_process: Scribe, history: list[dict[str, Any]]) -> None:
    chance = random.Random(20)
    local.build(folder).close()
    for _ in range(KILLS):
        child = scribe_process.start(folder, "forever")
        time.sleep(chance.uniform(0, 0.3))
        os.kill(child, signal.SIGKILL)
        assert scribe_process.wait() == -signal.SIGKILL
        assert set(found(folder)["media"]) <= set("abcde")
        assert only_left_overs(folder)
    finished(folder, history)


def test_what_lies_behind_the_committed_rows_does_not_exist(folder: Path, history: list[dict[str, Any]]) -> None:
    """As after a power cut: the files grew, the transaction never was."""
    finished(folder, history)
    for column in [*folder.glob("tokens/*"), *folder.glob("segments/*")]:
        with column.open("ab") as file:
            file.write(os.urandom(3333))
    assert found(folder) == history[-1]
    assert only_left_overs(folder)
    store = local.build(folder)
    store.add(entry("z"))
    store.delete(["z"])
    store.compact()
    assert held(store) == history[-1]
    store.close()
    assert only_left_overs(folder)


@pytest.mark.parametrize("point", [point for point in POINTS if "upgrade" in point])
def test_killed_while_upgrading(
    point: str,
    folder: Path,
    scribe_process: Scribe,
    monkeypatch: pytest.MonkeyPatch,
    history: list[dict[str, Any]],
) -> None:
    finished(folder, history)
    before = _format.current()
    scribe_process.start(folder, "upgrade", crash_at=point)
    assert scribe_process.wait() == -signal.SIGKILL
    monkeypatch.setattr(_format, "migrations", _format.migrations)  # put back after the test
    scribe.with_another_migration()
    assert local.upgrade(folder) in (before, before + 1)
    assert (folder / f"catalog.sqlite.format{before}").is_file()
    assert found(folder) == history[-1]
