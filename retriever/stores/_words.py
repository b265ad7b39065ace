"""Words and their index inside the catalog's SQLite: what a commit brings is there with it, or not at all.

A *document* is what one segment says in one modality: all its lines, one after the other.  Its score is BM25 as in
Robertson & Zaragoza (2009), eq. 3.15, with the inverse document frequency kept positive:

    Σ_w  log(1 + (N - n_w + ½) / (n_w + ½)) · f_w (k1 + 1) / (f_w + k1 (1 - b + b · length / mean length))

f_w counts the word's stem, and on screen also the joined words that hold it (`words.words_inside`); n_w sums over
those stems.  A quoted phrase counts its exact occurrences and weighs as much as its words together.  N, n_w and the
mean length change with each commit and with nothing else.

Postings lie in blocks of 8,192 segments, so a commit touches the last block of each of its words and no other.
"""

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from retriever import words as wordlore
from retriever.stemming import stem
from retriever.types import Floats, Ids, Modality, Ranking, WordQuery

Mask = NDArray[np.bool_]

K1 = 1.2
"""How soon more of the same word counts less; 1.2 to 2 is usual."""
B = 0.75
"""How much a long document is held back; ½ to 0.8 is usual."""
CANDIDATES = 5_000
"""Documents that are scored at most.  The rarest words choose them, commoner words only score them."""

_BLOCK_BITS = 13
_KEY_BITS = 24  # blocks behind each word: 2^24 of 2^13 segments
_LONGEST = 2**16 - 1

_TABLES = (
    # of each stem the number of documents that hold it now
    "word_terms (id INTEGER PRIMARY KEY, modality TEXT NOT NULL, stem TEXT NOT NULL, documents INTEGER NOT NULL,"
    " UNIQUE (modality, stem))",
    # key: term << 24 | segment >> 13; entries: rows of three uint16, (segment & 8191, times, length of the document)
    "word_postings (key INTEGER PRIMARY KEY, entries BLOB NOT NULL)",
    # key: segment << 1 | on screen; forms: the folded words with spaces between
    "word_documents (key INTEGER PRIMARY KEY, forms TEXT NOT NULL)",
    "word_totals (modality TEXT PRIMARY KEY, documents INTEGER NOT NULL, length INTEGER NOT NULL)",
    # chunks of long stems on screen, a line each; first: the term that begins the chunk
    "word_joined (first INTEGER PRIMARY KEY, stems TEXT NOT NULL)",
)
_JOINED_CHUNK = 2**15
"""Characters of long stems in a row."""


def create(connection: sqlite3.Connection) -> None:
    """Make the tables.  Like all here it neither begins nor ends a transaction."""
    for table in _TABLES:
        connection.execute(f"CREATE TABLE {table}")


def add(connection: sqlite3.Connection, rows: Iterable[tuple[int, Modality, str]]) -> None:
    """File lines (segment, modality, text).  All lines of a segment come in one call, in order of time."""
    for modality, documents in _documents(rows).items():
        connection.executemany(
            "INSERT INTO word_documents VALUES (?, ?)",
            [(_document_key(segment, modality), " ".join(forms)) for segment, forms in documents.items()],
        )
        _count(connection, modality, len(documents), sum(map(len, documents.values())))
        for term, entries in _by_term(connection, modality, documents):
            _file(connection, term, entries)


def remove(connection: sqlite3.Connection, segments: Iterable[int]) -> None:
    """Take all lines of these segments out."""
    numbers = list(segments)
    for modality in (Modality.SPEECH, Modality.TEXT):
        documents = {}
        for segment in numbers:
            key = _document_key(segment, modality)
            row = connection.execute("SELECT forms FROM word_documents WHERE key = ?", (key,)).fetchone()
            if row is not None:
                documents[segment] = str(row[0]).split(" ")
                connection.execute("DELETE FROM word_documents WHERE key = ?", (key,))
        _count(connection, modality, -len(documents), -sum(map(len, documents.values())))
        for term, entries in _by_term(connection, modality, documents):
            _unfile(connection, term, entries[:, 0])


def matching(
    connection: sqlite3.Connection, words: WordQuery, modality: Modality, depth: int, allowed: Mask | None = None
) -> Ranking:
    """The `depth` best segments by BM25 of their lines of one modality; `allowed` `(S,)` says which may answer."""
    return _Search(connection, modality, allowed).best(words, depth)


# ------------------------------------------------------------------------------------------------------------- writing


def _documents(rows: Iterable[tuple[int, Modality, str]]) -> dict[Modality, dict[int, list[str]]]:
    """Modality → segment → forms, of documents that have any."""
    found: dict[Modality, dict[int, list[str]]] = {}
    for segment, modality, text in rows:
        forms = wordlore.forms(text)
        if forms:
            found.setdefault(modality, {}).setdefault(segment, []).extend(forms)
    return found


def _by_term(
    connection: sqlite3.Connection, modality: Modality, documents: dict[int, list[str]]
) -> Iterator[tuple[int, Ids]]:
    """Each stem's term with its postings `(n, 3)`: segment, times, length; segments rising."""
    postings: dict[str, list[tuple[int, int, int]]] = {}
    for segment in sorted(documents):
        forms = documents[segment]
        length = min(len(forms), _LONGEST)
        for word, times in Counter(map(stem, forms)).items():
            postings.setdefault(word, []).append((segment, min(times, _LONGEST), length))
    for word in sorted(postings):
        yield _term(connection, modality, word), np.array(postings[word], np.int64)


def _term(connection: sqlite3.Connection, modality: Modality, word: str) -> int:
    """The number of a stem, made if it is new."""
    query = "SELECT id FROM word_terms WHERE modality = ? AND stem = ?"
    row = connection.execute(query, (modality.value, word)).fetchone()
    if row is not None:
        return int(row[0])
    made = connection.execute(
        "INSERT INTO word_terms (modality, stem, documents) VALUES (?, ?, 0)", (modality.value, word)
    )
    term = int(made.lastrowid or 0)
    if modality is Modality.TEXT and len(word) >= wordlore.JOINED_FROM:
        _remember_joined(connection, term, word)
    return term


def _remember_joined(connection: sqlite3.Connection, term: int, word: str) -> None:
    last = connection.execute("SELECT first, stems FROM word_joined ORDER BY first DESC LIMIT 1").fetchone()
    if last is None or len(last[1]) > _JOINED_CHUNK:
        connection.execute("INSERT INTO word_joined VALUES (?, ?)", (term, f"\n{word}\n"))
    else:
        connection.execute("UPDATE word_joined SET stems = stems || ? WHERE first = ?", (f"{word}\n", last[0]))


def _count(connection: sqlite3.Connection, modality: Modality, documents: int, length: int) -> None:
    connection.execute(
        "INSERT INTO word_totals VALUES (?1, ?2, ?3) ON CONFLICT (modality) DO UPDATE "
        "SET documents = documents + ?2, length = length + ?3",
        (modality.value, documents, length),
    )


def _file(connection: sqlite3.Connection, term: int, entries: Ids) -> None:
    for key, block in _blocks(term, entries[:, 0]):
        new = entries[block].copy()
        new[:, 0] &= (1 << _BLOCK_BITS) - 1
        row = connection.execute("SELECT entries FROM word_postings WHERE key = ?", (key,)).fetchone()
        if row is not None:
            new = np.concatenate([_read(row[0]), new])
            new = new[np.argsort(new[:, 0], kind="stable")]
        _put(connection, key, new)
    _count_term(connection, term, len(entries))


def _unfile(connection: sqlite3.Connection, term: int, segments: Ids) -> None:
    for key, block in _blocks(term, segments):
        row = connection.execute("SELECT entries FROM word_postings WHERE key = ?", (key,)).fetchone()
        old = _read(row[0])
        _put(connection, key, old[~np.isin(old[:, 0], segments[block] & ((1 << _BLOCK_BITS) - 1))])
    _count_term(connection, term, -len(segments))


def _put(connection: sqlite3.Connection, key: int, entries: Ids) -> None:
    if len(entries):
        blob = entries.astype("<u2").tobytes()
        connection.execute("INSERT OR REPLACE INTO word_postings VALUES (?, ?)", (key, blob))
    else:
        connection.execute("DELETE FROM word_postings WHERE key = ?", (key,))


def _count_term(connection: sqlite3.Connection, term: int, documents: int) -> None:
    connection.execute("UPDATE word_terms SET documents = documents + ? WHERE id = ?", (documents, term))


def _blocks(term: int, segments: Ids) -> Iterator[tuple[int, slice]]:
    """The key of each block that these rising segments lie in, with their places."""
    numbers = segments >> _BLOCK_BITS
    for block, places in groupby(range(len(numbers)), key=lambda place: int(numbers[place])):
        first, *rest = places
        yield term << _KEY_BITS | block, slice(first, first + len(rest) + 1)


def _read(blob: bytes) -> Ids:
    return np.frombuffer(blob, "<u2").reshape(-1, 3).astype(np.int64)


def _document_key(segment: int, modality: Modality) -> int:
    return segment << 1 | (modality is Modality.TEXT)


# ----------------------------------------------------------------------------------------------------------- searching


@dataclass(frozen=True, slots=True)
class _Postings:
    """Where a word is: rising segments `(n,)`, how often, and how long each document is."""

    segments: Ids
    times: Floats
    lengths: Floats

    def at(self, chosen: Ids | Mask) -> "_Postings":
        return _Postings(self.segments[chosen], self.times[chosen], self.lengths[chosen])


@dataclass(frozen=True, slots=True)
class _Word:
    """What is counted as one: a term with all stems that hold it, or a phrase."""

    name: str
    terms: tuple[int, ...]
    documents: int
    weight: float
    phrase: tuple[str, ...] = ()


class _Search:
    """One question to one modality, at one state of the catalog."""

    def __init__(self, connection: sqlite3.Connection, modality: Modality, allowed: Mask | None) -> None:
        self.connection, self.modality, self.allowed = connection, modality, allowed
        row = connection.execute(
            "SELECT documents, length FROM word_totals WHERE modality = ?", (modality.value,)
        ).fetchone()
        self.documents: int = row[0] if row else 0
        self.length: int = row[1] if row else 0

    def best(self, words: WordQuery, depth: int) -> Ranking:
        asked = sorted(self._words(words), key=lambda word: (not word.phrase, word.documents, word.name))
        pool: Ids = np.zeros(0, np.int64)
        read = []
        for word in asked:
            postings = self._phrase(word) if word.phrase else self._postings(word.terms)
            scores = self._scores(word, postings)
            room = CANDIDATES - len(pool)
            if room > 0:
                pool = np.union1d(pool, postings.segments[_largest(scores, room)])
            read.append((postings.segments, scores))
        total = np.zeros(len(pool))
        for segments, scores in read:
            place = np.searchsorted(segments, pool)
            place[place == len(segments)] = 0
            if len(segments):
                total += np.where(segments[place] == pool, scores[place], 0.0)
        return _ranking(pool, total, depth)

    def _scores(self, word: _Word, postings: _Postings) -> NDArray[np.float64]:
        mean = self.length / max(1, self.documents)
        held_back = K1 * (1 - B + B * postings.lengths / mean)
        scores: NDArray[np.float64] = word.weight * postings.times * (K1 + 1) / (postings.times + held_back)
        return scores

    def _weight(self, documents: int) -> float:
        known = min(documents, self.documents)
        return math.log(1 + (self.documents - known + 0.5) / (known + 0.5))

    def _words(self, words: WordQuery) -> Iterator[_Word]:
        stems = dict.fromkeys(map(stem, words.terms))
        joined = self._joined(words)
        for word in stems:
            yield from self._word(word, [word, *joined.get(word, ())])
        for phrase in words.phrases:
            weight = 0.0
            for form in phrase:
                weight += self._weight(sum(documents for _, documents in self._terms([stem(form)])))
            yield _Word(" ".join(phrase), (), 0, weight, phrase)

    def _word(self, name: str, stems: Sequence[str]) -> Iterator[_Word]:
        terms = self._terms(stems)
        documents = sum(documents for _, documents in terms)
        if documents:
            yield _Word(name, tuple(term for term, _ in terms), documents, self._weight(documents))

    def _terms(self, stems: Iterable[str]) -> list[tuple[int, int]]:
        """Number and documents of those stems that are there."""
        query = "SELECT id, documents FROM word_terms WHERE modality = ? AND stem = ? AND documents > 0"
        rows = (self.connection.execute(query, (self.modality.value, word)).fetchone() for word in stems)
        return [(int(row[0]), int(row[1])) for row in rows if row is not None]

    def _joined(self, words: WordQuery) -> dict[str, list[str]]:
        """Stem of a term → the long stems on screen that hold it."""
        found: dict[str, list[str]] = {}
        if self.modality is not Modality.TEXT:
            return found
        pieces = {piece for term in words.terms for piece in (term, stem(term)) if len(piece) > 3}
        for long in sorted(self._long(pieces)):
            for term in wordlore.words_inside(words.terms, long):
                if stem(term) != long:
                    found.setdefault(stem(term), []).append(long)
        return found

    def _long(self, pieces: Iterable[str]) -> set[str]:
        """Long stems on screen that hold any of these."""
        found = set()
        for (chunk,) in self.connection.execute("SELECT stems FROM word_joined"):
            for piece in pieces:
                at = chunk.find(piece)
                while at >= 0:
                    end = chunk.index("\n", at)
                    found.add(chunk[chunk.rindex("\n", 0, at) + 1 : end])
                    at = chunk.find(piece, end)
        return found

    def _postings(self, terms: Sequence[int]) -> _Postings:
        keys, blobs = [], []
        for term in terms:
            span = (term << _KEY_BITS, (term + 1) << _KEY_BITS)
            for key, blob in self.connection.execute(
                "SELECT key, entries FROM word_postings WHERE key >= ? AND key < ? ORDER BY key", span
            ):
                keys.append(key & ((1 << _KEY_BITS) - 1))
                blobs.append(blob)
        entries = np.frombuffer(b"".join(blobs), "<u2").reshape(-1, 3)
        starts = np.repeat(np.array(keys, np.int64) << _BLOCK_BITS, [len(blob) // 6 for blob in blobs])
        found = _Postings(starts + entries[:, 0], entries[:, 1].astype(np.float32), entries[:, 2].astype(np.float32))
        if len(terms) > 1:
            found = _merged(found)
        return found if self.allowed is None else found.at(self.allowed[found.segments])

    def _phrase(self, word: _Word) -> _Postings:
        """Documents that hold a phrase exactly, or on screen within a joined word."""
        parts = [self._postings([term for term, _ in self._terms([stem(form)])]) for form in dict.fromkeys(word.phrase)]
        common = parts[0].segments
        for part in parts[1:]:
            common = np.intersect1d(common, part.segments, assume_unique=True)
        if len(common) > CANDIDATES:  # of words so common, those where the first stands out most
            first = parts[0].at(np.isin(parts[0].segments, common))
            common = first.segments[_largest(first.times / (first.times + first.lengths), CANDIDATES)]
        if self.modality is Modality.TEXT and len(word.phrase) > 1:
            long = [found for found in self._long({"".join(word.phrase)}) if wordlore.phrase_inside(word.phrase, found)]
            holders = self._postings([term for term, _ in self._terms(sorted(long))])
            common = np.union1d(common, holders.segments)
        return self._counted(word.phrase, common)

    def _counted(self, phrase: tuple[str, ...], segments: Ids) -> _Postings:
        kept, times, lengths = [], [], []
        for segment in segments.tolist():
            key = _document_key(segment, self.modality)
            row = self.connection.execute("SELECT forms FROM word_documents WHERE key = ?", (key,)).fetchone()
            forms = str(row[0]).split(" ")
            count = occurrences(phrase, forms, self.modality)
            if count:
                kept.append(segment)
                times.append(count)
                lengths.append(len(forms))
        return _Postings(np.array(kept, np.int64), np.array(times, np.float32), np.array(lengths, np.float32))


def occurrences(phrase: tuple[str, ...], forms: Sequence[str], modality: Modality) -> int:
    """How often a document holds a phrase."""
    places = range(len(forms) - len(phrase) + 1)
    count = sum(tuple(forms[place : place + len(phrase)]) == phrase for place in places)
    if modality is Modality.TEXT:
        count += sum(wordlore.phrase_inside(phrase, stem(form)) for form in forms)
    return count


def _merged(postings: _Postings) -> _Postings:
    """Several stems' postings as one: a document's times are added up."""
    segments, first, place = np.unique(postings.segments, return_index=True, return_inverse=True)
    times = np.bincount(place, postings.times, minlength=len(segments)).astype(np.float32)
    return _Postings(segments, times, postings.lengths[first])


def _largest(scores: NDArray[np.floating], room: int) -> Ids:
    """Places of the largest scores, rising; among equals the first."""
    if len(scores) <= room:
        return np.arange(len(scores))
    least = np.partition(scores, len(scores) - room)[len(scores) - room]
    above = np.flatnonzero(scores > least)
    equal = np.flatnonzero(scores == least)[: room - len(above)]
    return np.sort(np.concatenate([above, equal]))


def _ranking(segments: Ids, scores: NDArray[np.float64], depth: int) -> Ranking:
    single = scores.astype(np.float32)
    order = np.lexsort((segments, -single))[:depth]
    return Ranking(segments[order], single[order])
