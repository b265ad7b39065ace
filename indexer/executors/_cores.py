"""Who keeps to a few cores of a node, for inference runtimes take all that they see, and others work there too.

Ray counts processors and keeps nobody to them.  A core is taken by locking a file, which its holder's death unlocks.
"""

import os
from io import FileIO
from pathlib import Path
from tempfile import gettempdir

try:
    import fcntl
except ImportError:  # no such locks on this system, and nothing to keep to
    fcntl = None  # type: ignore[assignment]

_held: list[FileIO] = []  # as long as this process lives


def keep_to(count: int) -> int:
    """Let what this thread starts from here on run on `count` cores that nobody else has taken so; returns how many it
    has.  Where there are no more than that, or not so many are to be had, it stays with all of them."""
    if fcntl is None or not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    there = sorted(os.sched_getaffinity(0))
    if count >= len(there):
        return len(there)
    taken: dict[int, FileIO] = {}
    for core in there:
        if len(taken) < count and (file := _locked(core)):
            taken[core] = file
    if len(taken) < count:
        for file in taken.values():
            file.close()
        return len(there)
    _held.extend(taken.values())
    os.sched_setaffinity(0, taken)
    return count


def _locked(core: int) -> FileIO | None:
    try:
        file = FileIO(Path(gettempdir(), f"reelseek-core-{os.getuid()}-{core}"), "a")
    except OSError:
        return None
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
