"""The machine beside the number: what every benchmark prints first, and how it takes its times.

A time alone says little on a shared machine.  Two things that are to be compared are therefore run by turns, and the
benchmark prints their ratio beside the times.

python benchmarks/machine.py    # prints this machine
"""

import os
import platform
import resource
import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

import numpy as np

LIBRARIES = ("numpy", "faiss-cpu", "faiss-gpu-cu12", "openvino", "onnxruntime", "torch", "av", "decord2")
"""Packages whose version decides a figure; those that are not installed are left out."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that each of several runs of one thing took."""

    seconds: tuple[float, ...]

    def quantile(self, share: float) -> float:
        return float(np.quantile(self.seconds, share))

    @property
    def median(self) -> float:
        return self.quantile(0.5)

    def __str__(self) -> str:
        return (
            f"p50 {1e3 * self.median:.2f} ms, p99 {1e3 * self.quantile(0.99):.2f} ms, "
            f"max {1e3 * max(self.seconds):.2f} ms over {len(self.seconds)} runs"
        )


def processor() -> str:
    """The processor's own name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def vector_units() -> str:
    """Those of the processor's vector extensions that our libraries tell apart."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return "unknown"
    known = ("avx2", "f16c", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd")
    flags = set(cpuinfo.read_text().split())
    return " ".join(flag for flag in known if flag in flags) or "none"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gigabytes() -> float:
    """Memory of the machine, in GB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def libraries(names: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Version by package, of those that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def peak_megabytes() -> float:
    """The most memory that this process has held, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def describe() -> str:
    """The machine in a few lines of text."""
    versions = " · ".join(f"{name} {number}" for name, number in libraries().items())
    return "\n".join(
        (
            f"machine: {processor()} ({vector_units()}), {cores()} cores, {gigabytes():.0f} GB, {platform.system()}",
            f"python {platform.python_version()} · sqlite {sqlite3.sqlite_version} · {versions}",
            f"load at the start: {' '.join(f'{load:.1f}' for load in os.getloadavg())}",
        )
    )


def timed(work: Callable[[], object], runs: int = 5, warm: int = 1) -> Times:
    """How long `work` takes, after `warm` runs that are not counted."""
    for _ in range(warm):
        work()
    return Times(tuple(_once(work) for _ in range(runs)))


def by_turns(works: Sequence[Callable[[], object]], runs: int = 5, warm: int = 1) -> list[Times]:
    """Times of several things to be compared, run by turns so that what else the machine does meets them alike."""
    for work in works:
        for _ in range(warm):
            work()
    rounds = [[_once(work) for work in works] for _ in range(runs)]
    return [Times(tuple(column)) for column in zip(*rounds, strict=True)]


def ratio(first: Times, second: Times) -> float:
    """How many times as long as `second` the `first` takes: the median over rounds that were run by turns."""
    return float(np.median(np.array(first.seconds) / np.array(second.seconds)))


def _once(work: Callable[[], object]) -> float:
    begun = perf_counter()
    work()
    return perf_counter() - begun


if __name__ == "__main__":
    print(describe())
