"""The child that draws pictures: a request a line on stdin, a reply a line on stdout, both JSON.

{"frame": PATH, "second": 4.5}                                → {"jpeg": BASE64}
{"sound": PATH, "around": [0, 16], "moment": [2, 6]}          → {"svg": MARKUP}
either with "tile": [320, 180]                                → {"pixels": BASE64} of so many RGB pixels
anything that cannot be drawn                                 → {"error": REASON}
"""

import base64
import json
import sys
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from indexer import places
from indexer.ports import OpenMedia, Reader
from retriever.errors import MediaError
from retriever.registry import Registry
from retriever.types import Floats

WIDTH = 480  # pixels: twice what the page shows, for dense screens, were it not for the bytes
RATE = 8000  # samples a second: enough for a shape
BARS = 120
SVG_WIDTH, SVG_HEIGHT = 360, 160
MOMENT, OTHERS = (255, 197, 61), (91, 102, 117)  # RGB of bars
QUIETEST = 1e-4  # a shape is scaled to its loudest bar; silence stays flat


def main() -> None:
    reader: Reader = Registry("indexer.media").load("pyav").build()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(reply(json.loads(line), reader)) + "\n")
        sys.stdout.flush()


def reply(request: dict[str, Any], reader: Reader) -> dict[str, str]:
    try:
        if "tile" in request:
            return {"pixels": base64.b64encode(tile(request, reader).tobytes()).decode()}
        if "frame" in request:
            with reader.open(places.of(request["frame"])) as media:
                return {"jpeg": base64.b64encode(frame(media, request["second"])).decode()}
        with reader.open(places.of(request["sound"])) as media:
            around, moment = request["around"], request["moment"]
            return {"svg": shape(heights(media, around[0], around[1]), _bars(moment, around))}
    except MediaError as error:
        return {"error": str(error)}


def frame(media: OpenMedia, second: float) -> bytes:
    """The frame on show at `second`, as JPEG."""
    found = next(iter(media.frames_at(np.array([second]))))
    return jpeg(found.rgb(shown_size(found.width, found.height)))


def tile(request: dict[str, Any], reader: Reader) -> NDArray[np.uint8]:
    """`(H, W, 3)` of the wanted size: the frame in its middle, on black, or the shape of the sound."""
    width, height = request["tile"]
    page = np.zeros((height, width, 3), np.uint8)
    with reader.open(places.of(request.get("frame") or request["sound"])) as media:
        if "frame" in request:
            found = next(iter(media.frames_at(np.array([request["second"]]))))
            scale = min(width / found.width, height / found.height)
            size = max(1, round(found.width * scale)), max(1, round(found.height * scale))
            left, top = (width - size[0]) // 2, (height - size[1]) // 2
            page[top : top + size[1], left : left + size[0]] = found.rgb(size)
            return page
        around, moment = request["around"], request["moment"]
        first, last = _bars(moment, around)
        step = width / BARS
        for number, level in enumerate(heights(media, around[0], around[1]).tolist()):
            reach = max(1, round(level * (height / 2 - 10)))
            colour = MOMENT if first <= number < last else OTHERS
            left = round(number * step)
            page[height // 2 - reach : height // 2 + reach, left : left + max(1, int(step))] = colour
    return page


def shown_size(width: int, height: int) -> tuple[int, int]:
    """At most `WIDTH` wide, and even: JPEG's colours have half the pixels."""
    scale = min(1.0, WIDTH / width)
    wide, high = (max(2, round(side * scale) // 2 * 2) for side in (width, height))
    return wide, high


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """`(H, W, 3)` RGB of even height and width as JPEG."""
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(format="yuvj420p")
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.qmin, encoder.qmax = 3, 6
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])


def png(pixels: NDArray[np.uint8]) -> bytes:
    """`(H, W, 3)` RGB as PNG."""
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = pixels.shape[1], pixels.shape[0], "rgb24"
    encoder.time_base = Fraction(1, 25)
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])


def heights(media: OpenMedia, start: float, end: float) -> Floats:
    """`(BARS,)` loudest sample of each bar between two times, from 0 to 1 of the loudest."""
    wanted = max(BARS, int((end - start) * RATE))
    blocks: list[Floats] = []
    for block in media.sound(RATE, start):
        blocks.append(block)
        if sum(map(len, blocks)) >= wanted:
            break
    samples = np.zeros(wanted, np.float32)  # (T,)
    got = np.concatenate(blocks)[:wanted] if blocks else samples
    samples[: len(got)] = np.abs(got)
    peaks = np.array([part.max() for part in np.array_split(samples, BARS)], np.float32)
    loudest: Floats = peaks / max(float(peaks.max()), QUIETEST)
    return loudest


def _bars(moment: tuple[float, float], around: tuple[float, float]) -> tuple[int, int]:
    """The first bar of the moment, and the one behind its last."""
    per_bar = (around[1] - around[0]) / BARS
    first = int((moment[0] - around[0]) / per_bar)
    return first, max(first + 1, round((moment[1] - around[0]) / per_bar))


def shape(loudness: Floats, moment: tuple[int, int]) -> str:
    """Bars about a middle line, those of the moment in another colour."""
    step, middle = SVG_WIDTH / BARS, SVG_HEIGHT / 2
    strokes: tuple[list[str], list[str]] = ([], [])
    for number, level in enumerate(loudness.tolist()):
        reach = max(1.0, level * (middle - 10))
        inside = moment[0] <= number < moment[1]
        strokes[inside].append(f"M{(number + 0.5) * step:.1f} {middle - reach:.1f}V{middle + reach:.1f}")
    paths = "".join(
        f'<path d="{"".join(lines)}" stroke="{colour}" stroke-width="2"/>'
        for lines, colour in zip(strokes, map(_hex, (OTHERS, MOMENT)), strict=True)
        if lines
    )
    return f'<svg viewBox="0 0 {SVG_WIDTH} {SVG_HEIGHT}" role="img" aria-label="shape of the sound">{paths}</svg>'


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + bytes(colour).hex()


if __name__ == "__main__":
    main()
