"""The sound of one file: at any rate, on the clock of the pictures; mono for who listens, wider for who cuts it out.

Sound is always decoded in order from its start: its decoders carry state from block to block, and they run hundreds
of times faster than the sound does, so jumping would buy little and change samples.
"""

from collections.abc import Iterator

import av
import numpy as np
from av.audio.frame import AudioFrame

from indexer.media import _container
from indexer.media._clock import Clock
from indexer.places import Place
from retriever.errors import CannotDecode, NoSuchStream
from retriever.types import Floats

LOOSE = 0.04
"""Seconds that time stamps may be off the count of samples: one frame of a film.  What is off by more is a gap, or
something told twice."""
_SILENCE = 1.0  # seconds of it handed out at once
_TOGETHER = 1.0  # seconds of sound resampled at once
_EVEN_MIX = {"rematrix_maxval": "1.0"}  # channels are averaged by weight, so that their sum cannot clip

Placed = tuple[Floats, int]
"""Samples `(C, T)`, and the place of the first one: samples from our zero."""


def listen(path: Place, rate: int, start: float = 0.0) -> Iterator[Floats]:
    """As `OpenMedia.sound`."""
    for block in channels(path, rate, "mono", start):
        yield block[0]


def channels(path: Place, rate: int, layout: str, start: float = 0.0) -> Iterator[Floats]:
    """The same with a row a channel, `(C, T)`; `layout` is FFmpeg's name for them: mono, stereo.

    Raises:
        NoSuchStream, CannotDecode: as `OpenMedia.sound`.
    """
    wanted = round(start * rate)
    position, came = 0, False
    for block, place in _told_once(_resampled(path, rate, layout), rate):
        position = place + block.shape[1]
        came = True
        if position > wanted:
            yield block[:, max(0, wanted - place) :]
    if not came:
        raise CannotDecode(f"{path}: not one sample of its sound could be decoded")


def _told_once(blocks: Iterator[Placed], rate: int) -> Iterator[Placed]:
    """One block right behind the other: gaps are filled with silence, overlaps are left out."""
    position = 0
    for block, place in blocks:
        while position < place:  # not in one piece, for it may be long
            silence = np.zeros((len(block), min(place - position, round(_SILENCE * rate))), np.float32)
            yield silence, position
            position += silence.shape[1]
        rest = block[:, position - place :]
        if rest.size:
            yield rest, position
            position += rest.shape[1]


def _resampled(path: Place, rate: int, layout: str) -> Iterator[Placed]:
    with _container.opened(path) as container:
        clock = Clock(container)
        run: _Run | None = None
        for frame, stamp in _stamped(container, path):
            time = clock.read(stamp, run.end if run else None)
            if time is None:
                break
            if run is None or not run.goes_on(frame, time):
                if run is not None:
                    yield from run.rest()
                run = _Run(frame, time, rate, layout)
            yield from run.tell(frame)
        if run is not None:
            yield from run.rest()


def _stamped(container: av.container.InputContainer, path: Place) -> Iterator[tuple[AudioFrame, float | None]]:
    """Every undamaged frame of sound with its time stamp; what cannot be decoded is passed over."""
    stream = _container.sound_stream(container)
    if stream is None:
        raise NoSuchStream(f"{path} has no sound")
    _container.only(container, stream)
    tick = float(stream.time_base or 1)
    for packet in _container.packets(container, stream):
        try:
            frames = stream.codec_context.decode(packet)
        except av.FFmpegError:
            continue
        for frame in frames:
            if frame.samples and not frame.is_corrupt:
                yield frame, None if frame.pts is None else frame.pts * tick


class _Run:
    """Frames of one rate and layout without a gap.  Times are counted in samples, so that what containers round off
    their time stamps does not add up."""

    def __init__(self, first: AudioFrame, start: float, rate: int, layout: str) -> None:
        self.end = start  # seconds
        self._kind = _kind(first)
        self._place = round(start * rate)
        self._waiting = av.AudioFifo()  # a codec's frames are short, and each call into a resampler has its price
        self._resampler = av.AudioResampler("fltp", layout, rate, options=_EVEN_MIX)

    def goes_on(self, frame: AudioFrame, time: float) -> bool:
        return _kind(frame) == self._kind and abs(time - self.end) <= LOOSE

    def tell(self, frame: AudioFrame) -> Iterator[Placed]:
        self.end += frame.samples / frame.sample_rate
        frame.pts = None  # the run counts for itself
        self._waiting.write(frame)
        if self._waiting.samples >= frame.sample_rate * _TOGETHER:
            yield from self._resampled()

    def rest(self) -> Iterator[Placed]:
        """What is still held back."""
        yield from self._resampled()
        yield from self._mixed(None)

    def _resampled(self) -> Iterator[Placed]:
        frame = self._waiting.read()
        if frame is not None:
            yield from self._mixed(frame)

    def _mixed(self, frame: AudioFrame | None) -> Iterator[Placed]:
        try:
            mixed = self._resampler.resample(frame)
        except av.FFmpegError:  # channels that nobody ever had, in a damaged file
            return
        for block in filter(None, mixed):  # a resampler with nothing to do hands back even the None
            samples = block.to_ndarray().astype(np.float32, copy=False)  # (C, T)
            yield samples, self._place
            self._place += samples.shape[1]


def _kind(frame: AudioFrame) -> tuple[object, ...]:
    return frame.sample_rate, frame.format.name, frame.layout.name
