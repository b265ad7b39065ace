"""Crash points cost nothing unless they are asked for, and then they kill."""

import os
import signal
import subprocess
import sys

import pytest

from retriever import crashpoints


def test_nothing_happens_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REELSEEK_CRASH_AT", raising=False)
    crashpoints.reached(crashpoints.POINTS[0])
    crashpoints.reached("nowhere")


def test_a_point_that_nobody_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELSEEK_CRASH_AT", "elsewhere")
    with pytest.raises(ValueError, match="declare it"):
        crashpoints.reached("nowhere")


def test_killed_the_third_time() -> None:
    code = (
        "from retriever.crashpoints import reached\n"
        "for time in range(5):\n"
        "    print(time, flush=True)\n"
        "    reached('store-add-locked')\n"
        "    reached('store-add-synced')\n"
    )
    environment = {**os.environ, "REELSEEK_CRASH_AT": "store-add-synced:3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == ["0", "1", "2"]


def test_names_are_told_apart() -> None:
    assert len(set(crashpoints.POINTS)) == len(crashpoints.POINTS)
    assert not any(":" in point for point in crashpoints.POINTS)
