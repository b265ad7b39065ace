"""The stages of a question, put around a searcher: it knows nothing of whoever looks at its watch.

wait       in the line, until a thread is free
start      until a process is there that answers, where one was lost (`api.crew`)
calibrate  what chance does in this library, if that is not known yet
encode     the question becomes vectors
first      every source names its best segments
rerank     those are looked at closely, through their tokens
moments    all else: scores are put together, spans and evidence found
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import fields
from time import perf_counter, time_ns
from typing import Any, ParamSpec, TypeVar, cast

from api.trails import Trail, stage
from api.turns import Turns
from retriever.calibrating import Calibration
from retriever.calibration import Tail
from retriever.grammar import Sentence
from retriever.lending import Lender
from retriever.levels import Levels
from retriever.looking import Looking, Looks
from retriever.ports import EncodeSentences, Snapshot, Store
from retriever.scoring import Only
from retriever.search import Searcher
from retriever.types import Answer, Floats, Matrix, RaggedTokens, Vector

P = ParamSpec("P")
T = TypeVar("T")
READS = {"nearest": "first", "matching": "first", "tokens": "rerank"}
"""Stages by what is asked of a library."""


def watch(searcher: Searcher) -> Lender:
    """From now on whoever asks this searcher sees its stages.  Returns the calibrator that it has now, to be closed."""
    store = searcher.store
    searcher.looking = _Looking(**{one.name: getattr(searcher.looking, one.name) for one in fields(searcher.looking)})
    searcher.encode = _encoding(searcher.encode)
    lender = _Lender(store.snapshot, searcher.encode, searcher.looking, searcher.cache, searcher.asks)
    searcher.calibrator = lender
    searcher.store = cast(Store, _Store(store))
    searcher.search = _searching(searcher.search)  # type: ignore[method-assign]
    return lender


class Line(Turns):
    """Turns of which whoever follows a request sees how long it waited."""

    async def take(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        came, instant = perf_counter(), time_ns()

        def begun() -> T:
            if trail := Trail.here():
                trail.add("wait", perf_counter() - came, instant, time_ns())
            return work(*args, **named)

        return await super().take(copy_context().run, begun)


def _searching(search: Callable[..., Answer]) -> Callable[..., Answer]:
    def searched(*args: Any, **named: Any) -> Answer:
        with stage("moments"):
            return search(*args, **named)

    return searched


def _encoding(encode: EncodeSentences) -> EncodeSentences:
    def encoded(sentences: Sequence[str], side: str) -> Matrix:
        with stage("encode"):
            return encode(sentences, side)

    return encoded


class _Looking(Looking):
    @property
    def plain(self) -> Looking:
        return _Looking(self.reranker)

    def look(
        self, views: Mapping[str, Vector], tokens: Mapping[str, RaggedTokens], named: Mapping[str, Floats]
    ) -> Looks:
        with stage("rerank"):
            return super().look(views, tokens, named)


class _Lender(Lender):
    def of(self, library: Snapshot) -> Calibration:
        with stage("calibrate"):
            return super().of(library)

    def shown(self, library: Snapshot, known: Calibration) -> Levels:
        with stage("calibrate"):
            return super().shown(library, known)

    def tail(self, library: Snapshot, known: Calibration, sentence: Sentence, only: Sequence[Only]) -> Tail:
        with stage("calibrate"):
            return super().tail(library, known, sentence, only)


class _Store:
    """A store that shows its snapshots as they are watched."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with self._store.snapshot() as library:
            yield cast(Snapshot, _Snapshot(library) if Trail.here() else library)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _Snapshot:
    def __init__(self, library: Snapshot) -> None:
        self._library = library

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._library, name)
        if name not in READS:
            return found

        def watched(*args: Any, **named: Any) -> Any:
            with stage(READS[name]):
                return found(*args, **named)

        return watched
