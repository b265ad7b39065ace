"""A head is trained on a library, searched with, distilled, shown; and what is wrong with a manifest is told."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import clips
import fakes
import numpy as np
import pools
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
RIDDLES = dict(
    zip(CAPTIONS, ("blood, then sky", "grass", "sky, then grass", "grass, then blood", "blood"), strict=True)
)
"""In words that no encoder here knows: a head as training starts finds nothing, and has to learn them."""
QUICK = ("--epochs", "2", "--batch-size", "2", "--holdout", "0.3")


@pytest.fixture
def shown(no_weights, tmp_path, capsys) -> Path:
    """Five films and a sound, indexed."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name, (_, colours) in CAPTIONS.items():
        clips.film(folder / name, colours)
    clips.tone(folder / "tone.wav", [False, True])
    assert main(["index", str(folder), "--jobs", "1"]) == 0
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


TESTS = Path(__file__).parents[1]
EPOCHS = 30  # of some twenty milliseconds each


def in_a_process_of_its_own(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(TESTS / "end_to_end" / "train_child.py"), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As the process beside has; so little is not worth waking others for."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_a_run_that_was_killed_goes_on_and_ends_byte_for_byte_as_one_never_stopped(shown, tmp_path, capsys):
    riddles = tmp_path / "riddles.jsonl"
    lines = [json.dumps({"media": str(shown / name), "caption": said}) for name, said in RIDDLES.items()]
    riddles.write_text("\n".join(lines), "utf-8")
    words = ["train", "textpool", "--manifest", str(riddles), "--family", "tefal", "--hard", "1", "--lr", "1e-2"]
    words += ["--epochs", str(EPOCHS), "--patience", str(EPOCHS), "--batch-size", "2", "--holdout", "0.3"]
    through, killed = tmp_path / "through", tmp_path / "killed"
    assert main([*words, "--out", str(through)]) == 0
    assert Head.load(through).options["chosen"]["epoch"] > 0
    child = in_a_process_of_its_own(*words, "--out", str(killed))
    while child.poll() is None and not (killed / "training" / "state.json").is_file():
        time.sleep(0.002)
    child.kill()
    _, said = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL, said.decode()
    state = json.loads((killed / "training" / "state.json").read_text("utf-8"))
    assert 1 <= len(state["history"]) - 1 < EPOCHS
    assert not (killed / "head.json").exists()
    capsys.readouterr()
    assert main([*words, "--out", str(killed), "--resume"]) == 0
    assert re.findall(r"^epoch (\d+):", capsys.readouterr().err, re.MULTILINE)[0] == str(len(state["history"]))
    assert (killed / "head.safetensors").read_bytes() == (through / "head.safetensors").read_bytes()
    assert (killed / "head.json").read_bytes() == (through / "head.json").read_bytes()


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


SEEN, HEARD = fakes.Colours().space, fakes.Loudness().space
ASKED = SEEN.query_side
OTHERS = {
    "another space": (Head("xpool", ASKED, ("elsewhere",), (Block.identity(16),)), "trained on the space elsewhere"),
    "another question": (
        Head("xpool", "minilm:0a1b2c3d4e5f", (SEEN.id,), (Block.identity(16),)),
        f"trained on texts of minilm:0a1b2c3d4e5f, this library is asked by {ASKED}",
    ),
    "another width": (
        Head("xpool", ASKED, (SEEN.id,), (Block.identity(24),)),
        f"wants 24 numbers a token of {SEEN.id}, this library has 16",
    ),
    "sounds elsewhere": (
        Head("tefal", ASKED, (SEEN.id, "elsewhere"), (Block.identity(16), Block.identity(16))),
        "trained on the space elsewhere",
    ),
    "sounds of another width": (
        Head(
            "tefal",
            ASKED,
            (SEEN.id, HEARD.id),
            (Block.identity(16), Block.identity(16)),
            (np.ones((16, 5), np.float32), np.zeros(16, np.float32)),
        ),
        f"wants 5 numbers a token of {HEARD.id}, this library has 16",
    ),
}


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("name", OTHERS)
def test_a_head_of_another_space_is_refused_in_one_line(kept, tmp_path, capsys, name, as_json):
    head, said = OTHERS[name]
    head.save(tmp_path / "other")
    words = ["search", "blue", "--head", str(tmp_path / "other"), *(["--json"] if as_json else [])]
    assert main(words) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert said in line
    assert line.endswith("train a head on this library, or search without --head")


def test_the_head_of_another_library_is_refused_and_its_own_is_not(kept, tmp_path, capsys):
    mine = Head("tefal", ASKED, (SEEN.id, HEARD.id), (Block.identity(16), Block.identity(16)))
    mine.save(tmp_path / "mine")
    assert main(["search", "blue", "--min-confidence", "0", "--head", str(tmp_path / "mine")]) == 0
    assert capsys.readouterr().out
    replace(mine, query_space="").save(tmp_path / "any")
    assert main(["search", "blue", "--min-confidence", "0", "--head", str(tmp_path / "any")]) == 0


def test_a_folder_that_is_no_head_is_refused_in_one_line(kept, tmp_path, capsys):
    Head("xpool", ASKED, (SEEN.id,), (Block.identity(16),)).save(tmp_path / "torn")
    (tmp_path / "torn" / "head.safetensors").write_bytes(b"torn")
    for folder, said in (("none", "is no head: head.json cannot be read"), ("torn", "cannot be read as safetensors")):
        assert main(["search", "blue", "--head", str(tmp_path / folder)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


def test_a_checkpoint_that_is_none_is_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "odd.pth").write_bytes(pickle.dumps({"state_dict": Path("anywhere")}, protocol=2))
    named = ["--query-space", ASKED, "--token-space", SEEN.id]
    assert main(["head", "import", str(tmp_path / "odd.pth"), *named, "--out", str(tmp_path / "head")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be read as a torch checkpoint of weights alone" in line
    assert not (tmp_path / "head").exists()


def test_an_imported_head_has_to_know_its_spaces(kept, tmp_path, capsys):
    assert main(["head", "import", "model.pth", "--out", str(tmp_path / "head")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("name a --library that has them, or both --query-space and --token-space")
    assert "--tower" in line


def test_an_imported_head_takes_the_spaces_of_a_library_and_searches_it(kept, tmp_path, capsys):
    import torch

    torch.save({"state_dict": pools.published(Block.identity(16))}, tmp_path / "model_best.pth")
    words = [
        "head",
        "import",
        "--from",
        "xpool",
        str(tmp_path / "model_best.pth"),
        "--library",
        str(kept.parent / "lib"),
    ]
    assert main([*words, "--out", str(tmp_path / "head")]) == 0
    head = Head.load(tmp_path / "head")
    assert (head.query_space, head.token_spaces) == (ASKED, (SEEN.id,))
    capsys.readouterr()
    assert main(["search", "blue", "--min-confidence", "0", "--head", str(tmp_path / "head")]) == 0
    assert capsys.readouterr().out


def test_a_media_of_two_groups_is_refused_with_its_line(shown, tmp_path, capsys):
    name = next(iter(CAPTIONS))
    lines = [json.dumps({"media": str(shown / name), "caption": f"it is {one}", "group": one}) for one in "ab"]
    captions = manifest(shown, tmp_path, *lines)
    words = ["train", "textpool", "--manifest", str(captions), "--out", str(tmp_path / "head"), *QUICK]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert f"train.jsonl, line {len(CAPTIONS) + 2}: " in said
    assert "a media is in one group" in said
