"""A filter as SQL over the media of the catalog."""

import fnmatch
import json
import re
import sqlite3
from datetime import UTC, datetime
from functools import lru_cache

from retriever.stores._paths import unpacked
from retriever.types import Filter

ANY_PATH = "EXISTS (SELECT 1 FROM path WHERE path.media = media.number AND path_matches(path.path, ?))"
_ALL_TAGS = (
    "(SELECT count(DISTINCT tag.value) FROM json_each(media.tags) AS tag"
    " JOIN json_each(?) AS wanted ON wanted.value = tag.value) = ?"
)


def instant(when: str) -> float:
    """Seconds of the epoch of an ISO 8601 time; one without a zone is read as UTC.

    Raises:
        ValueError: it is no such time.
    """
    try:
        read = datetime.fromisoformat(when)
    except ValueError as error:
        raise ValueError(f"{when!r} is no ISO 8601 time: it wants 2026-11-22 or 2026-11-22T09:30:00+01:00") from error
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def clause(where: Filter) -> tuple[str, list[str | float]]:
    """The condition on `media`, and what its question marks stand for.

    Raises:
        ValueError: a time in the filter is none.
    """
    asked: list[tuple[str, list[str | float]]] = []
    if where.shortest > 0:
        asked.append(("media.duration >= ?", [where.shortest]))
    if where.longest != float("inf"):
        asked.append(("media.duration <= ?", [where.longest]))
    if where.tags:
        asked.append((_ALL_TAGS, [json.dumps(sorted(where.tags)), len(where.tags)]))
    if where.path:
        asked.append((ANY_PATH, [where.path]))
    if where.collection:
        asked.append(("media.collection = ?", [where.collection]))
    if where.after:
        asked.append(("media.recorded_at >= ?", [instant(where.after)]))
    if where.before:
        asked.append(("media.recorded_at < ?", [instant(where.before)]))
    if where.kinds:
        asked.append(("media.kind IN (SELECT value FROM json_each(?))", [json.dumps(sorted(where.kinds))]))
    if where.media:
        asked.append(("media.key IN (SELECT value FROM json_each(?))", [json.dumps(sorted(where.media))]))
    if where.without:
        asked.append(("media.key NOT IN (SELECT value FROM json_each(?))", [json.dumps(sorted(where.without))]))
    return " AND ".join(sql for sql, _ in asked) or "TRUE", [value for _, values in asked for value in values]


@lru_cache(maxsize=64)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(glob))


def path_matches(path: bytes, glob: str) -> bool:
    """What `path_matches` in a clause asks."""
    return _pattern(glob).match(unpacked(path)) is not None


def teach(connection: sqlite3.Connection) -> None:
    """Give a connection the function that path filters call: SQLite's own GLOB reads `[!a]` otherwise."""
    connection.create_function("path_matches", 2, path_matches, deterministic=True)
