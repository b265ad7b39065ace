"""Other ways to do what the pipeline does, with the same encoders, for a ratio in the same run.

naive  every picture is decoded and encoded by itself, one after the other.  Over the first seconds of each film alone,
       for a whole corpus would take hours; what is compared is seconds of media a second.
amon   the decoder and the adaptive sampler of amon-hen (MIT), called as its own `index_videos` calls them, in batches
       of 16; its encoder (MobileCLIP2, which would be downloaded) is replaced by ours, its store by none.  It comes
       with `pip install --no-deps amon-hen imageio-ffmpeg`, which is no part of any extra.

Sound, speech and pages, where the encoders have them, are encoded file by file in both by our own functions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from indexer._chapters import shorter_side
from indexer.decoding import Decoder, Wanted
from indexer.encoding import Encoders, encode
from indexer.media._picture import EXACT

BATCH = 16
"""Frames that amon-hen encodes at once, unless told otherwise."""
FPS = 2.0
"""Frames a second that its sampler is shown: as many as ours."""
SECONDS = 10.0
"""Of each film, for the naive loop."""
Pixels = NDArray[np.uint8]


def naive(films: Sequence[Path], wanted: Wanted, encoders: Encoders, most: float = SECONDS) -> tuple[float, float, int]:
    """Seconds of media, seconds that it took, and frames that were encoded."""
    began, media, frames = perf_counter(), 0.0, 0
    with Decoder() as decoder:
        for film in films:
            end = 0.0
            for time, picture in _pictures(film, wanted.side, most):
                for vision in encoders.vision.values():
                    vision.encode_frames(picture[None], np.array([[time, time + 0.04]]))
                end, frames = time, frames + 1
            media += end
            _others(decoder, film, replace(wanted, chapter=most), encoders, 1)
    return media, perf_counter() - began, frames


def _pictures(film: Path, side: int, most: float) -> Iterator[tuple[float, Pixels]]:
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            time = frame.time or 0.0
            if time > most:
                return
            size = shorter_side(frame.width, frame.height, side)
            yield time, frame.reformat(*size, format="rgb24", interpolation=EXACT).to_ndarray()


def decoded(films: Sequence[Path], wanted: Wanted) -> tuple[float, float, int]:
    """The same of our decoder and sampler alone; frames are those that would be encoded."""
    with Decoder() as decoder:
        decoder.probe(films[0])  # which starts its process
        began, media, frames = perf_counter(), 0.0, 0
        for film in films:
            for chapter in decoder.chapters(film, wanted):
                frames += len(chapter.frames)
                media += chapter.span.length
    return media, perf_counter() - began, frames


def amon(films: Sequence[Path], wanted: Wanted, encoders: Encoders) -> tuple[float, float, int]:
    """The same of amon-hen.

    Raises:
        SystemExit: it is not installed.
    """
    try:
        from amonhen import decode, sample
    except ImportError as error:
        raise SystemExit(f"--amon wants pip install --no-deps amon-hen imageio-ffmpeg ({error})") from error
    print(f"amon-hen {version('amon-hen')}, imageio-ffmpeg {version('imageio-ffmpeg')}")
    began, media, frames = perf_counter(), 0.0, 0

    def flush(pending: list[Pixels], times: list[float]) -> None:
        spans = np.stack([np.array(times), np.array(times) + 1 / FPS], axis=1)
        for vision in encoders.vision.values():
            vision.encode_frames(np.stack(pending), spans)

    with Decoder() as decoder:
        for film in films:
            info = decode.probe(film)
            media += info.duration_ms / 1000
            sampler = sample.build_sampler("adaptive", fps=FPS)
            pending: list[Pixels] = []
            times: list[float] = []
            for frame in decode.iter_frames(film, fps=FPS, info=info):
                if not sampler.keep(frame.image):
                    continue
                pending.append(_resized(frame.image, wanted.side))
                times.append(frame.ts_ms / 1000)
                frames += 1
                if len(pending) >= BATCH:
                    flush(pending, times)
                    pending, times = [], []
            if pending:
                flush(pending, times)
            _others(decoder, film, wanted, encoders, None)
    return media, perf_counter() - began, frames


def _resized(image: Pixels, side: int) -> Pixels:
    """The shorter side as the encoder wants it, by Pillow and bicubic as amon-hen's own encoder does."""
    height, width = image.shape[:2]
    made: Pixels = np.asarray(
        Image.fromarray(image).resize(shorter_side(width, height, side), Image.Resampling.BICUBIC)
    )
    return made


def _others(decoder: Decoder, film: Path, wanted: Wanted, encoders: Encoders, most: int | None) -> None:
    """Everything but vision, of the first chapters."""
    rest = replace(encoders, vision={}, clips={})
    if not (rest.sound or rest.speech or rest.text):
        return
    for number, chapter in enumerate(decoder.chapters(film, replace(wanted, sampler=None, side=0)), start=1):
        encode([chapter], rest)
        if number == most:
            return
