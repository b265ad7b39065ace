"""Of the best answers those that are different: copies of one moment stand together, and no media has too many.

    found = Distinct().of(library, best, Wanted(limit=10, least=0.9))     # `best(n)`: the n best moments, in any order

The best of several copies stays and names the others; the places that they leave go to the next answers.  Only the few
moments that could be shown are compared, so nothing has to be known of a library beforehand but how far strangers are
apart in it, which is looked up once a generation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Lock

from retriever.copies import Footage, Strangers, aligned, filmed, strangers
from retriever.ports import Snapshot
from retriever.types import Moment

COPIES = ("collapse", "show")
KEPT = 2
"""Generations whose strangers are held."""
SPARE = 5
"""More moments than wanted that are looked at from the beginning, or half as many as are wanted where that is more: to
find copies, and to take their places."""

_Which = tuple[str, float, float]

Best = Callable[[int], Sequence[Moment]]
"""So many of the best moments; fewer only where there are no more."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which answers are wanted."""

    limit: int
    least: float  # confidence from which on a moment is an answer and no near miss
    copies: str = "collapse"
    most: int = 0  # of one media; 0: as many as there are

    def __post_init__(self) -> None:
        if self.copies not in COPIES:
            raise ValueError(f"copies is {self.copies!r}; it wants {' or '.join(COPIES)}")
        if self.most < 0:
            raise ValueError(f"most_per_media is {self.most}; it wants a whole number, 0 for no cap")

    @property
    def collapses(self) -> bool:
        return self.copies == "collapse"


class Distinct:
    """Keeps moments apart; several threads may ask."""

    def __init__(self) -> None:
        self._held: dict[str, Strangers] = {}
        self._at_work = Lock()

    def of(self, library: Snapshot, best: Best, wanted: Wanted) -> list[Moment]:
        """The best moments that are different, best first: `limit` of them that are sure enough, if there are so many
        among a few more, and near misses beside them.  A moment may score higher and be less sure, and is not to take
        the place of an answer."""
        asked = wanted.limit + max(wanted.limit // 2, SPARE)
        if not wanted.collapses and not wanted.most:
            return _answers(sorted(best(asked), key=order), wanted)
        judge = _Judge(library, self._strangers(library) if wanted.collapses else {})
        while True:
            found = sorted(best(asked), key=order)
            kept = _kept(found, judge, wanted)
            if len(kept) >= wanted.limit or len(found) < asked:
                return _answers(kept, wanted)
            asked *= 2

    def _strangers(self, library: Snapshot) -> Strangers:
        with self._at_work:
            if library.generation not in self._held:
                made = strangers(library)
                self._held = dict([*list(self._held.items())[1 - KEPT :], (library.generation, made)])
            return self._held[library.generation]


def _answers(found: Sequence[Moment], wanted: Wanted) -> list[Moment]:
    """The first that are sure enough, `limit` of them, and the first of the others, as many."""
    sure = [moment for moment in found if moment.confidence >= wanted.least][: wanted.limit]
    misses = [moment for moment in found if moment.confidence < wanted.least][: wanted.limit]
    return sorted([*sure, *misses], key=order)


def order(moment: Moment) -> tuple[float, str, float]:
    """Best first; ties by media key, then start."""
    return -moment.score, moment.media.key, moment.start_s


class _Judge:
    """Says of moments whether they are the same footage, of each two once."""

    def __init__(self, library: Snapshot, apart: Strangers) -> None:
        self._library = library
        self._apart = apart
        self._footage: dict[_Which, Footage | None] = {}
        self._told: dict[tuple[_Which, _Which], bool] = {}

    def read(self, moments: Sequence[Moment]) -> None:
        """These will be compared."""
        if not self._apart or len({moment.media.key for moment in moments}) < 2:
            return
        new = [moment for moment in moments if _which(moment) not in self._footage]
        read = filmed(self._library, [(moment.media.key, moment.span) for moment in new], self._apart)
        self._footage |= {_which(moment): footage for moment, footage in zip(new, read, strict=True)}

    def same(self, one: Moment, other: Moment) -> bool:
        pair = _which(one), _which(other)
        if pair not in self._told:
            ours, theirs = map(self._footage.get, pair)
            self._told[pair] = bool(ours and theirs and aligned(ours, theirs, self._apart))
        return self._told[pair]


def _which(moment: Moment) -> "_Which":
    """What its reference is made of, which takes longer to make."""
    return moment.media.key, moment.span.start, moment.span.end


def _kept(found: Sequence[Moment], judge: _Judge, wanted: Wanted) -> list[Moment]:
    """Of moments, best first, those that are different; each with the references of its copies."""
    judge.read(found)
    kept: list[list[Moment]] = []  # each with its copies
    for moment in found:
        twins = next((group for group in kept if judge.same(group[0], moment)), None)
        if twins is not None:
            twins.append(moment)
        elif not wanted.most or _held(kept, moment) < wanted.most:
            kept.append([moment])
    return sorted((_naming(group, wanted.least) for group in kept), key=order)


def _held(kept: Sequence[Sequence[Moment]], moment: Moment) -> int:
    """How many of its media are there."""
    return sum(group[0].media.key == moment.media.key for group in kept)


def _naming(group: Sequence[Moment], least: float) -> Moment:
    """The first that is an answer, or the first of all, with the references of its copies; of an answer those that
    would be answers, too."""
    first = next((moment for moment in group if moment.confidence >= least), group[0])
    others = [moment for moment in group if moment is not first]
    same = [one.ref for one in others if one.confidence >= least or first.confidence < least]
    return replace(first, copies=tuple(same)) if same else first
