"""A head is trained on a library, searched with, distilled, shown; and what is wrong with a manifest is told."""

import json
from pathlib import Path

import clips
import pytest
from documents import documented, fits, printed_by, shape

from api.main import main
from retriever.heads import Block, Head

CAPTIONS = {
    "one.mp4": ("red and then blue", ["red", "blue"]),
    "two.mp4": ("green", ["green"]),
    "three.mp4": ("blue, then green", ["blue", "green"]),
    "four.mp4": ("a meadow, then a fire", ["green", "red"]),
    "five.mp4": ("nothing but red", ["red"]),
}
QUICK = ("--epochs", "2", "--batch-size", "2", "--holdout", "0.3")


@pytest.fixture
def shown(no_weights, tmp_path, capsys) -> Path:
    """Five films and a sound, indexed."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name, (_, colours) in CAPTIONS.items():
        clips.film(folder / name, colours)
    clips.tone(folder / "tone.wav", [False, True])
    assert main(["index", str(folder)]) == 0
    capsys.readouterr()
    return folder


def manifest(shown: Path, folder: Path, *more: str) -> Path:
    lines = [json.dumps({"media": str(shown / name), "caption": said}) for name, (said, _) in CAPTIONS.items()]
    file = folder / "train.jsonl"
    file.write_text("\n".join([*lines, *more]) + "\n", "utf-8")
    return file


@pytest.mark.parametrize("family", ["xpool", "tefal"])
def test_a_head_is_trained_searched_with_and_distilled(shown, tmp_path, capsys, family):
    head, adapter, captions = tmp_path / "head", tmp_path / "adapter", manifest(shown, tmp_path)
    words = ("textpool", "--manifest", str(captions), "--out", str(head), "--family", family, *QUICK)
    trained = printed_by("train", *words, capsys=capsys)
    assert fits(shape(trained), shape(documented()["train"]))
    assert Head.load(head).digest == trained["digest"]
    shown = printed_by("head", "show", str(head), capsys=capsys)
    assert fits(shape(shown), shape(documented()["head"]))
    assert (shown["family"], len(shown["token_spaces"])) == (family, {"xpool": 1, "tefal": 2}[family])
    words = ("--head", str(head), "--manifest", str(captions), "--out", str(adapter), "--epochs", "1")
    taught = printed_by("distill", *words, capsys=capsys)
    assert fits(shape(taught), shape(documented()["distill"]))
    for flags in (["--head", str(head)], ["--adapter", str(adapter)], ["--head", str(head), "--adapter", str(adapter)]):
        found = printed_by("search", "blue", "--min-confidence", "0", *flags, capsys=capsys)
        assert found["moments"][0]["media"]["path"].endswith(".mp4")


def test_a_run_that_goes_on_ends_as_one_never_stopped(shown, tmp_path, capsys):
    words = ("textpool", "--manifest", str(manifest(shown, tmp_path)), "--batch-size", "2", "--holdout", "0.3")
    through = printed_by("train", *words, "--epochs", "3", "--out", str(tmp_path / "one"), capsys=capsys)
    again = printed_by("train", *words, "--epochs", "3", "--out", str(tmp_path / "one"), "--resume", capsys=capsys)
    assert again["digest"] == through["digest"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"media": "first.mp4"}', "line 6"),
        ('{"media": "first.mp4", "caption": "  "}', "line 6"),
        ("no json", "line 6"),
    ],
)
def test_a_manifest_is_told_by_its_line(shown, tmp_path, capsys, line, told):
    captions = manifest(shown, tmp_path, line)
    assert main(["train", "textpool", "--manifest", str(captions), "--out", str(tmp_path / "head")]) == 1
    assert told in capsys.readouterr().err


def test_captions_of_unknown_media_are_counted(shown, tmp_path, capsys):
    captions = manifest(shown, tmp_path, '{"media": "nowhere.mp4", "caption": "a parrot"}')
    printed = printed_by(
        "train", "textpool", "--manifest", str(captions), "--out", str(tmp_path / "h"), *QUICK, capsys=capsys
    )
    assert printed["options"]["left_out"]["unknown"] == 1


def test_a_head_of_another_space_is_refused(shown, tmp_path, capsys):
    Head("xpool", "", ("elsewhere",), (Block.identity(16),)).save(tmp_path / "other")
    assert main(["search", "blue", "--head", str(tmp_path / "other")]) == 1
    assert "trained on the space elsewhere" in capsys.readouterr().err
    assert main(["search", "blue", "--head", str(tmp_path / "none")]) == 1
    assert "is no head" in capsys.readouterr().err
