"""The tables of an export: documents one after the other, as JSON lines or as Parquet.

Parquet (extra `parquet`) is what other tools read at once; its columns are the keys of the documents.  Whoever reads a
table names it without its ending.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from indexer import parquet
from retriever.errors import BadSettings, ManifestError

Document = Mapping[str, Any]
Put = Callable[[Document], object]
Place = tuple[Path, int]
"""A file, and a line or row of it."""

FORMS = ("jsonl", "parquet")
_TIMES = {"start_s": "double", "end_s": "double"}
_COLUMNS: Mapping[str, parquet.Columns] = {
    "media": {
        **dict.fromkeys(("id", "path"), "text"),
        "paths": ["text"],
        "kind": "text",
        "duration_s": "double",
        **dict.fromkeys(("width", "height"), "int"),
        "frame_rate": "double",
        "bytes": "int",
        "recipe": "text",
        "metadata": {
            "title": "text",
            "tags": ["text"],
            **dict.fromkeys(("recorded", "recorded_source", "collection"), "text"),
        },
        "missing": "texts",
    },
    "segments": {"media": "text", **_TIMES, "still": "bool"},
    "lines": {"media": "text", **_TIMES, "modality": "text", "confidence": "double", "text": "text"},
    "tokens": {"media": "text", **_TIMES, "norm": "double", "labels": [{"name": "text", "probability": "double"}]},
}
"""The columns of each table; that of a space has those of `tokens`."""


def checked(form: str) -> str:
    """
    Raises:
        BadSettings: there is no such form.
        MissingExtra: it wants a package that is not installed.
    """
    if form not in FORMS:
        raise BadSettings(f"--tables is {form!r}; it wants {' or '.join(FORMS)}")
    if form == "parquet":
        parquet.needed("--tables parquet")
    return form


def written(path: Path, kind: str, form: str, stack: ExitStack) -> Put:
    """Begin a table, `path` without its ending; `kind` is one of `_COLUMNS`.  It is whole when `stack` ends."""
    if form == "parquet":
        return stack.enter_context(parquet.writing(path.with_suffix(".parquet"), _COLUMNS[kind]))
    file = stack.enter_context(path.with_suffix(".jsonl").open("w", encoding="utf-8"))
    return lambda document: file.write(json.dumps(document) + "\n")


@contextmanager
def read(path: Path) -> Iterator[Iterator[tuple[Place, dict[str, Any]]]]:
    """The documents of the table at `path`, which is given without its ending.

    Raises:
        ManifestError: it is not there, or broken; the message has file and line.
        MissingExtra: it is Parquet, and pyarrow is not installed.
    """
    other = path.with_suffix(".parquet")
    if other.is_file():
        yield (((other, number), row) for number, row in parquet.rows(other))
    else:
        with _opened(path.with_suffix(".jsonl")) as file:
            yield _documents(file, path.with_suffix(".jsonl"))


def broken(place: Place, why: str) -> ManifestError:
    path, number = place
    what = "row" if path.suffix == ".parquet" else "line"
    return ManifestError(f"{path}, {what} {number} is not what reelseek export writes ({why}): export it again")


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        file = path.open(encoding="utf-8")
    except OSError as error:
        raise ManifestError(f"{path} cannot be read ({error.strerror}): export it again") from error
    with file:
        yield file


def _documents(file: TextIO, path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    number = 0
    while True:
        number += 1
        try:
            line = file.readline()
            if not line:
                return
            document = json.loads(line)
        except ValueError as error:  # no UTF-8, or no JSON
            raise broken((path, number), str(error)) from error
        if not isinstance(document, dict):
            raise broken((path, number), "no object")
        yield (path, number), document
