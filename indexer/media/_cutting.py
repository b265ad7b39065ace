"""A span of one file as a file of its own: copied packet by packet from a keyframe on, or decoded and encoded anew.

Runs in a decoder child.  Both ways yield the second that they have come to, now and then, and return what was written.
"""

import errno
import io
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.sidedata.sidedata import Type
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from indexer.media import _container
from indexer.media._clock import SET_BACK, SET_FORWARD, Clock
from indexer.media._footage import Footage
from indexer.media._listening import channels
from indexer.media._picture import Picture, Turn
from indexer.places import Place
from indexer.ports import Probe
from indexer.screen import ROUNDING
from retriever.errors import BadSettings, CannotDecode, DiskFull, NoSuchStream
from retriever.types import TimeSpan

TELL = 2.0
"""Seconds after which the other side hears how far it is."""
TICK = Fraction(1, 90_000)
"""The clock of pictures that are encoded anew: films and broadcasts of all kinds have whole numbers of these."""
EARLIER = 1.0
"""Seconds before a keyframe from which packets are read: the sound that goes with it may lie in front of it."""
STRAGGLE = 10.0
"""Seconds by which one stream may lie behind another in a file."""
_INDEXED = frozenset({"mov", "mp4", "matroska", "webm"})
"""Formats whose index says where a keyframe is and whose time stamps are the same however one came there.  All others
are read from their start, which costs reading and no decoding."""
_TOLD = frozenset({"language", "title"})
"""What is told of a stream and stays true of a part of it."""
_SIGNED = b"\x06\x05"
"""How a unit begins that has user data: kind 6 of a unit, kind 5 of a message (ISO/IEC 14496-10, 7.3.1 and annex D)."""
_SHAPED = frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video"})
"""Codecs that say themselves how wide a pixel is."""
_CODECS = {  # of an encoder: what it writes, its options, bits a second a channel
    "libx264": ("h264", {"preset": "fast", "crf": "18"}, 0),
    "libvpx-vp9": ("vp9", {"crf": "24", "deadline": "good", "cpu-used": "4", "row-mt": "1"}, 0),
    "aac": ("aac", {}, 96_000),
    "libopus": ("opus", {}, 64_000),
    "libmp3lame": ("mp3", {}, 96_000),
    "flac": ("flac", {}, 0),
    "pcm_s16le": ("pcm_s16le", {}, 0),
}


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of file that can be written: FFmpeg's name of it, and what is encoded for it."""

    name: str
    pictures: str  # encoder; empty: a file of sound
    sound: str
    copies: bool = True  # whether it can hold packets as they come

    @property
    def skips(self) -> bool:
        """Whether it can say that a player is to leave out the beginning of a packet."""
        return self.name in ("mp4", "mov", "ipod")

    def shapes(self, codec: str) -> bool:
        """Whether pixels that are not square stay so when packets are copied: the format says it, or the packets do."""
        return self.skips or codec in _SHAPED

    @property
    def one_track(self) -> bool:
        """Whether there is room for a single stream of sound."""
        return self.name in ("wav", "mp3", "flac")


FORMS = {
    ".mp4": Form("mp4", "libx264", "aac"),
    ".mov": Form("mov", "libx264", "aac"),
    ".mkv": Form("matroska", "libx264", "aac"),
    ".webm": Form("webm", "libvpx-vp9", "libopus"),
    ".m4a": Form("ipod", "", "aac"),
    ".mp3": Form("mp3", "", "libmp3lame"),
    ".ogg": Form("ogg", "", "libopus"),
    ".wav": Form("wav", "", "pcm_s16le", copies=False),
    ".flac": Form("flac", "", "flac", copies=False),
}
"""By suffix.  Sound that nothing is lost of needs no copying: it is cut to the very sample."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a cut holds: the span of the media, codecs by kind, and streams that it does not hold, with the reason."""

    span: TimeSpan
    streams: tuple[tuple[str, str], ...]  # ("video", "h264")
    left_out: tuple[tuple[str, str, str], ...] = ()  # ("subtitle", "subrip", why)


Work = Generator[float, None, Written]


@contextmanager
def writing(half: Path, out: str) -> Iterator[io.BufferedRandom]:
    """`half`, opened for a muxer that never learns its name; on the disk when it is left without an error.

    Raises:
        DiskFull: there is no room for `out`.
    """
    raw = io.FileIO(half, "r+b")
    raw.name = "cut"
    try:
        with io.BufferedRandom(raw) as file:
            yield file
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFull(f"no room for {out}: nothing was written; make some, or name another place") from error
        raise


# ------------------------------------------------------------------------------------------------------------- copying


class _Line:
    """The packets of one stream on our clock, as `Clock` has it for what comes out of decoders."""

    def __init__(self, container: InputContainer, stream: Stream) -> None:
        self.tick = stream.time_base or Fraction(1)
        self._shift = -_container.zero(container)  # seconds
        self._last: float | None = None
        rate = stream.average_rate if isinstance(stream, VideoStream) else None
        self._length = float(1 / rate) if rate else 0.0  # of a packet that says nothing of it
        self._anew = Clock(container).starts_anew

    def place(self, packet: "Packet[Any]") -> tuple[float, float, float]:
        """When a packet is decoded, when what it holds comes, and when that goes: seconds."""
        dts = packet.dts if packet.dts is not None else packet.pts
        assert dts is not None
        time = float(dts * self.tick) + self._shift
        length = float(packet.duration * self.tick) if packet.duration else self._length
        due = None if self._last is None else self._last + length
        if self._anew and due is not None and not due - SET_BACK <= time <= due + SET_FORWARD:
            self._shift += due - time
            time = due
        self._last = time
        shown = time + float(((packet.pts if packet.pts is not None else dts) - dts) * self.tick)
        return time, shown, shown + length

    def ticks(self, seconds: float) -> int:
        """What to add to the stream's own time stamps, so that `seconds` on our clock become zero."""
        return round((self._shift - seconds) / float(self.tick))


def _signature(path: Place, stream: VideoStream) -> bytes:
    """What an encoder says of itself in the first packet of an H.264 stream, as it stands there; empty where it says
    nothing.  Decoders mend by it what old encoders did wrong, so a stream that begins later needs it as well."""
    if _codec(stream) != "h264":
        return b""
    with _container.opened(path) as container:
        first = container.streams[stream.index]
        packet = next((one for one in _container.packets(container, first) if one.size), None)
        data, extra = bytes(packet) if packet else b"", bytes(first.codec_context.extradata or b"")
    size = (extra[4] & 3) + 1 if extra.startswith(b"\x01") and len(extra) > 6 else 0
    return b"".join(unit for unit in _units(data, size) if _is_signature(unit, size))


def _units(data: bytes, size: int) -> Iterator[bytes]:
    """The units of an H.264 packet, each with what stands before it: its length in `size` bytes (ISO/IEC 14496-15,
    5.3.3.1.2), or with no `size` a start code (ISO/IEC 14496-10, annex B)."""
    if not size:
        starts = [found.start() for found in re.finditer(rb"\x00?\x00\x00\x01", data)]
        yield from (data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True))
        return
    at = 0
    while at + size < len(data):
        end = at + size + int.from_bytes(data[at : at + size], "big")
        yield data[at:end]
        at = end


def _is_signature(unit: bytes, size: int) -> bool:
    """Whether it is a message to nobody in particular, as encoders sign with."""
    size = size or unit.find(b"\x01") + 1
    return unit[size : size + 2] == _SIGNED


class _Copy:
    """One stream on its way: where its packets go, and whether they do already."""

    def __init__(
        self, line: _Line, track: Stream, begin: float, end: float, shown: bool, lead: bool, signature: bytes
    ) -> None:
        self.line = line
        self.reached = -np.inf  # when what was read last is decoded
        self.first = np.inf  # when what was written first comes
        self.last = begin  # when what was written last is gone
        self.count = 0
        self._track = track
        self._begin, self._end = begin, end
        self._shown = shown  # pictures: they begin with a keyframe
        self._begun = False
        self._lead = lead  # this one says when all begins
        self._signature = signature  # goes in front of the first packet
        self._late: list[tuple[Packet[Any], float, float]] = []  # shown after the end, and perhaps leaned on

    def due(self, packet: "Packet[Any]") -> Iterator["Packet[Any]"]:
        """The packets that are written now that this one was read."""
        self.reached, time, gone = self.line.place(packet)
        if not self._shown:
            if gone > self._begin + ROUNDING and time < self._end - ROUNDING:
                yield self._moved(packet, time, gone)
            return
        self._begun = self._begun or (packet.is_keyframe and self._at_key(time))
        if not self._begun or time < self._begin - ROUNDING or self.reached >= self._end - ROUNDING:
            return
        self._late.append((packet, time, gone))
        if time < self._end - ROUNDING:  # what came before is there to be leaned on
            for waiting in self._late:
                yield self._moved(*waiting)
            self._late.clear()

    def _at_key(self, time: float) -> bool:
        return abs(time - self._begin) <= ROUNDING if self._lead else time >= self._begin - ROUNDING

    def _moved(self, packet: "Packet[Any]", time: float, gone: float) -> "Packet[Any]":
        shift = self.line.ticks(self._begin)
        if self._signature and not self.count:
            packet = _signed(packet, self._signature)
        if packet.pts is None:
            packet.pts = packet.dts
        packet.pts = None if packet.pts is None else packet.pts + shift
        packet.dts = None if packet.dts is None else packet.dts + shift
        packet.stream = self._track
        self.first, self.last, self.count = min(self.first, time), max(self.last, gone), self.count + 1
        return packet


def _signed(packet: "Packet[Any]", signature: bytes) -> "Packet[Any]":
    """The same with an encoder's signature in front, if it has none."""
    data = bytes(packet)
    if signature in data:
        return packet
    made: Packet[Any] = Packet(signature + data)
    made.pts, made.dts, made.duration, made.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    made.is_keyframe = packet.is_keyframe
    return made


def copied(path: Place, span: TimeSpan, form: Form, suffix: str, file: io.BufferedRandom) -> Work:
    """Packets as they are, from the last keyframe at or before the start on, and a little beyond the end where a
    picture before it leans on one behind it.

    Raises:
        NoSuchStream: there is no sound for a file of sound.
        BadSettings: the format cannot hold what the file has.
    """
    with _container.opened(path) as container:
        pictures = _container.picture_stream(container) if form.pictures else None
        sound = _container.sound_stream(container)
        chosen, left_out = _chosen(path, container, form, pictures, sound)
        begin = _begin(path, pictures, span.start) if pictures else None
        lead = begin is not None  # else pictures come later than the start, or there are none
        begin = span.start if begin is None else begin
        for stream in container.streams:
            if stream not in chosen:
                stream.discard = av.stream.Discard.all
        if pictures is not None and lead and begin > EARLIER:
            _go(container, pictures, begin - EARLIER)
        elif pictures is None and sound is not None:
            begin = _first_sound(path, begin)
        with av.open(file, "w", format=form.name) as out:
            copies: dict[int, _Copy] = {}
            for stream in chosen:
                track = _track(out, stream, suffix)
                shown = isinstance(stream, VideoStream)
                line = _Line(container, stream)
                signature = _signature(path, stream) if isinstance(stream, VideoStream) else b""
                leads = lead and stream is pictures
                copies[stream.index] = _Copy(line, track, begin, span.end, shown, leads, signature)
            _start(out, chosen, suffix)
            yield from _muxed(container, out, copies, chosen, span.end)
        kinds = tuple((stream.type, _codec(stream)) for stream in chosen if copies[stream.index].count)
        last = max(copy.last for copy in copies.values())
    if not kinds:
        raise CannotDecode(f"{path} has nothing between {span}")
    if not form.skips:  # all begins when the first packet of sound does
        begin = min(begin, *(copy.first for copy in copies.values()))
    return Written(TimeSpan(begin, max(last, begin + ROUNDING)), kinds, left_out)


def _chosen(
    path: Place, container: InputContainer, form: Form, pictures: VideoStream | None, sound: AudioStream | None
) -> tuple[list[Stream], tuple[tuple[str, str, str], ...]]:
    """The streams that are copied, and those that are not."""
    if form.pictures == "" and sound is None:
        raise NoSuchStream(f"{path} has no sound, and a file of sound was asked for")
    chosen: list[Stream] = []
    left_out: list[tuple[str, str, str]] = []
    for stream in container.streams:
        main = stream is pictures or stream is sound
        kind, codec = stream.type, _codec(stream)
        cover = isinstance(stream, VideoStream) and bool(stream.disposition & _container.COVERS)
        if main:
            chosen.append(stream)
        elif stream.codec_context is None or kind not in ("video", "audio"):
            left_out.append((kind, codec, "neither pictures nor sound"))
        elif cover:
            left_out.append((kind, codec, "a picture that goes with the file"))
        elif kind == "video" and not form.pictures:
            continue  # nobody asked for pictures
        elif form.one_track:
            left_out.append((kind, codec, "room for one stream"))
        elif not _holds(form, stream):
            left_out.append((kind, codec, f"{form.name} cannot hold it"))
        else:
            chosen.append(stream)
    return chosen, tuple(left_out)


def _codec(stream: Stream) -> str:
    """What a stream is encoded with, whoever decodes it."""
    coder = stream.codec_context
    return str(coder.codec.canonical_name) if coder else "unknown"


def _holds(form: Form, stream: Stream) -> bool:
    """Whether a format says that it can hold a stream such as this."""
    with av.open(io.BytesIO(), "w", format=form.name) as trial:
        try:
            trial.add_stream_from_template(stream, opaque=True)
        except (ValueError, av.FFmpegError):
            return False
    return True


def _track(out: OutputContainer, stream: Stream, suffix: str) -> Stream:
    try:
        track: Any = out.add_stream_from_template(stream, opaque=True)
    except (ValueError, av.FFmpegError) as error:
        raise _cannot_hold([stream], suffix) from error
    if isinstance(stream, VideoStream):
        if (stream.sample_aspect_ratio or 1) != 1:  # which the container may know alone
            if not FORMS[suffix].shapes(_codec(stream)):
                raise BadSettings(
                    f"a {suffix} cannot hold {_codec(stream)} of pixels that are not square: add --exact, or name .mp4"
                )
            track.codec_context.sample_aspect_ratio = stream.sample_aspect_ratio
        if stream.metadata.get("alpha_mode") == "1":
            track.codec_context.pix_fmt = "yuva420p"  # by this the muxer knows that packets have more than they show
        if stream.average_rate:
            track.codec_context.framerate = stream.average_rate
    track.disposition = stream.disposition
    for key in _TOLD & stream.metadata.keys():
        track.metadata[key] = stream.metadata[key]
    made: Stream = track
    return made


def _start(out: OutputContainer, chosen: Sequence[Stream], suffix: str) -> None:
    try:
        out.start_encoding()
    except (ValueError, av.FFmpegError) as error:
        raise _cannot_hold(chosen, suffix) from error


def _cannot_hold(streams: Sequence[Stream], suffix: str) -> BadSettings:
    names = " and ".join(dict.fromkeys(_codec(stream) for stream in streams))
    other = "" if suffix in (".mkv", *_sound_suffixes()) else ", or name a .mkv"
    return BadSettings(f"a {suffix} cannot hold {names} as it is: add --exact, which encodes it anew{other}")


def _sound_suffixes() -> Iterator[str]:
    return (suffix for suffix, form in FORMS.items() if not form.pictures)


def _muxed(
    container: InputContainer,
    out: OutputContainer,
    copies: dict[int, _Copy],
    chosen: Sequence[Stream],
    end: float,
) -> Iterator[float]:
    told = monotonic()
    for packet in _container.packets(container, *chosen):
        copy = copies.get(packet.stream_index)
        if copy is None or (packet.dts is None and packet.pts is None) or not packet.size:
            continue
        for ready in copy.due(packet):
            try:
                out.mux(ready)
            except av.FFmpegError:  # a damaged one: time stamps that fall, say
                copy.count -= 1
        reached = [one.reached for one in copies.values()]
        if min(reached) >= end or max(reached) >= end + STRAGGLE:
            return
        if monotonic() - told > TELL:
            told = monotonic()
            yield max(reached)


def _go(container: InputContainer, stream: VideoStream, second: float) -> bool:
    """Go to where the keyframe at or before a second is, if the format has an index; else stay at the start."""
    if not _INDEXED & set(container.format.name.split(",")) or stream.time_base is None:
        return False
    ticks = round((second + _container.zero(container)) / float(stream.time_base))
    try:
        container.seek(ticks, stream=stream)
    except av.FFmpegError:
        return False
    return True


def _begin(path: Place, pictures: VideoStream, start: float) -> float | None:
    """When the last keyframe at or before `start` is shown; None if there is none."""
    back = 0.0
    while True:
        with _container.opened(path) as container:
            stream = container.streams[pictures.index]
            assert isinstance(stream, VideoStream)
            _container.only(container, stream)
            went = start - back > 0 and _go(container, stream, start - back)
            found = _last_key(container, stream, start)
        if found is not None or not went:
            return found
        back = 2 * back + 1.0  # an index counts in decoding order, and may be ahead of what is shown


def _last_key(container: InputContainer, stream: VideoStream, start: float) -> float | None:
    line, found = _Line(container, stream), None
    for packet in _container.packets(container, stream):
        if packet.dts is None and packet.pts is None:
            continue
        decoded, shown, _ = line.place(packet)
        if packet.is_keyframe and packet.size and shown <= start + ROUNDING:
            found = shown
        if decoded > start + ROUNDING:
            break
    return found


def _first_sound(path: Place, start: float) -> float:
    """When the packet begins that holds the sound of `start`."""
    with _container.opened(path) as container:
        stream = _container.sound_stream(container)
        assert stream is not None
        _container.only(container, stream)
        line = _Line(container, stream)
        for packet in _container.packets(container, stream):
            if packet.dts is None and packet.pts is None:
                continue
            _, time, gone = line.place(packet)
            if gone > start + ROUNDING:
                return time
    return start


# ------------------------------------------------------------------------------------------------------ encoding anew


@dataclass(frozen=True, slots=True)
class _Shot:
    """A picture on its way to an encoder."""

    frame: VideoFrame
    time: float  # seconds from the start of the cut
    length: float


class _Film:
    """The pictures of a span, and the encoder that takes them.  What a player turns or stretches is left to it, unless
    the picture is transparent or the format cannot say so: then it is laid upright, on black, with square pixels."""

    def __init__(self, path: Place, span: TimeSpan, form: Form, suffix: str, out: OutputContainer) -> None:
        self._span = span
        self._pictures = Footage(path).walk(span.start)
        first = next(self._pictures)  # it raises where there is none
        self._pictures = chain([first], self._pictures)
        odd = first.turn != Turn() or first.converter.pixel_width != 1
        self._upright = first.has_alpha or first.frame.format.is_rgb or (odd and suffix == ".webm")
        width, height = first.size if self._upright else (first.frame.width, first.frame.height)
        even = 2 if form.pictures == "libx264" else 1
        _, options, _ = _CODECS[form.pictures]
        rate = _rate(path)
        self.track = _encoder(out, form.pictures, suffix, rate=rate, options=options)
        coder = self.track.codec_context
        coder.width, coder.height = max(even, width // even * even), max(even, height // even * even)
        coder.pix_fmt, coder.time_base, coder.framerate = "yuv420p", TICK, rate
        coder.thread_type = "AUTO"
        if self._upright:
            coder.colorspace, coder.color_range = 6, 1  # BT.601 and narrow: what the conversion below makes
        else:
            self._as_it_was(first)

    def _as_it_was(self, first: Picture) -> None:
        coder, frame = self.track.codec_context, first.frame
        width = Fraction(first.converter.pixel_width).limit_denominator(1000)
        if width != 1:
            coder.sample_aspect_ratio = width
        coder.colorspace, coder.color_primaries, coder.color_trc = (
            int(frame.colorspace),
            int(frame.color_primaries),
            int(frame.color_trc),
        )
        coder.color_range = int(frame.color_range)  # a change of layout leaves it as it is
        if first.turn != Turn():
            self.track.set_display_matrix(_matrix(frame))

    def shots(self) -> Iterator[tuple[float, "_Shot"]]:
        """The picture on show at the start, and all that come before the end."""
        held: Picture | None = None
        for picture in self._pictures:
            if picture.time >= self._span.end - ROUNDING:
                break
            if held is not None:
                yield self._shot(held, picture.time)
            held = picture
        else:
            if held is not None:
                yield self._shot(held, min(self._span.end, max(held.end, self._span.start + 1e-3)))
            return
        if held is not None:
            yield self._shot(held, self._span.end)

    def _shot(self, picture: Picture, until: float) -> tuple[float, "_Shot"]:
        frame = VideoFrame.from_ndarray(picture.rgb(), "rgb24") if self._upright else picture.frame
        time = max(0.0, picture.time - self._span.start)
        return time, _Shot(frame, time, max(until - self._span.start - time, float(TICK)))

    def encode(self, shot: "_Shot | None") -> list["Packet[Any]"]:
        if shot is None:
            return list(self.track.encode(None))
        frame = shot.frame
        frame.pict_type = PictureType.NONE  # the encoder finds its own keyframes
        frame.time_base, frame.pts = TICK, round(shot.time / TICK)
        frame.duration = max(1, round((shot.time + shot.length) / TICK) - frame.pts)
        return list(self.track.encode(frame))


class _Tape:
    """The sound of a span, and the encoder that takes it."""

    def __init__(
        self, path: Place, span: TimeSpan, stream: tuple[int, int], form: Form, suffix: str, out: OutputContainer
    ) -> None:
        rate, count = stream
        name, (_, options, bits) = form.sound, _CODECS[form.sound]
        rates = av.Codec(name, "w").audio_rates
        self.rate = rate if not rates or rate in rates else max(rates)
        self._layout = "mono" if count == 1 else "stereo"
        self._path, self._span = path, span
        self.track = _encoder(out, name, suffix, rate=self.rate, options=options)
        self.track.codec_context.layout = self._layout
        if bits:
            self.track.codec_context.bit_rate = bits * (1 if count == 1 else 2)

    def blocks(self) -> Iterator[tuple[float, av.AudioFrame]]:
        """All samples of the span; fewer where the sound ends before it does."""
        first, last = (round(second * self.rate) for second in (self._span.start, self._span.end))
        place = 0
        for block in channels(self._path, self.rate, self._layout, self._span.start):
            samples = np.ascontiguousarray(block[:, : last - first - place])
            if samples.size:
                frame = av.AudioFrame.from_ndarray(samples, "fltp", self._layout)
                frame.sample_rate, frame.time_base, frame.pts = self.rate, Fraction(1, self.rate), place
                yield place / self.rate, frame
                place += samples.shape[1]
            if place >= last - first:
                return

    def encode(self, block: "av.AudioFrame | None") -> list["Packet[Any]"]:
        return list(self.track.encode(block))


def encoded(path: Place, span: TimeSpan, probe: Probe, form: Form, suffix: str, file: io.BufferedRandom) -> Work:
    """Exactly the pictures that are on show in `span`, and exactly its samples, encoded anew.

    Raises:
        NoSuchStream: there is no sound for a file of sound.
        BadSettings: this build of PyAV has no such encoder.
    """
    heard = _heard(path) if probe.has_sound else None
    if not form.pictures and heard is None:
        raise NoSuchStream(f"{path} has no sound, and a file of sound was asked for")
    with av.open(file, "w", format=form.name) as out:
        film = _Film(path, span, form, suffix, out) if form.pictures and probe.width else None
        tape = _Tape(path, span, heard, form, suffix, out) if heard else None
        told = monotonic()
        parts: list[Iterator[tuple[float, _Film | _Tape, Any]]] = []
        if film:
            parts.append(((time, film, shot) for time, shot in film.shots()))
        if tape:
            parts.append(((time, tape, block) for time, block in tape.blocks()))
        came: set[int] = set()
        end = 0.0
        for time, coder, piece in merge(*parts, key=lambda part: part[0]):
            out.mux(coder.encode(piece))
            came.add(id(coder))
            end = max(end, time + (piece.length if isinstance(piece, _Shot) else piece.samples / piece.sample_rate))
            if monotonic() - told > TELL:
                told = monotonic()
                yield span.start + time
        kinds = []
        for maker, name, kind in ((film, form.pictures, "video"), (tape, form.sound, "audio")):
            if maker is not None:
                out.mux(maker.encode(None))
                kinds += [(kind, _CODECS[name][0])] if id(maker) in came else []
    if not came:
        raise CannotDecode(f"{path} has nothing between {span}")
    return Written(TimeSpan(span.start, span.start + end), tuple(kinds))


def _encoder(out: OutputContainer, name: str, suffix: str, rate: Any, options: dict[str, str]) -> Any:
    try:
        return out.add_stream(name, rate=rate, options=dict(options))
    except (ValueError, av.FFmpegError) as error:
        others = ", ".join(kind for kind in FORMS if kind != suffix)
        raise BadSettings(f"this build of PyAV cannot encode with {name} for {suffix}: try one of {others}") from error


def _rate(path: Place) -> Fraction:
    """Pictures a second, as far as anybody knows."""
    with _container.opened(path) as container:
        stream = _container.picture_stream(container)
        rate = stream.average_rate if stream else None
    return rate if rate and 1 <= rate <= 1000 else Fraction(25)


def _heard(path: Place) -> tuple[int, int] | None:
    """Samples a second and channels of the sound."""
    with _container.opened(path) as container:
        stream = _container.sound_stream(container)
        return (stream.codec_context.sample_rate, stream.codec_context.channels) if stream else None


def _matrix(frame: VideoFrame) -> list[int]:
    """How a player is told to lay a picture; its nine numbers are of 16.16 and 2.30 bits."""
    data = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    return [int(number) for number in np.frombuffer(bytes(data), np.int32)[:9]]
