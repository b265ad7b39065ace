"""How memory is shared out in a process that works in many threads for a long time.

glibc gives a thread that finds the others busy a heap of its own, up to eight a core, and never moves what lies in
one.  Each job works in new threads, which come upon other heaps: what the job before gave back in one is of no use in
the next, and a server grows until each heap holds the most that it ever had to.  With two that is soon over
(docs/experiments.md).  Other C libraries have no such heaps, and nothing is done there.
"""

import ctypes
import gc
import os
from ctypes import c_int, c_size_t

ARENA_MAX = -8
"""glibc's number of how many heaps there may be (malloc.h, `M_ARENA_MAX`)."""
HEAPS = 2
SAID = "MALLOC_ARENA_MAX"
"""By which people say of any program how many."""


def few() -> bool:
    """From now on at most two heaps, to be said before there are threads.  False: somebody has said how many, or this
    C library has none."""
    return SAID not in os.environ and bool(_called("mallopt", c_int(ARENA_MAX), c_int(HEAPS)))


def tidy() -> bool:
    """Give the system back what nobody has in use; False: nothing was, or this C library does not say."""
    return bool(_called("malloc_trim", c_size_t(0)))


def settle() -> None:
    """What there is now stays: Python's search for garbage goes through it no more, which from time to time would hold
    up everybody for a twentieth of a second."""
    gc.collect()
    gc.freeze()


def _called(name: str, *numbers: c_int | c_size_t) -> int:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, TypeError, AttributeError):  # Windows names none so, and others have no such function
        return 0
    return int(function(*numbers))
