"""A folder that has to be the one that it was when a server began.  A disk that went leaves an empty place or none, and
whatever is made there then is on another disk, and hidden when the first one is back."""

import os
from pathlib import Path

from retriever.errors import StoreUnavailable


class Ground:
    """Made where it is not there."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._is = _known(folder)

    def check(self) -> None:
        """
        Raises:
            StoreUnavailable: it is gone, or another one.
        """
        if _known(self._folder) != self._is:
            raise StoreUnavailable(f"{self._folder} is not there any more: look whether its disk is")


def _known(folder: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino
