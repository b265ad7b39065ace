"""The sentence encoder against its definition, and against the library that its weights were made with."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from encoders import minilm
from encoders._weights import MINILM

SENTENCES = (
    "a parrot",
    "woman playing fetch with a spotted dog on a garden path",
    "THANKS for watching!",
    "naïve café, 東京 🦜",
    "",
    "the cat sat on the mat and " * 80,
)


def norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12) * weight + bias


def by_definition(weights: dict[str, np.ndarray], tokens: list[int]) -> np.ndarray:
    """One sentence through BERT, in float64, without a batch and without padding."""
    erf = np.vectorize(__import__("math").erf)
    get = {name: array.astype(np.float64) for name, array in weights.items() if "position_ids" not in name}

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ get[f"{name}.weight"].T + get[f"{name}.bias"]

    def normed(x: np.ndarray, name: str) -> np.ndarray:
        return norm(x, get[f"{name}.weight"], get[f"{name}.bias"])

    x = get["embeddings.word_embeddings.weight"][tokens]
    x = x + get["embeddings.position_embeddings.weight"][: len(tokens)]
    x = normed(x + get["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in (f"encoder.layer.{number}" for number in range(6)):
        q, k, v = (dense(x, f"{layer}.attention.self.{role}") for role in ("query", "key", "value"))
        seen = np.zeros_like(x)
        for head in (slice(32 * h, 32 * h + 32) for h in range(12)):
            scores = np.exp(q[:, head] @ k[:, head].T / np.sqrt(32))
            seen[:, head] = scores / scores.sum(1, keepdims=True) @ v[:, head]
        x = normed(x + dense(seen, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
        wide = dense(x, f"{layer}.intermediate.dense")
        wide = 0.5 * wide * (1 + erf(wide / np.sqrt(2)))
        x = normed(x + dense(wide, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_a_sentence_is_what_the_definition_says() -> None:
    weights = load_file(MINILM.path("model/model.safetensors"))
    tokenizer = Tokenizer.from_file(str(MINILM.path("model/tokenizer.json")))
    tokenizer.no_padding()
    rows = minilm.build().encode(SENTENCES[:4])  # as one batch, so with padding
    for sentence, row in zip(SENTENCES, rows, strict=False):
        np.testing.assert_allclose(row, by_definition(weights, tokenizer.encode(sentence).ids), atol=1e-5)


def test_a_long_sentence_is_what_the_definition_says() -> None:
    """Alone it is padded, too: lengths of long ones are few, as the runtime keeps memory for each."""
    weights = load_file(MINILM.path("model/model.safetensors"))
    tokenizer = Tokenizer.from_file(str(MINILM.path("model/tokenizer.json")))
    tokenizer.no_padding()
    tokenizer.enable_truncation(minilm.LONGEST)
    for sentence in ("the cat sat on the mat and " * 5, "a parrot " * 100):
        (row,) = minilm.build().encode([sentence])
        np.testing.assert_allclose(row, by_definition(weights, tokenizer.encode(sentence).ids), atol=1e-5)


def test_all_of_a_process_have_one_network_and_take_turns() -> None:
    one, other = minilm.build(), minilm.build()
    sentences = [f"{word} is on the mat" for word in ("a cat", "nobody", "the old dog of a neighbour")]
    alone = [one.encode([sentence]) for sentence in sentences]
    assert one._network is other._network
    with ThreadPoolExecutor(4) as many:
        found = list(many.map(lambda at: (one, other)[at % 2].encode([sentences[at % 3]]), range(60)))
    for at, vectors in enumerate(found):
        np.testing.assert_array_equal(vectors, alone[at % 3])


def test_batches_have_few_lengths() -> None:
    encoder, seen = minilm.build(), set[int]()

    def network(given: list[np.ndarray]) -> np.ndarray:
        tokens, mask = given
        assert tokens.shape == mask.shape
        seen.add(tokens.shape[1])
        return np.ones((len(tokens), encoder.dimension), np.float32)

    vars(encoder)["_network"] = network
    for count in range(2 * minilm.LONGEST):
        encoder.encode(["cat " * count])
    assert max(seen) == minilm.LONGEST
    assert len(seen) <= minilm.EXACT + minilm.LONGEST / minilm.STEP


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of libraries that are not ours
def test_sentence_transformers_agrees() -> None:
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(MINILM.folder() / "model"), device="cpu")
    wanted = theirs.encode(list(SENTENCES), normalize_embeddings=True)
    cosines = (minilm.build().encode(SENTENCES) * wanted).sum(axis=1)
    assert cosines.min() >= 0.9999


def test_many_sentences_are_what_each_is_alone() -> None:
    """In several batches at a time, and not in the order in which they come."""
    encoder = minilm.build()
    many = [f"{'a very ' * (number % 5)}large parrot number {number}" for number in range(39)]
    np.testing.assert_allclose(encoder.encode(many), np.concatenate([encoder.encode([one]) for one in many]), atol=1e-5)


def test_what_stands_behind_the_last_token_is_not_read() -> None:
    encoder = minilm.build()
    long = "the cat " * 200
    np.testing.assert_allclose(encoder.encode([long]), encoder.encode([long + "a volcano"]), atol=1e-6)


def test_asking_imports_neither_torch_nor_transformers() -> None:
    """In a process of its own, and with the bridges that ask in sentence space."""
    script = (
        "import sys\n"
        "from encoders import concepts, minilm, soundevents\n"
        "from retriever.types import Text\n"
        "sentences = minilm.build()\n"
        "for bridge in (concepts, soundevents):\n"
        "    assert bridge.build(sentences).encode_query(Text('a parrot')) is not None\n"
        "heavy = {'torch', 'transformers', 'timm', 'onnx', 'sentence_transformers', 'torchvision'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
