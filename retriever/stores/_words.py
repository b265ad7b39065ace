"""Words and their index inside the catalog's SQLite: what a commit brings is there with it, or not at all.

A *document* is what one segment says in one modality: all its lines, one after the other.  The number of documents,
their length and the postings of each stem change with each commit, up and down, so what `_bm25` makes of them depends
on what is there and not on how it came.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from retriever.stemming import stem
from retriever.stores import _bm25, _postings
from retriever.stores._database import Connection
from retriever.types import Modality, Ranking, WordQuery
from retriever.words import line_forms

_TABLES = (
    _postings.TABLE,
    "word_terms (id INTEGER PRIMARY KEY, modality TEXT NOT NULL, stem TEXT NOT NULL, UNIQUE (modality, stem))",
    # forms: the folded words with spaces between; those that were split come again behind all others, as they were
    "word_documents (segment INTEGER NOT NULL, modality TEXT NOT NULL, forms TEXT NOT NULL,"
    " PRIMARY KEY (segment, modality)) WITHOUT ROWID",
    "word_totals (modality TEXT PRIMARY KEY, documents INTEGER NOT NULL, length INTEGER NOT NULL) WITHOUT ROWID",
)


def create(connection: Connection) -> None:
    """Make the tables.  Like all here it neither begins nor ends a transaction."""
    for table in _TABLES:
        connection.execute(f"CREATE TABLE {table}")


def add(connection: Connection, rows: Iterable[tuple[int, Modality, str]]) -> None:
    """File lines (segment, modality, text).  All lines of a segment come in one call, in order of time."""
    documents: dict[tuple[int, Modality], _Document] = {}
    for segment, modality, text in rows:
        running, joined = line_forms(text, modality)
        if running:
            document = documents.setdefault((segment, modality), _Document())
            document.running += running
            document.joined += joined
    forms = {place: document.running + document.joined for place, document in documents.items()}
    connection.executemany(
        "INSERT INTO word_documents VALUES (?, ?, ?)",
        [(segment, modality.value, " ".join(words)) for (segment, modality), words in forms.items()],
    )
    _change(
        connection, forms, 1, lambda terms, postings: _postings.file(connection, terms, postings[0], postings[1:].T)
    )


def remove(connection: Connection, segments: Iterable[int]) -> None:
    """Take all lines of these segments out."""
    theirs, gone = "FROM word_documents WHERE segment IN (SELECT value FROM json_each(?))", json.dumps(list(segments))
    rows = connection.execute(f"SELECT segment, modality, forms {theirs}", (gone,)).fetchall()
    forms = {(segment, Modality(modality)): text.split(" ") for segment, modality, text in rows}
    connection.execute(f"DELETE {theirs}", (gone,))
    _change(connection, forms, -1, lambda terms, postings: _postings.unfile(connection, terms, postings[0]))


def matching(
    connection: Connection,
    words: WordQuery,
    modality: Modality,
    depth: int,
    allowed: NDArray[np.bool_] | None = None,
) -> Ranking:
    """The `depth` best segments by BM25 of their lines of one modality; `allowed` `(S,)` says which may answer."""
    return _bm25.Search(connection, modality, allowed).best(words, depth)


@dataclass(slots=True)
class _Document:
    running: list[str] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)


Change = Callable[[NDArray[np.int64], NDArray[np.int64]], None]
"""Takes terms `(n,)` and segment, times and length `(3, n)`, sorted by term and segment."""


def _change(connection: Connection, forms: dict[tuple[int, Modality], list[str]], sign: int, change: Change) -> None:
    """Count documents in (1) or out (-1), and change their postings."""
    for modality in Modality:
        documents = {segment: words for (segment, spoken), words in forms.items() if spoken is modality}
        if not documents:
            continue
        connection.execute(
            "INSERT INTO word_totals VALUES (?, ?, ?) ON CONFLICT (modality) DO UPDATE SET"
            " documents = word_totals.documents + excluded.documents, length = word_totals.length + excluded.length",
            (modality.value, sign * len(documents), sign * sum(map(len, documents.values()))),
        )
        stems = {segment: Counter(map(stem, words)) for segment, words in documents.items()}
        number = _terms(connection, modality, stems.values())
        postings = np.array(
            [
                (number[word], segment, times, len(documents[segment]))
                for segment, counts in stems.items()
                for word, times in counts.items()
            ],
            np.int64,
        ).T  # (4, n)
        postings = postings[:, np.lexsort((postings[1], postings[0]))]
        change(postings[0], postings[1:])


def _terms(connection: Connection, modality: Modality, documents: Iterable[Counter[str]]) -> dict[str, int]:
    """Stem → its term, made where it is new."""
    words = sorted(set(chain.from_iterable(documents)))
    known = _known(connection, modality, words)
    if new := [(modality.value, word) for word in words if word not in known]:
        connection.executemany("INSERT INTO word_terms (modality, stem) VALUES (?, ?)", new)
        known |= _known(connection, modality, [word for _, word in new])
    return known


def _known(connection: Connection, modality: Modality, words: list[str]) -> dict[str, int]:
    query = "SELECT stem, id FROM word_terms WHERE modality = ? AND stem IN (SELECT value FROM json_each(?))"
    return dict(connection.execute(query, (modality.value, json.dumps(words))).fetchall())
