"""Frames and sentences in one space: any image/text model of open_clip, SigLIP and SigLIP 2 among them.

    openclip = build("ViT-B-16-SigLIP2:webli")               # pulled before with `reelseek models pull`
    openclip = build("ViT-B-32", "fine-tuned.safetensors")   # own weights
    openclip.encode_frames(frames, spans); openclip.texts.encode(["a parrot"])

Frames become pixels on the device, as the model's own preprocessing has it.  On a CPU the picture tower runs on
OpenVINO, the text tower on torch.
"""

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch

from encoders import _openclip
from encoders._converted import Run, converted
from encoders._devices import Batches, device_of, dtype_of, ready, sent
from encoders._models import locate
from encoders._openclip import Tokenize, Tower
from encoders._texts import PLAIN, Texts, unit
from retriever.errors import DeviceError
from retriever.types import Matrix, Modality, Part, Picture, Pictures, Space, Text, Times, Tokens, Vector

MODALITY = Modality.VISION
KIND = "pictures and texts"
NAME = "openclip"
PHOTOS = ("{}", "a photo of {}.", "a video of {}.", "a frame of a film that shows {}.")
"""For questions of a word or two: the mean of several sentences around it, as CLIP's authors did (Radford et al. 2021,
§3.1.4).  The space stays the same.  Not measured here: no trained weights were at hand."""


class Towers:
    """Both towers of a model on one device, read at the first use."""

    def __init__(self, tower: Tower, device: torch.device, dtype: torch.dtype) -> None:
        self.tower = tower
        self.device = device
        self.dtype = dtype
        self.own = torch.float32 if device.type == "cpu" else dtype  # of the torch modules
        self.batches = Batches(device)
        self._lock = Lock()
        self._model: torch.nn.Module | None = None
        self._seeing: Run | None = None
        self._tokenize: Tokenize | None = None

    def see(self, frames: Pictures) -> Matrix:
        """Frames `(N, H, W, 3)` as rows `(N, D)`, of the length that the network gives them."""
        seeing, setup = self._sight(), self.tower.preprocessing
        rows = self.batches.run(len(frames), lambda few: seeing(setup.pixels(frames[few], self.device, self.own)))
        return self._finite(rows)

    def read(self, sentences: list[str]) -> Matrix:
        """Sentences as rows `(N, D)`."""
        model, tokenize = self._language()
        tokens = tokenize(sentences).numpy()
        encode: Any = model.encode_text
        return self._finite(
            self.batches.run(len(tokens), lambda few: encode(sent(tokens[few], self.device), normalize=False))
        )

    def _finite(self, rows: Matrix) -> Matrix:
        if not np.isfinite(rows).all():
            raise DeviceError(
                f"{self.tower.files.name} overflows in {self.dtype}: take --precision bf16 or fp32, or other weights"
            )
        return rows

    def _language(self) -> tuple[torch.nn.Module, Tokenize]:
        with self._lock:
            if self._tokenize is None:
                self._tokenize = _openclip.tokenizer(self.tower)
            return self._loaded(), self._tokenize

    def _sight(self) -> Run:
        with self._lock:
            if self._seeing is None:
                model: Any = self._loaded()
                self._seeing = sight = _Sight(model)
                if self.device.type == "cpu":
                    self._seeing = converted(sight, (3, *self.tower.preprocessing.size), self.dtype)
                if self._seeing is not sight:
                    model.visual = None  # OpenVINO has its own copy of these weights
            return self._seeing

    def _loaded(self) -> torch.nn.Module:
        if self._model is None:
            self._model = ready(_openclip.network(self.tower), self.device, self.own)
        return self._model


class _Sight(torch.nn.Module):
    """`encode_image` as a module: what OpenVINO takes."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.model.encode_image(pixels, normalize=False)
        return rows


class OpenClip:
    """A `FrameEncoder`, and `texts` of the same space.  Both know who they are before any weight is read."""

    modality = MODALITY

    def __init__(self, towers: Towers, prompts: Sequence[str] = PLAIN) -> None:
        tower = towers.tower
        self._towers = towers
        self.texts = Texts(NAME, tower.digest, tower.dimension, towers.read, prompts)
        self.side = max(tower.preprocessing.size)
        self.space = Space(
            name=NAME,
            modality=self.modality,
            dimension=tower.dimension,
            media_side=f"{NAME}:{tower.digest[:12]}",
            query_side=f"{NAME}:{tower.digest[:12]}",
            preprocessing=str(tower.preprocessing),
        )

    def encode_query(self, part: Part) -> Vector | None:
        """A text through the text tower; a picture as a frame is; of sounds nothing is known."""
        if isinstance(part, Text):
            sentence: Vector = self.texts.encode([part.text])[0]
            return sentence
        if isinstance(part, Picture):
            token: Vector = self.encode_frames(part.pixels[None], np.array([[0.0, 1.0]])).rows[0]
            return token
        return None

    def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
        """One token a frame."""
        if len(frames) != len(spans):
            raise ValueError(f"every frame needs its span: {len(frames)} frames, {len(spans)} spans")
        if not len(frames):
            return Tokens.none(self.space.dimension)
        rows, norms = unit(self._towers.see(frames))
        return Tokens(rows, spans, norms)


def build(
    model: str, checkpoint: str = "", *, device: str = "auto", precision: str = "auto", prompts: Sequence[str] = PLAIN
) -> OpenClip:
    """The encoder of frames and sentences.

    Args:
        model, checkpoint: see `encoders._models.locate`.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.
        prompts: sentences around a question, `PLAIN` or `PHOTOS`.

    Raises:
        UnknownModel, MissingWeights, AlteredWeights, WrongCheckpoint, DeviceError: as their names say.
    """
    place = device_of(device)
    dtype = dtype_of(precision, place)
    return OpenClip(Towers(_openclip.tower(locate("openclip", model, checkpoint)), place, dtype), prompts)
