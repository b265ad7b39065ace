"""What a corpus needs, worked out from unit costs.  Pure arithmetic; `scale.py` measures the costs and prints tables.

Bytes of rows are those of the format (`retriever/stores/_rows.py`), bytes of an index those of `_ann`; nothing here is
fitted to a total.  Hours are of one core, or of one GPU.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from retriever.stores import _ann
from retriever.stores._rows import Column

ROW_NUMBER = 8
"""Bytes of the number that an index keeps of each row."""
QDRANT_SPARE = 1.5
"""Times its rows that Qdrant takes in memory, by its own rule of thumb (Capacity Planning: numbers × 4 bytes × 1.5)."""
SINGLE = 4
"""Bytes of a number as Qdrant keeps it by default."""
HOUR = 3600.0
WIDER = 2.0
"""Times as many lists as an index begins with: what it took over 300,000 rows to find 98 % of the ten best of everyday
sentences (`nearest.py`)."""


@dataclass(frozen=True, slots=True)
class Space:
    """What a segment has in one space, on average over all segments."""

    dimension: int
    tokens: float
    rows: float  # that the first stage searches


@dataclass(frozen=True, slots=True)
class Corpus:
    """What media are, once they are segments."""

    spaces: tuple[Space, ...]
    seconds: float  # of media, a segment
    frames: float  # that were encoded, a second of media
    catalog: float  # bytes in the catalog, a segment: media, paths, lines, words


@dataclass(frozen=True, slots=True)
class Costs:
    """Core seconds."""

    indexing: Mapping[str, float]  # by stage, a second of media
    question: float  # of a query over next to nothing
    byte: float  # a byte of codes that is scanned for it
    centre: float  # a number of a centre that a question is held against
    added: float  # a number of a centre that a row is held against as it comes into an index
    written: float  # segments a second that one writer commits, vectors ready


@dataclass(frozen=True, slots=True)
class Node:
    """A machine that holds a shard."""

    memory: float = 128e9
    disk: float = 4e12
    cores: int = 32


@dataclass(frozen=True, slots=True)
class Need:
    """What so many segments need."""

    segments: int
    media_hours: float
    core_hours: float  # to index, everything on processors
    gpu_hours: float  # for encoding frames, where a GPU does that
    other_core_hours: float  # to index, all but encoding
    write_hours: float  # of one writer, committing alone
    build_hours: float  # of one core, to make the indexes of all shards
    disk: float  # bytes
    index: float  # bytes of that which are held in memory
    hot: float  # bytes of that which a quick answer wants in memory as well: first-stage rows
    shards: int
    question: float  # core seconds a query, over all shards
    latency: float  # seconds of a query on quiet nodes, one core each
    qdrant_memory: float  # bytes, rows of single precision
    qdrant_int8: float  # bytes, rows of one byte in memory and the others on the disk


def row_bytes(role: str, dimension: int = 0) -> int:
    """Of one row of a column."""
    return Column("", "space", role, 1, dimension).row_bytes


def code_bytes(dimension: int) -> float:
    """Of one row in an index, its number left out."""
    together = next((numbers for numbers in _ann._CODED_TOGETHER if dimension % numbers == 0), 0)
    return math.ceil(dimension / together / 2) if together else 2 * dimension


def lists(rows: float) -> int:
    return _ann._lists(round(rows))


def scanned(rows: float, wider: float = 1.0) -> float:
    """Rows whose codes one question looks at."""
    return rows * min(1.0, wider * _ann._first_lists(lists(rows)) / lists(rows))


def index_bytes(rows: float, dimension: int) -> float:
    return rows * (code_bytes(dimension) + ROW_NUMBER) + lists(rows) * dimension * SINGLE


def disk(corpus: Corpus, segments: float) -> dict[str, float]:
    """Bytes of a library of one folder, by what they are for."""
    spaces = corpus.spaces
    return {
        "segment table": segments * row_bytes("segments"),
        "tokens": sum(
            segments * one.tokens * (row_bytes("tokens", one.dimension) + row_bytes("facts")) for one in spaces
        ),
        "first-stage rows": sum(
            segments * one.rows * (row_bytes("vectors", one.dimension) + row_bytes("map")) for one in spaces
        ),
        "ranges": len(spaces) * segments * row_bytes("ranges"),
        "indexes": sum(index_bytes(segments * one.rows, one.dimension) for one in spaces),
        "catalog": segments * corpus.catalog,
    }


def scan_seconds(corpus: Corpus, costs: Costs, segments: float) -> float:
    """Core seconds that the first stage of one query takes over one folder."""
    spent = 0.0
    for one in corpus.spaces:
        rows = segments * one.rows
        spent += (
            costs.byte * scanned(rows, WIDER) * code_bytes(one.dimension) + costs.centre * lists(rows) * one.dimension
        )
    return spent


def build_seconds(corpus: Corpus, costs: Costs, segments: float) -> float:
    """Core seconds to make the indexes of one folder from nothing: each row looks for its list among all centres."""
    return sum(costs.added * segments * one.rows * lists(segments * one.rows) * one.dimension for one in corpus.spaces)


def shards(corpus: Corpus, costs: Costs, node: Node, segments: float, patience: float) -> int:
    """The least number of folders, one a node, of which each fits its memory and its disk and is scanned within
    `patience` seconds of one core."""
    if scan_seconds(corpus, costs, 0) > patience:
        raise ValueError(f"no number of shards is scanned within {patience} s: one centre a space takes longer")

    def fits(count: int) -> bool:
        held = disk(corpus, segments / count)
        enough = held["indexes"] <= 0.5 * node.memory and sum(held.values()) <= 0.8 * node.disk
        return enough and scan_seconds(corpus, costs, segments / count) <= patience

    most = 1
    while not fits(most):
        most *= 2
    least = most // 2  # does not fit, or is none
    while most - least > 1:
        middle = (most + least) // 2
        most, least = (middle, least) if fits(middle) else (most, middle)
    return most


def need(corpus: Corpus, costs: Costs, node: Node, segments: int, patience: float, frames_a_gpu_second: float) -> Need:
    media = segments * corpus.seconds
    parts = shards(corpus, costs, node, segments, patience)
    each = segments / parts
    held = {name: parts * size for name, size in disk(corpus, each).items()}
    scan = scan_seconds(corpus, costs, each)
    rest = sum(spent for stage, spent in costs.indexing.items() if stage != "encode")
    numbers = sum(segments * it.rows * it.dimension for it in corpus.spaces)
    return Need(
        segments,
        media / HOUR,
        media * sum(costs.indexing.values()) / HOUR,
        media * corpus.frames / frames_a_gpu_second / HOUR,
        media * rest / HOUR,
        segments / costs.written / HOUR,
        parts * build_seconds(corpus, costs, each) / HOUR,
        sum(held.values()),
        held["indexes"],
        held["first-stage rows"],
        parts,
        costs.question + parts * scan,  # the rest is done once, and not by each shard
        costs.question + scan,
        numbers * SINGLE * QDRANT_SPARE,
        numbers * QDRANT_SPARE,
    )
