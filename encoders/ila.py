"""Clips through ILA (Tu et al., ICCV 2023): CLIP whose frames are laid over each other, so that it sees what moves.

    ila = build(minilm, "ssv2/")     # a folder with the authors' checkpoint and labels.csv
    ila.encode_clips([stretch]); ila.texts.encode(["pushing something off a table"])

A checkpoint with a classifier (theirs of Something-Something v2) reaches sentence space through the names of its
classes, as the offline pack's encoders do.  One with a text tower (theirs of Kinetics-400) has a space of its own.
"""

from functools import cached_property
from typing import Any, Final

import torch
from open_clip.tokenizer import SimpleTokenizer

from encoders import _ila
from encoders._bridge import Bridge, Layer, Mix, bridge, softmax
from encoders._bridge import Texts as ClassTexts
from encoders._clips import Clips, ClipTowers, Cut
from encoders._devices import device_of, dtype_of, sent
from encoders._ila import Published
from encoders._models import locate
from encoders._texts import Texts
from retriever.ports import SentenceEncoder
from retriever.types import Matrix, Modality, Tokens

MODALITY = Modality.VISION
KIND = "clips"
NAME: Final = "ila"
PROMPTS = ("{}", "a video of {}")
MIX = Mix(penalty=10.0, share=0.5)  # as the other bridges have it: no trained weights were at hand


class IlaTowers(ClipTowers):
    """The network of a checkpoint."""

    def __init__(self, published: Published, device: torch.device, dtype: torch.dtype, runtime: str = "auto") -> None:
        plan = published.plan
        name, digest = published.files.name, published.digest
        super().__init__(name, plan.preprocessing, plan.frames, device, dtype, runtime, digest)
        self._published = published

    def read_network(self) -> torch.nn.Module:
        return _ila.network(self._published)

    def read_tokenizer(self) -> Any:
        return SimpleTokenizer(context_length=self._published.plan.context)

    def media_tower(self, network: Any) -> torch.nn.Module:
        sight: torch.nn.Module = network.sight()
        return sight

    def drop_media_tower(self, network: Any) -> None:
        network.visual = network.mit = None

    def read(self, sentences: list[str]) -> Matrix:
        """Sentences as rows `(N, D)`, where there is a text tower."""
        network, tokenize = self.language()
        tokens = tokenize(sentences).numpy()
        return self.text_rows(len(tokens), lambda few: network.encode_text(sent(tokens[few], self.device)))


class Actions(Clips):
    """A `ClipEncoder` whose tokens lie among sentences, and whose labels are the network's best guesses."""

    def __init__(self, published: Published, layer: Layer, towers: IlaTowers, sentences: SentenceEncoder) -> None:
        super().__init__(f"{NAME}→{sentences.name}", towers, sentences, published.digest)
        self._names = published.names
        self._layer = layer

    def tokens(self, raw: Matrix, cut: Cut) -> Tokens:
        """Of logits `(W, C)`."""
        chances = softmax(raw)
        rows, norms = self._bridge.cross(chances, raw)
        return Tokens(rows, cut.spans, norms, *self._bridge.labels(chances))

    @cached_property
    def _bridge(self) -> Bridge:
        key = f"{self.digest} {' | '.join(PROMPTS)}"
        return bridge(NAME, key, self._class_texts, self._layer, MIX, self.texts)

    def _class_texts(self) -> ClassTexts:
        said = [name[0].lower() + name[1:] for name in self._names]
        return ClassTexts(self._names, tuple(tuple(prompt.format(name) for name in said) for prompt in PROMPTS))


def build(
    sentences: SentenceEncoder,
    model: str,
    checkpoint: str = "",
    *,
    device: str = "auto",
    precision: str = "auto",
    runtime: str = "auto",
) -> Clips:
    """The encoder of clips.

    Args:
        sentences: where classes lie; a checkpoint with a text tower does without.
        model, checkpoint: see `encoders._models.locate`: a folder, or a file of weights.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.
        runtime: auto, torch, compile or openvino.

    Raises:
        MissingWeights, AlteredWeights, WrongCheckpoint, DeviceError: as their names say.
    """
    place = device_of(device)
    dtype = dtype_of(precision, place)
    published = _ila.read(locate(NAME, model, checkpoint))
    towers = IlaTowers(published, place, dtype, runtime)
    if published.layer is not None:
        return Actions(published, published.layer, towers, sentences)
    texts = Texts(NAME, published.digest, published.plan.dimension, towers.read)
    return Clips(NAME, towers, texts, published.digest)
