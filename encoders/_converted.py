"""A torch tower on OpenVINO: on CPUs, where it is as fast or faster, and the way to bfloat16 (`docs/experiments.md`).

    run = converted(tower, (3, 224, 224), torch.float32)    # takes seconds
    keep(run, key)                                          # once a machine: then `kept(key, dtype)` has it
    rows = run(pixels)                                      # (N, 3, 224, 224) → (N, D)

Unlike the offline pack's networks, which are built from arrays, these are of too many kinds to be built here: torch
traces them.  What comes out must agree with torch on a batch of another size than was traced.
"""

import logging
import os
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from hashlib import file_digest, sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from threading import Lock
from typing import Any

import openvino as ov
import torch

from encoders._cache import cache_folder
from encoders._checkpoints import first_line
from encoders._graphs import compiled, opened

log = logging.getLogger(__name__)

Run = Callable[[torch.Tensor], torch.Tensor]

HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}
"""OpenVINO takes bf16 as leave, not as order: where the processor has none, it calculates in float32."""
LEAST = {torch.float32: 0.9999, torch.bfloat16: 0.999}
"""The cosine to torch's own answer."""
TRACED, CHECKED = 2, 3  # pictures in the two batches
GRAPHS = 6
"""Graphs that a machine keeps, each as large as its tower in float32; the one that was not used for longest goes."""
REVISION = "1"
"""Of how a tower becomes a graph."""
LIBRARIES = ("open_clip_torch", "transformers", "timm")
"""Whose networks are traced: another version may calculate otherwise."""
GRAPH, WEIGHTS, SUM = "graph.xml", "graph.bin", "sum"


class Graph:
    """A tower on OpenVINO."""

    def __init__(self, model: ov.Model, dtype: torch.dtype) -> None:
        self.model: ov.Model | None = model
        self._network: Any = compiled(model, HINTS[dtype])
        self._one_by_one = Lock()  # a second caller at once would be refused; one keeps all cores busy

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        with self._one_by_one:
            return torch.from_numpy(self._network([inputs.contiguous().numpy()])[0].copy())


def converted(module: torch.nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> Run:
    """The tower on the CPU runtime; on torch as it is where OpenVINO cannot take it over.

    Args:
        module: in float32 on the CPU, `(N, *shape)` → `(N, D)`.
        shape: of one input.
        dtype: what to calculate in, float32 or bfloat16.
    """
    try:
        run = Graph(_traced(module, shape), dtype)
        with torch.inference_mode():
            probe = torch.rand(CHECKED, *shape, generator=torch.Generator().manual_seed(0))
            alike = float(torch.cosine_similarity(run(probe), module(probe)).min())
    except Exception as error:  # noqa: BLE001  tracing runs others' code, which raises anything
        log.warning("OpenVINO cannot run this model (%s): torch does, more slowly", first_line(error))
        return module
    if alike < LEAST[dtype]:
        log.warning("OpenVINO answers otherwise than torch (cosine %.4f): torch runs the model, more slowly", alike)
        return module
    return run


def _traced(module: torch.nn.Module, shape: tuple[int, ...]) -> ov.Model:
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns of every size that is asked for
        trace: Any = torch.jit.trace
        traced = trace(module, torch.zeros(TRACED, *shape), check_trace=False)
        model: ov.Model = ov.convert_model(traced)
    model.reshape(ov.PartialShape([-1, *shape]))
    return model


def kept(key: str, dtype: torch.dtype) -> Graph | None:
    """The graph that was kept under this key; None where there is none, or not what was written."""
    folder = _folder(key)
    try:
        if (folder / SUM).read_text() != _sum(folder):
            return None
        found = Graph(opened(folder / GRAPH), dtype)
        os.utime(folder)
    except (OSError, RuntimeError):  # whatever OpenVINO raises is a RuntimeError
        return None
    found.model = None
    return found


def keep(graph: Graph, key: str) -> None:
    """Write the graph where `kept` finds it, whole or not at all.  A folder that cannot be written costs time at every
    start, and a warning.  The graph lets its second copy of the weights go."""
    folder = _folder(key)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(mkdtemp(prefix=".", dir=folder.parent))
        try:
            ov.save_model(graph.model, beside / GRAPH, compress_to_fp16=False)
            (beside / SUM).write_text(_sum(beside))
            shutil.rmtree(folder, ignore_errors=True)  # if it is there, it was none
            try:
                beside.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was quicker
                    raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        _sweep(folder.parent)
    except (OSError, RuntimeError) as error:
        log.warning(
            "%s cannot be kept (%s), so it is converted at every start: set REELSEEK_CACHE to a folder that can be "
            "written",
            folder,
            first_line(error),
        )
    graph.model = None


def _folder(key: str) -> Path:
    libraries = " ".join(version(name) for name in LIBRARIES if find_spec(name.replace("_torch", "")) is not None)
    every = f"{REVISION} {key} {torch.__version__} {ov.__version__} {libraries}"
    return graphs_folder() / sha256(every.encode()).hexdigest()[:16]


def graphs_folder() -> Path:
    return cache_folder() / "graphs"


def _sum(folder: Path) -> str:
    """SHA-256 of a graph's two files."""
    sums = []
    for name in (GRAPH, WEIGHTS):
        with (folder / name).open("rb") as stream:
            sums.append(file_digest(stream, "sha256").hexdigest())
    return " ".join(sums)


def _sweep(folder: Path) -> None:
    """Of the graphs of a machine the last ones used stay."""
    used = {}
    for graph in folder.iterdir():
        with suppress(OSError):  # another process sweeps too
            used[graph] = graph.stat().st_mtime
    for graph in sorted(used, key=lambda graph: -used[graph])[GRAPHS:]:
        shutil.rmtree(graph, ignore_errors=True)
