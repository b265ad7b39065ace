"""Media on their way in.  Each server has a folder of its own for them, which it locks as long as it lives: what lies
in one that nobody holds was left by whoever was killed over it, and no job knows of it.

    folder/3f9c0ffe/4f0c1d2e/holiday.mp4
    folder/3f9c0ffe/81d2a0b7.json            one of them is about to get the place where it stays, and its job
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from threading import Lock


@dataclass(frozen=True, slots=True)
class Landing:
    """A media that is about to stay."""

    to: str  # where
    counted: str  # where it counted until then


class Coming:
    """Of one server; several threads may ask, and several servers share the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: Path | None = None  # made for the first media
        self._held = -1  # the descriptor that has its lock
        self._guard = Lock()

    def place(self) -> Path:
        """The folder of one media, which is not there yet."""
        with self._guard:
            if self._own is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                with alone(self._folder):  # who sweeps finds it locked, or not at all
                    own = self._folder / token_hex(8)
                    own.mkdir()
                    self._held = os.open(own, os.O_RDONLY | os.O_CLOEXEC)
                    fcntl.flock(self._held, fcntl.LOCK_EX)
                    self._own = own
            return self._own / token_hex(8)

    @contextmanager
    def landing(self, to: Path, counted: Path) -> Iterator[None]:
        """Meanwhile one of the media gets its place and its job: whoever is killed leaves a note of that."""
        assert self._own  # it lies there
        note = self._own / f"{token_hex(8)}.json"
        try:
            note.write_text(json.dumps(asdict(Landing(str(to), str(counted)))), encoding="utf-8")
            yield
        finally:
            note.unlink(missing_ok=True)

    def sweep(self) -> tuple[list[Path], list[Landing]]:
        """Away with what the dead left; returns their folders, and which media were about to stay."""
        gone, landings = [], list[Landing]()
        if self._folder.is_dir():
            with alone(self._folder):
                for folder in self._folder.iterdir():
                    if _is_left(folder):
                        landings += _noted(folder)
                        shutil.rmtree(folder, ignore_errors=True)
                        gone.append(folder)
        return gone, landings

    def close(self) -> None:
        """Nothing comes any more."""
        with self._guard:
            own, self._own = self._own, None
            if own is not None:
                with suppress(OSError):  # its disk has gone, or something lies there: whoever is next sweeps it
                    own.rmdir()
                os.close(self._held)  # and with it the lock


def _is_left(folder: Path) -> bool:
    """Whether nobody has its lock, who lives."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _noted(folder: Path) -> Iterator[Landing]:
    for note in folder.glob("*.json"):
        with suppress(ValueError, TypeError, OSError):  # it was not whole, so nothing had been done yet
            yield Landing(**json.loads(note.read_text(encoding="utf-8")))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else is at this folder meanwhile, in any process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # and with it the lock
