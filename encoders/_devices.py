"""Where networks run, in which precision, and in batches of what size.

    device = device_of("auto")                  # cuda, else mps, else cpu
    dtype = dtype_of("auto", device)            # bfloat16 where a GPU has it, float32 on a CPU
    rows = Batches(device).run(1000, forward)   # (1000, D); where memory runs out, batches are halved

No line for GPUs in here has run on one yet.
"""

import logging
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from retriever.errors import DeviceError
from retriever.types import Matrix

log = logging.getLogger(__name__)

KINDS = "auto, cpu, cuda, cuda:N or mps"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
AMPERE = (8, 0)  # compute capability of the first GPUs that calculate in bfloat16
ROWS = {"cpu": 16, "mps": 32, "cuda": 128}
"""Rows in a batch; a CPU of a few cores gains nothing from more."""
PICTURES = 4  # dimensions of a convolution over pictures
STEP = 4  # what is left over goes in batches of a fourth, a sixteenth, …: every size costs memory and a warm-up


def device_of(name: str) -> torch.device:
    """The device of this name.

    Raises:
        ValueError: it is no such name.
        DeviceError: this machine, or this build of torch, does not have it.
    """
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (number and (kind != "cuda" or not number.isdecimal())):
        raise ValueError(f"device is {name!r}, wanted {KINDS}")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind == "cuda":
        return _gpu(name, number)
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device mps: torch finds no Apple GPU here; take --device cpu or auto")
    return torch.device(kind)


def _gpu(name: str, number: str) -> torch.device:
    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not here:
        why = "no CUDA device" if torch.version.cuda else f"torch {torch.__version__} is built without CUDA"
        raise DeviceError(f"device {name}: {why}; take --device cpu or auto, or install torch for CUDA and a driver")
    if number and int(number) >= here:
        raise DeviceError(f"device {name}: there are {here} CUDA devices, the last is cuda:{here - 1}")
    return torch.device("cuda", int(number)) if number else torch.device("cuda", torch.cuda.current_device())


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """The numbers to calculate with.  `auto` is float32, and on GPUs bfloat16, or float16 where they lack that.

    Rows of one model in two precisions have cosines above 0.999, so precision is no part of a space.

    Raises:
        ValueError: it is no such name.
        DeviceError: the device does not calculate so.
    """
    if precision == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= AMPERE else torch.float16
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, wanted auto, {', '.join(PRECISIONS)}")
    if precision == "fp16" and device.type == "cpu":
        raise DeviceError("precision fp16: CPUs calculate in it slowly or not at all; take bf16 or fp32")
    return PRECISIONS[precision]


def ready(module: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
    """The network on its device, for answering only; weights of convolutions over pictures lie channels last.

    Who asks for float32 on a GPU gets it: cuDNN rounds what it convolves to 10 bits unless told.
    """
    if device.type == "cuda" and dtype == torch.float32:
        torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    placed: torch.nn.Module = module.eval().requires_grad_(False).to(device, dtype)
    for weight in placed.parameters():
        if weight.dim() == PICTURES:  # `to` refuses a network that convolves over time as well
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return placed


def sent(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """A copy on the device.  To a GPU it goes from pinned memory, and nobody waits for it."""
    kind = torch.from_numpy(np.empty(0, array.dtype)).dtype
    host = torch.empty(array.shape, dtype=kind, pin_memory=device.type == "cuda")
    host.numpy()[...] = array
    return host.to(device, non_blocking=True)


class Batches:
    """Rows through a network, some at a time.  A batch that does not fit is halved, and so are all that follow."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.most = ROWS[device.type]

    def run(self, count: int, forward: Callable[[slice], torch.Tensor]) -> Matrix:
        """`(count, D)` float32.  Results stay on the device to the end, so that a GPU is never waited for between.

        Args:
            forward: of rows that a slice names, as a tensor `(n, D)`.

        Raises:
            DeviceError: not even one row fits.
        """
        parts: list[torch.Tensor] = []
        start = 0
        with torch.inference_mode():
            while start < count:
                size = self._size(count - start)
                part = self._tried(forward, slice(start, start + size))
                if part is None:
                    self._halve(size)
                else:
                    parts.append(part)
                    start += size
            joined: Matrix = torch.cat(parts).float().cpu().numpy()
        return joined

    def _size(self, left: int) -> int:
        return next(size for size in self._sizes() if size <= left)

    def _sizes(self) -> Iterator[int]:
        size = self.most
        while size > 1:
            yield size
            size //= STEP
        yield 1

    @staticmethod
    def _tried(forward: Callable[[slice], torch.Tensor], rows: slice) -> torch.Tensor | None:
        """None where memory ran out: the error is let go, since it holds all that was on the device."""
        try:
            return forward(rows)
        except torch.OutOfMemoryError:
            return None

    def _halve(self, size: int) -> None:
        if size == 1:
            raise DeviceError(
                f"{self._device} has too little memory for one input: end what else uses it, take a smaller model, "
                "--precision bf16, or --device cpu"
            )
        self.most = size // 2
        log.warning("%s has no memory for %d inputs at once: on with %d", self._device, size, self.most)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
