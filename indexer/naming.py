"""What a run names when it ends: the first so many files, and how many there were: so its memory stays as it is."""

import os
import sqlite3
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Self
from weakref import finalize

from indexer import listing

MOST = 10_000
"""Paths that are named, of each kind."""


class Named(list[str]):
    """Paths, or ids, in the order in which they came: the first `MOST` of them."""

    def __init__(self, given: Iterable[str] = ()) -> None:
        super().__init__()
        self.total = 0  # how many came
        self.extend(given)

    def append(self, one: str) -> None:
        self.total += 1
        if len(self) < MOST:
            super().append(one)

    def extend(self, several: Iterable[str]) -> None:
        for one in several:
            self.append(one)

    def __iadd__(self, several: Iterable[str]) -> Self:  # type: ignore[misc,override]
        self.extend(several)
        return self


class Reasons(dict[str, str]):
    """Path → why it was set aside: of the first `MOST`.  The paths of others are kept in a temporary database, so that
    none counts twice and one that is indexed after all no more."""

    def __init__(self, given: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__()
        self._others: sqlite3.Connection | None = None
        self._more = 0
        for path, reason in given.items():
            self[path] = reason

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self) + self._more

    def __setitem__(self, path: str, reason: str) -> None:
        if path in self or (len(self) < MOST and not self._more):
            super().__setitem__(path, reason)
        elif self._changed("INSERT OR IGNORE INTO other VALUES (?)", path):
            self._more += 1

    def drop(self, path: str) -> None:
        """It is no longer set aside."""
        if super().pop(path, None) is None and self._more and self._changed("DELETE FROM other WHERE path = ?", path):
            self._more -= 1

    def _changed(self, statement: str, path: str) -> bool:
        if self._others is None:
            self._others = listing.scratch("CREATE TABLE other (path BLOB PRIMARY KEY) WITHOUT ROWID")
            finalize(self, self._others.close)
        with listing.whole(self._others):
            return bool(self._others.execute(statement, (os.fsencode(path),)).rowcount)
