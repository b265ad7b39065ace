"""Who a process is, so that what it holds can be told from what a dead one left behind.

`HOST:PID:START` names one process for all time: the start time tells it from a later one of the same number.
"""

import os
import socket
from functools import cache
from pathlib import Path

_STARTED = 21 - 2  # /proc/PID/stat, field 22, counted from behind the name: fields 1 and 2 come before it


@cache
def _host() -> str:
    return socket.gethostname()


def _started(pid: int) -> str | None:
    """Clock ticks from boot to the start of a process; None if there is no such process; empty if this system does
    not tell.  A zombie has ended: it only waits for its parent to look."""
    try:
        # The name, in brackets, may hold anything, brackets too.
        _, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _signalled(pid)
    fields = rest.split()
    return None if fields[0] in "ZX" else fields[_STARTED]


def _signalled(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def me() -> str:
    """`HOST:PID:START` of this process."""
    return f"{_host()}:{os.getpid()}:{_started(os.getpid()) or ''}"


def ended(owner: str) -> bool:
    """Whether the process that `owner` names is known to be no more.  Of another host nothing is known."""
    host, _, process = owner.partition(":") if owner.count(":") == 2 else ("", "", "")
    pid, _, start = process.partition(":")
    if host != _host() or not pid.isdigit():
        return False
    now = _started(int(pid))
    return now is None or bool(start and now and now != start)
