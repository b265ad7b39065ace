"""The meeting point of a moment head: a library and lines of captions become what it is trained on.

Captions are asked as search asks them, each of its own media and of some that it is not true of: half of them those
that search takes for it most readily, half drawn.  What stands around the best candidate of each is what a head sees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from api import training
from api.training import Caption, named_groups
from retriever.errors import ManifestError, TrainingError
from retriever.evidence import Witness
from retriever.ports import Snapshot
from retriever.scoring import Scored, Scorer
from retriever.search import Searcher
from retriever.training.moments import Question, Sight
from retriever.types import Filter, Ids, Matrix, Media, MediaKind, WordQuery
from retriever.words import asked_words

OTHERS = 8
"""Media that each caption is held against."""
REACH = 120.0
"""Seconds on each side of the peak that are kept of each of them: a film of hours is not wanted to be joined whole."""
DEPTH = 200
"""Segments among which the nearest of them are looked for."""


@dataclass(frozen=True)
class Told:
    """What the captions of a manifest find."""

    questions: list[Question]
    unknown: tuple[str, ...]  # media that the library does not have, with their lines
    timeless: tuple[str, ...]  # pictures, and media in which search has nothing to look at
    outside: tuple[str, ...]  # spans that lie outside of their media


def told(searcher: Searcher, manifest: Path, seed: int) -> Told:
    """
    Raises:
        ManifestError: a line is wrong, or not one names a media of the library.
        TrainingError: nothing that has a time.
    """
    lines = training.captions(manifest)
    with searcher.store.snapshot() as library:
        named = training.Named(list(library.media()), manifest.parent)
        known = [(line, media) for line in lines if (media := named(line.media))]
        if not known:
            raise ManifestError(
                f"{manifest} names no media of this library (line {lines[0].line}: {lines[0].media}): "
                "`reelseek media` lists what is there"
            )
        groups = _groups(manifest, known)
        still = [(line, media) for line, media in known if media.kind is MediaKind.IMAGE]
        outside = [(line, media) for line, media in known if line.span and line.span.start >= media.duration]
        left = [pair for pair in known if pair not in still and pair not in outside]
        asked = _Asked(searcher, library, left, groups, seed)
        found = [(line, asked.question(number)) for number, (line, _) in enumerate(left)]
    questions = [one for _, one in found if one is not None]
    if not questions:
        raise TrainingError(f"no media that {manifest} names has a time in which something can be found")
    blind = [f"{line.media} (line {line.line})" for line, one in found if one is None]
    return Told(
        questions,
        tuple(f"{line.media} (line {line.line})" for line in lines if named(line.media) is None),
        (*(f"{line.media} (line {line.line})" for line, _ in still), *blind),
        tuple(f"{line.media} (line {line.line})" for line, _ in outside),
    )


def _groups(manifest: Path, known: Sequence[tuple[Caption, Media]]) -> dict[str, int]:
    """A number for what must not be parted, by key of the media."""
    named = named_groups(manifest, known)
    numbers: dict[str, int] = {}
    by_key = {media.key: f"group {named[media.key]}" if media.key in named else media.key for _, media in known}
    return {key: numbers.setdefault(group, len(numbers)) for key, group in by_key.items()}


class _Asked:
    """The captions, asked one by one."""

    def __init__(
        self,
        searcher: Searcher,
        library: Snapshot,
        captions: Sequence[tuple[Caption, Media]],
        groups: Mapping[str, int],
        seed: int,
    ) -> None:
        self._library, self._captions, self._groups = library, captions, groups
        self._scorer = Scorer(library, searcher.looking, searcher.calibrator.of(library).levels)
        self._views = searcher.views(library, [line.text for line, _ in captions]) if captions else {}
        self._words = [asked_words(line.text, ()) for line, _ in captions]
        self._media = {media.key: media for _, media in captions}
        self._said: dict[str, set[str]] = {}
        for line, media in captions:
            self._said.setdefault(line.text.lower(), set()).add(media.key)
        self._draw = np.random.default_rng([seed, 4])

    def question(self, number: int) -> Question | None:
        """None where search has nothing to look at in the caption's own media."""
        line, media = self._captions[number]
        views = {side: rows[number : number + 1] for side, rows in self._views.items()}
        words = self._words[number]
        keys = [media.key, *self._others(views, words, line, media)]
        numbers = self._library.numbers(Filter(media=frozenset(keys)))
        (scored,) = self._scorer.look(views, [words], numbers)
        witness = Witness(self._library, scored, words)
        place = {one.key: int(at) for at, one in self._at(scored)}
        reaches = [np.inf, *[REACH] * (len(keys) - 1)]
        sights = [
            self._sight(scored, witness, place[key], key, reach) if key in place else None
            for key, reach in zip(keys, reaches, strict=True)
        ]
        if sights[0] is None:
            return None
        others = tuple(sight for sight in sights[1:] if sight is not None)
        return Question(sights[0], others, line.span, witness.rest, witness.shares)

    def _at(self, scored: Scored) -> list[tuple[int, Media]]:
        """The numbers of the media of these candidates, and what they are."""
        numbers: Ids = np.unique(scored.table.media)
        return list(zip(numbers.tolist(), self._library.media_at(numbers), strict=True))

    def _sight(self, scored: Scored, witness: Witness, media: int, key: str, reach: float) -> Sight | None:
        rows = np.flatnonzero((scored.table.media == media) & np.isfinite(scored.fused))
        if not len(rows):
            return None
        found = witness.track(int(rows[np.argmax(scored.fused[rows])]), reach)
        return Sight(*found, self._groups[key]) if found else None

    def _others(self, views: Mapping[str, Matrix], words: WordQuery, line: Caption, media: Media) -> list[str]:
        """Media that the caption is not true of, as far as the manifest says: the nearest, and some that are drawn."""
        true = self._said[line.text.lower()]
        allowed = [key for key in self._media if self._groups[key] != self._groups[media.key] and key not in true]
        if not allowed:
            return []
        (scored,) = self._scorer.score(views, [words], DEPTH, Filter(media=frozenset(allowed)))
        best = {one.key: float(scored.fused[scored.table.media == at].max()) for at, one in self._at(scored)}
        nearest = sorted(best, key=lambda key: (-best[key], key))[: OTHERS // 2]
        rest = [key for key in allowed if key not in nearest]
        drawn = self._draw.permutation(len(rest))[: OTHERS - len(nearest)].tolist()
        return [*nearest, *(rest[at] for at in drawn)]
