"""Small pictures of media for whoever looks through them: JPEG, made once, some remembered."""

from collections import OrderedDict
from threading import Lock

import numpy as np

from api import clipping, sketch
from indexer.decoding import Decoder
from indexer.places import Place
from retriever.errors import CannotDecode, NoSuchStream
from retriever.ports import Store
from retriever.types import Media, MediaKind

SIDES = (160, 320, 640)
"""Longer sides that are made, in pixels; what is asked for is rounded up to one of them."""
REMEMBERED = 1_000
STEP = 0.1
"""Seconds that two moments of one picture may be apart."""


class Thumbnails:
    """Several threads may ask; one picture is made at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._decoder = Decoder(limit_s=20.0)
        self._at_work, self._guard = Lock(), Lock()

    def of(self, media: Media, second: float, side: int) -> bytes:
        """The picture of a media on show at `second`, as JPEG.

        Raises:
            NoSuchStream: it has no picture.
            MediaError: its file is gone, has changed, or cannot be decoded.
        """
        second, side = _fitted(media, second, side)
        if (made := self._remembered(media, second, side)) is not None:
            return made
        made = self._drawn(media, second, side)
        with self._guard:
            self._made[_key(media, second, side)] = made
            while len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
        return made

    def known(self, media: Media, second: float, side: int) -> bytes | None:
        """The same picture if it is remembered.  None: it would have to be drawn, and there is a file to draw it from.

        Raises:
            NoSuchStream, MediaError: as `of`, as far as that can be told before anything is decoded.
        """
        made = self._remembered(media, *_fitted(media, second, side))
        if made is None:
            self._source(media)
        return made

    def _remembered(self, media: Media, second: float, side: int) -> bytes | None:
        key = _key(media, second, side)
        with self._guard:
            if key in self._made:
                self._made.move_to_end(key)
            return self._made.get(key)

    def _source(self, media: Media) -> Place:
        if media.kind is MediaKind.SOUND:
            raise NoSuchStream(f"{media.path} has no picture")
        return clipping.intact(self._store, media)

    def _drawn(self, media: Media, second: float, side: int) -> bytes:
        path = self._source(media)
        with self._at_work:
            found = self._decoder.pictures(path, [second], side)
        if not found:
            raise CannotDecode(f"{media.path}: no picture at {second:g} s")
        height, width = (length // 2 * 2 for length in found[0].shape[:2])
        return (
            sketch.jpeg(found[0][:height, :width]) if height and width else sketch.jpeg(np.zeros((2, 2, 3), np.uint8))
        )

    def close(self) -> None:
        self._decoder.close()


def _fitted(media: Media, second: float, side: int) -> tuple[float, int]:
    """A second that the media has, and a side that is made."""
    side = next((one for one in SIDES if one >= side), SIDES[-1])
    return 0.0 if media.kind is MediaKind.IMAGE else min(max(0.0, second), media.duration), side


def _key(media: Media, second: float, side: int) -> tuple[str, int, int]:
    return media.key, round(second / STEP), side
