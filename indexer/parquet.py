"""Parquet files, row by row (extra `parquet`; https://parquet.apache.org/docs/file-format/)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from retriever.errors import ManifestError, MissingExtra

Kind = Any
"""`text`, `int`, `double`, `bool`; `texts` for text by text; `[KIND]` for a list, `{NAME: KIND}` for an object."""
Columns = Mapping[str, Kind]

_TOGETHER = 8_192  # rows of one group


def needed(what: str) -> Any:
    """
    Raises:
        MissingExtra: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra(f"{what} needs pyarrow: pip install 'reelseek[parquet]'") from error
    return pyarrow


def rows(path: Path, named: Callable[[list[str]], object] = lambda names: None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a file, with their numbers from 1, without what is null; its columns are `named` first.

    Raises:
        ManifestError: it is no such file, or broken.
        MissingExtra: pyarrow is not installed.
    """
    arrow = needed(str(path))
    try:
        with arrow.parquet.ParquetFile(path) as file:
            named(list(file.schema_arrow.names))
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield number, {name: value for name, value in row.items() if value is not None}
    except (arrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:  # of the file system, and not of what the file holds
            raise
        told = str(error).partition("\n")[0]
        raise ManifestError(f"{path} is no Parquet file that can be read: {told}") from error


@contextmanager
def writing(path: Path, columns: Columns) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A new file, whole when the block ends; what is given is called with each row.

    Raises:
        MissingExtra: pyarrow is not installed.
        ManifestError: a text is none, such as the name of a file that is not UTF-8.
    """
    arrow = needed(str(path))
    schema = arrow.schema([(name, _kind(arrow, kind)) for name, kind in columns.items()])
    waiting: list[Mapping[str, Any]] = []
    with arrow.parquet.ParquetWriter(path, schema, compression="zstd") as file:

        def write() -> None:
            try:
                file.write_table(arrow.Table.from_pylist(waiting, schema=schema))
            except UnicodeEncodeError as error:
                raise ManifestError(
                    f"{path} cannot hold {error.object!r}, which is no text: write JSON lines"
                ) from error
            waiting.clear()

        def put(row: Mapping[str, Any]) -> None:
            waiting.append(row)
            if len(waiting) == _TOGETHER:
                write()

        yield put
        write()


def _kind(arrow: Any, kind: Kind) -> Any:
    if isinstance(kind, list):
        return arrow.list_(_kind(arrow, kind[0]))
    if isinstance(kind, dict):
        return arrow.struct([(name, _kind(arrow, inner)) for name, inner in kind.items()])
    plain = {"text": arrow.string, "int": arrow.int64, "double": arrow.float64, "bool": arrow.bool_}
    return arrow.map_(arrow.string(), arrow.string()) if kind == "texts" else plain[kind]()
