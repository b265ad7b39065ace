"""Words on a terminal: colours where they are wanted, and nothing that a file name could smuggle in."""

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """`text` on one line and without control characters: what stands in a media cannot steer a terminal."""
    return _UNPRINTABLE.sub("�", text)


def near(path: str) -> str:
    """A path as people would write it here: from the working folder on, where it lies in it."""
    here = Path.cwd()
    return plain(str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path)


@dataclass(frozen=True, slots=True)
class Paint:
    """ANSI styles, or none."""

    on: bool

    @classmethod
    def for_stream(cls, stream: TextIO) -> "Paint":
        """Colours only on a terminal, and never against `NO_COLOR` (https://no-color.org)."""
        return cls(stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")

    def _wrapped(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on else text

    def bold(self, text: str) -> str:
        return self._wrapped("1", text)

    def dim(self, text: str) -> str:
        return self._wrapped("2", text)

    def green(self, text: str) -> str:
        return self._wrapped("32", text)

    def red(self, text: str) -> str:
        return self._wrapped("31", text)

    def marked(self, text: str) -> str:
        """A matched word; with no colours, between `*`."""
        return self._wrapped("1;33", text) if self.on else f"*{text}*"


def say(text: str = "") -> None:
    """To people, beside the data: on stderr."""
    sys.stderr.write(f"{text}\n")


def put(text: str = "") -> None:
    """The answer itself: on stdout."""
    sys.stdout.write(f"{text}\n")


def table(rows: Iterable[tuple[str, ...]], head: tuple[str, ...] = ()) -> list[str]:
    """Columns side by side, each as wide as its widest cell."""
    cells = [tuple(plain(cell) for cell in row) for row in ([head] if head else []) + list(rows)]
    if not cells:
        return []
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def amount(size: int) -> str:
    """Bytes for people: 12.3 MB."""
    number = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
