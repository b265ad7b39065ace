"""The two roads from a classifier into sentence space."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders._bridge import Bridge, Layer, Mix, Texts, averaged, bridge, centred, solved

CLASSES, FEATURES, WIDTH = 7, 12, 5


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def layer() -> Layer:
    rng = np.random.default_rng(0)
    return Layer(rng.normal(size=(CLASSES, FEATURES)).astype(np.float32), rng.normal(size=CLASSES).astype(np.float32))


@pytest.fixture
def encoded() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [unit(rng.normal(size=(CLASSES, WIDTH))) for _ in range(2)]


@pytest.fixture
def made(layer: Layer, encoded: list[np.ndarray]) -> Bridge:
    classes = centred(averaged(encoded))
    ridge = solved(classes, layer, 0.5)
    return Bridge(tuple("abcdefg"), classes, ridge, layer.bias, 0.5)


def test_the_classes_have_no_mean(encoded: list[np.ndarray]) -> None:
    np.testing.assert_allclose(centred(averaged(encoded)).mean(axis=0), 0, atol=1e-6)


def test_the_class_that_stands_for_nothing_is_unlike_what_all_share(encoded: list[np.ndarray]) -> None:
    classes = averaged(encoded)
    plain, moved = centred(classes), centred(classes, nothing=2)
    mean = classes.mean(axis=0)
    assert unit(moved)[2] @ mean < unit(plain)[2] @ mean
    np.testing.assert_array_equal(np.delete(moved, 2, axis=0), np.delete(plain, 2, axis=0))


def test_the_ridge_map_is_the_least_squares_map(layer: Layer, encoded: list[np.ndarray]) -> None:
    """Through features and the normal equations, as the textbook has it, and through logits, as we do."""
    classes = centred(averaged(encoded))
    ridge = solved(classes, layer, 0.5)
    penalty = 0.5 * np.trace(layer.weight @ layer.weight.T) / CLASSES
    stacked = np.vstack([layer.weight, np.sqrt(penalty) * np.eye(FEATURES)])
    wanted = np.linalg.lstsq(stacked, np.vstack([classes, np.zeros((FEATURES, WIDTH))]), rcond=None)[0]
    features = np.random.default_rng(2).normal(size=(4, FEATURES))
    logits = features @ layer.weight.T + layer.bias
    np.testing.assert_allclose((logits - layer.bias) @ ridge, features @ wanted, atol=1e-4)


def test_a_sure_class_without_the_ridge_map_is_its_own_vector(made: Bridge) -> None:
    rows, norms = made.cross(np.eye(CLASSES, dtype=np.float32), np.zeros((CLASSES, CLASSES), np.float32), trust=0)
    np.testing.assert_allclose(rows, unit(made.classes), atol=1e-6)
    np.testing.assert_allclose(norms, np.linalg.norm(made.classes, axis=1), atol=1e-6)


def test_classes_that_contradict_one_another_make_a_short_row(made: Bridge) -> None:
    sure = np.zeros((2, CLASSES), np.float32)
    sure[0, 0] = 1
    sure[1] = 1 / CLASSES
    logits = np.tile(made.bias, (2, 1))
    _, (one, all_alike) = made.cross(sure, logits)
    assert one > 10 * all_alike


@given(st.lists(st.floats(0, 1, width=32), min_size=CLASSES, max_size=CLASSES))
def test_labels_are_the_most_probable_names(chances: list[float]) -> None:
    names, kept = Bridge(
        tuple("abcdefg"), *[np.zeros((CLASSES, WIDTH), np.float32)] * 2, np.zeros(CLASSES, np.float32), 0.5
    ).labels(np.array([chances], np.float32))
    assert kept.shape == (1, 5)
    assert 1 <= len(names[0]) <= 5
    for name, chance in zip(names[0], kept[0], strict=False):
        assert chance == np.float32(chances["abcdefg".index(name)])
    assert kept[0, 0] == np.float32(max(chances))
    assert not kept[0, len(names[0]) :].any()


class Letters:
    """A sentence encoder that counts how often it is asked."""

    name = "letters"
    digest = "0" * 64
    dimension = WIDTH
    calls = 0

    def encode(self, sentences: tuple[str, ...]) -> np.ndarray:
        self.calls += 1
        return unit(np.array([[ord(c) % (7 + i) + 1 for i in range(WIDTH)] for c in (s[-1] for s in sentences)]))


def test_the_classes_are_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: Layer) -> None:
    monkeypatch.setenv("REELSEEK_CACHE", str(tmp_path))
    texts = Texts(("é", *"bcdefg"), (tuple("abcdefg"), tuple("hijklmn")))
    sentences = Letters()
    first = bridge("test", "key", lambda: texts, layer, Mix(1.0, 0.5), sentences)
    again = bridge("test", "key", lambda: texts, layer, Mix(1.0, 0.5), sentences)
    assert sentences.calls == len(texts.prompts)
    assert first.names == again.names == texts.names
    np.testing.assert_array_equal(first.ridge, again.ridge)
    bridge("test", "key", lambda: texts, layer, Mix(2.0, 0.5), sentences)
    assert sentences.calls == 2 * len(texts.prompts)
