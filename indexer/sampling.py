"""Which pictures of a media are looked at.  A sampler is a value: parse, print, compare.

    parse("fixed(2)")                      # Fixed(fps=2)
    str(Adaptive(2))                       # "adaptive(fps=2, threshold=0.01, floor=4)"

A sampler cuts time into bins and takes the picture on show in the middle of each, or none: at once, as pictures come
by, or when it has had a glance at all of a chapter.  A media is decoded in chapters; what a sampler takes in one does
not depend on the others.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.ports import Frame
from indexer.saliency import Bins, Glance, Places, chosen, owners
from retriever.types import Times, TimeSpan

Sift = Callable[[Frame, float], bool]
"""Whether the frame on show at that second is taken; asked in order of time, one sift a chapter."""

THUMB = (32, 32)
"""Width and height, in pixels, at which two pictures are compared."""
ROUNDING = 1e-9
"""Of what is calculated from times and shares."""


class Sampler(Protocol):
    """Cuts time into bins and says which of them give a picture."""

    @property
    def glances(self) -> bool:
        """Whether it chooses among what its sift took, once it has seen and heard all of a chapter."""
        ...

    @property
    def keys(self) -> bool:
        """Whether keyframes are enough for it."""
        ...

    def bins(self, part: TimeSpan, duration: float) -> Times:
        """`(N, 2)` starts and ends, in order: the bins of the media whose middle lies in `part`.  `duration` is what
        the container claims, in seconds."""
        ...

    def sift(self) -> Sift:
        """A fresh sift for one chapter.  A bin that is not taken belongs to the taken one before it."""
        ...

    def choose(self, glance: Glance) -> Places:
        """For each bin of a chapter that its sift took, the number of the one whose picture stands for it `(N,)`,
        rising; those that stand for themselves are taken.  Asked only of those that glance."""
        ...


def _every(frame: Frame, time: float) -> bool:
    return True


class _Value:
    """Prints as `name(field=value, …)`, which `parse` reads; 1 and 1.0 alike."""

    __slots__ = ()
    glances = False
    keys = False

    def __str__(self) -> str:
        told = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        options = ", ".join(f"{name}={repr(value).removesuffix('.0')}" for name, value in told.items())
        return f"{type(self).__name__.lower()}({options})"

    def sift(self) -> Sift:
        return _every

    def choose(self, glance: Glance) -> Places:
        return np.arange(len(glance.times))


@dataclass(frozen=True, slots=True)
class Uniform(_Value):
    """The middles of `count` equal bins over all of the media, however long it is."""

    count: int = 8

    def __post_init__(self) -> None:
        if not isinstance(self.count, int) or self.count < 1:
            raise ValueError(f"uniform: count is {self.count!r}; it wants a whole number from 1 on")

    def bins(self, part: TimeSpan, duration: float) -> Times:
        edges = duration * np.arange(self.count + 1) / self.count
        return _within(np.stack([edges[:-1], edges[1:]], axis=1), part)


@dataclass(frozen=True, slots=True)
class Fixed(_Value):
    """The middle of each bin of `1 / fps` seconds."""

    fps: float = 2.0

    def __post_init__(self) -> None:
        _want_positive("fixed", "fps", self.fps)

    def bins(self, part: TimeSpan, duration: float) -> Times:
        first, last = math.floor(part.start * self.fps) - 1, math.ceil(part.end * self.fps) + 1
        edges = np.arange(max(first, 0), last + 1) / self.fps
        return _within(np.stack([edges[:-1], edges[1:]], axis=1), part)


@dataclass(frozen=True, slots=True)
class Adaptive(_Value):
    """The bins of `fixed(fps)` without those that look like the last one taken, but one at least every `floor` seconds.

    Two pictures look alike if their brightness at 32 × 32 differs by no more than `threshold` of the full range on
    average.  The comparison is with the last one *taken*, so a slow pan is followed too.  Decisions begin anew in
    each chapter.
    """

    fps: float = 2.0
    threshold: float = 0.01
    floor: float = 4.0  # seconds

    def __post_init__(self) -> None:
        _want_positive("adaptive", "fps", self.fps)
        _want_positive("adaptive", "floor", self.floor)
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"adaptive: threshold is {self.threshold!r}; it wants 0 to 1")

    def bins(self, part: TimeSpan, duration: float) -> Times:
        return Fixed(self.fps).bins(part, duration)

    def sift(self) -> Sift:
        taken: NDArray[np.int16] | None = None
        at = -math.inf
        longest = self.floor - 1 / self.fps + 1e-6  # since the last one, if the next bin is not to come too late

        def wants(frame: Frame, time: float) -> bool:
            nonlocal taken, at
            thumb = frame.gray(THUMB).astype(np.int16)
            if taken is not None and time - at <= longest and difference(thumb, taken) <= self.threshold:
                return False
            taken, at = thumb, time
            return True

        return wants


@dataclass(frozen=True, slots=True)
class Salient(_Value):
    """`budget` of the bins of `fixed(fps)`, chapter by chapter and rounded up: one in every `floor` seconds, and beyond
    that those that look or sound least like the others (`indexer/saliency.py`).  The others each belong to whichever
    neighbour they are more like."""

    fps: float = 2.0
    budget: float = 0.3
    floor: float = 5.0  # seconds

    glances = True

    def __post_init__(self) -> None:
        _want_positive("salient", "fps", self.fps)
        _want_positive("salient", "floor", self.floor)
        least = min(1.0, 1 / (self.fps * self.floor))
        if not least - ROUNDING <= self.budget <= 1:
            raise ValueError(
                f"salient: budget is {self.budget!r}; it wants {least:g} to 1, since one picture in every "
                f"{self.floor:g} s is always taken, out of {self.fps:g} a second"
            )

    def bins(self, part: TimeSpan, duration: float) -> Times:
        return Fixed(self.fps).bins(part, duration)

    def choose(self, glance: Glance) -> Places:
        passed = glance.times - glance.times[0] + 0.5 / self.fps  # since the first bin began
        stretches = np.floor(passed / self.floor + ROUNDING).astype(np.int64)
        most = max(math.ceil(self.budget * len(glance.times) - ROUNDING), len(np.unique(stretches)))
        bins = Bins.of(glance)
        return owners(bins, chosen(bins, most, stretches))


@dataclass(frozen=True, slots=True)
class Keyframes(_Value):
    """The pictures that lean on no other, `fps` a second at most: they alone are decoded, many times as quickly.  Where
    they are far apart, or the container does not say which they are, `fps` pictures a second."""

    fps: float = 1.0

    keys = True

    def __post_init__(self) -> None:
        _want_positive("keyframes", "fps", self.fps)

    def bins(self, part: TimeSpan, duration: float) -> Times:
        return Fixed(self.fps).bins(part, duration)

    def sift(self) -> Sift:
        taken = -math.inf

        def wants(frame: Frame, time: float) -> bool:
            nonlocal taken
            if frame.time == taken:
                return False
            taken = frame.time
            return True

        return wants


def difference(one: NDArray[np.int16], other: NDArray[np.int16]) -> float:
    """Mean difference of two grey pictures as a share of the full range, 0 to 1."""
    return float(np.abs(one - other).mean()) / 255


SAMPLERS: dict[str, type[Uniform] | type[Fixed] | type[Adaptive] | type[Salient] | type[Keyframes]] = {
    "uniform": Uniform,
    "fixed": Fixed,
    "adaptive": Adaptive,
    "salient": Salient,
    "keyframes": Keyframes,
}
_CALL = re.compile(r"\s*([a-z]+)\s*(?:\((.*)\))?\s*")


def parse(text: str) -> Sampler:
    """A sampler from `name`, `name(value, …)` or `name(field=value, …)`.

    Raises:
        ValueError: no such sampler, field or value.
    """
    found = _CALL.fullmatch(text)
    if not found or found[1] not in SAMPLERS:
        raise ValueError(
            f"{text!r} is no sampler; write one of uniform(8), fixed(2), adaptive(2, 0.01, 4), salient(2, 0.3, 5), "
            "keyframes(1)"
        )
    kind = SAMPLERS[found[1]]
    names = [f.name for f in fields(kind)]
    options: dict[str, float] = {}
    for place, part in enumerate(filter(None, (part.strip() for part in (found[2] or "").split(",")))):
        name, _, value = part.rpartition("=")
        name = name.strip() or (names[place] if place < len(names) else "")
        if name not in names or name in options:
            raise ValueError(f"{text!r}: {part!r} fits none of the fields of {found[1]}: {', '.join(names)}")
        options[name] = _number(text, value)
    return kind(**options)  # type: ignore[arg-type]


def _number(text: str, value: str) -> float:
    """An int where it is one."""
    try:
        return int(value)
    except ValueError:
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"{text!r}: {value.strip()!r} is no number") from None


def _want_positive(kind: str, name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{kind}: {name} is {value!r}; it wants a number above 0")


def _within(bins: Times, part: TimeSpan) -> Times:
    """The bins whose middle lies in `part`: each bin of a media falls to one chapter, whatever rounding does."""
    middles = (bins[:, 0] + bins[:, 1]) / 2
    return bins[(middles >= part.start) & (middles < part.end)]
