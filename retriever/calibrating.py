"""What is derived from a library before it can be asked: what chance does in it, in each of its sources and at the end.

    calibrator = Calibrator(encode, looking, cache)
    known = calibrator.of(library)                    # levels of all sources, and the tail of plain questions
    levels = calibrator.shown(library, known)         # levels of what is shown and not said
    tail = calibrator.tail(library, known, sentence, only)  # of queries that hang together as this one does

All of it follows from what is committed and from who looks at it, never from what was asked before; it is worked out
when it is first wanted, and then kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np

from retriever import alike
from retriever.calibration import Background, Chance, Scale, Tail, background
from retriever.compound import Found, told
from retriever.derived import Arrays, kept
from retriever.doubt import Doubt, of_place
from retriever.fusion import Gate, log_sum
from retriever.grammar import Clause, Sentence
from retriever.levels import Levels, Question, measure, sides, sources
from retriever.looking import Looking
from retriever.ports import EncodeSentences, Snapshot
from retriever.recent import Recent
from retriever.scoring import BestTokens, Only, Scored, Scorer
from retriever.types import EVERYTHING, Filter, Floats, Matrix, WordQuery
from retriever.words import query_words

REVISION = 3
"""Of how a library is calibrated; another one makes what is kept worthless."""
KEPT = 2
"""Calibrations that are held; each belongs to one generation of the library."""
TAILS = 256
"""Tails that are held, a few KB each; weights are among what makes a shape, and people type them as they like."""
BACKGROUND_DEPTH = 200
"""Candidates for a background sentence.  Only the best score is wanted, and 20 find the same one; but in a small
library 200 are all there is, which is quickest."""
ASKED = 96
"""Background sentences that are asked for the sake of other shapes than the plain one."""
DRAWN = 512
"""Queries of a shape that are put together of them."""
NOTHING = -30.0
"""The score of a query that found nothing at all."""


V = TypeVar("V")
Kept = Recent[tuple[str, bool, str], V]
"""By the generation of a calibration, whether that was lent to another state, which it was worked out on, and what."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is derived from one generation of a library."""

    generation: str
    levels: Levels
    tail: Tail
    segments: int  # of the whole library
    rows: Mapping[str, Matrix]  # the background by query side, (B, D)
    doubt: Doubt
    sure: Tail  # of plain questions, less what speaks against their answers

    def step(self, found: Found, tails: Sequence[Tail]) -> float:
        """How sure the least sure step is: the chance that a step like it without an answer, of which `tails` has a
        tail each, does no better in that media.  Where all others are there beyond doubt, a step that is not must not
        pass because chance finds few of them all; 1 where there is but one."""
        if not found.parts:
            return 1.0
        share = found.segments / max(1, self.segments)
        heights = np.array(found.steps, np.float32)[:, None]
        return min(float(tail.confidences(one, share)[0]) for tail, one in zip(tails, heights, strict=True))

    def part(self, library: Snapshot, where: Filter) -> float:
        """The share of the library that may answer."""
        return len(library.numbers(where)) / max(1, self.segments) if where.asks else 1.0


class Calibrator:
    """Calibrates libraries for one way of asking and looking; several threads may ask."""

    def __init__(self, encode: EncodeSentences, looking: Looking, cache: Path | None = None, asks: str = "") -> None:
        """`cache` and `asks` are as a `Searcher` has them."""
        self._encode = encode
        self._looking = looking
        self._cache = cache
        self._key = f"{REVISION} {background().digest}{asks and f' {asks}'}"
        self._held: dict[str, Calibration] = {}
        self._shown: Kept[Levels] = Recent(2 * KEPT)
        self._tails: Kept[Tail] = Recent(TAILS)
        self._at_work = Lock()  # of several threads one does the work

    def of(self, library: Snapshot) -> Calibration:
        """Of this generation."""
        with self._at_work:
            if library.generation not in self._held:
                self._hold(self.made(library))
            return self._held[library.generation]

    def knows(self, generation: str) -> bool:
        """Whether what is known is of this state, and will be the same for whoever asks next."""
        return generation in self._held

    def _hold(self, made: Calibration) -> None:
        self._held = dict([*list(self._held.items())[1 - KEPT :], (made.generation, made)])

    def shown(self, library: Snapshot, known: Calibration) -> Levels:
        """The levels of what is `known`, for examples."""

        def make() -> Levels:
            plain = self._looking.plain
            full = f"{REVISION} {library.generation} {plain.key}"
            made = kept(self._cache, "alike", full, lambda: alike.measure(library, plain))
            return alike.levels(library, known.levels, made)

        with self._at_work:
            return _worked_out(self._shown, library, known, "", make)

    def tail(self, library: Snapshot, known: Calibration, sentence: Sentence, only: Sequence[Only]) -> Tail:
        """How good the best answers are to queries of the same shape that have no answer: background sentences in the
        place of its wanted terms, and where something is shown, moments of the library that are asked of all other
        media.  `only` says which sources each of its terms is for.

        Each sentence is asked by itself, once for all shapes, and what it finds best in each media stands for it;
        sentences are then drawn and put together as the terms are.  When in a media they answer is left aside, so
        chance is taken to find an order, or the same second, as often as both: a query is rather too unsure than too
        sure.
        """
        shape = _shape(sentence, only)
        levels = self.shown(library, known) if any(isinstance(one, frozenset) for one in only) else known.levels
        told = [[_name(one) for one in clause] for clause in shape]
        weights = [_weights(clause).tolist() for clause in sentence.clauses]
        what = f"{told} {weights} {[clause.together for clause in sentence.clauses]} {sentence.is_told}"

        def make() -> Tail:
            every = {one for clause in shape for one in clause} | ({None} if sentence.is_told else set())
            by_chance = {one: self._by_media(library, known, levels, one) for one in every}
            return Tail.of(_best(sentence, shape, by_chance))

        with self._at_work:
            return _worked_out(self._tails, library, known, what, make)

    def _by_media(self, library: Snapshot, known: Calibration, levels: Levels, only: Only) -> "_Answers":
        name, cache = f"chance-{_name(only)}", self._cache
        if known.generation != library.generation:  # lent: what comes of both is nothing to keep
            cache = None
        full = f"{self._key} {' '.join(sides(library))} {library.generation} {self._looking.key} {name}"
        if isinstance(only, frozenset):
            made = kept(cache, "chance-shown", full, lambda: self._shown_to(library, levels, only))
        else:
            made = kept(cache, name, full, lambda: self._asked(library, known, only))
        return _Answers(made["keys"].tolist(), made["best"], made["worst"])

    def _shown_to(self, library: Snapshot, levels: Levels, spaces: frozenset[str]) -> Arrays:
        scorer = BestTokens(library, self._looking.plain, levels)
        moments = alike.background(library, spaces, ASKED)
        nothing = WordQuery(())
        alone = len(set(moments.keys)) < 2
        scored: list[Scored] = []
        for number, own in enumerate(moments.views):
            views = {space: row[None] for space, row in alike.laid(own, library).items()}
            where = moments.others(number, alone)
            (one,) = scorer.score(views, [nothing], BACKGROUND_DEPTH, where, [frozenset(own)])
            itself = one.table.segments == moments.segments[number]
            fused = np.where(itself, np.float32(-np.inf), one.fused)
            if np.isfinite(fused).any():  # else there was nothing that it could be compared with
                scored.append(replace(one, fused=fused))
        return _laid(library, scored)

    def _asked(self, library: Snapshot, known: Calibration, only: Only) -> Arrays:
        asked = background()
        meant = [place for place, one in enumerate(asked.modalities) if only in (None, one)]
        chosen = [meant[place] for place in np.linspace(0, len(meant) - 1, min(ASKED, len(meant))).round().astype(int)]
        views = {side: rows[chosen] for side, rows in known.rows.items()}
        words = [query_words(asked.sentences[place]) for place in chosen]
        scorer = BestTokens(library, self._looking, known.levels)
        return _laid(library, list(scorer.score(views, words, BACKGROUND_DEPTH, EVERYTHING, [only] * len(chosen))))

    def made(self, library: Snapshot) -> Calibration:
        """Ask the background sentences: what chance does in each source, and how good the best answer to each second
        one of them is (several hundred are enough for a tail, and this takes most of the time)."""
        self._looking.check(library)
        asked = background()
        known, asks = sources(library), sides(library)
        rows = {side: self._rows(asked, side) for side in asks}
        question = Question(rows, [query_words(sentence) for sentence in asked.sentences])
        gate, chance = Gate.fit(rows[asks[0]], asked.modalities), {side: Chance.of(own) for side, own in rows.items()}
        asking = {space: one.query_side for space, one in library.spaces.items()}
        chances = {space: chance[side] for space, side in asking.items()}

        doubt = Doubt.of(rows[asks[0]])

        def levels(seen: Sequence[Scale], named: Sequence[Scale]) -> Levels:
            by_source = (dict(zip(known, each, strict=True)) for each in (seen, named))
            return Levels(gate, asks[0], asking, chances, *by_source)

        def make() -> Arrays:
            seen, named = measure(library, self._looking, question, chances)
            half = {side: own[::2] for side, own in rows.items()}
            scorer = Scorer(library, self._looking, levels(seen, named))
            scored = scorer.score(half, question.words[::2], BACKGROUND_DEPTH)
            found = [_best_of(one, own) for one, own in zip(scored, doubt.own[::2].tolist(), strict=True) if len(one)]
            best, sure = np.array(found, np.float32).reshape(-1, 2).T
            scales = np.array([[(scale.middle, scale.spread) for scale in each] for each in (seen, named)])  # (2, K, 2)
            return {"scales": scales, "best": best, "sure": sure, "segments": np.array(len(library.numbers()))}

        full = f"{self._key} {' '.join(asks)} {library.generation} {self._looking.key}"
        made = kept(self._cache, "calibration", full, make)
        seen, named = ([Scale(*scale) for scale in each.tolist()] for each in made["scales"])
        best, sure = Tail.of(made["best"]), Tail.of(made["sure"])
        return Calibration(library.generation, levels(seen, named), best, int(made["segments"]), rows, doubt, sure)

    def _rows(self, asked: Background, side: str) -> Matrix:
        key = f"{self._key} {side}"
        return kept(self._cache, "background", key, lambda: {"rows": self._encode(asked.sentences, side)})["rows"]


def _worked_out(held: Kept[V], library: Snapshot, known: Calibration, what: str, make: Callable[[], V]) -> V:
    """What is held of it, else made.  While what is `known` is lent, what was worked out with it on its own state, or
    on another that it was lent to, is lent as well; what was is never taken for its own."""
    lent = known.generation != library.generation
    for other in (False, True) if lent else (False,):
        if (found := held.get((known.generation, other, what))) is not None:
            return found
    made = make()
    held.put((known.generation, lent, what), made)
    return made


def _best_of(one: Scored, doubt: float) -> tuple[float, float]:
    """The score of the best answer to a question, and what is left of it."""
    best = int(one.fused.argmax())
    score = float(one.fused[best])
    return score, score - doubt - float(of_place(one, [best])[0])


def _name(only: Only) -> str:
    return " ".join(sorted(only)) if isinstance(only, frozenset) else only or "any"


def _shape(sentence: Sentence, only: Sequence[Only]) -> list[list[Only]]:
    """Of each clause which sources its wanted terms are for."""
    left = iter(only)
    told = [list(zip(clause.terms, islice(left, len(clause.terms)), strict=True)) for clause in sentence.clauses]
    return [[one for term, one in clause if not term.unwanted] for clause in told]


def _laid(library: Snapshot, scored: Sequence[Scored]) -> Arrays:
    """The best score of each of the background in each media, as `_Answers` have them."""
    media = np.unique(np.concatenate([one.table.media for one in scored])) if scored else np.zeros(0, np.int64)
    worst = np.array([one.fused[np.isfinite(one.fused)].min(initial=-NOTHING) for one in scored], np.float32)
    worst[worst == -NOTHING] = NOTHING
    best = np.repeat(worst[:, None], len(media), axis=1)
    for row, one in zip(best, scored, strict=True):
        np.maximum.at(row, np.searchsorted(media, one.table.media), one.fused)
    return {"keys": np.array([item.key for item in library.media_at(media)], str), "best": best, "worst": worst}


@dataclass(frozen=True, slots=True)
class _Answers:
    """What each of the background finds best in each media that any of it names; the worst that one finds stands for
    the media that it does not name."""

    keys: list[str]  # M
    best: Matrix  # (B, M)
    worst: Floats  # (B,)

    def drawn(self, keys: list[str], draw: np.random.Generator) -> Matrix:
        """Of `DRAWN` sentences, in these media."""
        chosen = draw.integers(len(self.worst), size=DRAWN)
        laid = np.repeat(self.worst[chosen, None], len(keys), axis=1)
        laid[:, np.searchsorted(keys, self.keys)] = self.best[chosen]
        return laid


def _weights(clause: Clause) -> Floats:
    """How much each wanted term of a clause counts, as `Compound` has it: a pair that is to come together is one."""
    weights = [term.weight for term in clause.terms if not term.unwanted]
    return np.array([*weights[:-2], 1.0] if clause.together else weights, np.float32)


def _best(sentence: Sentence, shape: Sequence[Sequence[Only]], by_chance: Mapping[Only, _Answers]) -> Floats:
    """The best score of each query that is drawn, `(DRAWN,)`, put together as `Compound` does it."""
    draw = np.random.default_rng(DRAWN)
    keys = sorted({key for answers in by_chance.values() for key in answers.keys})
    if not all(len(answers.worst) for answers in by_chance.values()):
        return np.zeros(0, np.float32)  # nothing here that could be shown: nothing is known of chance
    if not keys:
        return np.full(DRAWN, NOTHING, np.float32)
    clauses: list[Floats] = []
    for clause, wanted in zip(sentence.clauses, shape, strict=True):
        terms = [by_chance[one].drawn(keys, draw) for one in wanted]
        if clause.together:
            terms = [*terms[:-2], -log_sum(-np.stack(terms[-2:]), axis=0)]
        clauses.append(np.average(terms, axis=0, weights=_weights(clause)).astype(np.float32))
    together: Floats = -log_sum(-np.stack(clauses), axis=0)
    if sentence.is_told:
        together = told(together, by_chance[None].drawn(keys, draw))
    best: Floats = together.max(axis=1)
    return best
