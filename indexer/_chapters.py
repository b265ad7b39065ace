"""A media is cut into chapters: the child's side of decoding, without the child.

Chapter k covers `[k·L, (k + 1)·L)`, and what it holds depends on nothing but the media and what is wanted: the same
whether it was reached by walking or begun with.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer._exchange import Pile, Wanted
from indexer.ports import Frame, OpenMedia
from indexer.saliency import RATE, Glance, small
from indexer.sampling import Sampler
from indexer.screen import INSTANT, Screen
from retriever.errors import CannotDecode
from retriever.types import Floats, MediaKind, Pictures, Sound, Times, TimeSpan

BROADEST = 4
"""How many times as long as the shorter side the longer one may be: a strip of pixels must not fill the memory."""

Bin = tuple[float, float]


@dataclass(slots=True)
class Cut:
    """One chapter, its pictures and sounds already in their piles."""

    index: int
    span: TimeSpan
    last: bool
    decoded: int  # frames that came out of the decoder
    frames: "Gathered"
    pages: "Gathered"
    sounds: dict[int, Sound] = field(default_factory=dict)


class Gathered:
    """The pictures that one sampler takes in one chapter."""

    def __init__(self, sampler: Sampler | None, size: tuple[int, int], pile: Pile) -> None:
        self.spans: list[Bin] = []
        self.pile = pile
        self._sampler = sampler
        self._sift = sampler.sift() if sampler else None
        self._glanced: list[tuple[float, NDArray[np.float64]]] = []  # for a sampler that glances
        self._size = size
        self._converted: tuple[Frame, Pictures] | None = None  # a picture that stays is converted once

    def offer(self, frame: Frame, time: float, span: Bin) -> None:
        if self._sift is None:
            return
        if not self._sift(frame, time):
            self.extend(span[1])
            return
        if self._converted is None or self._converted[0] is not frame:
            self._converted = frame, frame.rgb(self._size)
        self.pile.add(self._converted[1])
        self.spans.append(span)
        if self._sampler and self._sampler.glances:
            self._glanced.append((time, small(self._converted[1])))

    def extend(self, end: float) -> None:
        """The last picture stays until `end`."""
        if self.spans:
            self.spans[-1] = self.spans[-1][0], end

    def settle(self, sound: Sound | None) -> None:
        """The chapter is over: its sound is what a sampler that glances still wanted."""
        if self._sampler and self._glanced:
            times, pictures = zip(*self._glanced, strict=True)
            owner = self._sampler.choose(Glance(np.array(times), np.array(pictures), sound))
            taken, firsts = np.unique(owner, return_index=True)
            lasts = [*firsts[1:] - 1, len(owner) - 1]
            self.spans = [
                (self.spans[first][0], self.spans[last][1]) for first, last in zip(firsts, lasts, strict=True)
            ]
            self.pile.keep(taken.tolist())
        self.pile.close()


class Tape:
    """Sound that runs by: a window of it at a time, never backwards."""

    def __init__(self, blocks: Iterator[Floats], rate: int, start: float) -> None:
        self.rate = rate
        self._blocks = blocks
        self._held = np.zeros(0, np.float32)
        self._first = round(start * rate)  # place of the first sample held, from the media's zero
        self._over = False

    def window(self, start: float, end: float) -> Sound:
        """The sound from `start` to `end`, shorter where the media's is; what lies before `start` is forgotten."""
        first, stop = round(max(start, 0.0) * self.rate), round(end * self.rate)
        self._pull(stop)
        passed = min(max(0, first - self._first), len(self._held))
        self._held, self._first = self._held[passed:], self._first + passed
        return Sound(self._held[max(0, first - self._first) : max(0, stop - self._first)], self.rate, first / self.rate)

    def ends_by(self, time: float) -> bool:
        """Whether no sample lies after `time`."""
        limit = round((time + INSTANT) * self.rate)
        self._pull(limit + 1)
        return self._over and self._first + len(self._held) <= limit

    @property
    def end(self) -> float:
        """Where it ends, once it has."""
        return (self._first + len(self._held)) / self.rate

    def _pull(self, stop: int) -> None:
        parts, held = [self._held], len(self._held)
        while not self._over and self._first + held < stop:
            block = next(self._blocks, None)
            if block is None:
                self._over = True
            else:
                parts.append(block)
                held += len(block)
        if len(parts) > 1:
            self._held = np.concatenate(parts)


class Cutter:
    """Walks one open media from chapter `first` on."""

    def __init__(self, media: OpenMedia, wanted: Wanted, first: int) -> None:
        self._probe = media.probe
        self._wanted = wanted
        self._first = first
        self._decoded = 0  # frames, up to the chapter before
        start = first * wanted.chapter
        heard = max(0.0, start - wanted.margin)
        looked_at = media.probe.kind is not MediaKind.SOUND and bool(wanted.sampler or wanted.page_sampler)
        samplers = [it for it in (wanted.sampler, wanted.page_sampler) if it]
        keys = all(it.keys for it in samplers)
        self._screen = Screen(media.frames(start, self._needed, keys)) if looked_at else None
        rates = wanted.rates if media.probe.has_sound else ()
        self._tapes = [Tape(media.sound(rate, heard), rate, heard) for rate in rates]
        listens = media.probe.has_sound and RATE not in rates and any(it.glances for it in samplers)
        self._ear = Tape(_if_any(media.sound(RATE, heard)), RATE, heard) if self._screen and listens else None

    def chapters(self, folder: Path, job: int) -> Iterator[Cut]:
        """In order.  Pictures and samples go to `folder`, in files named after job and chapter."""
        for index in count(self._first):
            start, end = index * self._wanted.chapter, (index + 1) * self._wanted.chapter
            if index and self._over(start):
                return
            cut = self._cut(index, TimeSpan(start, end), folder / f"{job}-{index}")
            yield cut
            if cut.last:
                return

    def _cut(self, index: int, span: TimeSpan, name: Path) -> Cut:
        wanted = self._wanted
        size = self._probe.width, self._probe.height
        frames = Gathered(wanted.sampler, shorter_side(*size, wanted.side), Pile(name.with_suffix(".frames")))
        pages = Gathered(wanted.page_sampler, longer_side(*size, wanted.page_side), Pile(name.with_suffix(".pages")))
        around = span.start - wanted.margin, span.end + wanted.margin
        sounds = {tape.rate: tape.window(*around) for tape in self._tapes}
        if self._screen:
            self._look(self._screen, span, frames, pages)
        last = self._over(span.end)
        if last:
            span = self._to_the_end(span)
            for gathered in (frames, pages):
                shown = self._screen.at(span.middle) if self._screen and not index and not gathered.spans else None
                if shown:  # a media that ended before the middle of its first bin
                    gathered.offer(shown, span.middle, (span.start, span.end))
                gathered.extend(span.end)
        for rate, sound in sounds.items():
            pile = Pile(name.with_suffix(f".{rate}"))
            pile.add(sound.samples)
            pile.close()
        heard = self._ear.window(*around) if self._ear else sounds.get(RATE)
        frames.settle(heard)
        pages.settle(heard)
        before, self._decoded = self._decoded, self._screen.pulled if self._screen else 0
        return Cut(index, span, last, self._decoded - before, frames, pages, sounds)

    def _look(self, screen: Screen, span: TimeSpan, frames: Gathered, pages: Gathered) -> None:
        """One walk over the chapter's pictures serves both."""
        wanted = self._wanted
        asked = sorted(
            [(middle, 0, bin_) for middle, bin_ in self._bins(wanted.sampler, span)]
            + [(middle, 1, bin_) for middle, bin_ in self._bins(wanted.page_sampler, span)]
        )
        for time, which, bin_ in asked:
            if self._over(time):
                return
            shown = screen.at(time)
            if shown:
                (frames, pages)[which].offer(shown, time, bin_)

    def _bins(self, sampler: Sampler | None, span: TimeSpan) -> Iterator[tuple[float, Bin]]:
        if sampler is None:
            return
        duration = self._probe.duration
        still = self._probe.kind is MediaKind.IMAGE
        bins: Times = np.array([[0.0, duration]]) if still else sampler.bins(span, duration)
        for start, end in bins.tolist():
            yield (start + end) / 2, (start, end)

    def _needed(self, start: float, end: float) -> bool:
        """Whether a picture is asked for between two times."""
        part = TimeSpan(start, end)
        samplers = (self._wanted.sampler, self._wanted.page_sampler)
        return any(len(sampler.bins(part, self._probe.duration)) for sampler in samplers if sampler)

    def _over(self, time: float) -> bool:
        """Whether neither picture nor sound goes on after `time`.  Where nothing is decoded, the container is asked."""
        streams: list[Tape | Screen] = [*self._tapes, *([self._screen] if self._screen else [])]
        return all(stream.ends_by(time) for stream in streams) if streams else self._probe.duration <= time + INSTANT

    def _to_the_end(self, span: TimeSpan) -> TimeSpan:
        """The last chapter's own span: up to where what was decoded ends."""
        ends = [tape.end for tape in self._tapes] + ([self._screen.end] if self._screen else [])
        end = max(ends, default=self._probe.duration)
        if end <= span.start:
            raise CannotDecode("it lasts no time at all")
        return TimeSpan(span.start, end)


def _if_any(blocks: Iterator[Floats]) -> Iterator[Floats]:
    """Sound that nobody will miss: where none can be decoded there is none."""
    with suppress(CannotDecode):
        yield from blocks


def shorter_side(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height with the aspect of `width × height`, the shorter one `side`; no more than 1 : 4, for then the
    longer one is `4 · side`."""
    scale = min(side / max(1, min(width, height)), BROADEST * side / max(1, width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def longer_side(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height with the aspect of `width × height`, the longer one at most `side`."""
    scale = min(1.0, side / max(1, width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
