"""Whose a file is that was sent, where several machines have a library in common and each keeps what it is sent: what
is not on this machine may lie on another one.  A folder of uploads has a mark, and what counts for it begins with that.

    uploads/mark      3f9c0ffe4f0c1d2e
"""

from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from api.coming import alone
from retriever import wholes
from retriever.ports import Store
from retriever.quotas import Deposit

NAME = "mark"


def numbered(store: Store, folder: Path) -> str:
    """An id for a file that is to count, and is kept in this folder."""
    return _made(folder) + token_hex(8) if is_far(store) else token_hex(8)


def may_judge(store: Store, folder: Path, one: Deposit) -> bool:
    """Whether whoever keeps what is sent in this folder knows whether such a file is there."""
    if not is_far(store):
        return True
    mark = _of(folder)
    return bool(mark) and one.id.startswith(mark)


def is_far(store: Store) -> bool:
    """Whether several machines have the library in common."""
    return getattr(store, "far", False)


def _of(folder: Path) -> str:
    """Empty: nothing was ever sent there."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return (folder / NAME).read_text(encoding="utf-8")
    return ""


def _made(folder: Path) -> str:
    if mark := _of(folder):
        return mark
    with alone(folder):  # several servers may keep what they are sent there
        if not _of(folder):
            wholes.write(folder / NAME, token_hex(8).encode())
        return _of(folder)
