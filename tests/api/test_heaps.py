"""How many heaps a process has whose threads all want memory at once."""

import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from api import heaps
from api.main import main

CHILD = """
import ctypes, tempfile, threading
from api import heaps

said = heaps.few()
at_once = threading.Barrier(16)


def work():
    at_once.wait(20)
    return [bytearray(9_999) for _ in range(500)]


many = [threading.Thread(target=work) for _ in range(16)]
for one in many:
    one.start()
for one in many:
    one.join()
library = ctypes.CDLL(None)
library.fopen.restype, library.malloc_info.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
library.fclose.argtypes = (ctypes.c_void_p,)
with tempfile.NamedTemporaryFile() as file:
    told = library.fopen(file.name.encode(), b"w")
    library.malloc_info(0, told)
    library.fclose(told)
    print(said, file.read().count(b"<heap nr="), heaps.tidy())
"""
GNU = platform.libc_ver()[0] == "glibc"


def counted(**said: str) -> tuple[bool, int, bool]:
    """Whether `few` did anything in a process of its own, how many heaps that had, and whether `tidy` found any."""
    paths = {name: value for name, value in os.environ.items() if name != heaps.SAID}
    paths |= {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONMALLOC": "malloc", **said}
    done = subprocess.run([sys.executable, "-c", CHILD], env=paths, capture_output=True, text=True, check=True)
    did, count, tidied = done.stdout.split()
    return did == "True", int(count), tidied == "True"


if GNU:

    def test_threads_share_two_heaps_and_what_they_left_is_given_back() -> None:
        assert counted() == (True, heaps.HEAPS, True)

    def test_what_somebody_says_of_every_program_stays() -> None:
        did, count, _ = counted(**{heaps.SAID: "5"})
        assert not did
        assert heaps.HEAPS < count <= 5


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(heaps.SAID, raising=False)
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not heaps.few()
    assert not heaps.tidy()


def test_a_server_says_so_when_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    monkeypatch.setattr(heaps, "few", lambda: said.append("few"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["--library", str(tmp_path / "lib"), "--create", "--port", str(taken.getsockname()[1])]
        assert main(["serve", *words]) == 1
    assert said == ["few"]


def test_what_is_there_when_a_server_is_ready_is_never_gone_through_again(tmp_path: Path) -> None:
    program = """
import gc, sys
from api import heaps
gc.disable()
mine = [[] for _ in range(100)]
for one in mine:
    one.append(one)
del one, mine
heaps.settle()
print(gc.get_freeze_count() > 1_000, len(gc.get_objects()) < 1_000, gc.collect())
"""
    paths = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], env=paths, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "0"]
