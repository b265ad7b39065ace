"""Where each word stands, inside the catalog's SQLite: small sorted blocks that numpy reads as they lie.

An entry is three uint16: the segment's place in its block of 32,768, how often the word stands there, and how long the
document is.  A commit touches the last block of each of its words and no other; a search reads the blocks of a word in
one range of keys.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from retriever.stores._database import Connection
from retriever.types import Ids

MOST = 2**16 - 1
"""More times, or a longer document, count as this."""
_BLOCK_BITS = 15  # larger blocks are read faster and written slower
_KEY_BITS = 24  # blocks of one term

TABLE = "word_postings (key INTEGER PRIMARY KEY, entries BLOB NOT NULL)"  # key: term << 24 | segment >> 15

Entries = NDArray[np.uint16]
"""`(n, 3)`: place in its block, times, length of the document."""


@dataclass(frozen=True, slots=True)
class Postings:
    """The documents of one word: rising segments `(n,)`, and their entries `(n, 3)`."""

    segments: Ids
    entries: Entries

    def __len__(self) -> int:
        return len(self.segments)

    def at(self, chosen: Ids | NDArray[np.bool_]) -> "Postings":
        return Postings(self.segments[chosen], self.entries[chosen])


def read(connection: Connection, terms: Iterable[int]) -> Postings:
    """The postings of one term, or of several as if they were one: a document's times are added up."""
    rows: list[tuple[int, bytes]] = []
    numbers = list(terms)
    for term in numbers:
        span = (term << _KEY_BITS, (term + 1) << _KEY_BITS)
        query = "SELECT key, entries FROM word_postings WHERE key >= ? AND key < ? ORDER BY key"
        rows += connection.execute(query, span).fetchall()
    entries = _entries(b"".join(blob for _, blob in rows))
    starts = (np.array([key for key, _ in rows], np.int64) & ((1 << _KEY_BITS) - 1)) << _BLOCK_BITS
    counts = np.array([len(blob) // 6 for _, blob in rows], np.int64)
    segments: Ids = np.repeat(starts, counts) + entries[:, 0].astype(np.int64)
    return Postings(segments, entries) if len(numbers) < 2 else _added_up(segments, entries)


def file(connection: Connection, terms: Ids, segments: Ids, counts: Ids) -> None:
    """Add postings `(n,)`, sorted by term and segment, with times and length `(n, 2)`; none is there yet."""

    def with_new(old: bytes, new: Entries) -> bytes:
        if not old or _entries(old[-6:])[0, 0] < new[0, 0]:
            return old + new.tobytes()
        both = np.concatenate([_entries(old), new])
        return both[np.argsort(both[:, 0])].tobytes()

    _change(connection, terms, segments, np.minimum(counts, MOST), with_new)


def unfile(connection: Connection, terms: Ids, segments: Ids) -> None:
    """Take postings `(n,)`, sorted by term and segment, out again."""

    def without(old: bytes, gone: Entries) -> bytes:
        entries = _entries(old)
        return entries[~np.isin(entries[:, 0], gone[:, 0])].tobytes()

    _change(connection, terms, segments, np.zeros((len(terms), 2), np.int64), without)


def _change(
    connection: Connection, terms: Ids, segments: Ids, counts: Ids, change: Callable[[bytes, Entries], bytes]
) -> None:
    """Write every block that these postings lie in as `change` makes it of the old block and the postings."""
    keys = terms << _KEY_BITS | segments >> _BLOCK_BITS
    entries = np.column_stack([segments & ((1 << _BLOCK_BITS) - 1), counts]).astype("<u2")
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    query = "SELECT key, entries FROM word_postings WHERE key IN (SELECT value FROM json_each(?))"
    old = dict(connection.execute(query, (json.dumps(keys[starts].tolist()),)).fetchall())
    blocks = []
    for start, end in pairwise([*starts.tolist(), len(keys)]):
        key = int(keys[start])
        blocks.append((key, change(old.get(key, b""), entries[start:end])))
    connection.executemany(
        "INSERT OR REPLACE INTO word_postings (key, entries) VALUES (?, ?)", [row for row in blocks if row[1]]
    )
    empty = [(key,) for key, blob in blocks if not blob]
    connection.executemany("DELETE FROM word_postings WHERE key = ?", empty)


def _entries(blob: bytes) -> Entries:
    return np.frombuffer(blob, "<u2").reshape(-1, 3)


def _added_up(segments: Ids, entries: Entries) -> Postings:
    found, first, place = np.unique(segments, return_index=True, return_inverse=True)
    summed = entries[first].copy()
    summed[:, 1] = np.minimum(np.bincount(place, entries[:, 1], minlength=len(found)), MOST)
    return Postings(found, summed)
