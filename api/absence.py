"""Judging whether a library says that nothing is here, and what was not there yet.

    document = judged(library, questions(library, Path("queries.jsonl")), rates=[0.05, 0.1])

Every question that has an answer is asked again with that answer taken away.  With `causal` a question is asked at a
time, of nothing but what was there by then.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from api.altered import altered, until
from api.filters import is_date
from api.service import Library
from retriever.errors import BenchmarkError
from retriever.evaluation import absence, report
from retriever.evaluation._formats import lines, record
from retriever.evaluation.absence import Judged, Point
from retriever.evaluation.report import Document
from retriever.query import both
from retriever.search import Searcher
from retriever.types import EVERYTHING, Answer, Filter, Media, TimeSpan

Tell = Callable[[str], None]

SOONEST = 1.0
"""Seconds of a media before which nobody can say that something was not there yet."""
WANTED = '{"text": "a dog barks", "relevant": ["clip", …]}'
WANTED_AT = '{"text": "a dog barks", "media": "clip", "t": 30, "windows": [[start, end], …]}'


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the media that answer it; none where it has no answer."""

    text: str
    relevant: frozenset[str]  # keys
    date: str = ""  # asked at: what was recorded before may answer
    media: str = ""  # asked of one media alone, by key
    second: float = 0.0  # … up to this second of it
    windows: tuple[TimeSpan, ...] = ()  # where in it the answer is


# ------------------------------------------------------------------------------------------------------------- manifest


def questions(library: Library, manifest: Path, causal: bool = False) -> list[Question]:
    """Lines of {"text": …, "relevant": [media, …]}; a media is named by id, path, or the name of its file.  With
    `causal` each has a time `t`: a date, or seconds of one media ({"text": …, "media": …, "t": …, "windows": [...]}).

    Raises:
        BenchmarkError: with the line.
    """
    if not manifest.is_file():
        raise BenchmarkError(f"--manifest {manifest} is no file")
    named = _Named(library.media())
    found = [
        _question(record(line, f"{manifest}:{number}"), f"{manifest}:{number}", named, causal)
        for number, line in lines(manifest)
    ]
    if not found:
        raise BenchmarkError(f"{manifest} has no lines; it wants {WANTED_AT if causal else WANTED}, one a line")
    return found


def _question(one: Any, where: str, named: "_Named", causal: bool) -> Question:
    text = one.get("text")
    if not isinstance(text, str) or not text.strip():
        raise BenchmarkError(f"{where}: 'text' is {text!r}; it wants a question")
    at = one.get("t")
    if causal and isinstance(at, (int, float)) and not isinstance(at, bool):
        return _in_media(one, text, float(at), where, named)
    relevant = one.get("relevant")
    if not isinstance(relevant, list) or not all(isinstance(name, str) for name in relevant):
        raise BenchmarkError(f"{where}: 'relevant' is {relevant!r}; it wants a list of media, empty for no answer")
    if causal and not (isinstance(at, str) and is_date(at)):
        raise BenchmarkError(f"{where}: 't' is {at!r}; --causal wants a date, or seconds as in {WANTED_AT}")
    keys = frozenset(named(name, where) for name in relevant)
    return Question(text.strip(), keys, date=at if causal and isinstance(at, str) else "")


def _in_media(one: Any, text: str, second: float, where: str, named: "_Named") -> Question:
    windows, media = one.get("windows"), one.get("media")
    try:
        spans = tuple(TimeSpan(float(start), float(end)) for start, end in windows)
    except (TypeError, ValueError) as error:
        raise BenchmarkError(f"{where}: 'windows' is {windows!r}; it wants [[start, end], …] in seconds") from error
    if not isinstance(media, str) or not 0 < second < np.inf:
        raise BenchmarkError(f"{where}: 'media' is {media!r} and 't' {second:g}; it wants {WANTED_AT}")
    key = named(media, where)
    return Question(text.strip(), frozenset({key}), media=key, second=second, windows=spans)


class _Named:
    """Which media a name stands for."""

    def __init__(self, media: Sequence[Media]) -> None:
        self._known: dict[str, set[str]] = {}
        for one in media:
            names = {one.key, *one.paths, *(Path(path).name for path in one.paths)}
            for name in names | {Path(path).stem for path in one.paths}:
                self._known.setdefault(name, set()).add(one.key)

    def __call__(self, name: str, where: str) -> str:
        found = self._known.get(name) or self._known.get(str(Path(name).absolute())) or set()
        if len(found) != 1:
            why = "names several media: give a path" if found else "is no media of this library"
            raise BenchmarkError(f"{where}: {name!r} {why}; `reelseek media` lists what is there")
        return next(iter(found))


# -------------------------------------------------------------------------------------------------------------- judging


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question as it was asked once."""

    question: int
    confidence: float
    right: bool
    present: bool  # whether there was an answer to be found


def judged(
    library: Library,
    asked: Sequence[Question],
    rates: Sequence[float],
    causal: bool = False,
    where: Filter = EVERYTHING,
    tell: Tell = lambda line: None,
) -> Document:
    """
    Raises:
        BenchmarkError: no question has an answer, or all of them have.
    """
    found: list[_Asked] = []
    for number, question in enumerate(asked):
        own = _in_time(library, question, number) if question.media else _of_media(library, question, number, where)
        found += own
    tell(f"{len(asked):,} questions asked, {len(found):,} times altogether")
    present = [one for one in found if one.present]
    gone = [one for one in found if not one.present]
    place = {one.question: at for at, one in enumerate(present)}
    made = Judged(
        np.array([one.confidence for one in present]),
        np.array([one.right for one in present], bool),
        np.array([one.confidence for one in gone]),
        np.array([place.get(one.question, -1) for one in gone], np.int64),
    )
    alarms, misses, rightly = made.curve()
    whole = not any(question.media for question in asked)  # else each was calibrated on what was seen by then
    left = made.left_out
    return {
        "library": str(library.path),
        "causal": causal,
        "questions": len(asked),
        "present": len(present),
        "absent": {"left_out": int(left.sum()), "unanswerable": int((~left).sum())},
        "top_1": report.estimate(made.point(0.0).rightly),
        "auroc": {
            "all": report.estimate(made.auroc()),
            "left_out": report.estimate(made.auroc(left)) if left.any() else None,
            "unanswerable": report.estimate(made.auroc(~left)) if (~left).any() else None,
        },
        "rates": [_told(library, rate, made.at_rate(rate), whole) for rate in rates],
        "curve": {
            "min_confidence": absence.GRID.tolist(),
            "false_alarms": np.round(alarms, 6).tolist(),
            "misses": np.round(misses, 6).tolist(),
            "rightly": np.round(rightly, 6).tolist(),
        },
    }


def _told(library: Library, rate: float, point: Point, whole: bool) -> Document:
    least = min(1.0, point.min_confidence)
    stated = library.search("nothing", limit=1, min_confidence=least, copies="show").false_alarms if whole else None
    return {
        "rate": rate,
        "min_confidence": round(least, 9),
        "false_alarms": round(point.false_alarms, 6),
        "stated": None if stated is None else round(float(stated), 6),
        "misses": round(point.misses, 6),
        "rightly": report.estimate(point.rightly),
    }


def _of_media(library: Library, question: Question, number: int, where: Filter) -> list[_Asked]:
    """As it is, and again without the media that answer it; at a date, of what was recorded before."""
    seen = both(where, Filter(before=question.date)) if question.date else where
    there = question.relevant & {media.key for media in library.media(seen)} if seen.asks else question.relevant
    answer = _best(library.searcher, question.text, seen)
    found = [_Asked(number, _sure(answer), _hit(answer, there), bool(there))]
    if there:
        again = _best(library.searcher, question.text, both(seen, Filter(without=there)))
        found.append(_Asked(number, _sure(again), False, False))
    return found


def _in_time(library: Library, question: Question, number: int) -> list[_Asked]:
    """Of one media up to a second of it; and, where an answer was there by then, again just before its beginning."""
    seen = [span for span in question.windows if span.middle < question.second]
    found = [_asked_until(library, question, number, question.second, seen)]
    first = min((span.start for span in question.windows), default=0.0)
    if seen and first >= SOONEST:
        found.append(_asked_until(library, question, number, first, []))
    return found


def _asked_until(library: Library, question: Question, number: int, second: float, seen: Sequence[TimeSpan]) -> _Asked:
    with altered(library, until(second), Filter(media=frozenset({question.media}))) as searcher:
        answer = _best(searcher, question.text, EVERYTHING)
    right = bool(answer.moments) and any(answer.moments[0].span.overlaps(span) for span in seen)
    return _Asked(number, _sure(answer), right, bool(seen))


def _best(searcher: Searcher, text: str, where: Filter) -> Answer:
    return searcher.search(text, by="video", limit=1, min_confidence=0.0, where=where, copies="show")


def _sure(answer: Answer) -> float:
    return float(answer.moments[0].confidence) if answer.moments else 0.0


def _hit(answer: Answer, relevant: frozenset[str]) -> bool:
    return bool(answer.moments) and answer.moments[0].media.key in relevant
