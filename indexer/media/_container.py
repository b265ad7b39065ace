"""Opening a media for FFmpeg: its own bytes only, known formats only, and bounded.

FFmpeg never learns the file's name.  It reads from an open file, so a name such as `concat:…` or `photo%03d.jpg` means
nothing but that file, the network is reached by `indexer/places.py` alone, and the format is told by content, not by
suffix.  Formats that point to
other files or hosts (playlists, concatenations) are not on the list.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from indexer import places
from indexer.places import Place
from retriever.errors import CannotOpen

_VIDEO = "mov matroska avi flv mpegts mpeg mpegvideo h264 hevc m4v obu ivf asf ogg rm nut mxf dv yuv4mpegpipe gif apng"
_SOUND = "wav w64 aiff au caf mp3 aac ac3 eac3 dts flac wv ape tta amr voc"
_IMAGE = "jpeg_pipe png_pipe webp_pipe bmp_pipe tiff_pipe gif_pipe jpegxl_pipe j2k_pipe qoi_pipe pgm_pipe ppm_pipe"
FORMATS = ",".join(f"{_VIDEO} {_SOUND} {_IMAGE}".split())
"""The demuxers that may be used, by FFmpeg's names."""

PICTURE_PIXELS = 1 << 28
"""No picture may have more, whatever it claims: 16384 × 16384, above any camera of today."""
VIDEO_PIXELS = 1 << 26
"""Nor a frame of a video, of which a decoder holds a score at once: 8192 × 8192."""
LONGEST = 7 * 24 * 3600.0
"""Seconds that a media may claim to last: a week."""
SLOWEST, FASTEST = 1_000, 10_000_000
"""Samples a second that a sound may claim.  A few kilobytes at one a second would be hours of what nobody hears."""

_TICKS = 1_000_000  # FFmpeg's own clock: microseconds
COVERS = Disposition.attached_pic | Disposition.timed_thumbnails
_BUFFER = 1 << 18  # bytes a read
_SMALL = 1 << 16  # of what has to be brought: keyframes lie far apart


@contextmanager
def opened(path: Place) -> Iterator[InputContainer]:
    """
    Raises:
        CannotOpen: missing, unreadable, empty, no file, or nothing that FFmpeg knows.
        Unreachable, FileChanged: as `places.opened`; whoever reads on gets them too.
    """
    with places.opened(path) as source:
        source.name = "media"  # type: ignore[attr-defined] # what FFmpeg is told
        size = _BUFFER if isinstance(source, io.FileIO) else _SMALL
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "none", "max_pixels": str(PICTURE_PIXELS)}
        try:
            container = av.open(source, "r", options=options, metadata_errors="replace", buffer_size=size)
        except av.FFmpegError as error:
            raise CannotOpen(f"{path} is not media that can be read, or it is broken ({reason(error)})") from error
        with container:
            yield container


def reason(error: Exception) -> str:
    """What a foreign error says, without the file name and numbers that it wraps it in."""
    return str(getattr(error, "strerror", None) or error)


def picture_stream(container: InputContainer) -> VideoStream | None:
    """The stream of moving or still pictures, if there is one that can be decoded.  Cover pictures are none."""
    streams = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & COVERS
    ]
    return max(streams, key=_rank, default=None)


def sound_stream(container: InputContainer) -> AudioStream | None:
    """The stream of sound, if there is one that can be decoded and that claims what sound can be."""
    streams = [
        stream
        for stream in container.streams.audio
        if stream.codec_context is not None and SLOWEST <= stream.codec_context.sample_rate <= FASTEST
    ]
    return max(streams, key=_rank, default=None)


def _rank(stream: Stream) -> tuple[bool, int, int]:
    """The default one first, then the largest picture, then the first."""
    size = stream.codec_context.width * stream.codec_context.height if isinstance(stream, VideoStream) else 0
    return bool(stream.disposition & Disposition.default), size, -stream.index


def only(container: InputContainer, wanted: Stream) -> None:
    """Let the demuxer pass over all other streams: their bytes need not be read."""
    for stream in container.streams:
        if stream.index != wanted.index:
            stream.discard = av.stream.Discard.all


def packets(container: InputContainer, *streams: Stream) -> "Iterator[Packet[Any]]":
    """The packets of these streams, and what flushes their decoders.  A container that breaks off has come to its
    end."""
    try:
        yield from container.demux(*streams)
    except (av.FFmpegError, IndexError):  # behind the last packet PyAV stumbles over streams that came up on the way
        return


def zero(container: InputContainer) -> float:
    """The container's earliest start on its own clock, in seconds: our zero."""
    return (container.start_time or 0) / _TICKS


def claimed_duration(container: InputContainer) -> float:
    """Seconds that the container claims to last; 0 where it does not say."""
    return max(container.duration or 0, 0) / _TICKS


def recorded(container: InputContainer) -> str:
    """When it was recorded, as ISO 8601, where the container knows: with the place's own zone if that is there."""
    for key in ("com.apple.quicktime.creationdate", "creation_time"):
        value = container.metadata.get(key, "")
        try:
            when = datetime.fromisoformat(value)
        except ValueError:
            continue
        if when.year > 1970:  # what a clock shows that was never set: 1904 or 1970
            return when.isoformat()
    return ""
