"""ILA through the command line: a classifier that is trained on the spot to tell ways of moving, real films, a real
store, and a search for what moves."""

import shutil
from pathlib import Path
from typing import Any

import av
import clips
import fakes
import numpy as np
import pytest
import torch
import towers_ila
from documents import printed_by

from api import parts
from api.main import main
from encoders._ila import Network, Plan

NAMES = ("moving right", "moving left", "standing still")
PLAN = Plan(
    frames=4, patch=8, grid=4, width=64, layers=1, dimension=64, integration=1, separable=True, classes=len(NAMES)
)
SECONDS = 8.0  # of a film: as long as a clip, so that all its tokens see all of it
STEPS, BATCH = 70, 6
DARK, BRIGHT = 20, 235


def scene(way: str, second: float, top: int) -> np.ndarray:
    """A bright square before the dark.  What goes left shows the same pictures as what goes right."""
    part = {"moving right": second / SECONDS, "moving left": 1 - second / SECONDS, "standing still": 0.4}[way]
    pixels = np.full((clips.SIDE, clips.SIDE, 3), DARK, np.uint8)
    left = round(part * (clips.SIDE - 16))
    pixels[top : top + 16, left : left + 16] = BRIGHT
    return pixels


def film(path: Path, way: str) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=clips.RATE)
        stream.width = stream.height = clips.SIDE
        stream.pix_fmt = "yuv420p"
        for number in range(round(SECONDS * clips.RATE)):
            pixels = scene(way, number / clips.RATE, 24)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def begun() -> Network:
    """As the authors begin: what frames have to say to one another is added from zero."""
    torch.manual_seed(0)
    made = Network(PLAN).eval()  # batch norm as it is: so few steps have no good mean
    for name, weight in made.named_parameters():
        if name.endswith(("proj", "embedding")):
            torch.nn.init.normal_(weight, 0, 0.1)
        elif "temporal_skip" in name or "prediction_block.12" in name:
            torch.nn.init.zeros_(weight)
    return made


@pytest.fixture(scope="session")
def mover(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier that has learnt to tell three ways of moving."""
    made, draw = begun(), np.random.default_rng(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3)
    for _ in range(STEPS):
        shown = []
        for number in range(BATCH):
            seconds = (2 * np.arange(PLAN.frames) + 1 + draw.uniform(-0.6, 0.6)).tolist()
            top = int(draw.integers(8, 40))
            shown += [scene(NAMES[number % len(NAMES)], second, top) for second in seconds]
        pixels = PLAN.preprocessing.pixels(np.stack(shown), torch.device("cpu"), torch.float32)
        logits = made.sight()(pixels.reshape(BATCH, PLAN.frames, 3, PLAN.side, PLAN.side))
        loss = torch.nn.functional.cross_entropy(logits, torch.arange(BATCH) % len(NAMES))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    folder = tmp_path_factory.mktemp("towers") / "mover"
    towers_ila.folder(folder, PLAN, made)
    (folder / "labels.csv").write_text("\n".join(["id,name", *(f"{n},{name}" for n, name in enumerate(NAMES))]))
    return folder


@pytest.fixture
def tower(untaught: Path) -> Path:
    return untaught


@pytest.fixture
def films(towers_only: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A film a way of moving."""
    monkeypatch.setenv("REELSEEK_CACHE", str(towers_only / "cache"))
    parts._with_model.cache_clear()
    folder = towers_only / "films"
    folder.mkdir()
    for name in NAMES:
        film(folder / f"{name.replace(' ', '-')}.mp4", name)
    return folder


def indexed(films: Path, tower: Path, *words: str) -> int:
    return main(["index", str(films), "--pack", "openclip", "--model", str(tower), *words])


def seen(found: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Files and the labels that they were found by, the best first."""
    return [
        (
            Path(moment["media"]["path"]).stem,
            [label["name"] for piece in moment["evidence"] for label in piece["labels"]],
        )
        for moment in found["moments"]
    ]


def test_what_moves_is_found_by_how_it_moves(films, tower, mover, capsys):
    assert indexed(films, tower, "--video-model", f"ila:{mover}") == 0
    capsys.readouterr()
    stats = printed_by("stats", capsys=capsys)
    held = {space["name"]: space for space in stats["spaces"]}
    assert held.keys() >= {"openclip", "ila→hashing"}
    assert held["ila→hashing"]["dimension"] == fakes.DIMENSION
    assert held["ila→hashing"]["modality"] == "vision"
    for name in NAMES:
        found = printed_by("search", name, "--min-confidence", "0", capsys=capsys)
        file, labels = seen(found)[0]
        assert file == name.replace(" ", "-")
        assert labels[0] == name


def test_a_folder_that_was_moved_is_named_when_indexing_again(films, tower, mover, tmp_path, capsys):
    shutil.copytree(mover, tmp_path / "first")
    assert indexed(films, tower, "--video-model", f"ila:{tmp_path / 'first'}") == 0
    (tmp_path / "first").rename(tmp_path / "second")
    parts._with_model.cache_clear()
    found = printed_by("search", "moving left", "--min-confidence", "0", capsys=capsys)  # only sentences are needed
    assert seen(found)[0][0] == "moving-left"
    video = ["--video-model", f"ila:{tmp_path / 'second'}"]
    document = printed_by("index", str(films), "--pack", "openclip", "--model", str(tower), *video, capsys=capsys)
    assert (document["indexed"], document["unchanged"]) == ([], len(NAMES))


def test_a_folder_with_a_text_tower_that_was_moved_is_named_when_asking(films, tower, tmp_path, capsys):
    towers_ila.folder(tmp_path / "first", towers_ila.KINETICS)
    assert indexed(films, tower, "--video-model", f"ila:{tmp_path / 'first'}") == 0
    spaces = printed_by("stats", capsys=capsys)["spaces"]
    assert ("ila", towers_ila.KINETICS.dimension) in {(space["name"], space["dimension"]) for space in spaces}
    assert printed_by("search", "moving left", "--min-confidence", "0", capsys=capsys)["moments"]
    (tmp_path / "first").rename(tmp_path / "second")
    parts._with_model.cache_clear()
    assert main(["search", "moving left"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "first") in line
    video = ["--video-model", f"ila:{tmp_path / 'second'}"]
    assert printed_by("search", "moving left", "--min-confidence", "0", *video, capsys=capsys)["moments"]


def test_a_classifier_without_names_is_refused_in_one_line(films, tower, mover, tmp_path, capsys):
    shutil.copytree(mover, tmp_path / "nameless")
    (tmp_path / "nameless" / "labels.csv").unlink()
    assert indexed(films, tower, "--video-model", f"ila:{tmp_path / 'nameless'}") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "has no labels.csv or labels.txt" in line
