"""Many short files: whether each costs as much as the one before, and memory stays what it is."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from time import perf_counter

import av
import numpy as np
import psutil
from numpy.typing import NDArray

from indexer import pipeline, sources
from indexer.events import Committed, Event, Watch
from indexer.executors import local as executor
from indexer.run import Run

SOUND_RATE = 48_000
ENDS = 100
"""Files at the beginning and at the end whose rates are compared; a third of a shorter corpus."""


def clip(path: Path, seconds: float, size: tuple[int, int], seed: int) -> Path:
    """A clip of moving noise and a tone, H.264 and AAC, made on the spot."""
    rng = np.random.default_rng(seed)
    width, height = size
    ground = rng.integers(0, 255, (height // 16, width // 16, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        for number in range(int(seconds * 25)):
            frame = av.VideoFrame.from_ndarray(np.roll(ground, 4 * number, axis=1), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        time = np.arange(int(seconds * SOUND_RATE)) / SOUND_RATE
        tone = (0.3 * np.sin(2 * np.pi * (200 + 20 * (seed % 40)) * time)).astype(np.float32)
        for start in range(0, len(tone), 1024):
            block = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))
    return path


def grown(counts: Sequence[int], run: Callable[[Watch], Run], scratch: Path, seconds: float) -> None:
    """Index so many files of `seconds` each, every count into a library of its own, and print what one cost."""
    folder = scratch / "short"
    folder.mkdir()
    files = [clip(folder / f"{number:05d}.mp4", seconds, (320, 240), number) for number in range(max(counts))]
    _indexed(files[: min(len(files), 10)], run)  # everything is loaded and warm
    costs = []
    for count in counts:
        at, bytes_, spent = _indexed(files[:count], run)
        costs.append(spent / count)
        few = min(ENDS, count // 3)
        first, last = few / (at[few] - at[0]), few / (at[-1] - at[-1 - few])
        print(f"\n{count:,} files of {seconds:g} s in {spent:.1f} s: {1000 * costs[-1]:.1f} ms a file", end="")
        print(f", {costs[-1] / costs[0]:.3f} of what it costs among {counts[0]:,}")
        print(f"  the first {few}: {first:.1f} files/s, the last {few}: {last:.1f}, last to first {last / first:.3f}")
        steps = np.array_split(bytes_ / 1e6, min(6, count))
        print("  memory in MB, sixth by sixth: " + "  ".join(f"{step.mean():.0f}" for step in steps), end="")
        print(f"; last to second sixth {steps[-1].mean() / steps[min(1, len(steps) - 1)].mean():.3f}")


def _indexed(
    files: Sequence[Path], run: Callable[[Watch], Run]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """When each file was committed, what this process and its children held by then, and seconds in all."""
    process, at, held = psutil.Process(), list[float](), list[float]()

    def watch(event: Event) -> None:
        if isinstance(event, Committed):
            at.append(perf_counter())
            family = [process, *process.children(recursive=True)]
            held.append(sum(member.memory_info().rss for member in family if member.is_running()))

    one = run(watch)
    began = perf_counter()
    pipeline.index(sources.found(files), one, executor.build())
    spent = perf_counter() - began
    one.store.close()
    return np.array(at), np.array(held), spent
