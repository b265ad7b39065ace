"""Places where a test pulls the plug.

A process that is started with `REELSEEK_CRASH_AT=NAME` (or `NAME:3`, the third time) kills itself there, as a power
cut would: no handler runs, no buffer is written.  Without that variable nothing happens and nothing is counted.
"""

import os
import signal
from collections import Counter

POINTS = (
    # a library is made
    "store-create-locked",
    "store-create-written",
    "store-create-committed",
    # one media comes in, alone or in place of another
    "store-add-locked",
    "store-add-appended",
    "store-add-synced",
    "store-add-written",
    "store-add-committed",
    # media go
    "store-delete-locked",
    "store-delete-written",
    "store-delete-committed",
    # paths or metadata change
    "store-amend-written",
    "store-amend-committed",
    # a second recipe comes beside the first, or the other one is searched
    "store-begin-written",
    "store-begin-committed",
    "store-choose-written",
    "store-choose-committed",
    # one media gets more spaces
    "store-extend-locked",
    "store-extend-appended",
    "store-extend-synced",
    "store-extend-written",
    "store-extend-committed",
    # the room of deleted rows is given back, or one recipe of two goes
    "store-compact-locked",
    "store-compact-appended",
    "store-compact-synced",
    "store-compact-written",
    "store-compact-committed",
    "store-compact-swept",
    # what is derived is built
    "store-index-built",
    "store-index-written",
    "store-index-committed",
    # points come to a server, or are marked as dying, before the catalog knows
    "qdrant-sent",
    "qdrant-marked",
    # an older format becomes this one
    "store-upgrade-saved",
    "store-upgrade-written",
    "store-upgrade-committed",
    # a backup is put back
    "restore-copied",
    "restore-written",
    "restore-committed",
    # files are looked at, and what needs no decoding is written down
    "plan-hashed",
    "plan-remembered",
    "plan-settled",
    # indexing
    "staging-before-checkpoint",
    "staging-after-checkpoint",
    "pipeline-before-commit",
    "pipeline-after-commit",
    "pipeline-after-unstage",
    # a media that was sent gets the place where it stays, and its job
    "upload-linked",
    "upload-counted",
    "upload-placed",
    "upload-asked",
    # embedding again
    "reembed-begun",
    "reembed-before-commit",
    "reembed-after-commit",
    "reembed-after-unstage",
    "reembed-before-drop",
    "reembed-after-drop",
)

_seen: Counter[str] = Counter()


def reached(name: str) -> None:
    """The process has come to the point `name`, one of `POINTS`."""
    wanted, _, times = os.environ.get("REELSEEK_CRASH_AT", "").partition(":")
    if not wanted:
        return
    if name not in POINTS:
        raise ValueError(f"{name!r} is no crash point: declare it in retriever/crashpoints.py")
    _seen[name] += 1
    if name == wanted and _seen[name] == int(times or 1):
        os.kill(os.getpid(), signal.SIGKILL)
