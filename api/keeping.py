"""Files for people, written beside their place and then renamed: whole, or not there."""

import os
from contextlib import suppress
from pathlib import Path


def text(file: Path, page: str, what: str) -> None:
    """
    Raises:
        OSError: it cannot be written; the message says that of `what`.
    """
    data(file, page.encode("utf-8", "replace"), what)


def data(file: Path, content: bytes, what: str) -> None:
    """
    Raises:
        OSError: as `text`.
    """
    half = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        half.write_bytes(content)
        half.replace(file)
    except OSError as error:
        raise OSError(error.errno, f"{what} cannot be written: {error.strerror}", str(file)) from error
    finally:
        with suppress(OSError):
            half.unlink()
