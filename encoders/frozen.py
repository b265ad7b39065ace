"""Clips and sentences in one space: the two towers of Frozen in Time (Bain et al., ICCV 2021).

    frozen = build("cc-webvid2m-4f_stformer_b_16_224.pth.tar")   # its authors' file, a tokenizer beside it
    frozen.encode_clips([Stretch(frames, spans)]); frozen.texts.encode(["a door opens"])

Whoever has the file puts `tokenizer.json` or `vocab.txt` of distilbert-base-uncased into the same folder.  A clip is as
many frames as the weights know, four in those that are published.  On a CPU the video tower runs on OpenVINO, the text
tower on torch.
"""

from typing import Any

import torch

from encoders import _frozen
from encoders._clips import Clips, ClipTowers
from encoders._devices import device_of, dtype_of, sent
from encoders._frozen import FrozenInTime, Tokenize, Tower
from encoders._models import locate
from encoders._texts import Texts
from retriever.types import Matrix, Modality

MODALITY = Modality.VISION
KIND = "clips and texts"
NAME = "frozen"


class FrozenTowers(ClipTowers):
    """Both towers of a model."""

    def __init__(self, tower: Tower, device: torch.device, dtype: torch.dtype, runtime: str = "auto") -> None:
        name, frames = tower.files.name, tower.sizes.frames
        super().__init__(name, tower.preprocessing, frames, device, dtype, runtime, tower.digest)
        self.tower = tower

    def read_network(self) -> FrozenInTime:
        return _frozen.network(self.tower)

    def read_tokenizer(self) -> Tokenize:
        return _frozen.tokenizer(self.tower)

    def media_tower(self, network: Any) -> torch.nn.Module:
        return torch.nn.Sequential(network.video_model, network.vid_proj)

    def drop_media_tower(self, network: Any) -> None:
        network.video_model = network.vid_proj = None

    def read(self, sentences: list[str]) -> Matrix:
        """Sentences as rows `(N, D)`."""
        network, tokenize = self.language()
        tokens, mask = tokenize(sentences)
        return self.text_rows(
            len(tokens), lambda few: network.read(sent(tokens[few], self.device), sent(mask[few], self.device))
        )


def build(
    model: str, checkpoint: str = "", *, device: str = "auto", precision: str = "auto", runtime: str = "auto"
) -> Clips:
    """The encoder of clips and sentences.

    Args:
        model, checkpoint: see `encoders._models.locate`.  A checkpoint of torch is read here, once; of a file of
            safetensors only the header.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.
        runtime: auto, torch, compile or openvino, see `encoders._towers`.

    Raises:
        UnknownModel, MissingWeights, AlteredWeights, WrongCheckpoint, DeviceError: as their names say.
    """
    place = device_of(device)
    tower = _frozen.tower(locate("frozen", model, checkpoint))
    towers = FrozenTowers(tower, place, dtype_of(precision, place), runtime)
    return Clips(NAME, towers, Texts(NAME, tower.digest, tower.sizes.dimension, towers.read), tower.digest)
