"""How often a catalog is asked, so that a test can say that it does not grow with what there is."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from retriever.stores._database import Database, SqliteDatabase


class _Counted:
    """A connection that notes what it is asked."""

    def __init__(self, own: Any, asked: list[str]) -> None:
        self._own, self._asked = own, asked

    def execute(self, sql: str, *values: Any) -> Any:
        self._asked.append(sql)
        return self._own.execute(sql, *values)

    def executemany(self, sql: str, rows: Any) -> Any:
        self._asked.append(sql)
        return self._own.executemany(sql, rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


@contextmanager
def counting() -> Iterator[list[str]]:
    """The statements that catalogs are asked within the block; many rows that are written at once are one."""
    asked: list[str] = []
    kinds: list[type[Database]] = [SqliteDatabase]
    try:
        from retriever.stores._postgres import PostgresDatabase
    except ImportError:
        pass
    else:
        kinds.append(PostgresDatabase)

    def counted(block: Callable[[Any], AbstractContextManager[Any]]) -> Callable[[Any], AbstractContextManager[Any]]:
        @contextmanager
        def noted(database: Any) -> Iterator[Any]:
            with block(database) as own:
                yield _Counted(own, asked)

        return noted

    with pytest.MonkeyPatch.context() as patch:
        for kind in kinds:
            for name in ("reading", "writing"):
                patch.setattr(kind, name, counted(getattr(kind, name)))
        yield asked
