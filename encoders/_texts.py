"""What encoders of sentences have in common, and rows at length one."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from retriever.types import Floats, Matrix

PLAIN = ("{}",)
"""A question as it stands: people write sentences."""
VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)
"""Files of which a tokenizer has one at least: without any, transformers silently makes one that knows no word."""
NOTHING = 1e-12  # a length that is none


class Texts:
    """A `SentenceEncoder`: the text tower of a model whose `name` and `digest` these are.

    Several `prompts`, sentences with `{}` where the text goes, give the mean of their rows.
    """

    def __init__(
        self,
        name: str,
        digest: str,
        dimension: int,
        read: Callable[[list[str]], Matrix],
        prompts: Sequence[str] = PLAIN,
    ) -> None:
        self.name = name
        self.digest = digest
        self.dimension = dimension
        self._read = read
        self._prompts = tuple(prompts)

    def encode(self, sentences: Sequence[str]) -> Matrix:
        """`(N, D)` float32 of length one."""
        if not sentences:
            return np.zeros((0, self.dimension), np.float32)
        said = [prompt.replace("{}", readable(sentence)) for prompt in self._prompts for sentence in sentences]
        rows = unit(self._read(said))[0].reshape(len(self._prompts), len(sentences), -1)
        return unit(rows.mean(axis=0))[0]


def has_words(folder: Path) -> bool:
    """Whether a tokenizer with its vocabulary lies in this folder."""
    return any((folder / name).is_file() for name in VOCABULARIES)


def unit(rows: Matrix) -> tuple[Matrix, Floats]:
    """Rows `(N, D)` at length one, and how long they were `(N,)`."""
    norms: Floats = np.maximum(np.linalg.norm(rows, axis=1), NOTHING).astype(np.float32)
    return rows / norms[:, None], norms


def readable(sentence: str) -> str:
    """The sentence as valid Unicode: half a surrogate pair, as file names and shells can hold, becomes `?`."""
    return sentence.encode("utf-8", "replace").decode("utf-8")
