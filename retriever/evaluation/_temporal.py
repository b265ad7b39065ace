"""Benchmarks that hold one sentence against another, on a media that only one of them is true of.

A format is a function of a folder and of what a manifest says of a split, as in `_formats`.  Questions of several
options become pairs: the right one against each wrong one, so that chance is one half everywhere.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retriever.errors import BenchmarkError
from retriever.evaluation._formats import (
    Options,
    _field,
    _items,
    _list,
    _mapping,
    _text,
    document,
    found,
    stem,
)


@dataclass(frozen=True, slots=True)
class Item:
    """A media, sentences of which one is true of it, and what is known of the question."""

    id: str
    media: str  # name of the file, without ending
    aspect: str  # what it is about
    options: tuple[str, ...]
    right: int
    where: str
    group: str  # items that have to be right together to count: those of one media
    until: float = 0.0  # nothing after this second may be looked at; 0: all of it
    twin: str = ""  # items of one name ask the same of media that differ in the answer
    present: bool | None = None  # no options: is what the only one says there (True), or not yet (False)


# -------------------------------------------------------------------------------------------------------- TemporalBench

ASPECTS = {
    1: "action order",
    2: "action frequency",
    3: "action type",
    4: "motion magnitude",
    5: "motion direction",
    6: "action effector",
    7: "others",
    8: "event order",
}
_TWO = re.compile(r"^A\.\s+(?P<A>.+?)\s*^B\.\s+(?P<B>.+?)\s*(?:^Answer with .*)?\Z", re.MULTILINE | re.DOTALL)


def temporalbench(folder: Path, options: Options) -> Iterator[Item]:
    """[{idx, video_name, question, GT, category, …}]: the question ends in two captions, `A. …` and `B. …`."""
    file = found(folder, options["file"])
    for number, one in enumerate(_items(document(file), file), 1):
        where = f"{file}: entry {number}"
        said, answer = _field(one, "question", where), _field(one, "GT", where).strip().upper()
        captions = _TWO.search(said)
        if not captions or answer not in ("A", "B"):
            raise BenchmarkError(f"{where}: {said[-60:]!r} and GT {answer!r}; it wants lines A. … and B. …, and A or B")
        name = stem(Path(_field(one, "video_name", where)).name)
        category = one.get("category")
        aspect = ASPECTS.get(category, str(category)) if isinstance(category, int) else str(category or "all")
        yield Item(
            str(one.get("idx", number)),
            name,
            aspect.lower(),
            (captions["A"], captions["B"]),
            int(answer == "B"),
            where,
            _field(one, "video_name", where),
        )


# ---------------------------------------------------------------------------------------------------------- TempCompass


def tempcompass(folder: Path, options: Options) -> Iterator[Item]:
    """{video: {aspect: [{question, answer}]}}: the question's first line asks, each other one is `LABEL: sentence`.

    The same question about a media and about another one that was made of it (`ID_reverse`) has another answer: such
    items are twins.
    """
    file = found(folder, options["file"])
    for media, aspects in _mapping(document(file), file).items():
        for aspect, asked in _mapping(aspects, file).items():
            if not isinstance(asked, list):
                raise BenchmarkError(f"{file}: {media}, {aspect}: it wants a list of questions")
            for number, one in enumerate(asked, 1):
                where = f"{file}: {media}, {aspect}, question {number}"
                said, answer = _field(one, "question", where), _field(one, "answer", where)
                given = said.split("\n")[1:]
                sentences = tuple(line.partition(": ")[2].strip() for line in given)
                if len(given) < 2 or not all(sentences) or answer not in given:
                    raise BenchmarkError(f"{where}: the answer {answer[:40]!r} is none of its {len(given)} options")
                twin = f"{media.partition('_')[0]}\n{said}"
                yield Item(
                    f"{media}/{aspect}/{number}", media, aspect, sentences, given.index(answer), where, media, twin=twin
                )


# ------------------------------------------------------------------------------------------------------------ OVO-Bench


def ovobench(folder: Path, options: Options) -> Iterator[Item]:
    """[{id, task, video, realtime, question, options, gt}] of what was and what is; and [{id, task, video, test_info:
    [{realtime, type, …}]}] of what is to come: SSR has a `step` in each, CRR one `question`.  REC counts, which no
    similarity does: it is left out."""
    file = found(folder, options["file"])
    for number, one in enumerate(_items(document(file), file), 1):
        where = f"{file}: entry {number}"
        task = _field(one, "task", where)
        if task not in options.get("tasks", (task,)):
            continue
        name = stem(Path(_field(one, "video", where)).name)
        if task in ("SSR", "CRR"):
            for place, probe in enumerate(_list(one, "test_info", where), 1):
                said = _field(probe, "step", where) if task == "SSR" else _field(one, "question", where)
                kind = probe.get("type")
                if kind not in (0, 1):
                    raise BenchmarkError(f"{where}: probe {place} has the type {kind!r}; it wants 0 or 1")
                until = _second(probe.get("realtime"), where)
                key = f"{one.get('id', number)}/{place}"
                yield Item(key, name, task, (said,), 0, where, name, until, present=bool(kind))
        elif task != "REC":
            asked, given = _field(one, "question", where), _list(one, "options", where)
            until = _second(one.get("realtime"), where)
            yield _choice(str(one.get("id", number)), name, task, asked, given, one.get("gt"), where, until)


def _second(value: Any, where: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
        raise BenchmarkError(f"{where}: 'realtime' is {value!r}; it wants seconds")
    return float(value)


# --------------------------------------------------------------------------------------------------- TOMATO and MVBench


def tomato(folder: Path, options: Options) -> Iterator[Item]:
    """Of each of `files` {number: {question, options, answer, key, …}}; `answer` is a place among the options, and
    `key` the name of the media."""
    for name in options["files"]:
        file = found(folder, name)
        for number, one in _mapping(document(file), file).items():
            where = f"{file}: question {number}"
            aspect = Path(name).stem
            media, given = stem(_field(one, "key", where)), _list(one, "options", where)
            asked = _field(one, "question", where)
            yield _choice(f"{aspect}/{number}", media, aspect, asked, given, one.get("answer"), where)


def mvbench(folder: Path, options: Options) -> Iterator[Item]:
    """Of each of `files` [{video, question, candidates, answer}]; `answer` is one of the candidates."""
    for name in options["files"]:
        file = found(folder, name)
        for number, one in enumerate(_items(document(file), file), 1):
            where = f"{file}: entry {number}"
            if "start" in one or "end" in one:
                raise BenchmarkError(f"{where}: it asks of a part of its video, which a library does not hold apart")
            aspect = Path(name).stem
            given = _list(one, "candidates", where)
            answer = _field(one, "answer", where)
            if answer not in given:
                raise BenchmarkError(f"{where}: the answer {answer[:40]!r} is none of its {len(given)} candidates")
            media = stem(Path(_field(one, "video", where)).name)
            asked = _field(one, "question", where)
            yield _choice(f"{aspect}/{number}", media, aspect, asked, given, given.index(answer), where)


def _choice(
    key: str, media: str, aspect: str, asked: str, given: Any, right: Any, where: str, until: float = 0.0
) -> Item:
    """A question with options: each sentence is the question and one of them."""
    sentences = tuple(f"{asked.strip()} {_text(option, where).strip()}" for option in given)
    if type(right) is not int or not 0 <= right < len(sentences) or len(sentences) < 2:
        raise BenchmarkError(f"{where}: the answer is {right!r} of {len(sentences)} options; it wants the place of one")
    return Item(key, media, aspect, sentences, right, where, media, until)


FORMATS: Mapping[str, Callable[[Path, Options], Iterator[Item]]] = {
    "temporalbench": temporalbench,
    "tempcompass": tempcompass,
    "ovobench": ovobench,
    "tomato": tomato,
    "mvbench": mvbench,
}
