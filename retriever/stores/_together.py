"""One statement about many values, where a statement each would go to the server as often.

    rows = asked(catalog, "path", [(b"/a",), (b"/b",)], "SELECT asked.at, key FROM asked CROSS JOIN stat WHERE …")

`asked` is a table of the values under the names that are given, with the place of each in the list as `at`.  SQLite
goes through the table to the left of a `CROSS JOIN` first, and PostgreSQL as it sees fit.
"""

from collections.abc import Sequence
from typing import Any

from retriever.stores._database import Connection

TOGETHER = 256
"""Values, of each name, in one statement at most: far below what SQLite and PostgreSQL take."""


def asked(catalog: Connection, names: str, values: Sequence[Sequence[Any]], statement: str) -> list[Any]:
    """What a statement that begins with `SELECT asked.at` finds, in the order that it wants a block of values at a
    time."""
    found: list[Any] = []
    for first in range(0, len(values), TOGETHER):
        several = values[first : first + TOGETHER]
        rows = [(first + at, *row) for at, row in enumerate(several)]
        # Few different texts, since they are prepared: what is missing to a power of two is asked of nothing.
        rows += [(-1, *several[-1])] * ((1 << (len(rows) - 1).bit_length()) - len(rows))
        one = f"({', '.join('?' * len(rows[0]))})"
        table = (
            f"WITH given (at, {names}) AS (VALUES {', '.join([one] * len(rows))}),"
            " asked AS (SELECT * FROM given WHERE at >= 0) "
        )
        found += catalog.execute(table + statement, [value for row in rows for value in row]).fetchall()
    return found
