"""A large made-up library from real words: what `search.py`, `nearest.py` and `words.py` search.

Sentences are the glosses of ImageNet's 21,841 WordNet synsets, as timm carries them.  Half of them (by their hash) make
the library: their embeddings, and those of all class names, are mixed into segments, and their words are spoken and
written in it.  The other half only asks.
"""

from collections.abc import Iterator
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from encoders import minilm
from retriever.types import Halves, Matrix, Modality

SPEECH_SHARE = 0.5
TEXT_SHARE = 0.2
MOST_MIXED = 10
AT_ONCE = 50_000


def _table(name: str) -> list[str]:
    spec = find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the sentences come with timm: pip install 'reelseek[concepts]'")
    lines = (Path(next(iter(spec.submodule_search_locations))) / "data" / "_info" / name).read_text().splitlines()
    return [line.split("\t", 1)[1] for line in lines]


def _asks(sentence: str) -> bool:
    return sha256(sentence.encode()).digest()[0] % 2 == 0


def class_names() -> list[str]:
    return sorted({lemmas.split(",")[0] for lemmas in _table("imagenet_synset_to_lemma.txt")})


def library_glosses() -> list[str]:
    return sorted({gloss for gloss in _table("imagenet_synset_to_definition.txt") if not _asks(gloss)})


def questions() -> list[str]:
    """Distinct sentences, in an order of their own, none of which the library was made of."""
    asked = {gloss for gloss in _table("imagenet_synset_to_definition.txt") if _asks(gloss)}
    return sorted(asked, key=lambda sentence: sha256(sentence.encode()).digest()[1:])


def mixtures(concepts: Matrix, rows: int, generator: np.random.Generator) -> Matrix:
    """`(rows, D)` unit rows: each a convex mixture of 1 to 10 of the concepts `(C, D)`, and noise of 0.2 to 0.5."""
    mixed = generator.integers(1, MOST_MIXED + 1, rows)
    weights = generator.exponential(size=(rows, MOST_MIXED)).astype(np.float32)  # normalised: uniform on the simplex
    weights *= np.arange(MOST_MIXED) < mixed[:, np.newaxis]
    weights /= weights.sum(axis=1, keepdims=True)
    chosen = generator.integers(0, len(concepts), (rows, MOST_MIXED))
    made = np.zeros((rows, concepts.shape[1]), np.float32)
    for place in range(MOST_MIXED):
        made += weights[:, place, np.newaxis] * concepts[chosen[:, place]]
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    noise = generator.standard_normal(made.shape, dtype=np.float32) / np.float32(np.sqrt(made.shape[1]))
    made += generator.uniform(0.2, 0.5, (rows, 1)).astype(np.float32) * noise
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


def lines(segments: int, generator: np.random.Generator) -> Iterator[tuple[int, Modality, str]]:
    """Spoken and written lines of a share of the segments: runs of words out of two glosses each."""
    glosses = [gloss.split() for gloss in library_glosses()]
    speaks = generator.random(segments) < SPEECH_SHARE
    shows = generator.random(segments) < TEXT_SHARE
    for segment in range(segments):
        if speaks[segment]:
            yield segment, Modality.SPEECH, " ".join(_run(glosses, generator, 12) + _run(glosses, generator, 12))
        if shows[segment]:
            written = _run(glosses, generator, 4)
            space = "" if generator.random() < 0.2 else " "
            yield segment, Modality.TEXT, space.join(written).upper()


def _run(glosses: list[list[str]], generator: np.random.Generator, longest: int) -> list[str]:
    words = glosses[int(generator.integers(len(glosses)))]
    start = int(generator.integers(max(1, len(words) - longest + 1)))
    return words[start : start + longest]


def embeddings(sentences: list[str], folder: Path) -> Matrix:
    """The sentences in the project's own sentence space, kept in `folder` for the next run."""
    encoder = minilm.build()
    name = sha256("\n".join([encoder.digest, *sentences]).encode()).hexdigest()[:16]
    path = folder / f"sentences-{name}.npy"
    if not path.is_file():
        print(f"encoding {len(sentences):,} sentences once, into {path}")
        np.save(path, encoder.encode(sentences), allow_pickle=False)
    kept: Matrix = np.load(path, allow_pickle=False)
    return kept


def rows(count: int, folder: Path, seed: int) -> Halves:
    """`(count, D)` mixtures as a store keeps them, mapped from a file in `folder`."""
    path = folder / f"mixtures-{count}-{seed}.f16"
    if not path.is_file():
        concepts = embeddings(class_names() + library_glosses(), folder)
        generator = np.random.default_rng(seed)
        with path.with_suffix(".new").open("wb") as file:
            for begin in range(0, count, AT_ONCE):
                made = mixtures(concepts, min(AT_ONCE, count - begin), generator)
                file.write(made.astype(np.float16).tobytes())
        path.with_suffix(".new").replace(path)
    mapped: Halves = np.memmap(path, np.float16, "r").reshape(count, -1)
    return mapped
