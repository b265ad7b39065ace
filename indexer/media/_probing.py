"""What a file is: what its container says, and what one look into it confirmed."""

from itertools import islice

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from indexer.media import _container
from indexer.media._picture import Converter, Picture
from indexer.media._tap import STILL_SECONDS, picture_decoder
from indexer.places import Place
from indexer.ports import Probe
from retriever.errors import CannotDecode, CannotOpen
from retriever.types import MediaKind

_MAYBE_STILL = frozenset({"gif", "apng"})
"""Formats that hold one picture or several."""
_PHOTO_BRANDS = frozenset({"heic", "heix", "heim", "heis", "mif1", "avif"})


def probed(path: Place) -> Probe:
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
        claimed = _container.claimed_duration(container)
        still = pictures is not None and _is_still(container)
        first, heard = _look(path, container, pictures, None if still else sound, still)
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


def _refuse_tiles(path: Place, container: InputContainer) -> None:
    """A photo in tiles comes as many streams, and each shows but a part of it."""
    if container.metadata.get("major_brand", "") in _PHOTO_BRANDS and len(container.streams.video) > 1:
        raise CannotOpen(f"{path} is a photo in tiles, which cannot be put together here: save it as JPEG or PNG")


def _is_still(container: InputContainer) -> bool:
    name = container.format.name
    if name in _MAYBE_STILL:
        count = len([packet for packet in islice(container.demux(video=0), 2) if packet.size])
        container.seek(0)
        return count < 2
    return name.endswith("_pipe") or container.metadata.get("major_brand", "") in _PHOTO_BRANDS


def _look(
    path: Place, container: InputContainer, pictures: VideoStream | None, sound: AudioStream | None, still: bool
) -> tuple[Picture | None, bool]:
    """The first picture, and whether any sound comes."""
    decoder = picture_decoder(path, pictures, still, "SLICE") if pictures else None
    first, heard = None, False
    for packet in _container.packets(container, *filter(None, (pictures, sound))):
        try:
            if packet.stream is pictures and decoder and pictures and first is None:
                frames = (frame for frame in decoder.decode(packet) if not frame.is_corrupt)
                first = next((Picture(frame, 0.0, 0.0, Converter.of(pictures)) for frame in frames), None)
            elif packet.stream is sound and sound and not heard:
                heard = any(frame.samples for frame in sound.codec_context.decode(packet))
        except av.FFmpegError:
            continue
        if (first or not pictures) and (heard or not sound):
            break
    return first, heard


def _measured(path: Place) -> float:
    """Seconds from the packets themselves, where the container says nothing that can be believed."""
    with _container.opened(path) as container:
        zero, end = _container.zero(container), 0.0
        streams = [s for s in (_container.picture_stream(container), _container.sound_stream(container)) if s]
        for packet in _container.packets(container, *streams):
            if packet.pts is not None and packet.time_base:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - zero)
    if end > _container.LONGEST:
        raise CannotOpen(
            f"{path} claims to last {end / 3600:.0f} hours; at most {_container.LONGEST / 3600:.0f} are read"
        )
    return end
