"""Frames among sentences: EfficientNet-Lite2 names what it sees among 1,000 ImageNet classes, and sentence space knows
where those names lie.

Small, honest and offline.  It knows things and animals; of actions, people and places it only sees what is around.
"""

from collections.abc import Iterator
from functools import cached_property
from hashlib import sha256

import numpy as np
import openvino as ov

from encoders._bridge import Bridge, Layer, Mix, Texts, bridge, softmax
from encoders._efficientnet import SIDE, graph, read_weights
from encoders._graphs import Arrays, batches, compiled, kept
from encoders._queries import asked_of_frames
from encoders._squares import squares
from encoders._weights import CLASS_WORDS, CONCEPTS
from retriever.ports import SentenceEncoder
from retriever.types import Modality, Part, Pictures, Space, Times, Tokens, Vector

MODALITY = Modality.VISION
KIND = "frames"
CHECKPOINT = "models/efficientnet-lite2-9656183e.pth"
MEAN, SPREAD = 0.498 * 255, 0.502 * 255  # of the pixels that it was trained on
TEMPERATURE = 1.25  # of the probabilities that are averaged; the labels show those of temperature 1
MIX = Mix(penalty=10.0, share=0.5)
REVISION = f"square{SIDE}-t{TEMPERATURE}-ridge{MIX.penalty}x{MIX.share}-1"


class Concepts:
    """A `FrameEncoder`.  The network is read at the first frame."""

    modality = MODALITY
    side = SIDE

    def __init__(self, sentences: SentenceEncoder) -> None:
        digest = sha256(f"{CONCEPTS.digest} {CLASS_WORDS.digest}".encode()).hexdigest()
        self._sentences = sentences
        self.space = Space(
            name=f"concepts→{sentences.name}",
            modality=self.modality,
            dimension=sentences.dimension,
            media_side=f"concepts:{digest[:12]}",
            query_side=f"{sentences.name}:{sentences.digest[:12]}",
            preprocessing=REVISION,
        )

    def encode_query(self, part: Part) -> Vector | None:
        """A text through the sentence encoder; a picture as a frame is; of sounds nothing is known."""
        return asked_of_frames(part, self._sentences, self.encode_frames)

    def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
        """One token a frame; its labels are the network's best guesses."""
        if len(frames) != len(spans):
            raise ValueError(f"every frame needs its span: {len(frames)} frames, {len(spans)} spans")
        return Tokens.joined(
            [self._tokens(frames[rows], spans[rows]) for rows in batches(len(frames))], self.space.dimension
        )

    def _tokens(self, frames: Pictures, spans: Times) -> Tokens:
        logits = self._network((squares(frames, SIDE) - np.float32(MEAN)) / np.float32(SPREAD))[0]
        rows, norms = self._bridge.cross(softmax(logits / np.float32(TEMPERATURE)), logits)
        return Tokens(rows, spans, norms, *self._bridge.labels(softmax(logits)))

    @cached_property
    def _weights(self) -> Arrays:
        file = CONCEPTS.path(CHECKPOINT)
        return kept("efficientnet-lite2", f"{CONCEPTS.digest} 1", lambda: read_weights(file))

    @cached_property
    def _network(self) -> ov.CompiledModel:
        return compiled(graph(self._weights))

    @cached_property
    def _bridge(self) -> Bridge:
        layer = Layer(self._weights["_fc.weight"], self._weights["_fc.bias"])
        key = f"{CONCEPTS.digest} {CLASS_WORDS.digest} 1"
        return bridge("concepts", key, class_texts, layer, MIX, self._sentences)


def class_texts() -> Texts:
    """What WordNet says of the 1,000 classes, in the order of the network's outputs."""
    synsets = CLASS_WORDS.path("data/_info/imagenet_synsets.txt").read_text().split()
    lemmas = dict(_pairs("data/_info/imagenet_synset_to_lemma.txt"))
    glosses = dict(_pairs("data/_info/imagenet_synset_to_definition.txt"))
    names = tuple(lemmas[synset].split(",")[0].strip() for synset in synsets)
    photos = tuple(f"a photo of a {name}" for name in names)
    definitions = tuple(f"{name}, {glosses[synset]}" for name, synset in zip(names, synsets, strict=True))
    return Texts(names, (photos, definitions))


def _pairs(file: str) -> Iterator[tuple[str, str]]:
    for line in CLASS_WORDS.path(file).read_text(encoding="utf-8").splitlines():
        synset, _, text = line.partition("\t")
        yield synset, text


def build(sentences: SentenceEncoder) -> Concepts:
    """The encoder of frames.

    Raises:
        MissingWeights, AlteredWeights: as their names say.
    """
    for card in (CONCEPTS, CLASS_WORDS):
        card.check()
    return Concepts(sentences)
