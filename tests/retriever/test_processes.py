"""Who a process is, and whether it is no more."""

import subprocess
import sys
from pathlib import Path

import pytest

from retriever import processes


def test_i_have_not_ended() -> None:
    assert processes.me() == processes.me()
    assert not processes.ended(processes.me())


def test_a_process_that_was_killed_has_ended_even_if_nobody_looked() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    host = processes.me().partition(":")[0]
    started = processes._started(child.pid)
    assert not processes.ended(f"{host}:{child.pid}:{started}")
    assert processes.ended(f"{host}:{child.pid}:1{started}")  # a later process of the same number
    assert not processes.ended(f"{host}:{child.pid}:")  # somebody of this number is there
    child.kill()
    while Path(f"/proc/{child.pid}/stat").exists() and processes._started(child.pid):
        pass  # until it is a zombie
    assert processes.ended(f"{host}:{child.pid}:{started}")
    child.communicate()
    assert processes.ended(f"{host}:{child.pid}:")


@pytest.mark.parametrize("owner", ["elsewhere:1:2", "", "nonsense", "a:b", "a:b:c:d", f"{processes._host()}:x:1"])
def test_of_others_nothing_is_known(owner: str) -> None:
    assert not processes.ended(owner)
