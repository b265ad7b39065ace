"""A small change to the question's vector, so that the first stage finds what the reranker would have wanted.

    adapter = Adapter.load(Path("adapter/"))    # adapter.safetensors and adapter.json
    views = adapter(texts)                      # (Q, D) of length one

t' = normalise(t + W t + b).  Only the question changes: what is indexed stays as it is (Liu et al. 2022, Trans-Encoder,
turned to one side).  An adapter belongs to one query space.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from retriever.errors import HeadError, SpaceMismatch
from retriever.types import Floats, Matrix

VERSION = 1
"""Of the two files that an adapter is kept in."""
WEIGHTS, CARD = "adapter.safetensors", "adapter.json"


@dataclass(frozen=True)
class Adapter:
    """A residual map of texts, and the query space that it is for; `options` says how it was trained."""

    query_space: str  # `Space.query_side`; "" is any
    weight: Matrix  # (D, D)
    bias: Floats  # (D,)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        width = self.bias.size
        for name, array, shape in (("weight", self.weight, (width, width)), ("bias", self.bias, (width,))):
            if array.shape != shape or array.dtype != np.float32:
                raise HeadError(
                    f"the adapter's {name} is {array.dtype} {array.shape}, wanted float32 {shape}: distil again"
                )
            if not np.isfinite(array).all():
                raise HeadError(f"the adapter's {name} has numbers that are not finite: distil again")

    @classmethod
    def identity(cls, query_space: str, dimension: int) -> Self:
        """One that leaves every text as it is."""
        return cls(query_space, np.zeros((dimension, dimension), np.float32), np.zeros(dimension, np.float32))

    @property
    def dimension(self) -> int:
        return self.bias.size

    @property
    def digest(self) -> str:
        """SHA-256 of the weights and of what they are for."""
        summed = sha256(f"{VERSION}\x1f{self.query_space}\x1f{self.dimension}".encode())
        for array in (self.weight, self.bias):
            summed.update(np.ascontiguousarray(array, "<f4").tobytes())
        return summed.hexdigest()

    def __call__(self, texts: Matrix) -> Matrix:
        """The texts `(Q, D)` as the first stage shall see them, of length one."""
        moved = texts + texts @ self.weight.T + self.bias
        adapted: Matrix = moved / np.maximum(np.linalg.norm(moved, axis=-1, keepdims=True), 1e-12)
        return adapted

    def fits(self, query_side: str) -> None:
        """Nothing, if the adapter was trained on texts of this query side.

        Raises:
            SpaceMismatch: it was trained on others; the message names both.
        """
        if self.query_space not in ("", query_side):
            raise SpaceMismatch(
                f"the adapter was trained on texts of {self.query_space}, this library is asked by {query_side}: "
                "distil one on this library, or search without --adapter"
            )

    def save(self, folder: Path) -> None:
        """Write both files into `folder`, which is made; the card last."""
        card = {
            "version": VERSION,
            "query_space": self.query_space,
            "dimension": self.dimension,
            "digest": self.digest,
            "options": dict(self.options),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CARD).unlink(missing_ok=True)
            arrays = {"weight": np.ascontiguousarray(self.weight), "bias": np.ascontiguousarray(self.bias)}
            save_file(arrays, folder / WEIGHTS)
            (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", "utf-8")
        except (OSError, SafetensorError) as error:
            raise HeadError(f"{folder}: the adapter cannot be written: {error}") from error

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            HeadError: a file is missing or broken, of another version, or keys are missing or too many: all named.
        """
        file = folder / CARD
        try:
            card = json.loads(file.read_text("utf-8"))
        except OSError as error:
            raise HeadError(f"{folder} is no adapter: {CARD} cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise HeadError(f"{file} is not JSON ({error}): copy the adapter again") from error
        version = card.get("version") if isinstance(card, dict) else None
        if version != VERSION:
            raise HeadError(f"{file}: version is {version!r}, this reelseek reads {VERSION}: distil again")
        try:
            arrays = load_file(folder / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise HeadError(f"{folder / WEIGHTS} cannot be read as safetensors ({error}): copy it again") from error
        if set(arrays) != {"weight", "bias"}:
            raise HeadError(f"{folder / WEIGHTS} holds {', '.join(sorted(arrays))}, wanted bias, weight: distil again")
        made = cls(str(card.get("query_space", "")), arrays["weight"], arrays["bias"], card.get("options") or {})
        said = str(card.get("digest"))
        if made.digest != said:
            raise HeadError(
                f"{folder}: the weights have the digest {made.digest[:12]}, {CARD} says {said[:12]}: "
                "the two files are not of one adapter, copy both again"
            )
        return made
