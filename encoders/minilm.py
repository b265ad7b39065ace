"""Sentences as 384 numbers: all-MiniLM-L6-v2, with neither torch nor transformers.

Weights and tokenizer come with a package.  A text counts up to its 256th token, as the model was trained; what stands
behind is not read.
"""

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256

import numpy as np
import openvino as ov
from safetensors.numpy import load_file
from tokenizers import Encoding, Tokenizer

from encoders._bert import WIDTH, graph
from encoders._graphs import batches, compiled
from encoders._texts import readable
from encoders._weights import MINILM
from retriever.types import Matrix

KIND = "sentences"
LONGEST = 256  # tokens, the two that frame a sentence counted in
REVISION = "bert-mean-256"


class MiniLM:
    """A `SentenceEncoder`.  The network is read at the first sentence."""

    name = "minilm"
    dimension = WIDTH
    digest = sha256(f"{MINILM.digest} {REVISION}".encode()).hexdigest()

    def encode(self, sentences: Sequence[str]) -> Matrix:
        """`(N, 384)` float32 of length one."""
        vectors = np.zeros((len(sentences), WIDTH), np.float32)
        encodings = self._tokenizer.encode_batch([readable(sentence) for sentence in sentences])
        by_length = sorted(range(len(sentences)), key=lambda i: len(encodings[i].ids))  # so a batch has little padding
        for batch in batches(len(by_length)):
            rows = by_length[batch]
            vectors[rows] = self._network(_padded([encodings[i] for i in rows]))[0]
        return vectors

    @cached_property
    def _network(self) -> ov.CompiledModel:
        return compiled(graph(load_file(MINILM.path("model/model.safetensors"))))

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = Tokenizer.from_file(str(MINILM.path("model/tokenizer.json")))
        tokenizer.enable_truncation(LONGEST)  # its file says 128, and pads everything to that
        tokenizer.no_padding()
        return tokenizer


def _padded(encodings: Sequence[Encoding]) -> list[np.ndarray]:
    """Token numbers `(N, L)` int64 and mask `(N, L)` float32, L the longest of them."""
    longest = max(len(encoding.ids) for encoding in encodings)
    tokens = np.zeros((len(encodings), longest), np.int64)
    mask = np.zeros((len(encodings), longest), np.float32)
    for row, encoding in enumerate(encodings):
        tokens[row, : len(encoding.ids)] = encoding.ids
        mask[row, : len(encoding.ids)] = 1
    return [tokens, mask]


def build() -> MiniLM:
    """The encoder of sentences.

    Raises:
        MissingWeights, AlteredWeights: as their names say.
    """
    MINILM.check()
    return MiniLM()
