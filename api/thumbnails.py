"""Small pictures of media for whoever looks through them: JPEG, made once, some remembered."""

from collections import OrderedDict
from threading import Lock

import numpy as np

from api import clipping, sketch
from indexer.decoding import Decoder
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
        side = next((one for one in SIDES if one >= side), SIDES[-1])
        second = 0.0 if media.kind is MediaKind.IMAGE else min(max(0.0, second), media.duration)
        place = (media.key, round(second / STEP), side)
        with self._guard:
            if place in self._made:
                self._made.move_to_end(place)
                return self._made[place]
        made = self._drawn(media, second, side)
        with self._guard:
            self._made[place] = made
            while len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
        return made

    def _drawn(self, media: Media, second: float, side: int) -> bytes:
        if media.kind is MediaKind.SOUND:
            raise NoSuchStream(f"{media.path} has no picture")
        path = clipping.intact(self._store, media)
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
