"""Both towers of a model, one for media and one for texts, on one device, each read at its first use.

A family of models says how its network and tokenizer are had, and which part of the network sees or hears; what all
families have in common is here.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import torch

from encoders._checkpoints import first_line
from encoders._converted import Graph, Run, converted, keep, kept
from encoders._devices import Batches, ready
from retriever.errors import DeviceError
from retriever.types import Matrix

log = logging.getLogger(__name__)


RUNTIMES = ("auto", "torch", "compile", "openvino")


class Towers(ABC):
    """One model."""

    def __init__(
        self, model: str, digest: str, device: torch.device, dtype: torch.dtype, runtime: str = "auto"
    ) -> None:
        """
        Args:
            model: its name, for messages and for whoever wants to have it again.
            digest: of all that the media tower is read from.
            runtime: what runs the media tower: torch, compile, openvino, or auto, which is openvino on a CPU.

        Raises:
            ValueError: it is no such name.
            DeviceError: OpenVINO on another device than a CPU.
        """
        if runtime not in RUNTIMES:
            raise ValueError(f"runtime is {runtime!r}, wanted one of {', '.join(RUNTIMES)}")
        if runtime == "openvino" and device.type != "cpu":
            raise DeviceError(f"runtime openvino on {device}: it runs on CPUs; take --device cpu, or --runtime torch")
        if runtime == "auto":
            runtime = "openvino" if device.type == "cpu" else "torch"
        self.model = model
        self.digest = digest
        self.device = device
        self.dtype = dtype
        self.runtime = runtime
        self.own = torch.float32 if runtime == "openvino" else dtype  # of the torch modules
        self.batches = Batches(device)
        self._texts = Batches(device)
        self._lock = Lock()
        self._network: torch.nn.Module | None = None
        self._sense: Run | None = None
        self._tokenize: Any = None

    # ------------------------------------------------------------------------------------------- what a family says

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of one input of the media tower."""

    @abstractmethod
    def read_network(self) -> torch.nn.Module:
        """With its weights, in float32 on the CPU."""

    @abstractmethod
    def read_tokenizer(self) -> Any:
        """The model's own."""

    @abstractmethod
    def media_tower(self, network: Any) -> torch.nn.Module:
        """The part that sees or hears, as a module of its own."""

    @abstractmethod
    def drop_media_tower(self, network: Any) -> None:
        """Let the weights of that part go: somebody else has a copy."""

    # ----------------------------------------------------------------------------------------------- what all have

    def media_rows(self, count: int, inputs: Callable[[slice], torch.Tensor]) -> Matrix:
        """`(count, D)`, of the length that the network gives them, of what `inputs` has on the device."""
        sense = self._media()
        return self._finite(self.batches.run(count, lambda few: sense(inputs(few))))

    def text_rows(self, count: int, forward: Callable[[slice], torch.Tensor]) -> Matrix:
        """The same of texts, which a family encodes with `language`."""
        return self._finite(self._texts.run(count, forward))

    def language(self) -> tuple[Any, Any]:
        """The network, and the tokenizer."""
        with self._lock:
            if self._tokenize is None:
                self._tokenize = self.read_tokenizer()
            return self._read(), self._tokenize

    def _media(self) -> Run:
        with self._lock:
            if self._sense is None:
                self._sense = self._on_openvino() if self.runtime == "openvino" else self._on_torch()
                self._spare()
            return self._sense

    def _on_openvino(self) -> Run:
        """Where this machine did it before, without reading the weights again."""
        key = f"{self.digest} {self.shape} {self.dtype}"
        found = kept(key, self.dtype) if self.digest else None
        if found is not None:
            return found
        network = self._read()
        module = self.media_tower(network)
        run = converted(module, self.shape, self.dtype)
        if isinstance(run, Graph):
            self.drop_media_tower(network)  # before the graph is written: OpenVINO has its own copy of these weights
            if self.digest:
                keep(run, key)
        return run

    def _on_torch(self) -> Run:
        module = self.media_tower(self._read())
        if self.runtime == "torch":
            return module
        return faster(module, torch.zeros(1, *self.shape, device=self.device, dtype=self.own))

    def _read(self) -> torch.nn.Module:
        if self._network is None:
            self._network = ready(self.read_network(), self.device, self.own)
            self._spare()
        return self._network

    def _spare(self) -> None:
        """A graph that was kept needs no media tower of torch, whichever of the two came first."""
        if self._network is not None and isinstance(self._sense, Graph):
            self.drop_media_tower(self._network)

    def _finite(self, rows: Matrix) -> Matrix:
        if not np.isfinite(rows).all():
            raise DeviceError(
                f"{self.model} overflows in {self.dtype}: take --precision bf16 or fp32, or other weights"
            )
        return rows


def faster(module: torch.nn.Module, probe: torch.Tensor) -> Run:
    """The tower through `torch.compile`, tried with `probe`; as it is where that fails, since a compiler is not
    everywhere.  The first batch of each size takes as long as a compiler does."""
    run: Run = torch.compile(module)
    try:
        with torch.inference_mode():
            run(probe)
    except Exception as error:  # noqa: BLE001  a compiler's troubles are of all kinds
        log.warning("torch cannot compile this model (%s): it runs as it is", first_line(error))
        return module
    return run
