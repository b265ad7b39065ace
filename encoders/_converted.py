"""A torch tower on OpenVINO: on CPUs, where it is as fast or faster, and the way to bfloat16 (`docs/experiments.md`).

    run = converted(tower, (3, 224, 224), torch.float32)    # takes seconds, once a process
    rows = run(pixels)                                      # (N, 3, 224, 224) → (N, D)

Unlike the offline pack's networks, which are built from arrays, these are of too many kinds to be built here: torch
traces them.  What comes out must agree with torch on a batch of another size than was traced.
"""

import logging
import warnings
from collections.abc import Callable
from threading import Lock
from typing import Any

import openvino as ov
import torch

from encoders._graphs import compiled

log = logging.getLogger(__name__)

Run = Callable[[torch.Tensor], torch.Tensor]

HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}
"""OpenVINO takes bf16 as leave, not as order: where the processor has none, it calculates in float32."""
LEAST = {torch.float32: 0.9999, torch.bfloat16: 0.999}
"""The cosine to torch's own answer."""
TRACED, CHECKED = 2, 3  # pictures in the two batches


def converted(module: torch.nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> Run:
    """The tower on the CPU runtime; on torch as it is where OpenVINO cannot take it over.

    Args:
        module: in float32 on the CPU, `(N, *shape)` → `(N, D)`.
        shape: of one input.
        dtype: what to calculate in, float32 or bfloat16.
    """
    try:
        run = _compiled(_traced(module, shape), HINTS[dtype])
        with torch.inference_mode():
            probe = torch.rand(CHECKED, *shape, generator=torch.Generator().manual_seed(0))
            alike = float(torch.cosine_similarity(run(probe), module(probe)).min())
    except Exception as error:  # noqa: BLE001  tracing runs others' code, which raises anything
        log.warning("OpenVINO cannot run this model (%s): torch does, more slowly", str(error).partition("\n")[0])
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


def _compiled(model: ov.Model, hint: str) -> Run:
    network: Any = compiled(model, hint)
    one_by_one = Lock()  # a second caller at once would be refused; one keeps all cores busy

    def run(inputs: torch.Tensor) -> torch.Tensor:
        with one_by_one:
            return torch.from_numpy(network([inputs.contiguous().numpy()])[0].copy())

    return run
