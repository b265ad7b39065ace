"""Sentences as 384 numbers: all-MiniLM-L6-v2, with neither torch nor transformers.

Weights and tokenizer come with a package.  A text counts up to its 256th token, as the model was trained; what stands
behind is not read.
"""

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Encoding, Tokenizer

from encoders._bert import WIDTH, graph
from encoders._graphs import batches, compiled
from encoders._texts import readable
from encoders._weights import MINILM
from retriever.types import Matrix

KIND = "sentences"
LONGEST = 256  # tokens, the two that frame a sentence counted in
EXACT, STEP = 32, 16
"""Tokens: a batch is as long as its longest sentence up to so many, and beyond that in steps.  The runtime keeps memory
for every length that it has met, of 255 tokens more than a megabyte."""
REVISION = "bert-mean-256"


class _Network:
    """One at a time, since the runtime takes no second batch into the same memory."""

    def __init__(self, weights: Path) -> None:
        self._compiled = compiled(graph(load_file(weights)))
        self._turn = Lock()

    def __call__(self, inputs: list[np.ndarray]) -> Matrix:
        with self._turn:
            return np.array(self._compiled(inputs)[0])


_held: WeakValueDictionary[Path, _Network] = WeakValueDictionary()
_looking = Lock()


def _network_of_all(weights: Path) -> _Network:
    """The one of this process, for as long as anybody has it: in a server jobs need no second one, whose weights alone
    are 90 MB, beside that of questions."""
    with _looking:
        found = _held.get(weights)
        if found is None:
            found = _held[weights] = _Network(weights)
        return found


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
            vectors[rows] = self._network(_padded([encodings[i] for i in rows]))
        return vectors

    @cached_property
    def _network(self) -> "_Network":
        return _network_of_all(MINILM.path("model/model.safetensors"))

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = Tokenizer.from_file(str(MINILM.path("model/tokenizer.json")))
        tokenizer.enable_truncation(LONGEST)  # its file says 128, and pads everything to that
        tokenizer.no_padding()
        return tokenizer


def _padded(encodings: Sequence[Encoding]) -> list[np.ndarray]:
    """Token numbers `(N, L)` int64 and mask `(N, L)` float32, L the longest of them, or a little more."""
    longest = max(len(encoding.ids) for encoding in encodings)
    longest = longest if longest <= EXACT else -(-longest // STEP) * STEP
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
