"""What a decoder child and its parent tell each other: JSON lines, and arrays in files of a folder that both know.

The parent asks `{"job": 7, "do": "chapters", …}` and then `{"job": 7, "do": "next"}` for each further answer; the
child answers `{"job": 7, …}` once an asking, at last `{"job": 7, "end": true}` or `{"job": 7, "error": …}`.  A child
chews on bytes of unknown origin, so the parent takes nothing from it but numbers: names of files are made up on both
sides from the job and the number of the answer.
"""

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from indexer import sampling
from indexer.sampling import Sampler

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be brought from a media.  Pictures keep their aspect."""

    reader: str  # plug-in name of `indexer.media`; a `*.synthetic` file is read by its own
    sampler: Sampler | None  # pictures for vision; None: none are wanted
    side: int  # their shorter side in pixels, exactly
    page_sampler: Sampler | None  # pictures for words on screen
    page_side: int  # their longer side in pixels, at most
    rates: tuple[int, ...]  # samples a second of each sound that is wanted
    margin: float  # seconds of sound before and after a chapter
    chapter: float = 60.0  # seconds of media a chapter

    def __post_init__(self) -> None:
        if self.chapter <= 0 or self.margin < 0:
            raise ValueError(f"a chapter of {self.chapter} s with {self.margin} s of margin: it wants > 0 and ≥ 0")
        if (self.sampler and self.side < 1) or (self.page_sampler and self.page_side < 1):
            raise ValueError(f"pictures of {self.side} and {self.page_side} pixels: it wants 1 and more")

    def plain(self) -> dict[str, Any]:
        """As JSON can say it."""
        spoken = {
            "sampler": self.sampler and str(self.sampler),
            "page_sampler": self.page_sampler and str(self.page_sampler),
        }
        return {
            "reader": self.reader,
            "side": self.side,
            "page_side": self.page_side,
            "rates": list(self.rates),
            "margin": self.margin,
            "chapter": self.chapter,
            **spoken,
        }

    @classmethod
    def from_plain(cls, page: dict[str, Any]) -> Self:
        samplers = {key: page[key] and sampling.parse(page[key]) for key in ("sampler", "page_sampler")}
        return cls(**{**page, **samplers, "rates": tuple(page["rates"])})


class Pile:
    """Arrays of one kind, written one behind the other into a file."""

    def __init__(self, path: Path) -> None:
        self.shapes: list[Shape] = []
        self._path = path
        self._ends: list[int] = []  # of each in the file, in bytes
        self._file: FileIO | None = None

    def add(self, array: NDArray[Any]) -> None:
        """
        Raises:
            OSError: the disk is full.
        """
        self._file = self._file or FileIO(self._path, "w+")
        rest = array.tobytes()
        while rest:  # an unbuffered write may take a part only
            rest = rest[self._file.write(rest) :]
        self.shapes.append(array.shape)
        self._ends.append(self._file.tell())

    def keep(self, places: Sequence[int]) -> None:
        """Of the arrays only those at `places`, which rise; the others' room is given back."""
        if self._file is None or len(places) == len(self.shapes):
            return
        starts, end = [0, *self._ends], 0
        with mmap.mmap(self._file.fileno(), 0) as room:
            for place in places:
                size = starts[place + 1] - starts[place]
                room.move(end, starts[place], size)
                end += size
        self._file.truncate(end)
        self._file.seek(end)
        self.shapes = [self.shapes[place] for place in places]
        self._ends = list(accumulate(starts[place + 1] - starts[place] for place in places))

    def close(self) -> None:
        if self._file:
            self._file.close()


def lifted(path: Path, shapes: Sequence[Shape], kind: DTypeLike) -> list[NDArray[Any]]:
    """The arrays of a pile, mapped: they cost memory only where they are looked at.  The file is gone from its folder
    at once, and its room comes back with the last array."""
    sizes = [math.prod(shape) for shape in shapes]
    if not sum(sizes):
        return [np.zeros(shape, kind) for shape in shapes]
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), sum(sizes) * np.dtype(kind).itemsize, access=mmap.ACCESS_COPY)
    path.unlink()
    flat = np.frombuffer(mapped, kind)
    ends = np.cumsum(sizes)
    return [flat[end - size : end].reshape(shape) for shape, size, end in zip(shapes, sizes, ends, strict=True)]
