"""BM25 over the words of a library, as in Robertson & Zaragoza (2009), eq. 3.15, the rarity of a word kept positive:

    Σ_w  log(1 + (N - n_w + ½) / (n_w + ½)) · f_w (k1 + 1) / (f_w + k1 (1 - b + b · length / mean length))

f_w counts a term's stems in the document (`words.term_stems`), and n_w the documents that hold one of them.  A quoted
phrase counts where it stands word for word, and weighs as much as its words together.

A question's rare words choose at most 5,000 documents; its common words only score those.  So a sentence full of
common words costs a few milliseconds over a million lines, and a filter takes room from nobody.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from retriever.stemming import stem
from retriever.stores import _postings
from retriever.stores._database import Connection
from retriever.stores._postings import Entries, Postings
from retriever.types import Floats, Ids, Modality, Ranking, WordQuery
from retriever.words import phrase_places, term_stems

K1 = 1.2
"""How soon more of the same word counts less; 1.2 to 2 is usual."""
B = 0.75
"""How much a long document is held back; ½ to 0.8 is usual."""
CANDIDATES = 5_000
"""Documents that are scored at most."""


@dataclass(frozen=True, slots=True)
class _Word:
    """What counts as one, a term or a phrase, with the documents that hold it."""

    name: str
    postings: Postings
    weight: float


class Search:
    """One question to one modality, at one state of the catalog."""

    def __init__(self, connection: Connection, modality: Modality, allowed: NDArray[np.bool_] | None) -> None:
        self._connection, self._modality, self._allowed = connection, modality, allowed
        query = "SELECT documents, length FROM word_totals WHERE modality = ?"
        row = connection.execute(query, (modality.value,)).fetchone() or (0, 0)
        self._documents: int = row[0]
        self._mean_length: float = row[1] / max(1, row[0])

    def best(self, words: WordQuery, depth: int) -> Ranking:
        """The `depth` best segments."""
        rarest_first = sorted(self._terms(words), key=lambda word: (len(word.postings), word.name))
        found = [*self._phrases(words), *rarest_first]
        pool = self._candidates(found)
        total = np.zeros(len(pool))
        chosen = np.zeros(pool[-1] + 1 if len(pool) else 0, np.bool_)
        chosen[pool] = True
        for word in found:
            segments = word.postings.segments[: np.searchsorted(word.postings.segments, len(chosen))]
            held = np.flatnonzero(chosen[segments])
            total[np.searchsorted(pool, segments[held])] += self._scores(word.weight, word.postings.entries[held])
        return _ranking(pool, total.astype(np.float32), depth)

    def _candidates(self, found: Iterable[_Word]) -> Ids:
        """Rising segments: of each word all that may answer while there is room, and of the last the best."""
        room = CANDIDATES
        chosen: list[Ids] = [np.zeros(0, np.int64)]
        for word in found:
            able = self._allowed_of(word.postings)
            if len(able) > room:
                able = able.at(largest(self._scores(word.weight, able.entries), room))
            chosen.append(able.segments)
            room -= len(able)
            if room <= 0:
                break
        pool = np.sort(np.concatenate(chosen))
        return pool[np.flatnonzero(np.diff(pool, prepend=-1))]

    def _allowed_of(self, postings: Postings) -> Postings:
        return postings if self._allowed is None else postings.at(self._allowed[postings.segments])

    def _scores(self, weight: float, entries: Entries) -> NDArray[np.float64]:
        times = entries[:, 1].astype(np.float64)
        held_back = K1 * (1 - B + B * entries[:, 2] / self._mean_length)
        scores: NDArray[np.float64] = weight * (K1 + 1) * times / (times + held_back)
        return scores

    def _terms(self, words: WordQuery) -> Iterator[_Word]:
        answers = term_stems(words.terms)
        known = self._numbers(chain.from_iterable(answers.values()))
        for name, stems in answers.items():
            postings = _postings.read(self._connection, [known[word] for word in stems if word in known])
            if len(postings):
                yield _Word(name, postings, self._rarity(len(postings)))

    def _phrases(self, words: WordQuery) -> Iterator[_Word]:
        for phrase in words.phrases:
            parts = [self._read(stem(form)) for form in phrase]
            postings = self._counted(phrase, self._able(phrase, parts))
            if len(postings):
                yield _Word(" ".join(phrase), postings, sum(self._rarity(len(part)) for part in parts))

    def _rarity(self, documents: int) -> float:
        return math.log(1 + (self._documents - documents + 0.5) / (documents + 0.5))

    def _numbers(self, stems: Iterable[str]) -> dict[str, int]:
        """The term of each stem that stands anywhere."""
        asked = list(dict.fromkeys(stems))
        if not asked:
            return {}
        query = f"SELECT stem, id FROM word_terms WHERE modality = ? AND stem IN ({','.join('?' * len(asked))})"
        return dict(self._connection.execute(query, (self._modality.value, *asked)).fetchall())

    def _read(self, word: str) -> Postings:
        return _postings.read(self._connection, self._numbers([word]).values())

    def _able(self, phrase: tuple[str, ...], parts: Sequence[Postings]) -> Ids:
        """Rising segments that hold all words of a phrase, or it written as one."""
        rarest, *others = sorted(parts, key=len)
        able = self._allowed_of(rarest)
        for part in others:
            able = able.at(np.isin(able.segments, part.segments))
        if len(able) > CANDIDATES:  # all its words are common: where the rarest stands out most
            able = able.at(largest(self._scores(1.0, able.entries), CANDIDATES))
        return np.union1d(able.segments, self._allowed_of(self._read(stem("".join(phrase)))).segments)

    def _counted(self, phrase: tuple[str, ...], segments: Ids) -> Postings:
        kept = []
        query = (
            "SELECT segment, forms FROM word_documents WHERE modality = ?"
            " AND segment IN (SELECT value FROM json_each(?)) ORDER BY segment"
        )
        for segment, text in self._connection.execute(query, (self._modality.value, json.dumps(segments.tolist()))):
            forms = text.split(" ")
            times = occurrences(phrase, forms)
            if times:
                kept.append((segment, times, len(forms)))
        rows = np.array(kept, np.int64).reshape(-1, 3)
        return Postings(rows[:, 0], np.minimum(rows, _postings.MOST).astype(np.uint16))


def occurrences(phrase: tuple[str, ...], forms: Sequence[str]) -> int:
    """How often a document's forms hold a phrase."""
    as_one = "".join(phrase)
    return len(phrase_places(phrase, forms)) + (forms.count(as_one) if len(phrase) > 1 else 0)


def plain(
    documents: Mapping[int, Sequence[str]], words: WordQuery, depth: int, allowed: NDArray[np.bool_] | None = None
) -> Ranking:
    """The twin of `Search.best`, by the definition: every document (segment → forms) scored for every word."""
    mean = sum(map(len, documents.values())) / max(1, len(documents))
    counts: list[tuple[float, dict[int, int]]] = []  # weight of a word, and how often each document has it
    for stems in term_stems(words.terms).values():
        held = {segment: sum(stem(form) in stems for form in forms) for segment, forms in documents.items()}
        counts.append((_plain_rarity(documents, stems), held))
    for phrase in words.phrases:
        held = {segment: occurrences(phrase, forms) for segment, forms in documents.items()}
        counts.append((sum(_plain_rarity(documents, (stem(form),)) for form in phrase), held))
    total: dict[int, float] = {}
    for weight, held in counts:
        for segment, times in held.items():
            if times and (allowed is None or allowed[segment]):
                held_back = K1 * (1 - B + B * len(documents[segment]) / mean)
                total[segment] = total.get(segment, 0.0) + weight * (K1 + 1) * times / (times + held_back)
    ranked = sorted((-np.float32(score), segment) for segment, score in total.items())[:depth]
    return Ranking(
        np.array([segment for _, segment in ranked], np.int64), np.array([-score for score, _ in ranked], np.float32)
    )


def _plain_rarity(documents: Mapping[int, Sequence[str]], stems: Sequence[str]) -> float:
    held = sum(any(stem(form) in stems for form in forms) for forms in documents.values())
    return math.log(1 + (len(documents) - held + 0.5) / (held + 0.5))


def largest(scores: NDArray[np.floating], room: int) -> Ids:
    """Places of the `room` largest scores, rising; among equals the first."""
    least = np.partition(scores, len(scores) - room)[len(scores) - room]
    above = np.flatnonzero(scores > least)
    equal = np.flatnonzero(scores == least)[: room - len(above)]
    return np.sort(np.concatenate([above, equal]))


def _ranking(segments: Ids, scores: Floats, depth: int) -> Ranking:
    if len(segments) > depth:
        kept = largest(scores, depth)
        segments, scores = segments[kept], scores[kept]
    order = np.lexsort((segments, -scores))
    return Ranking(segments[order], scores[order])
