"""Files for people, whole or not there, with complaints that say what they were to be."""

from pathlib import Path

from retriever import wholes


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
        wholes.write(file, content)
    except OSError as error:
        raise OSError(error.errno, f"{what} cannot be written: {error.strerror}", str(file)) from error
