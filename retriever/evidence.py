"""Why a segment answers, and when: its tokens become a span in time, and what people are shown as the reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from retriever import kernels, tracks, windows
from retriever.moments import Curve, streets
from retriever.ports import Snapshot
from retriever.scoring import Scored
from retriever.tracks import Track
from retriever.types import Evidence, Floats, Ids, Label, Line, Modality, Times, TimeSpan, WordQuery
from retriever.words import matched

if TYPE_CHECKING:
    from retriever.spanning import MomentHead

DROP = 1.0
"""How far below its peak something still goes on, in the unit of the odds: a factor e.  0.75 to 1.5 measured alike."""
GAP = 0.5
"""Seconds between two segments that are still neighbours: cuts do not fall into a gap on purpose."""
LEAST_SHARE = 0.01
"""Modalities that counted for less are not named."""
SEEN = (tracks.REACH + 0.5) * windows.STEP
"""Seconds on each side of a peak that a moment head sees."""
SHOWN = 3
"""Spans of one modality that are shown."""
TOGETHER = 256
"""Candidates whose lines are read at once, so that a catalog far away is asked once; of more those that are needed."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A line that holds words of the question."""

    line: Line
    words: tuple[str, ...]
    height: float  # on the scale of the odds


@dataclass(frozen=True, slots=True)
class Stretch:
    """A candidate with the span that was made of it, and what was looked at for it."""

    row: int  # the candidate
    span: TimeSpan
    score: float  # the candidate's, less what lay in a better moment
    tokens: dict[str, slice]  # by space, those of the candidate and of all that stand beside it
    hits: tuple[Hit, ...]


class Witness:
    """Spans and reasons for the candidates of one question."""

    def __init__(self, library: Snapshot, scored: Scored, words: WordQuery, head: "MomentHead | None" = None) -> None:
        """`head`, if there is one, places the spans of answers."""
        self._head = head
        self._library = library
        self._scored = scored
        self._words = words
        self._kept: tuple[int, tuple[dict[str, slice], tuple[Hit, ...], Curve]] | None = None
        self._streets = streets(scored.table.media, scored.table.spans, GAP)
        self._worded = {source.modality: k for k, source in enumerate(scored.sources) if not source.space}
        self._odds = scored.scores + scored.gates[:, None]  # (K, S)
        self._read = np.isfinite(self._odds[list(self._worded.values())]).any(axis=0)  # (S,) words were found there

    def stretch(self, row: int, taken: Sequence[TimeSpan] = ()) -> Stretch | None:
        """The moment around a candidate's peak: shorter than its segment, or over several that stand side by side.
        It keeps out of what is `taken`, and loses the score that lay there; None if nothing is left."""
        start, end = self._scored.table.spans[row].tolist()
        tokens, hits, whole = self._looked(row)
        left = whole.without(taken)
        lost = whole.highest(start, end) - left.highest(start, end) if taken else 0.0
        found = self._placed(row, left, tokens, hits)
        span = found and _clear(*found, taken)
        return Stretch(row, span, float(self._scored.fused[row]) - lost, tokens, hits) if span else None

    def _street(self, row: int) -> tuple[int, int]:
        """The candidates that stand side by side with this one, `[first, last)`."""
        place = np.searchsorted(self._streets, row, side="right")
        first, last = self._streets[place - 1 : place + 1].tolist()
        return first, last

    def _looked(self, row: int) -> tuple[dict[str, slice], tuple[Hit, ...], Curve]:
        """What there is of a candidate and of all that stand beside it; of a long film many are asked for, one after
        the other, so the last is kept."""
        first, last = self._street(row)
        if self._kept is None or self._kept[0] != first:
            tokens, hits = self._held(first, last)
            self._kept = first, (tokens, hits, Curve.of(*self._heights(tokens, hits)))
        return self._kept[1]

    def _placed(
        self, row: int, left: Curve, tokens: dict[str, slice], hits: Sequence[Hit]
    ) -> tuple[float, float] | None:
        """Where the moment of a candidate begins and ends, on what is `left` of the curve."""
        start, end = self._scored.table.spans[row].tolist()
        if self._head is None:
            first, last = self._street(row)
            borders = kernels.rising(self._scored.table.spans[first:last])
            return windows.moment(left, start, end, self.rest, borders)
        found = self._track(row, left, tokens, hits)
        return found and self._head.place(*found, self.rest, self.shares)

    @property
    def rest(self) -> float:
        """What a token that has nothing to do with the question is as high as, on average: chance is 0, less what
        the modality that is most likely asked about loses by its gate."""
        known = self._scored.gates[np.isfinite(self._scored.gates)]
        return float(known.max()) if len(known) else 0.0

    @property
    def shares(self) -> Floats:
        """`(4,)` how likely the question asks about each modality, as a logarithm; -inf for none of the sources."""
        found = np.full(len(Modality), -np.inf, np.float32)
        for source, gate in zip(self._scored.sources, self._scored.gates, strict=True):
            place = list(Modality).index(source.modality)
            found[place] = max(found[place], gate)
        return found

    def track(self, row: int, reach: float = np.inf) -> tuple[Track, int] | None:
        """What a moment head looks at for a candidate, `reach` seconds on each side of its peak, and the cell of that;
        None where nothing was looked at."""
        tokens, hits, whole = self._looked(row)
        return self._track(row, whole, tokens, hits, reach)

    def _track(
        self,
        row: int,
        left: Curve,
        tokens: dict[str, slice],
        hits: Sequence[Hit],
        reach: float = SEEN,
    ) -> tuple[Track, int] | None:
        peak = left.peak(*self._scored.table.spans[row].tolist())
        if peak is None:
            return None
        start, end = windows.known_around(left, peak, reach)
        first, last = self._street(row)
        modality = {source.space: source.modality for source in self._scored.sources if source.space}
        seen = [(modality[space], self._scored.seen[space], at) for space, at in tokens.items()]
        heights = [(kind, one.tokens.spans[at], one.heights[at]) for kind, one, at in seen]
        rows = [(kind, one.tokens.spans[at], one.tokens.rows[at]) for kind, one, at in seen]
        borders = kernels.rising(self._scored.table.spans[first:last])
        made = Track.of(start, end, [*heights, *_lines(hits)], rows, borders)
        return made, made.cell(peak)

    def curve(self, first: int, last: int) -> Curve:
        """What the candidates from `first` to before `last`, of one media, say over time."""
        return Curve.of(*self._heights(*self._held(first, last)))

    def _held(self, first: int, last: int) -> tuple[dict[str, slice], tuple[Hit, ...]]:
        """The tokens by space, and the lines, of neighbouring candidates."""
        tokens = {
            space: slice(*seen.tokens.offsets[[first, last]].tolist()) for space, seen in self._scored.seen.items()
        }
        return tokens, tuple(self._hits(first + np.flatnonzero(self._read[first:last])))

    def _heights(self, tokens: dict[str, slice], hits: Sequence[Hit]) -> tuple[Times, Floats]:
        seen = [(self._scored.seen[space], at) for space, at in tokens.items()]
        lines = np.array([(hit.line.span.start, hit.line.span.end) for hit in hits]).reshape(-1, 2)
        spans = np.concatenate([lines, *(one.tokens.spans[at] for one, at in seen)])
        heights = [np.array([hit.height for hit in hits], np.float32), *(one.heights[at] for one, at in seen)]
        return spans, np.concatenate(heights)

    def _hits(self, rows: Ids) -> Iterator[Hit]:
        """Lines of candidates that hold words of the question."""
        for row, lines in zip(rows.tolist(), self._lines(rows), strict=True):
            odds = {modality: float(self._odds[k, row]) for modality, k in self._worded.items()}
            for line in lines:
                if words := matched(self._words, line.text, line.modality):
                    yield Hit(line, words, odds[line.modality])

    def _lines(self, rows: Ids) -> Sequence[Sequence[Line]]:
        """Those of candidates in which words were found."""
        if len(rows) and self._few:
            return [self._few[row] for row in rows.tolist()]
        return self._library.lines(self._scored.table.segments[rows]) if len(rows) else []

    @cached_property
    def _few(self) -> Mapping[int, Sequence[Line]]:
        """The lines of all candidates in which words were found; none where those are many."""
        read = np.flatnonzero(self._read)
        if len(read) > TOGETHER:
            return {}
        return dict(zip(read.tolist(), self._library.lines(self._scored.table.segments[read]), strict=True))

    def reasons(self, row: int, span: TimeSpan) -> tuple[Evidence, ...]:
        """Why a candidate answers in a span that lies in it, or around it."""
        first, last = self._street(row)
        starts, ends = self._scored.table.spans[first:last].T
        near = first + np.flatnonzero((starts < span.end) & (ends > span.start))
        begin, end = (int(near[0]), int(near[-1]) + 1) if len(near) else (row, row + 1)
        return self.evidence(Stretch(row, span, float(self._scored.fused[row]), *self._held(begin, end)))

    def evidence(self, stretch: Stretch) -> tuple[Evidence, ...]:
        """One for each modality that had a say, the weightiest first; their shares sum to one."""
        shares = self._shares(stretch.row)
        told = [self._told(modality, share, stretch) for modality, share in shares.items()]
        return tuple(sorted(told, key=lambda one: (-one.share, one.modality)))

    def _shares(self, row: int) -> dict[Modality, float]:
        shares: dict[Modality, float] = {}
        for source, share in zip(self._scored.sources, self._scored.shares[:, row].tolist(), strict=True):
            shares[source.modality] = shares.get(source.modality, 0.0) + share
        heard = {modality: share for modality, share in shares.items() if share >= LEAST_SHARE}
        return {modality: share / sum(heard.values()) for modality, share in heard.items()}

    def _told(self, modality: Modality, share: float, stretch: Stretch) -> Evidence:
        ours = [k for k, source in enumerate(self._scored.sources) if source.modality is modality]
        best = max(ours, key=lambda k: float(self._scored.scores[k, stretch.row]))
        space = next((self._scored.sources[k].space for k in (best, *ours) if self._scored.sources[k].space), "")
        hits = [hit for hit in stretch.hits if hit.line.modality is modality and hit.line.span.overlaps(stretch.span)]
        spans, labels = self._shown(space, stretch) if space else ((), ())
        return Evidence(
            modality,
            space,
            float(self._scored.scores[best, stretch.row]),
            share,
            spans or tuple(hit.line.span for hit in hits[:SHOWN]) or (stretch.span,),
            labels,
            tuple(dict.fromkeys(word for hit in hits for word in hit.words)),
        )

    def _shown(self, space: str, stretch: Stretch) -> tuple[tuple[TimeSpan, ...], tuple[Label, ...]]:
        """Where a space saw it within the span, best first, and what it held the best token for."""
        seen, near = self._scored.seen[space], stretch.tokens[space]
        middles = seen.tokens.spans[near].sum(axis=1) / 2
        at = near.start + np.flatnonzero((middles >= stretch.span.start) & (middles < stretch.span.end))
        if not len(at):
            return (), ()
        best = at[np.argsort(-seen.heights[at], kind="stable")]
        good = best[seen.heights[best] >= seen.heights[best[0]] - DROP]
        names = seen.tokens.labels[int(best[0])]
        chances = seen.tokens.probabilities[best[0]].tolist() if names else []
        return _joined(seen.tokens.spans[good]), tuple(map(Label, names, chances))


def _lines(hits: Sequence[Hit]) -> Iterator[tuple[Modality, Times, Floats]]:
    """What lines have to say, each a span with a height."""
    for hit in hits:
        span = np.array([[hit.line.span.start, hit.line.span.end]])
        yield hit.line.modality, span, np.array([hit.height], np.float32)


def _clear(start: float, end: float, taken: Sequence[TimeSpan]) -> TimeSpan | None:
    """What of a span lies over none of those that are taken, into which it may reach by part of a token; if any."""
    for span in taken:
        if span.start <= start < span.end:
            start = span.end
        elif start < span.start < end:
            end = span.start
    return TimeSpan(start, end) if start < end else None


def _joined(spans: Times) -> tuple[TimeSpan, ...]:
    """Spans that touch or overlap as one, in the order of the first of each; the first few."""
    runs: list[TimeSpan] = []
    for start, end in spans.tolist():
        span = TimeSpan(start, end)
        for number, run in enumerate(runs):
            if span.start <= run.end and run.start <= span.end:
                runs[number] = run.cover(span)
                break
        else:
            runs.append(span)
    return tuple(runs[:SHOWN])
