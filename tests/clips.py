"""Small real files, made by a real encoder: plain colours for a picture, a tone for sound."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from fakes import COLOURS
from numpy.typing import NDArray

from api.sketch import png

RATE = 25
SIDE = 64
SAMPLES = 16_000


def film(path: Path, colours: Sequence[str], seconds: float = 2.0) -> Path:
    """A film without sound that shows each colour for so many seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for colour in colours:
            pixels = np.full((SIDE, SIDE, 3), COLOURS[colour], np.uint8)
            for _ in range(round(seconds * RATE)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def picture(path: Path, colour: str) -> Path:
    """A PNG of one colour."""
    path.write_bytes(png(np.full((SIDE, SIDE, 3), COLOURS[colour], np.uint8)))
    return path


def tone(path: Path, loud: Sequence[bool], seconds: float = 2.0) -> Path:
    """A WAV file: for each entry so many seconds of a tone, or of silence."""
    length = round(seconds * SAMPLES)
    wave = np.sin(np.arange(length) * 2 * np.pi * 440 / SAMPLES) * 0.5
    return wav(path, np.concatenate([wave if on else np.zeros(length) for on in loud]))


def wav(path: Path, sound: NDArray[np.float64]) -> Path:
    """A WAV file of these samples, from -1 to 1, `SAMPLES` a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=SAMPLES, layout="mono")
        frame = av.AudioFrame.from_ndarray((sound * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.time_base = SAMPLES, Fraction(1, SAMPLES)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
