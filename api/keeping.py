"""Files written beside their place and then renamed: whole, or not there."""

import os
from contextlib import suppress
from pathlib import Path


def whole(file: Path, content: bytes) -> None:
    """Over what is there; on the disk when this returns.

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


def text(file: Path, page: str, what: str) -> None:
    """A page for people.

    Raises:
        OSError: it cannot be written; the message says that of `what`.
    """
    data(file, page.encode("utf-8", "replace"), what)


def data(file: Path, content: bytes, what: str) -> None:
    """
    Raises:
        OSError: as `text`.
    """
    try:
        whole(file, content)
    except OSError as error:
        raise OSError(error.errno, f"{what} cannot be written: {error.strerror}", str(file)) from error
