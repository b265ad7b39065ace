"""What is there whole or not at all: files and folders that get their name once they are filled."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from retriever.errors import StoreUnavailable


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to be filled beside `folder`, whose name it gets when the block ends; if that raises, it goes.

    Raises:
        StoreUnavailable: `folder` holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreUnavailable(f"{folder} is there already: name a new or empty folder")
    half = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    half.mkdir(parents=True)
    try:
        yield half
        if folder.exists():
            folder.rmdir()
        half.rename(folder)
        parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def write(file: Path, content: bytes) -> None:
    """A file, over what is there; on the disk when this returns.

    Raises:
        OSError: it cannot be written.
    """
    half = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with half.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        half.replace(file)
    finally:
        with suppress(OSError):
            half.unlink()
