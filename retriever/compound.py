"""A query of several terms and steps: A then B, A but not B, A seen and heard at once.

Every term is asked on its own.  The media that any of them names are looked at by all of them, and what they see
becomes curves over time; a clause is one curve, and a query in steps is placed along its clauses' curves (`steps`).

Scores are the logarithms of odds that a plain question has.  Of wanted terms a clause has the weighted mean; an
unwanted one takes away log(1 + e^x), x being how far it lies above the middle of what chance answers best: nothing
where it is absent, and as much as it is high where it is there.  A query in steps has -log Σ e^(-score) of them, a
little less than the worst; of a sentence that tells them (`Sentence.is_told`) that and, with twice the weight, the best
that the whole sentence finds in that media: `he stands up` says little by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import TypeVar

import numpy as np

from retriever.evidence import DROP, Witness
from retriever.fusion import log_sum
from retriever.grammar import Clause, Sentence
from retriever.moments import Curve
from retriever.ports import Snapshot
from retriever.scoring import Scored, Seen
from retriever.steps import LOWEST, Step, joined, score, steps
from retriever.terms import Asked, looked, named
from retriever.types import (
    Evidence,
    Filter,
    Floats,
    Ids,
    Times,
    TimeSpan,
)
from retriever.words import matched

LOOKED_AT = 40
"""Media that a query in steps looks at from end to end."""

MOST_OVER = 20
"""Answers of one media that may lie over better ones before no more are looked for."""
ROUNDING = 1e-3
"""By how much a bound is raised, since sums in another order round otherwise."""
BESIDE = 1.0
"""Seconds on both sides of what is shown that are no answer either: tokens reach over its ends."""

T = TypeVar("T", float, Floats)
WHOLE = 2 / 3
"""How much the whole of a told sentence counts beside its steps."""


def told(steps: T, whole: T) -> T:
    """The score of a sentence that tells steps, from that of the steps and that of the whole of it."""
    return (1 - WHOLE) * steps + WHOLE * whole


@dataclass(frozen=True, slots=True)
class Found:
    """One answer, not yet told."""

    media: int  # number in the snapshot
    span: TimeSpan
    score: float
    parts: tuple[TimeSpan, ...]
    evidence: tuple[Evidence, ...]
    steps: tuple[float, ...]  # how high each step is
    segments: int  # that its media has, among which the steps were found


class Compound:
    """One such query against one snapshot."""

    def __init__(
        self,
        library: Snapshot,
        sentence: Sentence,
        asked: Sequence[Asked],
        whole: Asked | None = None,
        leaving: Sequence[tuple[str, TimeSpan]] = (),
    ) -> None:
        """
        Args:
            asked: the terms of the sentence, clause by clause.
            whole: the whole of a told sentence, if it counts.
            leaving: media by key, and spans of them, that are no answer: what is shown is like itself, and so is what
                lies beside it.
        """
        self._library = library
        self._sentence = sentence
        self._asked = asked
        self._whole = whole
        self._leaving: dict[str, list[TimeSpan]] = {}
        for key, span in leaving:
            around = TimeSpan(span.start - BESIDE, span.end + BESIDE)
            self._leaving.setdefault(key, []).append(around)

    def answers(self, depth: int, where: Filter, by: str) -> Iterator[Found]:
        """All answers, the best of those that are left first; with `by="video"` one of each media.  Looking is done
        once, however many are taken."""
        numbers = self._numbers(depth, where)
        if not len(numbers):
            return
        scored = looked([*self._asked, *([self._whole] if self._whole else [])], numbers, where)
        whole = _known(scored.pop()) if self._whole else None
        table = scored[0].table
        seen = _Views(self._library, self._sentence, self._asked, scored)
        first = np.concatenate([[0], np.flatnonzero(np.diff(table.media)) + 1, [len(numbers)]])
        by_media: list[Iterator[Found]] = []
        most: list[float] = []
        media = self._library.media_at(table.media[first[:-1]])
        bounds = zip(media, first[:-1].tolist(), first[1:].tolist(), seen.most(first[:-1]), strict=True)
        for one, begin, end, bound in bounds:
            best = None if whole is None else float(whole[begin:end].max())
            most.append(bound if best is None else told(bound, best))
            by_media.append(seen.of_media(begin, end, best, self._leaving.get(one.key, [])))
        yield from _best_first(by_media, most, again=by != "video")

    def _numbers(self, depth: int, where: Filter) -> Ids:
        """The segments that are looked at, rising: those that a wanted term names, or for a query in steps all of the
        media that promise most."""
        wanted = [place for place, one in enumerate(self._asked) if not one.term.unwanted]
        found = named([self._asked[place] for place in wanted], depth, where)
        if len(self._sentence.clauses) == 1:
            return np.unique(np.concatenate([one.table.segments for one in found]))
        whole = named([self._whole], depth, where) if self._whole else []
        media = self._promising(dict(zip(wanted, found, strict=True)), whole)
        keys = frozenset(one.key for one in self._library.media_at(media)) if len(media) else frozenset()
        kept = keys & where.media if where.media else keys
        return self._library.numbers(replace(where, media=kept)) if kept else np.zeros(0, np.int64)

    def _promising(self, named: Mapping[int, Scored], whole: Sequence[Scored]) -> Ids:
        """Media by what their best segments say of each clause; what a clause does not name is as bad as the worst that
        it does."""
        every = np.unique(np.concatenate([one.table.media for one in (*named.values(), *whole)]))
        heights: list[Floats] = []
        start = 0
        for clause in self._sentence.clauses:
            ours = [named[start + place] for place in range(len(clause.terms)) if start + place in named]
            heights.append(np.mean([_best(one, every) for one in ours], axis=0))
            start += len(clause.terms)
        worth = -log_sum(-np.stack(heights), axis=0)
        for one in whole:
            worth = told(worth, _best(one, every))
        return every[np.argsort(-worth, kind="stable")[:LOOKED_AT]]


def _best_first(by_media: Sequence[Iterator[Found]], most: Sequence[float], *, again: bool) -> Iterator[Found]:
    """The best of all first.  Each media has its answers ready best first, the first no better than its `most`; it is
    asked for that one when nothing better can come from elsewhere (of all media at once where `most` is infinite), and
    for another one only when it has given one; without `again` it gives one."""
    ready: list[tuple[float, int, int, Found | None]] = []  # of equal ones first what is not known yet
    ready += [(-bound, 0, place, None) for place, bound in enumerate(most)]
    heapify(ready)
    while ready:
        _, known, place, best = heappop(ready)
        if best is not None:
            yield best
        for one in islice(by_media[place], 1) if again or not known else ():
            heappush(ready, (-one.score, 1, place, one))


def _known(whole: Scored) -> Floats:
    """What each segment has of the whole sentence."""
    return np.where(np.isfinite(whole.fused), whole.fused, np.float32(LOWEST))


def _best(one: Scored, media: Ids) -> Floats:
    """The best score of each of these media; the worst of all where it has none."""
    known = one.fused[np.isfinite(one.fused)]
    best = np.full(len(media), known.min() if len(known) else 0.0, np.float32)
    np.maximum.at(best, np.searchsorted(media, one.table.media), one.fused)
    return best


class _Views:
    """What all terms see of the same segments."""

    def __init__(
        self,
        library: Snapshot,
        sentence: Sentence,
        asked: Sequence[Asked],
        scored: Sequence[Scored],
    ) -> None:
        self._sentence = sentence
        self._terms = [one.term for one in asked]
        self._said = [str(replace(one.term, weight=1.0)) for one in asked]
        self._chances = np.array([one.chance for one in asked], np.float32)
        self._scored = [_exact(one, library, term) for one, term in zip(scored, asked, strict=True)]
        self._witnesses = [Witness(library, one, term.words) for one, term in zip(self._scored, asked, strict=True)]

    def most(self, first: Ids) -> list[float]:
        """More than the first answer of each media scores that begins with one of these rows: every wanted term as high
        as it is anywhere in it, and nothing that is not wanted."""
        wanted = np.array([not term.unwanted for term in self._terms])
        best = np.stack([np.maximum.reduceat(one.fused, first) for one in self._scored])  # (T, media)
        best[~wanted] = -np.inf
        heights: list[Floats] = []
        start = 0
        for clause in self._sentence.clauses:
            heights.append(self._mixed(clause, start, best[start : start + len(clause.terms)]))
            start += len(clause.terms)
        return [score(each) + ROUNDING for each in np.stack(heights, axis=1).tolist()]

    def of_media(self, begin: int, end: int, whole: float | None, leaving: Sequence[TimeSpan]) -> Iterator[Found]:
        """The answers of the media that has these rows, best first, outside of what it is `leaving`; `whole` is what it
        has of a told sentence.  One that is mostly over a better one, its steps on both sides of it, is none."""
        rows = np.arange(begin, end)
        every = self._curves(begin, end, leaving)
        curves = [curve.without(leaving) for curve in every]
        clauses = list(self._clauses(curves))
        taken: list[TimeSpan] = []
        given: list[TimeSpan] = []
        over = 0
        while over < MOST_OVER and (
            placed := steps(left := [curve.without(taken) for curve in clauses], self._sentence.links)
        ):
            terms = [curve.without(taken) for curve in curves]  # a segment has lost what lies in a better answer
            found = self._told(placed, left, terms, rows, every)
            taken += [found.span, *self._held(placed, rows)]
            if any(found.span.shared(span) > min(found.span.length, span.length) / 2 for span in given):
                over += 1
                continue
            given.append(found.span)
            yield found if whole is None else replace(found, score=told(found.score, whole))

    def _curves(self, begin: int, end: int, leaving: Sequence[TimeSpan]) -> list[Curve]:
        """A curve a term, all on the same edges, those of what it is `leaving` among them."""
        edges = np.array([(span.start, span.end) for span in leaving]).reshape(-1, 2)
        blind = Curve.of(edges, np.full(len(edges), -np.inf, np.float32))
        return joined([*(witness.curve(begin, end) for witness in self._witnesses), blind])[:-1]

    def _held(self, placed: Sequence[Step], rows: Ids) -> list[TimeSpan]:
        """The segments that the steps of an answer lie in: as in a plain search, what is left of them is none of its
        own."""
        spans = self._scored[0].table.spans[rows]
        at = {_row(spans, (step.start + step.end) / 2) for step in placed}
        return [TimeSpan(*spans[row].tolist()) for row in at]

    def _clauses(self, curves: Sequence[Curve]) -> Iterator[Curve]:
        """A curve a clause."""
        start = 0
        for clause in self._sentence.clauses:
            ours = curves[start : start + len(clause.terms)]
            heights = self._mixed(clause, start, np.stack([curve.heights for curve in ours]))
            yield Curve(ours[0].edges, heights)
            start += len(clause.terms)

    def _mixed(self, clause: Clause, start: int, heights: Floats) -> Floats:
        """What the terms `(T, M)` of a clause, the first of them the `start`-th of all, say together, `(M,)`."""
        wanted = np.array([not term.unwanted for term in clause.terms])
        weights = np.array([term.weight for term in clause.terms], np.float32)
        rows, shares = heights[wanted], weights[wanted]
        if clause.together:  # the two last ones, in the same second
            both = np.isfinite(rows[-2:]).all(axis=0)
            pair = np.where(both, -log_sum(-np.where(both, rows[-2:], np.float32(0)), axis=0), np.float32(-np.inf))
            rows, shares = np.concatenate([rows[:-2], pair[None]]), np.append(shares[:-2], np.float32(1))
        mean = (rows * (shares / shares.sum())[:, None]).sum(axis=0)
        chances = self._chances[start : start + len(wanted)][~wanted]
        penalty = (weights[~wanted, None] * _softly(heights[~wanted], chances)).sum(axis=0)
        return np.where(np.isfinite(mean), mean - penalty, np.float32(-np.inf)).astype(np.float32)

    def _told(
        self,
        placed: Sequence[Step],
        curves: Sequence[Curve],
        terms: Sequence[Curve],
        rows: Ids,
        every: Sequence[Curve],
    ) -> Found:
        """An answer from its steps; `curves` are those of clauses, `terms` those of terms, and `every` those of terms
        before anything was left out."""
        spans = self._scored[0].table.spans[rows]
        parts = tuple(_parts(curves, placed))
        heights: list[float] = []
        evidence: list[Evidence] = []
        start = 0
        for clause, step, part in zip(self._sentence.clauses, placed, parts, strict=True):
            row = int(rows[_row(spans, (step.start + step.end) / 2)])
            places = range(start, start + len(clause.terms))
            start += len(clause.terms)
            evidence += [one for place in places for one in self._reasons(place, row, part)]
            if len(parts) > 1:
                heights.append(step.height)
                continue
            heights.append(self._whole(clause, places, row, part, terms, every))
        span = TimeSpan(min(part.start for part in parts), max(part.end for part in parts))
        total = sum(one.share for one in evidence) or 1.0
        shared = tuple(replace(one, share=one.share / total) for one in evidence)
        media = int(self._scored[0].table.media[rows[0]])
        several = parts if len(parts) > 1 else ()
        return Found(media, span, score(heights), several, shared, tuple(heights), len(rows))

    def _whole(
        self,
        clause: Clause,
        places: Sequence[int],
        row: int,
        part: TimeSpan,
        terms: Sequence[Curve],
        every: Sequence[Curve],
    ) -> float:
        """A query of one step has its whole segment to show for what it wants, as a plain one has, less what lay where
        nothing answers; what must not be there counts where it is."""
        there: list[float] = []
        start, end = self._scored[0].table.spans[row].tolist()
        for place in places:
            if self._terms[place].unwanted:
                there.append(terms[place].highest(part.start, part.end))
            else:
                left = terms[place].highest(start, end)
                lost = every[place].highest(start, end) - left if np.isfinite(left) else 0.0
                there.append(float(self._scored[place].fused[row]) - lost)
        return float(self._mixed(clause, places[0], np.array(there, np.float32)[:, None])[0])

    def _reasons(self, place: int, row: int, part: TimeSpan) -> list[Evidence]:
        if self._terms[place].unwanted:
            return []
        return [replace(one, asked=self._said[place]) for one in self._witnesses[place].reasons(row, part)]


def _row(spans: Times, second: float) -> int:
    """The segment `(S, 2)` that holds a second, or the nearest one."""
    inside = np.flatnonzero((spans[:, 0] <= second) & (second < spans[:, 1]))
    if len(inside):
        return int(inside[0])
    return int(np.argmin(np.abs(spans.mean(axis=1) - second)))


def _parts(curves: Sequence[Curve], placed: Sequence[Step]) -> Iterator[TimeSpan]:
    """The stretch of each step around its peak; none reaches into a neighbour that is another time."""
    for place, (curve, step) in enumerate(zip(curves, placed, strict=True)):
        first, last = curve.around(step.start, step.end, DROP) or (step.start, step.end)
        for before in placed[:place]:
            first = max(first, before.end) if before.end <= step.start else first
        for behind in placed[place + 1 :]:
            last = min(last, behind.start) if behind.start >= step.end else last
        yield TimeSpan(first, last)


def _softly(heights: Floats, chances: Floats) -> Floats:
    """log(1 + e^x) of how far each `(T, M)` lies above what chance `(T,)` answers best; nothing where nothing is
    known."""
    above = np.where(np.isfinite(heights), heights - chances[:, None], np.float32(-np.inf))
    softly: Floats = np.logaddexp(np.float32(0), above)
    return softly


def _exact(one: Scored, library: Snapshot, asked: Asked) -> Scored:
    """Where the words are to be there, word for word, a segment without them is no answer."""
    term = asked.term
    if not term.exact:
        return one
    lines = library.lines(one.table.segments)
    there = np.array(
        [
            any(line.modality is term.modality and matched(asked.words, line.text, line.modality) for line in each)
            for each in lines
        ],
        bool,
    )
    blind = {space: Seen(seen.tokens, np.full_like(seen.heights, -np.inf)) for space, seen in one.seen.items()}
    scores = np.where(there, one.scores, np.float32(-np.inf))
    return replace(one, fused=np.where(there, one.fused, np.float32(-np.inf)), scores=scores, seen=blind)
