"""Frames and sentences in one space: any image/text model of open_clip, SigLIP and SigLIP 2 among them.

    openclip = build("ViT-B-16-SigLIP2:webli")               # pulled before with `reelseek models pull`
    openclip = build("ViT-B-32", "fine-tuned.safetensors")   # own weights
    openclip.encode_frames(frames, spans); openclip.texts.encode(["a parrot"])

Frames become pixels on the device, as the model's own preprocessing has it.  On a CPU the picture tower runs on
OpenVINO, the text tower on torch.
"""

from collections.abc import Sequence
from typing import Any

import torch

from encoders import _openclip
from encoders._devices import device_of, dtype_of, sent
from encoders._models import locate
from encoders._openclip import Tokenize, Tower
from encoders._queries import asked_of_frames
from encoders._texts import PLAIN, Texts, unit
from encoders._towers import Towers
from retriever.types import Matrix, Modality, Part, Pictures, Space, Times, Tokens, Vector

MODALITY = Modality.VISION
KIND = "pictures and texts"
NAME = "openclip"
PHOTOS = ("{}", "a photo of {}.", "a video of {}.", "a frame of a film that shows {}.")
"""For questions of a word or two: the mean of several sentences around it, as CLIP's authors did (Radford et al. 2021,
§3.1.4).  The space stays the same.  Not measured here: no trained weights were at hand."""
PROMPTS = {"plain": PLAIN, "photos": PHOTOS}


class OpenClipTowers(Towers):
    """Both towers of a model of open_clip."""

    def __init__(self, tower: Tower, device: torch.device, dtype: torch.dtype, runtime: str = "auto") -> None:
        super().__init__(tower.files.name, tower.digest, device, dtype, runtime)
        self.tower = tower

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, *self.tower.preprocessing.size)

    def read_network(self) -> torch.nn.Module:
        return _openclip.network(self.tower)

    def read_tokenizer(self) -> Tokenize:
        return _openclip.tokenizer(self.tower)

    def media_tower(self, network: Any) -> torch.nn.Module:
        return _Sight(network)

    def drop_media_tower(self, network: Any) -> None:
        network.visual = None

    def see(self, frames: Pictures) -> Matrix:
        """Frames `(N, H, W, 3)` as rows `(N, D)`, of the length that the network gives them."""
        setup = self.tower.preprocessing
        return self.media_rows(len(frames), lambda few: setup.pixels(frames[few], self.device, self.own))

    def read(self, sentences: list[str]) -> Matrix:
        """Sentences as rows `(N, D)`."""
        model, tokenize = self.language()
        tokens = tokenize(sentences).numpy()
        return self.text_rows(
            len(tokens), lambda few: model.encode_text(sent(tokens[few], self.device), normalize=False)
        )


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

    def __init__(self, towers: OpenClipTowers, prompts: Sequence[str] = PLAIN) -> None:
        tower = towers.tower
        self._towers = towers
        self.model = towers.model
        self.digest = tower.digest
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
        return asked_of_frames(part, self.texts, self.encode_frames)

    def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
        """One token a frame."""
        if len(frames) != len(spans):
            raise ValueError(f"every frame needs its span: {len(frames)} frames, {len(spans)} spans")
        if not len(frames):
            return Tokens.none(self.space.dimension)
        rows, norms = unit(self._towers.see(frames))
        return Tokens(rows, spans, norms)


def build(
    model: str,
    checkpoint: str = "",
    *,
    device: str = "auto",
    precision: str = "auto",
    runtime: str = "auto",
    prompts: str = "plain",
) -> OpenClip:
    """The encoder of frames and sentences.

    Args:
        model, checkpoint: see `encoders._models.locate`.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.
        runtime: auto, torch, compile or openvino, see `encoders._towers`.
        prompts: sentences around a question: plain, photos, or own ones with `{}` in each and `|` between them.

    Raises:
        UnknownModel, MissingWeights, AlteredWeights, WrongCheckpoint, DeviceError: as their names say.
    """
    place = device_of(device)
    found = _openclip.tower(locate("openclip", model, checkpoint))
    towers = OpenClipTowers(found, place, dtype_of(precision, place), runtime)
    return OpenClip(towers, PROMPTS.get(prompts) or prompts.split("|"))
