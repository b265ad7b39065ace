"""The points of a library in Qdrant: one collection a space, one point a segment, and nothing about what exists.

A point holds all that a segment has in one space: its first-stage rows as one multivector, so that its score is that
of its best row (max-sim over a query of one row), and its tokens with their facts, as bytes, in the payload.  `born`
and `died` say of which versions of the library it is: a search at version v asks for `born <= v < died`, so what a
writer brings or takes is not seen before the catalog says that the version has come, and then all of it at once.

A space of its own collection may come and go with its recipe, which named vectors of one collection could not before
Qdrant 1.18; dropping it gives the room back at once.
"""

import math
import os
import random
import ssl
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any, TypeVar

import certifi
import httpx
import numpy as np
from pydantic import ValidationError
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
from qdrant_client.local.local_collection import LocalCollection

from retriever.errors import DiskFull, StoreError, StoreUnavailable
from retriever.stores._address import API_KEY, MEMORY, Address, Options
from retriever.stores._rows import FACTS, Rows
from retriever.types import Floats, Halves, Ids, Matrix

FOREVER = 2**53 - 1
"""The version at which what lives dies; JSON keeps whole numbers up to here."""
REQUEST_BYTES = 8_000_000
"""Of one request at most, by estimate; a server takes 32 MB unless it is told otherwise."""
LARGEST_POINT = 24_000_000
ASKED_TOGETHER = 64
"""Queries in one request at most."""
FETCHED_TOGETHER = 128
"""Points in one answer."""
PATIENCE_INSIDE = 20.0
"""Seconds that those requests of one commit wait in all which the catalog waits for: others get at it after 30."""

_ROWS = "rows"
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
"""Answers of a server that may answer otherwise in a moment.  Whatever is asked may be asked twice."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds

T = TypeVar("T")
Condition = models.Condition


@dataclass(frozen=True, slots=True)
class Point:
    """One segment in one space."""

    number: int  # of the point in its collection
    segment: int
    media: int
    rows: Halves  # (M, D) what the first stage searches
    tokens: Halves  # (N, D) those of the segment, between such as no segment has
    facts: Rows  # (N,) FACTS
    own: tuple[int, int]  # which of them are the segment's


@dataclass(frozen=True, slots=True)
class Found:
    """The best points of one query, best first."""

    segments: Ids
    scores: Floats


class Points:
    """What is asked of a server, in our words; every call waits for a busy one and says who did not answer."""

    def __init__(self, client: QdrantClient, name: str, place: str, options: Options, memory: bool = False) -> None:
        self.place = place
        self._client = client
        self._name = name
        self._options = options
        self._memory = memory  # the client's own engine, for tests and trial
        self._there: set[str] = set()  # spaces whose collection was seen
        self.sure: Callable[[], None] = _nothing  # asked before each change: whoever may not raises
        self._one = RLock()

    @classmethod
    def at(cls, address: Address, key: str | None, options: Options) -> "Points":
        client = QdrantClient(
            url=address.server,
            # As `api_key` it would be warned of where it goes in the clear: `Address.key` has refused all but this
            # machine, and to hush a warning is to change what becomes of those of other threads.
            metadata={} if key is None else {"api-key": key},  # of each request: headers
            timeout=options.timeout_s,
            check_compatibility=False,  # it would ask in a thread of its own and warn; `doctor` looks
            trust_env=False,  # neither proxies nor passwords of the environment
            verify=ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or certifi.where()),
        )
        return cls(client, address.name, str(address), options)

    @classmethod
    def in_memory(cls) -> "Points":
        LocalCollection.LARGE_DATA_THRESHOLD = sys.maxsize  # from there on it would warn that a server were quicker
        return cls(QdrantClient(MEMORY), "library", MEMORY, Options(), memory=True)

    def close(self) -> None:
        self._client.close()

    # ----------------------------------------------------------------------------------------------------- who owns it

    def owner(self) -> str | None:
        """The mark of the catalog that these points belong to; None: nothing is here yet."""
        if not self._ask(lambda: self._client.collection_exists(self._name), patient=False):
            return None
        found = self._ask(lambda: self._client.retrieve(self._name, [0]))
        return str((found[0].payload or {}).get("catalog")) if found else None

    def own(self, mark: str) -> None:
        """From now on the points belong to the catalog with this mark.

        Raises:
            StoreUnavailable: something else has a collection of this name.
        """
        if not self._ask(lambda: self._client.collection_exists(self._name)):
            self._made(lambda: self._client.create_collection(self._name, vectors_config={}, **self._spread()))
        elif self.owner() == mark:  # who shares the catalog was quicker
            return
        elif self._is_foreign():
            raise StoreUnavailable(f"{self.place} is a collection that something else made: name another library")
        deed = models.PointStruct(id=0, vector={}, payload={"catalog": mark, "made by": "reelseek"})
        self._ask(lambda: self._client.upsert(self._name, [deed], wait=True))

    def _is_foreign(self) -> bool:
        """Whether the collection that has no deed is more than what a crash leaves of making it."""
        vectors = self._ask(lambda: self._client.get_collection(self._name)).config.params.vectors
        return bool(vectors) or self._ask(lambda: self._client.count(self._name, exact=True)).count > 0

    def version(self) -> str:
        """Of the server."""
        return MEMORY if self._memory else self._ask(lambda: self._client.info(), patient=False).version

    # ----------------------------------------------------------------------------------------------------- collections

    def spaces(self) -> set[str]:
        """Those that have a collection here."""
        found = self._ask(lambda: self._client.get_collections()).collections
        return {each.name.removeprefix(f"{self._name}.") for each in found if each.name.startswith(f"{self._name}.")}

    def ensure(self, space: str, dimension: int) -> None:
        """A collection for this space, if there is none.

        Raises:
            StoreError: there is one of another kind.
        """
        name = self._of(space)
        if not self._ask(lambda: self._client.collection_exists(name)):
            self._there.discard(space)  # another process may have dropped it
            self._made(lambda: self._client.create_collection(name, **self._shape(dimension), **self._spread()))
        if space in self._there:
            return
        vectors = self._ask(lambda: self._client.get_collection(name)).config.params.vectors
        rows = vectors.get(_ROWS) if isinstance(vectors, dict) else None
        if rows is None or rows.size != dimension or rows.distance != models.Distance.DOT:
            raise StoreError(
                f"the collection {name} of {self.place} is not of {dimension} numbers a row: something else made it; "
                "name another library"
            )
        if not self._memory:  # the client's own engine has no indexes, and says so
            for field in ("born", "died", "media"):
                self._ask(lambda field=field: self._client.create_payload_index(name, field, _INDEXES[field]))  # type: ignore[misc]
        self._there.add(space)

    def drop(self, space: str) -> None:
        self._there.discard(space)
        self._write(lambda: self._client.delete_collection(self._of(space)))

    def clear(self) -> None:
        """Remove all points, and whose they were."""
        for space in sorted(self.spaces()):
            self.drop(space)
        self._ask(lambda: self._client.delete_collection(self._name))

    def _made(self, make: Callable[[], Any]) -> None:
        """Make a collection; that somebody was quicker, or that an answer was lost, is no matter."""
        try:
            self._ask(make)
        except StoreError as error:
            if "already exists" not in str(error):
                raise

    def _shape(self, dimension: int) -> dict[str, Any]:
        own = self._options
        quantised = models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
        )
        rows = models.VectorParams(
            size=dimension,
            distance=models.Distance.DOT,  # rows are of length one, and come back as they went
            datatype=models.Datatype(own.datatype),
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            on_disk=own.on_disk,
            hnsw_config=models.HnswConfigDiff(on_disk=own.on_disk),
            quantization_config=quantised if own.quantisation == "int8" else None,
        )
        return {"vectors_config": {_ROWS: rows}, "on_disk_payload": True}

    def _spread(self) -> dict[str, Any]:
        own = self._options
        return {
            "shard_number": own.shard_number or None,
            "replication_factor": own.replication_factor,
            "write_consistency_factor": own.write_consistency_factor or own.replication_factor,
        }

    def _of(self, space: str) -> str:
        return f"{self._name}.{space}"

    # --------------------------------------------------------------------------------------------------------- writing

    def put(self, space: str, points: Iterable[Point], born: int) -> None:
        """Bring points of the version to come; those of the same number are written over.

        Raises:
            ValueError: one is too large for a request.
        """
        for batch in batches(points):
            made = [_struct(point, born) for point in batch]
            self._write(lambda made=made: self._client.upsert(self._of(space), made, wait=True, ordering=_STRONG))  # type: ignore[misc]

    def kill(self, dead: Mapping[str, Sequence[int]], died: int) -> None:
        """What these media have in each space lives no more at version `died`, and until then."""
        alive = models.FieldCondition(key="died", range=models.Range(gt=died))
        until = time.monotonic() + PATIENCE_INSIDE
        for space, media in dead.items():
            for at in range(0, len(media), 1000):
                theirs = models.FieldCondition(key="media", match=models.MatchAny(any=list(media[at : at + 1000])))
                self._change(space, [_dying(died, [alive, theirs])], max(0.0, until - time.monotonic()))

    def mend(self, space: str, version: int) -> None:
        """Undo what a writer left that did not come to an end: the library is at `version`."""
        unborn = models.Filter(must=[models.FieldCondition(key="born", range=models.Range(gt=version))])
        doomed = models.FieldCondition(key="died", range=models.Range(gt=version, lt=FOREVER))
        self._change(space, [_removing(unborn), _dying(FOREVER, [doomed])])

    def purge(self, space: str, version: int) -> None:
        """Remove what was dead at `version`: nobody looks at an earlier one any more."""
        dead = models.Filter(must=[models.FieldCondition(key="died", range=models.Range(lte=version))])
        self._change(space, [_removing(dead)])

    def _change(self, space: str, steps: list[Any], most: float = math.inf) -> None:
        """Steps in one request, which a server takes in their order."""
        name = self._of(space)
        self._write(lambda: self._client.batch_update_points(name, steps, wait=True, ordering=_STRONG), most)

    def _write(self, change: Callable[[], Any], most: float = math.inf) -> None:
        """As `_ask`; each try begins with the question whether this writer still may."""

        def one() -> None:
            self.sure()
            change()

        self._ask(one, most=most)

    # --------------------------------------------------------------------------------------------------------- reading

    def nearest(
        self,
        space: str,
        queries: Matrix,
        depth: int,
        version: int,
        conditions: Sequence[Condition] = (),
        exact: bool = False,
    ) -> list[Found]:
        """For each query `(Q, D)` the `depth` best points that live at `version`, by their best row.

        Unless it shall be `exact` a server walks its graph, and may lose its way among points that do not pass; who
        finds too few is asked again for all of them.
        """
        where = models.Filter(must=[*_living(version), *conditions])
        found = self._ranked(space, queries, depth, where, exact)
        every = exact or self._memory
        short = [] if every else [at for at, each in enumerate(found) if len(each.segments) < depth]
        if short:
            for at, each in zip(short, self._ranked(space, queries[short], depth, where, True), strict=True):
                found[at] = each
        return found

    def _ranked(self, space: str, queries: Matrix, depth: int, where: models.Filter, exact: bool) -> list[Found]:
        size = len(where.model_dump_json(exclude_none=True)) + 24 * queries.shape[1]  # bytes of one question
        together = max(1, min(ASKED_TOGETHER, REQUEST_BYTES // size))
        params = None
        if not self._memory:  # the client's own engine always looks at all, and says that it takes no parameters
            params = _EXACT if exact else _RESCORED if self._options.quantisation == "int8" else None
        found: list[Found] = []
        for at in range(0, len(queries), together):
            asked = [
                models.QueryRequest(
                    query=[row.tolist()],  # a multivector of one row
                    using=_ROWS,
                    filter=where,
                    limit=depth,
                    with_payload=["segment"],
                    params=params,
                )
                for row in queries[at : at + together]
            ]
            answers = self._ask(lambda asked=asked: self._client.query_batch_points(self._of(space), asked))  # type: ignore[misc]
            found += [_found(answer.points) for answer in answers]
        return found

    def fetch(self, space: str, numbers: Sequence[int], rows: bool = False) -> dict[int, Point]:
        """These points, by number, those that are there; with their first-stage `rows` if wanted."""
        found: dict[int, Point] = {}
        for at in range(0, len(numbers), FETCHED_TOGETHER):
            part = [int(number) for number in numbers[at : at + FETCHED_TOGETHER]]
            records = self._ask(
                lambda part=part: self._client.retrieve(  # type: ignore[misc]
                    self._of(space), part, with_payload=True, with_vectors=[_ROWS] if rows else False
                )
            )
            for record in records:
                payload = record.payload or {}
                facts = np.frombuffer(b64decode(payload["facts"]), FACTS)
                tokens = np.frombuffer(b64decode(payload["tokens"]), "<f2")
                vectors: Any = record.vector.get(_ROWS, []) if rows and isinstance(record.vector, dict) else []
                found[int(record.id)] = Point(
                    int(record.id),
                    payload["segment"],
                    payload["media"],
                    np.array(vectors, np.float32).astype(np.float16).reshape(len(vectors), -1 if len(vectors) else 0),
                    tokens.reshape(len(facts), -1 if len(facts) else 0),
                    facts,
                    (payload["own"][0], payload["own"][1]),
                )
        return found

    def count(self, space: str, version: int) -> int:
        """How many points live at `version`."""
        living = models.Filter(must=list(_living(version)))
        return int(self._ask(lambda: self._client.count(self._of(space), count_filter=living, exact=True)).count)

    def state(self, space: str) -> str:
        """`green`, `yellow` while it optimises, `grey` while that waits, `red` where something is broken."""
        return str(self._ask(lambda: self._client.get_collection(self._of(space))).status.value)

    # --------------------------------------------------------------------------------------------------------- waiting

    def _ask(self, ask: Callable[[], T], patient: bool = True, most: float = math.inf) -> T:
        """The server's answer; a busy or absent one is asked again for a while, `most` seconds at most.  Without
        patience one that is not there at all is told at once.

        Raises:
            StoreUnavailable: no answer, or a wrong key.
            DiskFull: the server has no room.
            StoreError: the server refuses.
        """
        if self._memory:
            with self._one:  # it is not made for threads
                return ask()
        patience = min(self._options.patience_s, most)
        until = time.monotonic() + patience
        pause = _SHORTEST_PAUSE
        while True:
            try:
                return ask()
            except (ResourceExhaustedResponse, UnexpectedResponse, ResponseHandlingException, AssertionError) as error:
                why, least = self._judged(error, patient)
                wait = max(least, pause * random.uniform(0.5, 1.0))
                if time.monotonic() + wait > until:
                    raise StoreUnavailable(
                        f"{self.place} did not answer for {patience:.3g} s ({why}): look whether Qdrant "
                        f"runs there, and run the same again"
                    ) from error
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _judged(self, error: Exception, patient: bool) -> tuple[str, float]:
        """Why to ask again, and for how many seconds to wait at least.

        Raises:
            StoreUnavailable, DiskFull, StoreError: asking again is of no use.
        """
        if isinstance(error, ResourceExhaustedResponse):
            return "it is overloaded", float(error.retry_after_s)
        if isinstance(error, UnexpectedResponse):
            told = _told(error)
            if error.status_code in (401, 403):
                raise StoreUnavailable(f"{self.place} refuses the key: set {API_KEY} to one that may") from error
            if error.status_code == 507 or "no space left" in told.lower() or "out of disk" in told.lower():
                raise DiskFull(f"{self.place} has no room ({told}): make room there and run the same again") from error
            if error.status_code == 404:
                raise StoreError(
                    f"{self.place} lacks what its catalog tells of ({told}): restore it in Qdrant, or take another NAME"
                ) from error
            if error.status_code in _BUSY:
                return f"{error.status_code} {told}", 0.0
            raise StoreError(
                f"{self.place} answers {error.status_code}: {told}; look at its version with reelseek doctor"
            ) from error
        source = error.source if isinstance(error, ResponseHandlingException) else error
        if isinstance(source, (ValidationError, AssertionError)):  # the client asserts that there is a result
            raise StoreUnavailable(
                f"{self.place} does not answer as Qdrant does: name a Qdrant server, version 1.10 or newer"
            ) from error
        if isinstance(source, httpx.ConnectError) and not patient:
            way = "look whether Qdrant runs there"
            if "CERTIFICATE_VERIFY_FAILED" in str(source):
                way = "name the file of its authority in SSL_CERT_FILE"
            raise StoreUnavailable(f"{self.place} cannot be reached ({source}): {way}") from error
        if isinstance(source, httpx.TransportError):
            return f"{type(source).__name__} {source}".strip(), 0.0
        raise StoreUnavailable(
            f"{self.place} cannot be asked ({type(source).__name__}: {source}): look at the address"
        ) from error


_STRONG = models.WriteOrdering.STRONG
"""Writes to one point in the order in which they were sent, on every copy."""
_RANGED = models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=False, range=True)
_INDEXES = {
    "born": _RANGED,
    "died": _RANGED,
    "media": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=True),
}
_EXACT = models.SearchParams(exact=True)
_RESCORED = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=True, oversampling=2.0))


def _living(version: int) -> Iterator[Condition]:
    yield models.FieldCondition(key="born", range=models.Range(lte=version))
    yield models.FieldCondition(key="died", range=models.Range(gt=version))


def listed(numbers: Ids) -> Condition:
    """A condition on media: one of these numbers."""
    return models.FieldCondition(key="media", match=models.MatchAny(any=numbers.tolist()))


def among(runs: Ids) -> Condition:
    """A condition on media: a number in one of these runs `(R, 2)`, first and last."""
    single = runs[runs[:, 0] == runs[:, 1], 0].tolist()
    longer = runs[runs[:, 0] != runs[:, 1]].tolist()
    any_of: list[Condition] = [models.FieldCondition(key="media", match=models.MatchAny(any=single))] if single else []
    any_of += [models.FieldCondition(key="media", range=models.Range(gte=first, lte=last)) for first, last in longer]
    return models.Filter(should=any_of)


def _dying(died: int, of: Sequence[Condition]) -> models.SetPayloadOperation:
    return models.SetPayloadOperation(
        set_payload=models.SetPayload(payload={"died": died}, filter=models.Filter(must=list(of)))
    )


def _removing(of: models.Filter) -> models.DeleteOperation:
    return models.DeleteOperation(delete=models.FilterSelector(filter=of))


def _struct(point: Point, born: int) -> models.PointStruct:
    return models.PointStruct(
        id=point.number,
        vector={_ROWS: point.rows.astype(np.float32).tolist()} if len(point.rows) else {},
        payload={
            "segment": point.segment,
            "media": point.media,
            "born": born,
            "died": FOREVER,
            "tokens": b64encode(np.ascontiguousarray(point.tokens, "<f2").tobytes()).decode("ascii"),
            "facts": b64encode(np.ascontiguousarray(point.facts).tobytes()).decode("ascii"),
            "own": list(point.own),
        },
    )


def weight(point: Point) -> int:
    """About how many bytes of JSON a point is."""
    return 12 * point.rows.size + 4 * (point.tokens.nbytes + point.facts.nbytes) // 3 + 200


def batches(points: Iterable[Point]) -> Iterator[list[Point]]:
    """Points in requests of a size that a server takes."""
    batch: list[Point] = []
    held = 0
    for point in points:
        size = weight(point)
        if size > LARGEST_POINT:
            raise ValueError(
                f"segment {point.segment} has {len(point.tokens)} tokens, {size:,} bytes, which no request to Qdrant "
                "holds: index it with a pack that cuts shorter segments"
            )
        if batch and held + size > REQUEST_BYTES:
            yield batch
            batch, held = [], 0
        batch.append(point)
        held += size
    if batch:
        yield batch


def _found(points: Sequence[models.ScoredPoint]) -> Found:
    segments = np.array([(point.payload or {})["segment"] for point in points], np.int64)
    scores = np.array([point.score for point in points], np.float32)
    order = np.lexsort((segments, -scores))
    return Found(segments[order], scores[order])


def _told(error: UnexpectedResponse) -> str:
    """What a server says went wrong, on one line."""
    try:
        status: Mapping[str, Any] = error.structured()["status"]
        said = str(status["error"])
    except (ValueError, KeyError, TypeError):
        said = error.reason_phrase or "without a word"
    return " ".join(said.split())[:300]


def _nothing() -> None:
    """Who has nothing to ask may always."""
