"""X-CLIP beside frames through the command line: tiny towers of both families, real films, a real store and search."""

import shutil
from itertools import permutations
from pathlib import Path

import clips
import fakes
import numpy as np
import pytest
import torch
import towers_xclip
from documents import printed_by
from open_clip.tokenizer import SimpleTokenizer
from torch.nn.functional import cross_entropy, normalize

from api import parts
from api.main import main
from retriever.calibration import background

TURNS = list(permutations(["red", "green", "blue"], 2))
OTHERS = background().sentences[::6]
"""What people ask for and no film here shows: without them a text tower finds everything alike."""
STEPS = 80


@pytest.fixture
def tower(untaught: Path) -> Path:
    return untaught


@pytest.fixture(scope="session")
def xclip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An X-CLIP that has learnt which of three colours comes before which: no single frame shows that."""
    folder = tmp_path_factory.mktemp("towers") / "xclip"
    model = towers_xclip.folder(folder)
    tokenize = SimpleTokenizer(context_length=16)
    mean, std = (torch.tensor(levels).view(3, 1, 1) for levels in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    draw = np.random.default_rng(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so little is not worth waking others for
    model.train()
    model.text_model.embeddings.token_embedding.requires_grad_(False)  # 49,408 words as they were drawn will do
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-3)
    right = torch.arange(len(TURNS))
    for _ in range(STEPS):
        shade = np.array([[fakes.COLOURS[name] for name in turn] for turn in TURNS]) * draw.uniform(0.6, 1, (6, 2, 1))
        films = shade[:, [0, 0, 1, 1], :, None, None] / 255 + draw.normal(0, 0.05, (6, 4, 3, 32, 32))
        pixels = (torch.tensor(films.clip(0, 1), dtype=torch.float32) - mean) / std
        others = draw.choice(OTHERS, len(TURNS), replace=False).tolist()
        texts = tokenize([f"{before} turns {after}" for before, after in TURNS] + others)
        seen = normalize(model.get_video_features(pixel_values=pixels).pooler_output)
        read = normalize(model.get_text_features(input_ids=texts).pooler_output)
        logits = 15 * seen @ read.T
        loss = cross_entropy(logits, right) + cross_entropy(logits[:, : len(TURNS)].T, right)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    model.save_pretrained(folder)
    towers_xclip.authors(folder.parent / "k400.pth", model)
    return folder


@pytest.fixture
def films(towers_only: Path) -> Path:
    """Three films of two colours each, and a tone."""
    folder = towers_only / "films"
    folder.mkdir()
    clips.film(folder / "dusk.mp4", ["red", "blue"], seconds=4)
    clips.film(folder / "dawn.mp4", ["blue", "red"], seconds=4)
    clips.film(folder / "spring.mp4", ["blue", "green"], seconds=4)
    clips.tone(folder / "tone.wav", [False, True])
    return folder


def indexed(films: Path, tower: Path, video: str) -> int:
    return main(["index", str(films), "--pack", "openclip", "--model", str(tower), "--video-model", video])


@pytest.mark.parametrize("form", ["folder", "file"])
def test_clips_are_indexed_beside_frames_and_answer(films, tower, xclip, form, capsys):
    model = xclip if form == "folder" else xclip.parent / "k400.pth"
    assert indexed(films, tower, f"xclip:{model}") == 0
    capsys.readouterr()
    stats = printed_by("stats", capsys=capsys)
    spaces = {space["name"]: space for space in stats["spaces"]}
    assert {"openclip", "xclip"} <= set(spaces)
    assert spaces["xclip"]["modality"] == "vision"
    assert spaces["xclip"]["dimension"] == towers_xclip.DIMENSION
    for asked, name in (("red turns blue", "dusk.mp4"), ("blue turns red", "dawn.mp4")):
        found = printed_by("search", asked, "--min-confidence", "0", capsys=capsys)["moments"][0]
        assert found["media"]["path"].endswith(name)
        assert {evidence["space"].partition("-")[0] for evidence in found["evidence"]} >= {"xclip"}


def test_indexing_again_changes_nothing(films, tower, xclip, capsys):
    assert indexed(films, tower, f"xclip:{xclip}") == 0
    capsys.readouterr()
    words = ["--pack", "openclip", "--model", str(tower), "--video-model", f"xclip:{xclip}"]
    document = printed_by("index", str(films), *words, capsys=capsys)
    assert document["indexed"] == []
    assert document["unchanged"] == 4


def test_a_folder_that_was_moved_is_named_when_asking(films, tower, xclip, tmp_path, capsys):
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(xclip, before)
    assert indexed(films, tower, f"xclip:{before}") == 0
    before.rename(after)
    parts._with_model.cache_clear()
    capsys.readouterr()
    assert main(["search", "red turns blue"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "before" in line
    found = printed_by(
        "search", "red turns blue", "--min-confidence", "0", "--video-model", f"xclip:{after}", capsys=capsys
    )
    assert found["moments"]


@pytest.mark.parametrize(
    ("video", "code", "said"),
    [
        ("xclip", 2, "it wants PLUGIN:MODEL"),
        ("openclip:{tower}", 2, "which encodes pictures and texts"),
        ("xclip:nowhere/", 1, "nowhere"),
        ("xclip:hf-hub:microsoft/xclip-base-patch32", 1, "reelseek models pull hf-hub:microsoft/xclip-base-patch32"),
        ("xclip:{tower}", 1, "has no config.json"),
    ],
)
def test_a_wrong_choice_is_one_line_with_the_way_out(films, tower, tmp_path, monkeypatch, video, code, said, capsys):
    monkeypatch.setenv("REELSEEK_CACHE", str(tmp_path / "cache"))
    assert indexed(films, tower, video.format(tower=tower)) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert "Traceback" not in printed.err
