"""The sources of a library, and what chance does in each of them.

A *source* is a space of the library, or the words of a modality.  Background sentences are asked of a sample of the
library's segments; where their scores lie and how far they scatter makes the scores of all sources comparable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from retriever.calibration import Chance, Scale
from retriever.fusion import Gate
from retriever.looking import Looking, nearest_tokens
from retriever.ports import Snapshot
from retriever.types import (
    EVERYTHING,
    Filter,
    Floats,
    Ids,
    Matrix,
    Modality,
    Ranking,
    Vector,
    WordQuery,
)

WORDED = (Modality.SPEECH, Modality.TEXT)
"""Modalities that have words."""
SAMPLED = 512
"""Segments whose chance scores are taken: their mean is then good to a twentieth of their spread."""
SAMPLED_A_MEDIA = 8
"""Of one media, spread over its length, so that one long film does not stand for a library."""
LEAST_SAMPLED = 32
"""Segments of a space that its scale needs; rarer spaces are looked for."""
ASKED = 128
"""Background sentences that are asked of the sample."""
CHANCE_WORD = 0.1
"""BM25 a word that a chance match is taken to have where chance has matched nothing yet: in a library of a few lines
even a perfect match has no more than three times that."""


@dataclass(frozen=True, slots=True)
class Source:
    """One way of finding: a space, or (with an empty `space`) the words of a modality."""

    modality: Modality
    space: str = ""


def sources(library: Snapshot) -> tuple[Source, ...]:
    """All of a library's, in a fixed order."""
    spaces = sorted((space.modality, key) for key, space in library.spaces.items())
    return tuple(Source(modality, key) for modality, key in spaces) + tuple(map(Source, WORDED))


@dataclass(frozen=True, slots=True)
class Levels:
    """What chance does, by source: on these levels the scores of all of them can be compared."""

    gate: Gate | None  # None: of every question it is known which sources it is for
    gate_side: str  # the query side that the gate reads a question from
    asks: Mapping[str, str]  # by space: which of a question's views it is asked with
    chances: Mapping[str, Chance]  # by space
    seen: Mapping[Source, Scale]
    named: Mapping[Source, Scale]

    def gates(self, views: Mapping[str, Vector], known: Sequence[Source]) -> Floats:
        """`(K,)` how likely the question, by query side, means each source, as a logarithm."""
        assert self.gate is not None
        shares = self.gate.log_shares(views[self.gate_side][None])[0]
        place = {modality: number for number, modality in enumerate(self.gate.modalities)}
        return np.array([shares[place[source.modality]] for source in known], np.float32)


def matching(
    library: Snapshot, words: WordQuery, modality: Modality, depth: int, where: Filter = EVERYTHING
) -> Ranking:
    """Segments by BM25 a word of the question: of a long question one word matches by chance, of a short one it is the
    question."""
    found = library.matching(words, modality, depth, where)
    asked = len(words.terms) + sum(map(len, words.phrases))
    return Ranking(found.segments, found.scores / np.float32(max(1, asked)))


@dataclass(frozen=True, slots=True)
class Question:
    """Background sentences as they are asked."""

    rows: Mapping[str, Matrix]  # by query side: (B, D)
    words: Sequence[WordQuery]

    def few(self) -> "Question":
        """Some of them, spread over all."""
        count = len(self.words)
        chosen = np.linspace(0, count - 1, min(ASKED, count)).round().astype(int)
        rows = {side: own[chosen] for side, own in self.rows.items()}
        return Question(rows, [self.words[number] for number in chosen])


def sides(library: Snapshot) -> tuple[str, ...]:
    """Every query side of a library, that of sentences first: it is the one that a gate reads.  An empty library has
    the empty side."""
    worded = {space.query_side for space in library.spaces.values() if space.modality in WORDED}
    every = {space.query_side for space in library.spaces.values()}
    return (*sorted(worded), *sorted(every - worded)) or ("",)


def measure(
    library: Snapshot, looking: Looking, asked: Question, chances: Mapping[str, Chance]
) -> tuple[list[Scale], list[Scale]]:
    """For each source, how segments are seen, their own chance level taken off, and how the first stage names them, by
    questions that have nothing to do with the library."""
    few, everywhere = asked.few(), sample(library)
    seen: list[Scale] = []
    named: list[Scale] = []
    for source in sources(library):
        if source.space:
            side = library.spaces[source.space].query_side
            numbers = _holders(library, source.space, everywhere, few.rows[side])
            tokens = {space: library.tokens(numbers, space) for space in looking.beside(source.space)}
            levels, _ = looking.levels(chances, tokens)[source.space]
            asks = {space: few.rows[library.spaces[space].query_side] for space in tokens}
            views = [{space: rows[number] for space, rows in asks.items()} for number in range(len(few.words))]
            scores = np.stack([looking.look(view, tokens, {})[source.space][0] for view in views])
            seen.append(Scale.of(scores - levels))
            first = looking.asked(few.rows[side], side)
            named.append(Scale.of(np.stack(nearest_tokens(first, tokens[source.space]))))
        else:
            best = np.concatenate([matching(library, words, source.modality, 1).scores for words in few.words])
            seen.append(Scale(0.0, float(np.append(best, CHANCE_WORD).mean())))
            named.append(seen[-1])
    return seen, named


def _holders(library: Snapshot, space: str, numbers: Ids, rows: Matrix) -> Ids:
    """The sampled segments, or those near to any question where hardly any of the sample has this space."""
    if np.count_nonzero(np.diff(library.tokens(numbers, space).offsets)) >= LEAST_SAMPLED:
        return numbers
    near: Ids = np.unique(np.concatenate([ranking.segments for ranking in library.nearest(rows, space, LEAST_SAMPLED)]))
    return near


def sample(library: Snapshot) -> Ids:
    """Segments that stand for a library: the same ones wherever the content is the same."""
    numbers = library.numbers()
    if len(numbers) <= SAMPLED:
        return numbers
    table = library.segments(numbers)
    media, first, counts = np.unique(table.media, return_index=True, return_counts=True)
    keys = [item.key for item in library.media_at(media)]
    chosen: list[int] = []
    for place in sorted(range(len(keys)), key=keys.__getitem__):
        steps = np.linspace(0, counts[place] - 1, min(SAMPLED_A_MEDIA, int(counts[place]))).round().astype(int)
        chosen.extend((first[place] + np.unique(steps)).tolist())
        if len(chosen) >= SAMPLED:
            break
    picked: Ids = numbers[np.array(chosen[:SAMPLED])]
    return picked
