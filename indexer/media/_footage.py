"""The pictures of one file: in order from the start, or from a keyframe on where that is proven to give the same.

Jumping into a stream can yield wrong pictures without any error: a keyframe that is none, or a decoder that has not
seen what stands only at the stream's beginning.  So each file is tried before it is trusted: the pictures behind its
second keyframe, once reached by jumping and once in order, must agree in time and in every pixel; and wherever a jump
lands, the decoder must find that it is a keyframe.  A file that fails in either is decoded in order for good.
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from indexer.media._picture import Picture
from indexer.media._tap import Astray, Reach, tapped
from indexer.places import Place
from indexer.ports import Frame, Needed
from indexer.screen import ROUNDING, Screen
from retriever.errors import CannotDecode
from retriever.types import Times

WORTH = 2.0
"""Seconds of decoding that a jump must save."""
REORDERED = 2.0
"""Seconds by which an index may be early: it counts in decoding order, and pictures are shown later."""
PROOF = 8
"""Pictures behind the second keyframe that must agree."""
FAR = 10.5
"""Seconds between two keyframes that are too many for them to stand for what is between: x264 makes one in 250
pictures, which at 24 a second are 10.4."""


@dataclass
class Footage:
    """The pictures of one file; `trusted` says whether jumps give what walking does, None that nobody tried yet."""

    path: Place
    still: bool = False
    trusted: bool | None = None

    def walk(self, start: float = 0.0, needed: Needed | None = None) -> Iterator[Picture]:
        """As `OpenMedia.frames`."""
        jumped = self._jumped(start, needed) if self._worth_a_jump(0.0, start) else None
        yield from _since(self._in_order(needed), start) if jumped is None else jumped

    def keyframes(self, start: float, end: float, needed: Needed | None = None) -> Iterator[Picture] | None:
        """The pictures that lean on no other, the one on show at `start` first; the last one stays until all others are
        over, in a media that claims to `end` then.  None where they cannot stand for the others: the container does not
        know them, they are too far apart, or a jump to one does not give what walking does."""
        seconds, ticks = self._keys
        if self.still or not len(seconds) or np.diff([0.0, *np.sort(seconds), end]).max() > FAR:
            return None
        if len(seconds) > 1 and self.trusted is None:
            self.trusted = self._prove()
        if len(seconds) > 1 and not self.trusted:
            return None
        reach = Reach(ticks)
        jumped = self._jumped(start, needed, reach) if self._key_before(start) >= 1 else None
        return _to_the_end(_since(self._in_order(needed, reach), start) if jumped is None else jumped, reach)

    def _jumped(self, start: float, needed: Needed | None, keys: Reach | None = None) -> Iterator[Picture] | None:
        """From the one on show at `start` on, begun at a keyframe; None where the jump went astray, which it is not
        trusted with again."""
        pictures = _since(self._from_keyframe(start, needed, keys), start)
        try:
            first = next(pictures, None)
        except Astray:
            first = None
        if first is None or first.time > start + ROUNDING:
            self.trusted = False
            return None
        return chain([first], pictures)

    def at(self, times: Times) -> Iterator[Frame]:
        """As `OpenMedia.frames_at`: walks on, or jumps where that saves work."""
        asked = np.asarray(times)

        def needed(start: float, end: float) -> bool:
            at = int(np.searchsorted(asked, start))
            return at < len(asked) and bool(asked[at] <= end)

        screen: Screen | None = None
        for time in map(float, times):
            if screen is None or self._worth_a_jump(screen.reached, time):
                screen = Screen(self.walk(time, needed))
            frame = screen.at(time)
            if frame is not None:
                yield frame

    def _worth_a_jump(self, reached: float, time: float) -> bool:
        """Whether a keyframe lies far enough beyond `reached` on the way to `time`, and jumps can be trusted."""
        if self.still or self.trusted is False or time <= reached + WORTH:
            return False
        seconds, _ = self._keys
        at = self._key_before(time)
        if at < 1 or seconds[at] <= reached + WORTH:
            return False
        if self.trusted is None:
            self.trusted = self._prove()
        return self.trusted

    @cached_property
    def _keys(self) -> tuple[Times, NDArray[np.int64]]:
        """The keyframes that the container's index knows: their seconds in decoding order, and their ticks."""
        none = np.zeros(0), np.zeros(0, np.int64)
        with tapped(self.path, self.still) as tap:
            if not tap.jumps:
                return none
            tap.prime()
            try:
                tap.jump(tap.stream.start_time or 0)  # some formats read their index when they are first asked to
            except Astray:
                return none
            keys = {entry.timestamp for entry in tap.stream.index_entries if entry.is_keyframe}
            ticks = np.array(sorted(keys), np.int64)
            return np.array([tap.seconds(int(tick)) for tick in ticks]), ticks

    def _key_before(self, time: float) -> int:
        return int(np.searchsorted(self._keys[0], time - REORDERED, "right")) - 1

    def _in_order(self, needed: Needed | None = None, keys: Reach | None = None) -> Generator[Picture]:
        came = False
        with tapped(self.path, self.still) as tap:
            for picture in tap.pictures(needed, keys):
                yield picture
                came = True
        if not came:
            raise CannotDecode(f"{self.path}: not one picture of it could be decoded")

    def _from_keyframe(self, start: float, needed: Needed | None, keys: Reach | None = None) -> Iterator[Picture]:
        _, ticks = self._keys
        with tapped(self.path, self.still) as tap:
            tap.prime()
            yield from tap.landed(int(ticks[self._key_before(start)]), needed, keys)

    def _prove(self) -> bool:
        _, ticks = self._keys
        try:
            with tapped(self.path, self.still) as tap:
                tap.prime()
                jumped = list(islice(tap.landed(int(ticks[1])), PROOF))
        except Astray:
            return False
        if not jumped:
            return False
        with closing(self._in_order()) as pictures:
            walked = list(islice((picture for picture in pictures if picture.time >= jumped[0].time), PROOF))
        return [one.time for one in jumped] == [one.time for one in walked] and all(
            np.array_equal(one.rgb(), other.rgb()) for one, other in zip(jumped, walked, strict=True)
        )


def _to_the_end(pictures: Iterator[Picture], reach: Reach) -> Iterator[Picture]:
    """The same, each until the next one comes, and the last one as far as the stream was found to reach."""
    shown: Picture | None = None
    for picture in pictures:
        if shown is not None:
            yield replace(shown, end=picture.time)
        shown = picture
    if shown is not None:
        yield replace(shown, end=max(shown.end, reach.seconds))


def _since(pictures: Iterator[Picture], start: float) -> Iterator[Picture]:
    """From the one on show at `start` on."""
    shown: Picture | None = None
    for picture in pictures:
        if picture.time > start + ROUNDING:
            if shown is not None:
                yield shown
                shown = None
            yield picture
        else:
            shown = picture
    if shown is not None:
        yield shown
