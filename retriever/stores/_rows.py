"""Columns: rows of one kind, appended and looked at, never overwritten; here what a column is, and columns in memory.

The catalog says how many rows of a column are committed.  Whatever lies behind those was left by a crash and does not
exist: no reader looks at it, and the next writer cuts it off.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retriever.types import LABELS_KEPT

Rows = NDArray[Any]

SEGMENT = np.dtype([("media", "<i8"), ("start", "<f8"), ("end", "<f8"), ("still", "<i8")])
FACTS = np.dtype(
    [("span", "<f8", (2,)), ("norm", "<f4"), ("probability", "<f4", (LABELS_KEPT,)), ("label", "<i4", (LABELS_KEPT,))]
)
"""What stands beside a token row; a label is its number in the dictionary, -1 where there is none."""

ROLES: Mapping[str, tuple[str, Any]] = {
    "segments": ("segments", SEGMENT),  # a row a segment: its media, span, whether it is still
    "tokens": ("f16", "<f2"),  # (N, D)
    "facts": ("facts", FACTS),
    "vectors": ("f16", "<f2"),  # (M, D) what the first stage searches
    "map": ("map", "<i8"),  # (M,) the segment of each of those
    "ranges": ("ranges", "<i8"),  # (S, 2) a row a segment: where its tokens begin and end
}
"""Role → ending of the file name, kind of number."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the live set and how many of its rows are committed.  `space` is empty for the segment table."""

    name: str
    space: str
    role: str
    rows: int
    dimension: int = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        kind: np.dtype[Any] = np.dtype(ROLES[self.role][1])
        return kind

    @property
    def width(self) -> tuple[int, ...]:
        """The shape of one row."""
        if self.role in ("tokens", "vectors"):
            return (self.dimension,)
        return (2,) if self.role == "ranges" else ()

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.width, dtype=np.int64))

    @property
    def bytes(self) -> int:
        return self.rows * self.row_bytes

    def shaped(self, rows: Rows) -> Rows:
        """`rows` as they are written."""
        return np.ascontiguousarray(rows, self.dtype).reshape(-1, *self.width)


def fresh(wanted: Column, epoch: int) -> Column:
    """`wanted` as a column that is yet to be written; its name carries the epoch."""
    folder = "tokens" if wanted.role in ("tokens", "facts") else "segments"
    ending = ROLES[wanted.role][0]
    return replace(wanted, name=f"{folder}/{wanted.space or 'all'}.{epoch}.{ending}", rows=0)


class Tail(Protocol):
    """Rows on their way behind the committed ones.  If the block that holds it raises, they are cut off again."""

    def append(self, column: Column, rows: Rows, at: int | None = None) -> int:
        """Write rows behind the committed ones, or from row `at` on with zeros before; returns the row count that
        the column will have.  More for the same column goes behind what was appended before."""
        ...

    def settle(self) -> None:
        """All that was appended is on the disk when this returns."""
        ...


class Columns(Protocol):
    """Where the columns of a library lie."""

    def appending(self) -> AbstractContextManager[Tail]: ...

    def view(self, column: Column) -> Rows:
        """The committed rows, read only.

        Raises:
            StoreUnavailable: the file is missing, or shorter than what was committed.
        """
        ...

    def sweep(self, live: Mapping[str, int], epoch: int) -> None:
        """Remove what is neither live (name → rows) nor looked at; whoever calls holds the lock."""
        ...

    def bytes(self) -> int:
        """What all of this takes."""
        ...


@dataclass(slots=True)
class _BufferTail:
    buffers: dict[str, Rows]
    ends: dict[str, int] = field(default_factory=dict)

    def append(self, column: Column, rows: Rows, at: int | None = None) -> int:
        begin = self.ends.get(column.name, column.rows)
        at = max(begin, at or 0)
        end = at + len(rows)
        held = self.buffers.get(column.name)
        if held is None or len(held) < end:
            # Twice the room: whoever looks at the old buffer keeps it, and appending stays cheap.
            larger = np.zeros((2 * end, *column.width), column.dtype)
            if held is not None:
                larger[:begin] = held[:begin]
            held = self.buffers[column.name] = larger
        held[begin:at] = np.zeros((), column.dtype)
        held[at:end] = column.shaped(rows)
        self.ends[column.name] = end
        return end

    def settle(self) -> None:
        """There is no disk."""


class Buffers:
    """Columns in memory."""

    def __init__(self) -> None:
        self._buffers: dict[str, Rows] = {}

    @contextmanager
    def appending(self) -> Iterator[Tail]:
        yield _BufferTail(self._buffers)

    def view(self, column: Column) -> Rows:
        if not column.rows:
            return np.zeros((0, *column.width), column.dtype)
        rows = self._buffers[column.name][: column.rows].view()
        rows.flags.writeable = False
        return rows

    def sweep(self, live: Mapping[str, int], epoch: int) -> None:
        for name in set(self._buffers) - set(live):
            del self._buffers[name]  # whoever looks at it keeps it

    def bytes(self) -> int:
        return sum(buffer.nbytes for buffer in self._buffers.values())
