"""The pack openclip through the command line: towers that are trained on the spot, a real store, a real search."""

import json
from pathlib import Path
from types import SimpleNamespace

import clips
import colours
import fakes
import numpy as np
import pytest
import torch
import towers
from documents import printed_by
from safetensors.torch import save_file
from transformers import AutoTokenizer, ClapFeatureExtractor

from api import Library, ModelChoice, parts
from api.main import main

TONE_STEPS = 180


@pytest.fixture(scope="session")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tower of open_clip that has learnt what four colours are called."""
    return colours.trained(tmp_path_factory.mktemp("towers") / "colours")


@pytest.fixture(scope="session")
def ears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLAP that has learnt nothing: sounds and texts have another width and another query side than pictures."""
    folder = tmp_path_factory.mktemp("towers") / "ears"
    towers.clap_folder(folder)
    return folder


KINDS = {"high": (2_500, 4_000), "low": (200, 400), "noise": (0, 0)}
"""Sounds with a name, and between how many hertz they lie."""


def sound_of(kind: str, seconds: float, rate: int, draw: np.random.Generator) -> np.ndarray:
    least, most = KINDS[kind]
    count = round(seconds * rate)
    if not most:
        return draw.normal(0, 0.2, count)
    return draw.uniform(0.2, 0.8) * np.sin(2 * np.pi * draw.uniform(least, most) * np.arange(count) / rate)


@pytest.fixture(scope="session")
def trained_ears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLAP that has learnt what high and low tones and noise are called."""
    folder = tmp_path_factory.mktemp("towers") / "tones"
    model = towers.clap_folder(folder)
    draw = np.random.default_rng(1)
    extractor = ClapFeatureExtractor(truncation="rand_trunc")
    waves = [[sound_of(kind, 10, 48_000, draw).astype(np.float32) for _ in range(6)] for kind in KINDS]
    heard = torch.stack(
        [
            torch.cat(
                [extractor(wave, sampling_rate=48_000, return_tensors="pt")["input_features"] for wave in several]
            )
            for several in waves
        ]
    )  # (K, 6, 1, T, F)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tokens = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)(list(KINDS), return_tensors="pt")
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(TONE_STEPS):
        features = heard[torch.arange(len(KINDS)), torch.from_numpy(draw.integers(6, size=len(KINDS)))]
        sounds = model.audio_projection(model.audio_model.audio_encoder(features, is_longer=None).pooler_output)
        said = model.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        texts = model.text_projection(said.pooler_output)
        normalize = torch.nn.functional.normalize
        logits, right = 15 * normalize(sounds, dim=1) @ normalize(texts, dim=1).T, torch.arange(len(KINDS))
        loss = torch.nn.functional.cross_entropy(logits, right) + torch.nn.functional.cross_entropy(logits.T, right)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    model.eval().save_pretrained(folder)
    return folder


@pytest.fixture
def films(coloured: Path) -> Path:
    return coloured


def indexed(films: Path, *words: str) -> int:
    return main(["index", str(films), "--pack", "openclip", *words])


def test_what_a_tower_has_learnt_is_found_at_its_time(films, tower, ears, capsys):
    assert indexed(films, "--model", str(tower), "--sound-model", str(ears)) == 0
    capsys.readouterr()
    stats = printed_by("stats", capsys=capsys)
    assert {space["name"] for space in stats["spaces"]} >= {"openclip", "clap"}
    assert {space["dimension"] for space in stats["spaces"]} == {24, fakes.DIMENSION}
    for asked, name, start in (("something blue", "first.mp4", 1), ("all of it is yellow", "third.mp4", 0)):
        found = printed_by("search", asked, "--min-confidence", "0", capsys=capsys)["moments"][0]
        assert found["media"]["path"].endswith(name)
        assert abs(found["start_s"] - 2 * start) < 0.6
        assert found["evidence"][0]["modality"] == "vision"


def test_what_ears_have_learnt_is_found_at_its_time(films, tower, trained_ears, capsys):
    (films / "tone.wav").unlink()  # it is neither high nor low, and half of it is silent
    draw = np.random.default_rng(2)
    parts_of = {"first.wav": ["low", "high"], "second.wav": ["noise"], "third.wav": ["high", "noise"]}
    for name, kinds in parts_of.items():
        waves = [sound_of(kind, 16, clips.SAMPLES, draw) for kind in kinds]
        clips.wav(films / name, np.concatenate(waves))
    assert indexed(films, "--model", str(tower), "--sound-model", str(trained_ears)) == 0
    capsys.readouterr()
    wanted = {
        "low": {("first.wav", False)},
        "high": {("first.wav", True), ("third.wav", False)},
        "noise": {("second.wav", False), ("third.wav", True)},
    }  # in which file, and whether in its second half
    for asked, places in wanted.items():
        found = printed_by("search", asked, "--kind", "sound", "--min-confidence", "0", capsys=capsys)["moments"]
        best = found[: len(places)]
        assert {one["evidence"][0]["modality"] for one in best} == {"sound"}
        found_at = {(Path(one["media"]["path"]).name, (one["start_s"] + one["end_s"]) / 2 > 16) for one in best}
        assert found_at == places


def test_indexing_again_from_elsewhere_is_the_same_recipe(films, tower, tmp_path, capsys):
    assert indexed(films, "--model", str(tower)) == 0
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in tower.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    capsys.readouterr()
    document = printed_by("index", str(films), "--pack", "openclip", "--model", str(moved), capsys=capsys)
    assert document["indexed"] == []
    assert document["unchanged"] == 4
    parts._with_model.cache_clear()
    (moved / "open_clip_model.safetensors").unlink()  # it is asked for there by now, and not where it lay before
    assert main(["search", "something blue"]) == 1
    assert "moved" in capsys.readouterr().err


def test_a_model_that_was_named_from_here_is_found_from_elsewhere(films, tower, tmp_path, monkeypatch, capsys):
    (tmp_path / "near").symlink_to(tower)
    assert indexed(films, "--model", "near") == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("REELSEEK_LIBRARY", str(tmp_path / "lib"))
    parts._with_model.cache_clear()
    capsys.readouterr()
    found = printed_by("search", "something blue", "--min-confidence", "0", capsys=capsys)
    assert found["moments"][0]["media"]["path"].endswith("first.mp4")


def test_the_library_takes_models_in_python_too(films, tower):
    with Library.open("lib", models=ModelChoice(model=str(tower))) as library:
        library.index([films], pack="openclip")
    with Library.open("lib") as library:
        assert library.search("something blue", min_confidence=0)[0].media.path.endswith("first.mp4")


def test_a_recipe_of_another_version_is_refused_in_one_line(films, tower, capsys):
    assert indexed(films, "--model", str(tower)) == 0
    store = parts.store("local", Path("lib"), create=False)
    digest, text = store.catalog.recipe()
    store.catalog.set_recipe(digest, json.dumps({**json.loads(text), "colour": "blue"}))
    store.close()
    capsys.readouterr()
    assert main(["search", "something blue"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "install the version that made the library" in line
    assert main(["doctor"]) == 1
    assert "fix: install the version that made the library" in capsys.readouterr().out


def test_without_a_model_of_sounds_the_bridge_listens(films, tower, monkeypatch, capsys):
    whole = parts.ENCODERS
    loaded = SimpleNamespace(
        load=lambda name: (
            SimpleNamespace(build=lambda sentences: fakes.Loudness()) if name == "soundevents" else whole.load(name)
        )
    )
    monkeypatch.setattr(parts, "ENCODERS", loaded)
    assert indexed(films, "--model", str(tower)) == 0
    capsys.readouterr()
    stats = printed_by("stats", capsys=capsys)
    assert {"openclip", "loudness→hashing"} <= {space["name"] for space in stats["spaces"]}


def test_a_checkpoint_of_ones_own_is_searched_with_after_it_was_moved(films, tower, tmp_path, monkeypatch, capsys):
    mine, other = tmp_path / "mine.safetensors", tmp_path / "other.safetensors"
    mine.write_bytes((tower / "open_clip_model.safetensors").read_bytes())
    assert indexed(films, "--model", str(tower), "--checkpoint", str(mine)) == 0
    mine.rename(other)
    parts._with_model.cache_clear()
    capsys.readouterr()
    assert main(["search", "something blue"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "mine.safetensors" in line
    assert main(["doctor"]) == 1
    assert "mine.safetensors" in capsys.readouterr().out
    found = printed_by("search", "something blue", "--min-confidence", "0", "--checkpoint", str(other), capsys=capsys)
    assert found["moments"][0]["media"]["path"].endswith("first.mp4")
    monkeypatch.setenv("REELSEEK_CHECKPOINT", str(other))
    checks = printed_by("doctor", capsys=capsys)["checks"]
    (mine,) = [one for one in checks if one["name"] == "model openclip"]
    assert mine["problem"] in (None, "")


def test_other_weights_are_refused_when_indexing_and_when_asking(films, tower, tmp_path, monkeypatch, capsys):
    assert indexed(films, "--model", str(tower)) == 0
    towers.openclip_folder(tmp_path / "untrained", towers.CLIP)
    capsys.readouterr()
    assert indexed(films, "--model", str(tmp_path / "untrained")) == 1
    assert "index into another --library" in capsys.readouterr().err
    monkeypatch.setenv("REELSEEK_MODEL", str(tmp_path / "untrained"))
    assert main(["search", "something blue"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "this library's questions need openclip:" in line
    assert main(["doctor"]) == 1
    assert "not the weights that made this library" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--pack", "openclip"], 2, "wants a model: --model NAME:TAG"),
        (["--model", "ViT-B-32:openai"], 2, "pack 'offline' has no vision model to choose: take --pack openclip"),
        (["--pack", "openclip", "--model", "ViT-B-33:openai"], 1, "ViT-B-32"),
        (["--pack", "openclip", "--model", "ViT-B-32:openai"], 1, "reelseek models pull ViT-B-32:openai"),
        (["--pack", "openclip", "--model", "nowhere/"], 1, "nowhere"),
        (["--pack", "openclip", "--model", "x", "--device", "tpu"], 2, "auto, cpu, cuda, cuda:N or mps"),
        (["--pack", "openclip", "--model", "x", "--precision", "int4"], 2, "auto or fp32 or bf16 or fp16"),
    ],
)
def test_a_wrong_choice_is_one_line_with_the_way_out(films, monkeypatch, tmp_path, capsys, words, code, said):
    monkeypatch.setenv("REELSEEK_CACHE", str(tmp_path / "cache"))
    assert main(["index", str(films), *words]) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "lib" / "tokens").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA device: there is one")
def test_a_gpu_that_is_not_there_is_refused(films, tower, capsys):
    assert indexed(films, "--model", str(tower), "--device", "cuda") == 1
    assert "take --device cpu or auto" in capsys.readouterr().err


def test_an_authors_checkpoint_becomes_a_tower_and_a_head(films, tmp_path, capsys):
    import pools
    from transformers import CLIPConfig, CLIPModel

    from retriever.heads import Block

    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={
            "vocab_size": 49408,
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 1,
            "max_position_embeddings": 16,
            "eos_token_id": 49407,
        },
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 1,
            "image_size": 32,
            "patch_size": 8,
        },
        projection_dim=16,
    )
    own = {f"clip.{name}": value for name, value in CLIPModel(config).state_dict().items()}
    torch.save({"state_dict": pools.published(Block.identity(16)) | own}, tmp_path / "model_best.pth")
    words = ["head", "import", "model_best.pth", "--tower", "tower", "--out", "head", "--json"]
    assert main(words) == 0
    head = json.loads(capsys.readouterr().out)
    assert indexed(films, "--model", "tower") == 0
    capsys.readouterr()
    stats = printed_by("stats", capsys=capsys)
    assert head["token_spaces"][0] in {space["id"] for space in stats["spaces"]}
    found = printed_by("search", "something blue", "--min-confidence", "0", "--head", "head", capsys=capsys)
    assert found["moments"]


def test_weights_that_fit_nothing_leave_a_new_library_free(films, tower, tmp_path, capsys):
    other = tmp_path / "other.safetensors"
    model = towers.openclip_model({**colours.CONFIG, "embed_dim": 32})
    save_file(model.state_dict(), other)
    assert indexed(films, "--model", str(tower), "--checkpoint", str(other)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "is of another architecture" in line
    assert indexed(films, "--model", str(tower)) == 0


@pytest.mark.parametrize(("flag", "value"), [("--device", "cpu"), ("--precision", "bf16"), ("--runtime", "torch")])
def test_a_pack_without_models_has_nothing_to_place(films, flag, value, capsys):
    assert main(["index", str(films), flag, value]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{flag} is {value}, and pack 'offline' has no model" in line
