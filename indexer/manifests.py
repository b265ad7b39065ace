"""Lists of files with what is known of them: JSON lines, CSV, Parquet.

    {"path": "clips/a.mp4", "title": "A", "tags": ["sea", "2026"], "recorded": "2026-01-31T12:00:00+01:00"}

The keys are the same in each: `path` (absolute, from where the list lies, or an address), `title`, `tags`, `recorded`
and `collection`.  In CSV they are the first line, and tags stand in one field with `;` between them.  Parquet needs the
extra `parquet`.  A list is read to its end before anything is done with it, so a wrong line leaves all as it was.
"""

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from indexer import parquet, places
from indexer.places import Place
from retriever.errors import CannotOpen, ManifestError
from retriever.types import Metadata

KEYS = frozenset({"path", "title", "tags", "recorded", "collection"})
SUFFIXES = frozenset({".jsonl", ".csv", ".parquet"})
Row = tuple[Place, Metadata]

_HALF = re.compile("[\ud800-\udfff]")  # of a character beyond 65,535: JSON may escape it, no database takes it


def read(manifest: Place) -> Iterator[Row]:
    """The absolute path, or the address, of each file that is listed, and what is said of it, in order.

    Raises:
        ManifestError: a line is wrong, the message has its number; or the list is no file of this machine.
        MissingExtra: a `.parquet` is named, and nothing here reads one.
    """
    if not isinstance(manifest, Path):
        raise ManifestError(f"{manifest} is on a server, and a list is read from a file: fetch it, and name the file")
    lines = {".jsonl": _json_lines, ".csv": _table, ".parquet": _parquet}[manifest.suffix.lower()]
    for where, entry in lines(manifest):
        yield _row(manifest, where, entry)


def _json_lines(manifest: Path) -> Iterator[tuple[str, Any]]:
    with manifest.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                where = f"{manifest}, line {number}"
                try:
                    yield where, json.loads(line)
                except json.JSONDecodeError as error:
                    raise ManifestError(f"{where} is not JSON: {error.msg} at column {error.colno}") from error
                except (ValueError, RecursionError) as error:  # a number, or a nest, that no machine takes
                    raise ManifestError(f"{where} is no JSON that can be read: {error}") from error


def _table(manifest: Path) -> Iterator[tuple[str, Any]]:
    """Empty fields say nothing; empty lines are passed over."""
    with manifest.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file, strict=True)
        names: list[str] = []
        while True:
            number = rows.line_num + 1
            where = f"{manifest}, line {number}"
            try:
                fields = next(rows, None)
            except csv.Error as error:
                raise ManifestError(f"{where} is no line of CSV: {error}") from error
            if fields is None:
                return
            if not fields:
                continue
            if not names:
                names = _header(where, [field.strip() for field in fields])
                continue
            if len(fields) != len(names):
                raise ManifestError(f"{where} has {len(fields)} fields, and the first line names {len(names)}")
            said = {name: field for name, field in zip(names, fields, strict=True) if field}
            yield where, {**said, "tags": _split(said.get("tags", ""))}


def _header(where: str, names: list[str]) -> list[str]:
    if "path" not in names or len(set(names)) < len(names):
        raise ManifestError(f"{where} names {', '.join(names)}: it wants each of its columns once, and path among them")
    _known(where, names)
    return names


def _parquet(manifest: Path) -> Iterator[tuple[str, Any]]:
    for number, entry in parquet.rows(manifest, lambda names: _header(f"{manifest}", names)):
        yield f"{manifest}, row {number}", {name: _plain(name, value) for name, value in entry.items()}


def _plain(key: str, value: Any) -> Any:
    """A value of Parquet as JSON would have it; tags may be one text, as in CSV."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if key == "tags" and isinstance(value, str):
        return _split(value)
    return value


def _split(tags: str) -> list[str]:
    return [tag.strip() for tag in tags.split(";") if tag.strip()]


def _known(where: str, names: list[str]) -> None:
    unknown = sorted(set(names) - KEYS)
    if unknown:
        raise ManifestError(f"{where} has unknown keys {', '.join(unknown)}: known are {', '.join(sorted(KEYS))}")


def _names_a_file(path: str) -> bool:
    """Whether a file system could have it: not with half a character, which JSON may escape."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _row(manifest: Path, where: str, entry: Any) -> Row:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("path"), str) or not entry["path"]:
        raise ManifestError(f'{where} has no path: it wants {{"path": "clip.mp4", "title": …, "tags": […]}}')
    _known(where, list(entry))
    if not _names_a_file(entry["path"]):
        raise ManifestError(f"{where}: path is {entry['path']!r}; it wants the name of a file")
    tags = entry.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ManifestError(f"{where}: tags is {tags!r}; it wants a list of strings")
    for key in ("title", "recorded", "collection"):
        if not isinstance(entry.get(key, ""), str):
            raise ManifestError(f"{where}: {key} is {entry[key]!r}; it wants a string")
    texts = [*((key, entry.get(key, "")) for key in ("title", "collection")), *(("tags", tag) for tag in tags)]
    for key, text in texts:
        if _HALF.search(text):
            raise ManifestError(f"{where}: {key} has {text!r}; it wants characters, and no halves of them")
    recorded = entry.get("recorded", "")
    if recorded:
        try:
            datetime.fromisoformat(recorded)
        except ValueError as error:
            raise ManifestError(
                f"{where}: recorded is {recorded!r}; it wants a date such as 2026-01-31T12:00:00+01:00"
            ) from error
    said = Metadata(
        title=entry.get("title", ""),
        tags=tuple(tags),
        recorded=recorded,
        recorded_source="manifest" if recorded else "",
        collection=entry.get("collection", ""),
    )
    try:
        return places.of(entry["path"], manifest.parent), said
    except CannotOpen as error:
        raise ManifestError(f"{where}: {error}") from error
