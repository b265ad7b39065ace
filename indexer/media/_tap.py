"""One open container and the decoder of its picture stream: packets in, pictures with their times out."""

import math
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.codec import CodecContext
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from indexer.media import _container
from indexer.media._clock import LEAP, Clock
from indexer.media._picture import Converter, Picture
from indexer.media._sparing import Sparing, spared
from indexer.places import Place
from indexer.ports import Needed
from retriever.errors import CannotOpen, NoSuchStream

HEALED = 10.0
"""Seconds after which damage has gone from the picture even where no keyframe came: each part of it was sent anew."""
STRIDE = 1.0
"""Seconds between two keyframes from which on it is jumped from one to the next."""
STILL_SECONDS = 1.0
"""What a still picture lasts."""
_USUAL_RATE = 25  # frames a second, where a stream names none
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own ones pass over the transparency


class Astray(Exception):
    """A jump did not land on a keyframe."""


@dataclass(slots=True)
class Reach:
    """Keyframes of a stream, which alone are decoded, and how far the others were found to reach."""

    ticks: NDArray[np.int64]  # of those that the container knows, in order
    seconds: float = 0.0  # on our clock


@dataclass(frozen=True, slots=True)
class Tap:
    """One open container, its picture stream and a decoder."""

    container: InputContainer
    stream: VideoStream
    decoder: VideoCodecContext
    converter: Converter
    zero: float  # our zero on the container's clock, in seconds
    still: bool

    @property
    def jumps(self) -> bool:
        """Whether one may jump at all: it resets the container's own decoder only, and what a clock that starts anew
        shows means nothing without what was before."""
        return self.decoder is self.stream.codec_context and not Clock(self.container).starts_anew

    def seconds(self, ticks: int) -> float:
        """A time stamp of the stream on our clock."""
        return self._seconds(ticks) - self.zero

    def _seconds(self, ticks: int) -> float:
        unit = self.stream.time_base or Fraction(1)
        return ticks * unit.numerator / unit.denominator

    def jump(self, ticks: int) -> None:
        """Go to the last keyframe up to `ticks`.  The decoder keeps what it learnt of the stream.

        Raises:
            Astray: the container cannot.
        """
        try:
            self.container.seek(ticks, stream=self.stream)
        except av.FFmpegError as error:
            raise Astray from error

    def prime(self) -> None:
        """Let the decoder see the stream's beginning.  Some encoders say only there how the rest is to be read (x264
        its version), and a decoder that starts later decodes green."""
        with closing(self._frames()) as frames:
            next(frames, None)

    def landed(self, ticks: int, needed: Needed | None = None, keys: Reach | None = None) -> Iterator[Picture]:
        """The pictures from the keyframe at `ticks` on; those that lean on what was before it are left out.

        Raises:
            Astray: there is no keyframe, or the decoder finds that it is none.
        """
        self.jump(ticks)
        packet = next(_container.packets(self.container, self.stream), None)
        if packet is None or packet.pts is None or not packet.is_keyframe:
            raise Astray
        landed = self.seconds(packet.pts)
        self.jump(ticks)
        pictures = (picture for picture in self.pictures(needed, keys) if picture.time >= landed)
        first = next(pictures, None)
        if first is None or first.frame.pict_type != PictureType.I:
            raise Astray
        yield first
        yield from pictures

    def pictures(self, needed: Needed | None = None, keys: Reach | None = None) -> Iterator[Picture]:
        """From here on, in strictly rising order of time; as `OpenMedia.frames`.  With `keys` keyframes alone, and it
        says how far the others reach."""
        if self.still:
            for frame in self._frames():
                yield Picture(frame, 0.0, STILL_SECONDS, self.converter)
                return
        clock = Clock(self.container)
        rate = self.stream.average_rate
        gap = float(1 / rate) if rate else 1 / _USUAL_RATE
        last: float | None = None
        for frame in self._frames(needed if self.jumps else None, keys):
            stamp = None if frame.pts is None else self._seconds(frame.pts)
            time = clock.read(stamp, None if last is None else last + gap)
            if time is None:
                return
            if last is not None:
                if time <= last:
                    continue  # a second picture for one instant
                if not rate:
                    gap = time - last
            if frame.duration:
                gap = min(self._seconds(frame.duration), LEAP)
            yield Picture(frame, time, time + gap, self.converter)
            last = time

    def _frames(self, needed: Needed | None = None, keys: Reach | None = None) -> Generator[VideoFrame]:
        """Every frame but those that the decoder calls damaged and those that may lean on them."""
        damaged, since = False, 0
        for packet in self._packets(needed, keys):
            try:
                frames = self.decoder.decode(packet)
                if keys is not None:  # each alone: those that do not set the order anew ("open GOP") would get lost
                    frames += self.decoder.decode(None)
                    self.decoder.flush_buffers()
            except av.FFmpegError:
                damaged, since = True, packet.pts or since
                continue
            for frame in frames:
                now = frame.pts or since
                if frame.is_corrupt:
                    damaged, since = True, now
                elif frame.key_frame or self.seconds(now) - self.seconds(since) > HEALED:
                    damaged = False
                if not damaged and (keys is None or frame.key_frame):
                    yield frame

    def _packets(self, needed: Needed | None, keys: Reach | None) -> "Iterator[Packet[Any]]":
        """Those that are to be decoded; the decoder is told where it may leave one out if no other leans on it."""
        packets = _container.packets(self.container, self.stream) if keys is None else self._keys(keys)
        if needed and (keys is not None or self.decoder.codec.intra_only):
            yield from spared(packets, needed, self.seconds)
            return
        sparing = Sparing(needed) if needed else None
        for packet in packets:
            if sparing:
                spares = packet.pts is not None and sparing.spares(self.seconds(packet.pts))
                self.decoder.skip_frame = "NONREF" if spares else "DEFAULT"
            yield packet

    def _keys(self, keys: Reach) -> "Iterator[Packet[Any]]":
        """Those of keyframes, jumped to where they are far apart, and all from the last one on for how far they reach.

        The demuxer is not asked to leave the others out: FFmpeg's for MP4 then takes their places in time for those of
        the keyframes.  Nor are decoders alone: for VP9 and FFV1 they do not, and dav1d not once it has begun.
        """
        self.decoder.skip_frame = "NONKEY"
        at, last = -1, -math.inf  # which of the keyframes that the container knows, and when the last one came
        for packet in _container.packets(self.container, self.stream):
            if packet.pts is None:
                if not packet.size:
                    yield packet
                continue
            keys.seconds = max(keys.seconds, self.seconds(packet.pts + (packet.duration or 0)))
            if not packet.is_keyframe or packet.pts <= last:
                continue
            yield packet
            last = packet.pts
            decoded = packet.pts if packet.dts is None else packet.dts
            at = max(at + 1, int(np.searchsorted(keys.ticks, decoded, "right")))
            if at < len(keys.ticks) and self.seconds(int(keys.ticks[at])) - self.seconds(decoded) > STRIDE:
                with suppress(Astray):  # then it is read on
                    self.jump(int(keys.ticks[at]))


@contextmanager
def tapped(path: Place, still: bool) -> Iterator[Tap]:
    """
    Raises:
        CannotOpen: no media, or its pictures are too large.
        NoSuchStream: no picture in it.
    """
    with _container.opened(path) as container:
        stream = _container.picture_stream(container)
        if stream is None:
            raise NoSuchStream(f"{path} has no picture")
        _container.only(container, stream)
        decoder = picture_decoder(path, stream, still, "AUTO")
        yield Tap(container, stream, decoder, Converter.of(stream), _container.zero(container), still)


def picture_decoder(path: Place, stream: VideoStream, still: bool, threads: str) -> VideoCodecContext:
    """What decodes a stream's pictures.  `threads` is FFmpeg's way to share out the work: AUTO has several pictures at
    once in the making, which pays over a whole film; with SLICE the first comes soonest.

    Raises:
        CannotOpen: the container claims pictures that are too large.
    """
    most = _container.PICTURE_PIXELS if still else _container.VIDEO_PIXELS
    decoder = stream.codec_context
    pixels = decoder.width * decoder.height
    if pixels > most:
        raise CannotOpen(
            f"{path} claims pictures of {pixels / 1e6:.0f} million pixels; at most {most / 1e6:.0f} million are "
            "decoded: make a smaller copy"
        )
    if stream.metadata.get("alpha_mode") == "1" and decoder.name in _ALPHA_DECODERS:
        created = CodecContext.create(_ALPHA_DECODERS[decoder.name], "r")
        assert isinstance(created, VideoCodecContext)
        decoder = created
    decoder.thread_type = threads
    decoder.options = {"max_pixels": str(most)}  # the stream may hold more than the container claims
    return decoder
