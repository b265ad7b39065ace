"""Readers are guests in a process: what they load must not answer for the libraries of others."""

import subprocess
import sys

import pytest

from retriever.registry import Registry

READERS = Registry("indexer.media")
NEIGHBOUR = """
import sys
from importlib import import_module
import_module(sys.argv[1])
import numpy as np
import faiss
rows = np.random.default_rng(0).standard_normal((2_000, 64), np.float32)
index = faiss.IndexFlatIP(64)
index.add(rows)
_, found = index.search(rows, 1)  # many at once: by a matrix product
print((found[:, 0] == np.arange(len(rows))).mean() > 0.5)
"""


@pytest.mark.parametrize("name", READERS.names())
def test_other_libraries_still_calculate_beside_a_reader(name: str) -> None:
    pytest.importorskip("faiss")
    command = [sys.executable, "-c", NEIGHBOUR, f"{READERS.package}.{name}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
