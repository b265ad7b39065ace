"""A video tower beside the frames, through the command line: real files, a real store, a real search."""

import shutil
import string
from dataclasses import replace
from pathlib import Path

import av
import clips
import numpy as np
import pytest
import torch
import towers_frozen
from documents import printed_by
from torch.nn.functional import cross_entropy, normalize

from api import Library, ModelChoice, parts
from api.main import main
from encoders import _frozen
from encoders._frozen import FrozenInTime
from encoders._models import locate

STEPS, SURE = 300, 15
"""Steps of training: at most, and how many in a row have to be right."""
SQUARE = 16  # pixels of 32
WAYS = ("right", "left")
SAID = ("{}", "moves {}", "a square moves {}", "it moves to the {}")


@pytest.fixture
def tower(untaught: Path) -> Path:
    return untaught


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights that have learnt nothing."""
    folder = tmp_path_factory.mktemp("towers") / "clips"
    towers_frozen.folder(folder)
    return folder / towers_frozen.FILE


@pytest.fixture(scope="session")
def mover(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights that have learnt which way a square moves.

    The frames of one way are those of the other, turned around: no frame tells.  Its tokenizer is a list of words, and
    of letters for what else is said.
    """
    folder = tmp_path_factory.mktemp("towers") / "mover"
    folder.mkdir()
    letters = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)]
    words = [*_frozen.OWN, *WAYS, "square", "moves", *letters]
    (folder / "vocab.txt").write_text("\n".join(words))
    sizes = replace(towers_frozen.SIZES, dim=64, text_dim=64, text_depth=1, words=len(words), positions=40)
    torch.manual_seed(0)
    network = FrozenInTime(sizes).eval()
    seen = network.video_model
    with torch.no_grad():
        for places in (seen.cls_token, seen.pos_embed, seen.temporal_embed):
            places.normal_()  # as drawn for training they are so small that learning takes long
    file = folder / towers_frozen.FILE
    towers_frozen.save(network, file)
    _taught(network, _frozen.tokenizer(_frozen.tower(locate("frozen", str(file)))))
    towers_frozen.save(network, file)
    return file


def _taught(network: FrozenInTime, tokenize: _frozen.Tokenize) -> None:
    draw = np.random.default_rng(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so little is not worth waking others for
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-4)
    right = torch.arange(16) % 2
    sure = 0
    for _ in range(STEPS):
        pixels = np.stack([_drawn(draw, turned=bool(way)) for way in right])
        tokens, mask = tokenize([str(draw.choice(SAID)).format(way) for way in WAYS])
        shown = normalize(network.vid_proj(network.video_model(torch.tensor(pixels, dtype=torch.float32))), dim=1)
        said = normalize(network.read(torch.tensor(tokens), torch.tensor(mask)), dim=1)
        loss = cross_entropy(20 * shown @ said.T, right)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1)
        optimizer.step()
        sure = sure + 1 if loss.item() < 0.02 else 0
        if sure == SURE:
            break
    torch.set_num_threads(threads)


def _drawn(draw: np.random.Generator, *, turned: bool) -> np.ndarray:
    """Four frames `(4, 3, 32, 32)` of a square that moves to the right, or the same ones in the other order."""
    clip = np.zeros((4, 32, 32, 3))
    top, colour = draw.integers(0, SQUARE), draw.uniform(0.6, 1, 3)
    for picture, left in zip(clip, np.linspace(draw.uniform(0, 3), draw.uniform(13, 16), 4), strict=True):
        picture[top : top + SQUARE, round(left) : round(left) + SQUARE] = colour
    return ((clip[::-1] if turned else clip) - _frozen.MEAN).transpose(0, 3, 1, 2) / np.reshape(_frozen.STD, (3, 1, 1))


def moving(path: Path, top: int, colour: tuple[int, int, int], *, turned: bool) -> Path:
    """A film of 8 s in which a square moves to the right, or the same film backwards."""
    pictures = []
    for left in np.linspace(0, clips.SIDE // 2, 80):
        picture = np.zeros((clips.SIDE, clips.SIDE, 3), np.uint8)
        picture[top : top + clips.SIDE // 2, round(left) : round(left) + clips.SIDE // 2] = colour
        pictures.append(picture)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = clips.SIDE
        stream.pix_fmt = "yuv420p"
        for picture in reversed(pictures) if turned else pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def films(towers_only: Path) -> Path:
    """Films of colours, and a tone."""
    folder = towers_only / "films"
    folder.mkdir()
    clips.film(folder / "first.mp4", ["red", "blue"])
    clips.film(folder / "second.mp4", ["green"])
    clips.tone(folder / "tone.wav", [False, True])
    return folder


@pytest.fixture
def moves(films: Path, mover: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A library of films in which a square moves, two a way, one of each pair being the other one backwards."""
    folder = films.parent / "moves"
    folder.mkdir()
    for number, (top, colour) in enumerate([(0, (255, 255, 255)), (20, (255, 180, 180))]):
        for turned, way in enumerate(WAYS):
            moving(folder / f"{way}-{number}.mp4", top, colour, turned=bool(turned))
    assert main(["index", str(folder), "--video-model", f"frozen:{mover}"]) == 0
    capsys.readouterr()


def test_a_video_tower_stands_beside_the_frames(films, tower, video, capsys):
    chosen = ["--pack", "openclip", "--model", str(tower), "--video-model", f"frozen:{video}"]
    assert main(["index", str(films), *chosen]) == 0
    stats = printed_by("stats", capsys=capsys)
    spaces = {space["name"]: space for space in stats["spaces"]}
    assert {"openclip", "frozen"} <= spaces.keys()
    assert (spaces["frozen"]["modality"], spaces["frozen"]["dimension"]) == ("vision", towers_frozen.SIZES.dimension)
    seen = {space["id"] for space in stats["spaces"] if space["modality"] == "vision"}
    assert len(seen) == 2
    moments = printed_by("search", "a dog runs", "--min-confidence", "0", capsys=capsys)["moments"]
    assert {Path(moment["media"]["path"]).name for moment in moments} >= {"first.mp4", "second.mp4"}
    named = {one["space"] for moment in moments for one in moment["evidence"] if one["modality"] == "vision"}
    assert named
    assert named <= seen
    assert printed_by("index", str(films), *chosen, capsys=capsys)["unchanged"] == 3


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("moves")
def test_what_only_movement_tells_is_found(way, capsys):
    """Beside encoders that see a frame at a time, to which both ways look the same."""
    moments = printed_by("search", f"a square moves {way}", "--min-confidence", "0", capsys=capsys)["moments"]
    first, second, *others = moments
    assert {Path(one["media"]["path"]).name for one in (first, second)} == {f"{way}-0.mp4", f"{way}-1.mp4"}
    for moment in (first, second):
        assert (moment["start_s"], moment["end_s"]) == (0, 8)
        assert moment["evidence"][0]["space"].startswith("frozen-")
        assert moment["confidence"] > 0.9 > max(other["confidence"] for other in others)


@pytest.mark.usefixtures("moves")
def test_a_file_that_was_moved_is_named_when_asking(mover, tmp_path, monkeypatch, capsys):
    asked = ["search", "a square moves left", "--min-confidence", "0"]
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        for file in mover.parent.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    chosen = ["--video-model", f"frozen:{here}"]
    assert printed_by("index", "moves", *chosen, capsys=capsys)["unchanged"] == 4  # it is looked for there from now on
    (here / mover.name).unlink()
    parts._with_model.cache_clear()
    capsys.readouterr()
    assert main(asked) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "here has no weights" in line
    assert main(["doctor"]) == 1
    assert "here has no weights" in capsys.readouterr().out
    elsewhere = f"frozen:{there / mover.name}"
    found = printed_by(*asked, "--video-model", elsewhere, capsys=capsys)["moments"][0]
    assert Path(found["media"]["path"]).name.startswith("left")
    monkeypatch.setenv("REELSEEK_VIDEO_MODEL", elsewhere)
    (check,) = [one for one in printed_by("doctor", capsys=capsys)["checks"] if one["name"] == "model frozen"]
    assert check["problem"] in (None, "")


@pytest.mark.usefixtures("moves")
def test_other_weights_are_refused_when_indexing_and_when_asking(video, monkeypatch, capsys):
    assert main(["index", "moves", "--video-model", f"frozen:{video}"]) == 1
    assert "index into another --library" in capsys.readouterr().err
    assert main(["search", "a square moves left", "--video-model", f"frozen:{video}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "this library's questions need frozen:" in line
    monkeypatch.setenv("REELSEEK_VIDEO_MODEL", f"frozen:{video}")
    assert main(["doctor"]) == 1
    assert "name the model that made it with --video-model" in capsys.readouterr().out


def test_the_library_takes_a_video_model_in_python_too(films, video):
    with Library.open("lib", models=ModelChoice(video_model=f"frozen:{video}")) as library:
        library.index([films])
    with Library.open("lib") as library:
        assert library.search("a dog runs", min_confidence=0)[0].media.path


@pytest.mark.parametrize(
    ("named", "code", "said"),
    [
        ("frozen", 2, "it wants PLUGIN:MODEL, such as frozen:FILE"),
        ("frozen:", 2, "it wants PLUGIN:MODEL, such as frozen:FILE"),
        ("minilm:x", 2, "encodes sentences, not clips: name frozen, xclip or ila"),
        ("openclip:ViT-B-32", 2, "encodes pictures and texts"),
        ("frosen:x", 1, "did you mean 'frozen'?"),
        ("frozen:nowhere.pth.tar", 1, "nowhere.pth.tar is neither a file nor a folder"),
        ("frozen:nowhere/", 1, "nowhere is neither a file nor a folder"),
        ("frozen:films/first.mp4", 1, "a file of weights ends in .safetensors"),
        ("frozen:films", 1, "films has no weights"),
        ("frozen:bare.pth", 1, "put its tokenizer.json or vocab.txt into"),
        ("frozen:torn/torn.pth", 1, "copy it again"),
    ],
)
def test_a_wrong_choice_is_one_line_with_the_way_out(films, tmp_path, capsys, named, code, said):
    (tmp_path / "bare.pth").write_bytes(b"PK")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "torn.pth").write_bytes(b"PK")
    (tmp_path / "torn" / "vocab.txt").touch()
    assert main(["index", str(films), "--video-model", named]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "lib" / "tokens").exists()


def test_its_card_is_told_and_measured(films, video, monkeypatch, capsys):
    monkeypatch.setattr("api.throughput.SECONDS", 0.0)
    monkeypatch.setenv("REELSEEK_CACHE", str(films.parent / "cache"))
    card = printed_by("models", "show", f"frozen:{video}", capsys=capsys)
    assert card["family"] == "frozen"
    assert card["parameters"] > 10_000
    assert card["throughput"] == []
    (rate,) = printed_by("models", "measure", f"frozen:{video}", "--runtime", "torch", capsys=capsys)["throughput"]
    assert rate["unit"] == "seconds of film/s"
    assert rate["rate"] > 0


def test_a_model_that_lies_elsewhere_names_its_flag(films, tower, video, capsys, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(video.parent, moved)
    assert main(["index", str(films), "--video-model", f"frozen:{moved / video.name}"]) == 0
    shutil.rmtree(moved)
    parts._with_model.cache_clear()
    capsys.readouterr()
    assert main(["search", "something red"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "say where with --video-model" in line
