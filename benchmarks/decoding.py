"""How fast films come out of a decoder child, beside the plainest loop that decodes them.

    python benchmarks/decoding.py FILM...

Prints × realtime for three ways over the same films, run in turns, the best of each:
  bare     PyAV decodes every picture and every block of sound, and throws them away
  plain    the same, and two pictures a second are converted (shorter side 260), sound resampled to 16 kHz
  child    `indexer.decoding.Decoder`, which gives the same through a child, and spares what it can
and the ratio child : plain.
"""

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import av
from av.video.reformatter import VideoReformatter

from indexer._chapters import shorter_side
from indexer.decoding import Decoder, Wanted
from indexer.media._picture import EXACT
from indexer.sampling import Fixed

SIDE, FPS, RATE, ROUNDS = 260, 2.0, 16_000, 5
WANTED = Wanted("pyav", Fixed(FPS), SIDE, None, 0, (RATE,), margin=5.0)


def bare(path: Path) -> float:
    """Seconds of media."""
    return _walk(path, convert=False)


def plain(path: Path) -> float:
    return _walk(path, convert=True)


def _walk(path: Path, convert: bool) -> float:
    scaler, resampler, due, end = VideoReformatter(), av.AudioResampler("flt", "mono", RATE), 0.5 / FPS, 0.0
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        streams = [container.streams.video[0], *container.streams.audio[:1]]
        for frame in container.decode(*streams):
            end = max(end, frame.time or 0.0)
            if not convert:
                continue
            if isinstance(frame, av.AudioFrame):
                for block in resampler.resample(frame):
                    block.to_ndarray()
            elif (frame.time or 0.0) >= due:
                size = shorter_side(frame.width, frame.height, SIDE)
                scaler.reformat(frame, *size, format="rgb24", interpolation=EXACT, threads=1).to_ndarray()
                due += 1 / FPS
    return end


def through_child(decoder: Decoder) -> Callable[[Path], float]:
    def run(path: Path) -> float:
        end = 0.0
        for chapter in decoder.chapters(path, WANTED):
            chapter.frames.sum()  # so that each byte is really read
            end = chapter.span.end
        return end

    return run


def main(paths: list[Path]) -> None:
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, PyAV {av.__version__}")
    print(f"{'film':<14}{'bare':>8}{'plain':>8}{'child':>8}   child : plain")
    with Decoder() as decoder:
        decoder.probe(paths[0])
        ways = {"bare": bare, "plain": plain, "child": through_child(decoder)}
        for path in paths:
            best = dict.fromkeys(ways, 0.0)
            for _ in range(ROUNDS):
                for name, way in ways.items():
                    began = perf_counter()
                    best[name] = max(best[name], way(path) / (perf_counter() - began))
            cells = "".join(f"{speed:>7.1f}×" for speed in best.values())
            print(f"{path.name:<14}{cells}{best['child'] / best['plain']:>12.2f}")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]] or sys.exit(__doc__))
