"""Both towers of a model, one for media and one for texts, on one device, each read at its first use.

A family of models says how its network and tokenizer are had, and which part of the network sees or hears; what the two
families have in common is here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import torch

from encoders._converted import Run, converted
from encoders._devices import Batches, ready
from retriever.errors import DeviceError
from retriever.types import Matrix


class Towers(ABC):
    """One model."""

    def __init__(self, model: str, device: torch.device, dtype: torch.dtype) -> None:
        """`model` is its name, for messages and for whoever wants to have it again."""
        self.model = model
        self.device = device
        self.dtype = dtype
        self.own = torch.float32 if device.type == "cpu" else dtype  # of the torch modules
        self.batches = Batches(device)
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
        return self._finite(self.batches.run(count, forward))

    def language(self) -> tuple[Any, Any]:
        """The network, and the tokenizer."""
        with self._lock:
            if self._tokenize is None:
                self._tokenize = self.read_tokenizer()
            return self._read(), self._tokenize

    def _media(self) -> Run:
        with self._lock:
            if self._sense is None:
                network = self._read()
                self._sense = module = self.media_tower(network)
                if self.device.type == "cpu":
                    self._sense = converted(module, self.shape, self.dtype)
                if self._sense is not module:
                    self.drop_media_tower(network)  # OpenVINO has its own copy of these weights
            return self._sense

    def _read(self) -> torch.nn.Module:
        if self._network is None:
            self._network = ready(self.read_network(), self.device, self.own)
        return self._network

    def _finite(self, rows: Matrix) -> Matrix:
        if not np.isfinite(rows).all():
            raise DeviceError(
                f"{self.model} overflows in {self.dtype}: take --precision bf16 or fp32, or other weights"
            )
        return rows
