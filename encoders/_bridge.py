"""A classifier's view of something becomes a place in sentence space, through the names of its classes.

Two roads, each brought to length one and added, the second times `share`:

*ConSE* (Norouzi et al. 2013, equation 4): the sentence vectors of the classes, averaged with their probabilities.

*A ridge map* from features into sentence space, as in ESZSL (Romera-Paredes and Torr 2015) and DeViSE.  There are no
training pictures here, so each class stands for itself with its row of the classifier's last layer, W:

    min_M |W M - S|² + λ|M|²   →   M = Wᵀ(W Wᵀ + λI)⁻¹ S   →   f M = (W f)ᵀ (W Wᵀ + λI)⁻¹ S

of which `W f` is the logits less their bias.  λ counts in mean eigenvalues of `W Wᵀ`.

From every class vector the mean of all is taken first: what all names share says nothing about any picture, and it
made every token a little like every question.  A class that stands for nothing at all (silence) is moved away from that
mean, so that it is unlike everything.  docs/experiments.md has what each part is worth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders._graphs import kept
from retriever.ports import SentenceEncoder
from retriever.types import LABELS_KEPT, Floats, Matrix

LEAST_PROBABLE = 0.05  # of a label that is kept; the first one is kept in any case
NOTHING = 1e-9  # a length that is none
AWAY = 0.5  # of its own length: how far the class that stands for nothing is moved away from the mean of all
REVISION = "2"  # of what is calculated here from the same inputs


@dataclass(frozen=True, slots=True)
class Texts:
    """What is said of the classes: their names for people, and prompts, each a sentence a class."""

    names: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    nothing: str = ""  # the name of the class that stands for nothing at all, if there is one


@dataclass(frozen=True, slots=True)
class Layer:
    """The last layer of a classifier."""

    weight: Floats  # (C, F)
    bias: Floats  # (C,)


@dataclass(frozen=True, slots=True)
class Mix:
    """How the two roads are added."""

    penalty: float  # λ
    share: float  # of the ridge map, where ConSE counts 1


@dataclass(frozen=True, slots=True)
class Bridge:
    """The classes in sentence space, ready to be mixed."""

    names: tuple[str, ...]  # C
    classes: Matrix  # (C, D) S: sentence vectors of the classes, less their mean
    ridge: Matrix  # (C, D) (W Wᵀ + λI)⁻¹ S
    bias: Floats  # (C,)
    share: float

    def cross(self, probabilities: Floats, logits: Floats, trust: Floats | float = 1.0) -> tuple[Matrix, Floats]:
        """Rows `(N, D)` of length one, and how long each was `(N,)`: short where the classes contradict one another.

        Args:
            probabilities: `(N, C)` for the first road.
            logits: `(N, C)` for the second.
            trust: in the second, `(N, 1)` or one for all.
        """
        mean = probabilities @ self.classes
        mapped = _unit(np.asarray((logits - self.bias) @ self.ridge, np.float32))
        mixed: Matrix = _unit(mean) + np.float32(self.share) * trust * mapped
        lengths: Floats = np.linalg.norm(mixed, axis=1) * np.linalg.norm(mean, axis=1)
        return _unit(mixed), lengths

    def labels(self, probabilities: Floats) -> tuple[tuple[tuple[str, ...], ...], Floats]:
        """The most probable names of each row `(N, C)`, and their probabilities `(N, 5)`, padded with 0."""
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :LABELS_KEPT]
        chances = np.zeros((len(best), LABELS_KEPT), probabilities.dtype)  # there may be fewer classes
        chances[:, : best.shape[1]] = np.take_along_axis(probabilities, best, axis=1)
        counts = np.maximum(1, (chances >= LEAST_PROBABLE).sum(axis=1))
        kept_chances = np.where(np.arange(LABELS_KEPT) < counts[:, None], chances, 0).astype(np.float32)
        names = tuple(tuple(self.names[i] for i in row[:count]) for row, count in zip(best, counts, strict=True))
        return names, kept_chances


def bridge(
    plugin: str, key: str, texts: Callable[[], Texts], layer: Layer, mix: Mix, sentences: SentenceEncoder
) -> Bridge:
    """The bridge of a classifier, from the cache folder if it was built before; else its classes are encoded now.

    `key` names everything that decides what `texts` gives and what `layer` is.
    """

    def build() -> dict[str, NDArray[Any]]:
        said = texts()
        nothing = said.names.index(said.nothing) if said.nothing else None
        classes = centred(averaged([sentences.encode(prompt) for prompt in said.prompts]), nothing)
        ridge = solved(classes, layer, mix.penalty)
        names = np.frombuffer("\n".join(said.names).encode(), np.uint8)
        return {"classes": classes, "ridge": ridge, "names": names}

    arrays = kept(f"{plugin}-classes", f"{key} {sentences.name} {sentences.digest} {mix.penalty} {REVISION}", build)
    names = tuple(arrays["names"].tobytes().decode().split("\n"))
    return Bridge(names, arrays["classes"], arrays["ridge"], layer.bias, mix.share)


def averaged(encoded: Sequence[Matrix]) -> Matrix:
    """The sentence vectors of the classes `(C, D)`, of length one, from those of each prompt."""
    return _unit(np.add.reduce(encoded, dtype=np.float32))


def centred(classes: Matrix, nothing: int | None = None) -> Matrix:
    """`S` `(C, D)`: less their mean, and `nothing`, if there is such a class, moved away from it."""
    mean = classes.mean(axis=0, keepdims=True)
    without: Matrix = classes - mean
    if nothing is not None:
        without[nothing] -= AWAY * np.linalg.norm(without[nothing]) * _unit(mean)[0]
    return without


def solved(classes: Matrix, layer: Layer, penalty: float) -> Matrix:
    """`(W Wᵀ + λI)⁻¹ S`, `(C, D)`."""
    weight = layer.weight.astype(np.float64)
    gram = weight @ weight.T
    gram += penalty * np.trace(gram) / len(gram) * np.eye(len(gram))
    return np.asarray(np.linalg.solve(gram, classes), np.float32)


def _unit(rows: Matrix) -> Matrix:
    """Each row `(N, D)` at length one; a row of zeros stays one."""
    scaled: Matrix = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), NOTHING)
    return scaled


def softmax(logits: Floats) -> Floats:
    """Over the classes of each row `(N, C)`."""
    powers: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares
