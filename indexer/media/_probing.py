"""What a file is: what its container says, and what one look into it confirmed."""

from itertools import islice
from pathlib import Path

import av
from av.container import InputContainer

from indexer.media import _container
from indexer.media._listening import listen
from indexer.media._picture import Picture
from indexer.media._tap import STILL_SECONDS, tapped
from indexer.ports import Probe
from retriever.errors import CannotDecode, CannotOpen
from retriever.types import MediaKind

_MAYBE_STILL = frozenset({"gif", "apng"})
"""Formats that hold one picture or several."""
_PHOTO_BRANDS = frozenset({"heic", "heix", "heim", "heis", "mif1", "avif"})
_ANY_RATE = 16_000  # at which sound is tried


def probed(path: Path) -> Probe:
    """What the container says, and what one picture and one block of sound confirmed.

    Raises:
        CannotOpen: no media, or too large, or too long.
        CannotDecode: nothing comes out of any of its streams.
    """
    with _container.opened(path) as container:
        pictures, sound = _container.picture_stream(container), _container.sound_stream(container)
        if pictures is None and sound is None:
            raise CannotOpen(f"{path} has neither pictures nor sound that can be decoded")
        _refuse_tiles(path, container)
        rate = float(pictures.average_rate or 0) if pictures else 0.0
        recorded = _container.recorded(container)
        still = pictures is not None and _is_still(container)
        claimed = _container.claimed_duration(container)
    first = _first_picture(path, still) if pictures else None
    heard = bool(sound) and not still and _sounds(path)
    if first is None and not heard:
        raise CannotDecode(
            f"{path}: neither a picture nor a sample of it could be decoded: it is broken, or has more than "
            f"{_container.PICTURE_PIXELS / 1e6:.0f} million pixels"
        )
    if still:
        assert first is not None
        return Probe(MediaKind.IMAGE, STILL_SECONDS, first.width, first.height, recorded=recorded)
    duration = claimed if 0 < claimed <= _container.LONGEST else _measured(path)
    if first is None:
        return Probe(MediaKind.SOUND, duration, has_sound=True, recorded=recorded)
    return Probe(MediaKind.VIDEO, duration, first.width, first.height, rate, heard, recorded)


def _refuse_tiles(path: Path, container: InputContainer) -> None:
    """A photo in tiles comes as many streams, and each shows but a part of it."""
    if container.metadata.get("major_brand", "") in _PHOTO_BRANDS and len(container.streams.video) > 1:
        raise CannotOpen(f"{path} is a photo in tiles, which cannot be put together here: save it as JPEG or PNG")


def _is_still(container: InputContainer) -> bool:
    name = container.format.name
    if name in _MAYBE_STILL:
        return len([packet for packet in islice(container.demux(video=0), 2) if packet.size]) < 2
    return name.endswith("_pipe") or container.metadata.get("major_brand", "") in _PHOTO_BRANDS


def _first_picture(path: Path, still: bool) -> Picture | None:
    with tapped(path, still, "SLICE") as tap:
        return next(tap.pictures(), None)


def _sounds(path: Path) -> bool:
    try:
        return next(listen(path, _ANY_RATE), None) is not None
    except CannotDecode:
        return False


def _measured(path: Path) -> float:
    """Seconds from the packets themselves, where the container says nothing that can be believed."""
    with _container.opened(path) as container:
        zero, end = _container.zero(container), 0.0
        streams = [s for s in (_container.picture_stream(container), _container.sound_stream(container)) if s]
        try:
            for packet in container.demux(*streams):
                if packet.pts is not None and packet.time_base:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - zero)
        except av.FFmpegError:
            pass  # it breaks off here
    if end > _container.LONGEST:
        raise CannotOpen(
            f"{path} claims to last {end / 3600:.0f} hours; at most {_container.LONGEST / 3600:.0f} are read"
        )
    return end
