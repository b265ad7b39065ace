"""What is derived from a library before it can be asked: what chance does in it, in each of its sources and at the end.

    calibrator = Calibrator(encode, looking, cache)
    known = calibrator.of(library)                    # levels of all sources, and the tail of plain questions
    tail = calibrator.tail(library, known, sentence)  # of queries that hang together as this one does

All of it follows from what is committed and from who looks at it, never from what was asked before; it is worked out
when it is first wanted, and then kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from threading import Lock

import numpy as np

from retriever.calibration import Background, Chance, Scale, Tail, background
from retriever.compound import Compound, Found, terms_of
from retriever.derived import Arrays, kept
from retriever.fusion import Gate
from retriever.grammar import Clause, Sentence, Term
from retriever.levels import Levels, Question, measure, sides, sources
from retriever.looking import Looking
from retriever.ports import EncodeSentences, Snapshot
from retriever.scoring import Scorer
from retriever.types import EVERYTHING, Filter, Matrix, Modality
from retriever.words import query_words

REVISION = 1
"""Of how a library is calibrated; another one makes what is kept worthless."""
KEPT = 2
"""Calibrations that are held; each belongs to one generation of the library."""
BACKGROUND_DEPTH = 200
"""Candidates for a background sentence.  Only the best score is wanted, and 20 find the same one; but in a small
library 200 are all there is, which is quickest."""
DRAWN = 96
"""Queries of a shape that are put together of background sentences: enough to show what one in ten reaches."""
NOTHING = -30.0
"""The score of a query that found nothing at all."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is derived from one generation of a library."""

    levels: Levels
    tail: Tail
    segments: int  # of the whole library
    rows: Mapping[str, Matrix]  # the background by query side, (B, D)

    def step(self, found: Found) -> float:
        """How sure the least sure step is: the chance that a sentence without an answer does no better in that media.
        Where all others are there beyond doubt, a step that is not must not pass because chance finds few of them all;
        1 where there is but one."""
        if not found.parts:
            return 1.0
        share = found.segments / max(1, self.segments)
        return float(self.tail.confidences(np.array(found.steps, np.float32), share).min())

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
        self._tails: dict[tuple[str, str], Tail] = {}
        self._at_work = Lock()  # of several threads one does the work

    def of(self, library: Snapshot) -> Calibration:
        """Of this generation."""
        with self._at_work:
            if library.generation not in self._held:
                self._looking.check(library)
                made = self._made(library)
                self._held = dict([*list(self._held.items())[1 - KEPT :], (library.generation, made)])
                self._tails = {key: tail for key, tail in self._tails.items() if key[0] in self._held}
            return self._held[library.generation]

    def tail(self, library: Snapshot, known: Calibration, sentence: Sentence) -> Tail:
        """How good the best answers are to queries of the same shape that have no answer: background sentences in the
        place of its terms, at the end of the same path."""
        shape = shape_of(sentence)
        with self._at_work:
            key = library.generation, str(shape)
            if key not in self._tails:
                name = f"shape-{sha256(str(shape).encode()).hexdigest()[:8]}"
                full = f"{self._key} {' '.join(sides(library))} {library.generation} {self._looking.key} {shape}"
                best = kept(self._cache, name, full, lambda: {"best": self._by_chance(library, known, shape)})["best"]
                self._tails[key] = Tail.of(best)
            return self._tails[key]

    def _made(self, library: Snapshot) -> Calibration:
        """Ask the background sentences: what chance does in each source, and how good the best answer to each second
        one of them is (several hundred are enough for a tail, and this takes most of the time)."""
        asked = background()
        known, asks = sources(library), sides(library)
        rows = {side: self._rows(asked, side) for side in asks}
        question = Question(rows, [query_words(sentence) for sentence in asked.sentences])
        gate, chance = Gate.fit(rows[asks[0]], asked.modalities), {side: Chance.of(own) for side, own in rows.items()}
        chances = {space: chance[one.query_side] for space, one in library.spaces.items()}

        def levels(seen: Sequence[Scale], named: Sequence[Scale]) -> Levels:
            by_source = (dict(zip(known, each, strict=True)) for each in (seen, named))
            return Levels(gate, asks[0], chances, *by_source)

        def make() -> Arrays:
            seen, named = measure(library, self._looking, question, chances)
            half = {side: own[::2] for side, own in rows.items()}
            scorer = Scorer(library, self._looking, levels(seen, named))
            scored = scorer.score(half, question.words[::2], BACKGROUND_DEPTH)
            best = np.array([float(one.fused.max()) for one in scored if len(one)], np.float32)
            scales = np.array([[(scale.middle, scale.spread) for scale in each] for each in (seen, named)])  # (2, K, 2)
            return {"scales": scales, "best": best, "segments": np.array(len(library.numbers()))}

        full = f"{self._key} {' '.join(asks)} {library.generation} {self._looking.key}"
        made = kept(self._cache, "calibration", full, make)
        seen, named = ([Scale(*scale) for scale in each.tolist()] for each in made["scales"])
        return Calibration(levels(seen, named), Tail.of(made["best"]), int(made["segments"]), rows)

    def _rows(self, asked: Background, side: str) -> Matrix:
        key = f"{self._key} {side}"
        return kept(self._cache, "background", key, lambda: {"rows": self._encode(asked.sentences, side)})["rows"]

    def _by_chance(self, library: Snapshot, known: Calibration, shape: Sentence) -> Matrix:
        """The best score of each query that is drawn, `(DRAWN,)`."""
        scorer = Scorer(library, self._looking, known.levels)
        draw = np.random.default_rng(int.from_bytes(sha256(str(shape).encode()).digest()[:8], "big"))
        best = np.full(DRAWN, NOTHING, np.float32)
        for number in range(DRAWN):
            drawn = [_drawn(term.modality, draw) for term in terms_of(shape)]
            views = {side: rows[drawn] for side, rows in known.rows.items()}
            query = _filled(shape, [background().sentences[place] for place in drawn])
            compound = Compound(library, scorer, query, views, known.tail.middle)
            found = compound.found(BACKGROUND_DEPTH, EVERYTHING, "video", 1)
            if found:
                best[number] = max(NOTHING, found[0].score)
        return best


def shape_of(sentence: Sentence) -> Sentence:
    """How a query hangs together, whatever it asks for: its wanted terms, what each of them is to be, and their order.
    Weights, limits and unwanted terms change little of what chance finds."""
    clauses = [
        Clause(
            tuple(Term("…", term.modality) for term in clause.terms if not term.unwanted),
            clause.together,
        )
        for clause in sentence.clauses
    ]
    links = tuple(type(link)(link.relation) for link in sentence.links)
    return Sentence(tuple(clauses), links)


def _filled(shape: Sentence, sentences: Sequence[str]) -> Sentence:
    """The shape with these sentences in the place of its terms."""
    left = iter(sentences)
    clauses = tuple(
        replace(clause, terms=tuple(replace(term, said=next(left)) for term in clause.terms))
        for clause in shape.clauses
    )
    return replace(shape, clauses=clauses)


def _drawn(modality: Modality | None, draw: np.random.Generator) -> int:
    """A background sentence; of what is to be heard, one about something heard."""
    meant = [place for place, one in enumerate(background().modalities) if modality in (None, one)]
    return int(draw.choice(meant))
