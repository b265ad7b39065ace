"""Indexing runs that something happens to, for tests that say what: this end of `faulty_child.py`."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from libraries import contents

from retriever.stores import local

HERE = Path(__file__).parent
HUNG = 1000
"""The code of a run that came to no end."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    code: int  # as `subprocess` has it: 0 at its end, 1 with an error, below 0 a signal
    told: list[str] = field(default_factory=list)  # paths of which it was told that they are committed
    left: list[str] = field(default_factory=list)  # and those that were left to another run
    quarantined: dict[str, str] = field(default_factory=dict)
    error: str = ""  # "DiskFull: the disk of …"
    steps: int = 0
    roomy: int = 0  # of those, that take room
    orders: int = 0  # to decoder children
    most_bytes: int = 0  # that a decoder child had in memory


class Faulty:
    """A process that runs are forked from, one at a time."""

    def __init__(self, *within: str) -> None:
        """`within` is a command that starts another one."""
        self._process = subprocess.Popen(
            [*within, sys.executable, str(HERE / "faulty_child.py")],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]),
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, library: Path, *paths: Path, **fault: Any) -> None:
        """Start a run; `end` waits for it.  Beside faults there are `slow`, seconds that each batch takes, `limit_s`,
        seconds that a decoder may take over a chapter, what is other in the `recipe`, `temporary`, a folder for frames,
        `patience`, seconds until it counts as hung, and commands that are carried out `before` and `behind` it."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([str(library), [str(path) for path in paths], fault], default=str) + "\n")
        self._process.stdin.flush()

    def end(self) -> Outcome:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the process that runs are forked from is gone"
        return Outcome(**json.loads(line))

    def index(self, library: Path, *paths: Path, **fault: Any) -> Outcome:
        self.begin(library, *paths, **fault)
        return self.end()

    def close(self) -> None:
        self._process.communicate(timeout=60)


def held(library: Path) -> dict[str, Any]:
    """All that a library holds and answers, in a form to compare; nothing is leased, or begun but what failed."""
    store = local.build(library, create=False)
    try:
        with store.snapshot() as snapshot:
            found = contents(snapshot)
        shut = [entry.path for entry in store.catalog.quarantined()]
        failed = {stat.key for path in shut if (stat := store.catalog.stat(path))}
        assert {name.partition("-")[0] for name in store.catalog.staged()} <= failed
        assert store.catalog.leased() == {}
        found["quarantined"] = [Path(path).name for path in shut]
        return found
    finally:
        store.close()


def paths_in(library: Path) -> set[str]:
    """The paths of all media of a library, in whatever state somebody left it."""
    store = local.build(library, create=False)
    try:
        with store.snapshot() as snapshot:
            return {path for media in snapshot.media() for path in media.paths}
    finally:
        store.close()
