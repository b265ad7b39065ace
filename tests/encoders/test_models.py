"""A model is found by any of its names, and read only if it is what was pinned."""

import builtins
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from encoders import _models
from encoders._models import Files, locate, lock_file, models_folder, nearest, spelled
from retriever.errors import AlteredWeights, MissingWeights, UnknownModel

pytest.importorskip("open_clip")

CONFIG = {"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}}}
FILES = {
    "open_clip_config.json": json.dumps(CONFIG).encode(),
    "open_clip_model.safetensors": b"numbers",
    "tokenizer.json": b"{}",
    "README.md": b"of no matter",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test alone."""
    monkeypatch.setenv("REELSEEK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model in the hub's layout."""
    return filled(tmp_path / "tower")


def filled(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    folder.mkdir(parents=True)
    for name, body in files.items():
        (folder / name).write_bytes(body)
    return folder


def pulled(name: str, family: str = "openclip", files: dict[str, bytes] = FILES) -> Path:
    """A model as `reelseek models pull` leaves it."""
    number = len(list(models_folder().glob("*")))
    entry = {
        "family": family,
        "folder": f"m{number}",
        "source": "https://example.org",
        "revision": "",
        "licence": "mit",
        "pulled": "2026-01-31",
        "files": {file: sha256(body).hexdigest() for file, body in files.items()},
        "size": sum(map(len, files.values())),
        "facts": {},
    }
    held = json.loads(lock_file().read_text())["models"] if lock_file().exists() else {}
    folder = filled(models_folder() / f"m{number}", files)
    lock_file().write_text(json.dumps({"version": 1, "models": {**held, name: entry}}))
    return folder


def test_a_folder_in_the_hubs_layout(folder: Path) -> None:
    files = locate("openclip", str(folder))
    assert files == Files(str(folder), "", folder, folder / "open_clip_model.safetensors", files.digest)
    assert locate("openclip", f"local-dir:{folder}") == files
    assert locate("openclip", "tower").digest == files.digest
    assert locate("openclip", "./tower/").digest == files.digest


@pytest.mark.parametrize("name", ["open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"])
def test_the_digest_is_of_all_that_counts(folder: Path, name: str) -> None:
    before = locate("openclip", str(folder)).digest
    (folder / name).write_bytes(FILES[name] + b" ")
    assert locate("openclip", str(folder)).digest != before


def test_the_digest_is_of_nothing_else(folder: Path, tmp_path: Path) -> None:
    before = locate("openclip", str(folder)).digest
    (folder / "README.md").write_bytes(b"another")
    folder.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "open_clip_model.safetensors").rename(tmp_path / "own.safetensors")
    assert locate("openclip", "elsewhere", "own.safetensors").digest == before


def test_a_file_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locate("openclip", str(folder))
    opened: list[Path] = []
    real = Path.open

    def counting(self: Path, *arguments: Any, **more: Any) -> Any:
        opened.append(self)
        return real(self, *arguments, **more)

    monkeypatch.setattr(Path, "open", counting)
    locate("openclip", str(folder))
    assert opened == []
    (folder / "tokenizer.json").write_bytes(b"[]")
    opened.clear()
    locate("openclip", str(folder))
    assert [path.name for path in opened] == ["tokenizer.json"]


def test_safetensors_come_before_the_others(folder: Path) -> None:
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"pickled")
    assert locate("openclip", str(folder)).weights.suffix == ".safetensors"
    (folder / "open_clip_model.safetensors").unlink()
    assert locate("openclip", str(folder)).weights.suffix == ".bin"


def test_the_layout_of_clap(tmp_path: Path) -> None:
    folder = filled(tmp_path / "ears", {"config.json": b"{}", "pytorch_model.bin": b"numbers"})
    assert locate("clap", str(folder)).weights == folder / "pytorch_model.bin"
    with pytest.raises(MissingWeights, match=r"has no open_clip_config\.json, wanted that, its tokenizer, and one of"):
        locate("openclip", str(folder))


def test_an_architecture_with_own_weights(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(b"numbers")
    files = locate("openclip", "ViT-B/32", "mine.pt")
    assert (files.name, files.architecture, files.folder) == ("ViT-B-32", "ViT-B-32", None)
    assert files.weights == Path("mine.pt")
    assert locate("openclip", "ViT-B-32-quickgelu", "mine.pt").digest != files.digest


def test_an_architecture_is_not_taken_for_a_folder_of_that_name(tmp_path: Path) -> None:
    filled(tmp_path / "ViT-B-32")
    (tmp_path / "mine.pt").write_bytes(b"numbers")
    assert locate("openclip", "ViT-B-32", "mine.pt").architecture == "ViT-B-32"
    assert locate("openclip", "./ViT-B-32").folder == Path("ViT-B-32")


def test_pulled_models_by_all_of_their_spellings() -> None:
    folder = pulled("ViT-B-32:laion2b_s34b_b79k")
    for model in ("ViT-B-32:laion2b_s34b_b79k", "ViT-B/32:LAION2B-s34b-b79k", "ViT-B-32"):
        assert locate("openclip", model).folder == folder
    ears = pulled("hf-hub:laion/clap", "clap", {"config.json": b"{}", "model.safetensors": b"numbers"})
    for model in ("hf-hub:laion/clap", "laion/clap"):
        assert locate("clap", model).folder == ears


def test_pulled_with_other_weights(tmp_path: Path) -> None:
    folder = pulled("hf-hub:tiny/clip")
    (tmp_path / "mine.safetensors").write_bytes(b"other numbers")
    files = locate("openclip", "hf-hub:tiny/clip", "mine.safetensors")
    assert (files.folder, files.weights) == (folder, Path("mine.safetensors"))
    assert files.digest != locate("openclip", "hf-hub:tiny/clip").digest


def test_several_tags_of_an_architecture_have_to_be_told_apart() -> None:
    pulled("ViT-B-32:openai")
    pulled("ViT-B-32:laion2b_s34b_b79k")
    with pytest.raises(MissingWeights, match="name one of ViT-B-32:laion2b_s34b_b79k, ViT-B-32:openai"):
        locate("openclip", "ViT-B-32")


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "tokenizer.json", "open_clip_config.json"])
def test_an_altered_file_is_refused(name: str) -> None:
    folder = pulled("hf-hub:tiny/clip")
    locate("openclip", "hf-hub:tiny/clip")
    (folder / name).write_bytes(b"altered")
    with pytest.raises(
        AlteredWeights, match=rf"{name} has SHA-256 .*models\.lock says .*: reelseek models pull hf-hub:tiny/clip"
    ):
        locate("openclip", "hf-hub:tiny/clip")


@pytest.mark.parametrize(
    ("family", "model", "checkpoint", "kind", "words"),
    [
        ("openclip", "ViT-B-32", "", MissingWeights, r"has no weights here: reelseek models pull ViT-B-32:openai"),
        ("openclip", "ViT-B-32:openai", "", MissingWeights, r"not pulled: reelseek models pull ViT-B-32:openai"),
        ("openclip", "hf-hub:a/b", "", MissingWeights, r"not pulled: reelseek models pull hf-hub:a/b"),
        ("clap", "laion/clap", "", MissingWeights, r"not pulled: reelseek models pull hf-hub:laion/clap"),
        ("openclip", "ViT-B-33", "", UnknownModel, r"no openclip model 'ViT-B-33': did you mean ViT-B-3"),
        ("openclip", "VIT-B-32:opnai", "", UnknownModel, r"did you mean ViT-B-32:openai"),
        ("openclip", "owl", "", UnknownModel, r"no openclip model 'owl': reelseek models list shows"),
        ("clap", "clap", "", UnknownModel, r"no clap model 'clap'"),
        ("openclip", "./absent", "", MissingWeights, r"absent is not a folder: name one that holds open_clip_config"),
        ("openclip", "local-dir:absent", "", MissingWeights, r"absent is not a folder"),
        ("openclip", "ViT-B-32", "absent.pt", MissingWeights, r"--checkpoint is absent\.pt, which is no file"),
        ("openclip", "ViT-B-32", "mine.txt", MissingWeights, r"--checkpoint is mine\.txt, wanted a file that ends in"),
        ("openclip", "ViT-B-32:openai", "mine.pt", MissingWeights, r"with --checkpoint name the architecture alone"),
        ("openclip", "ViT-B-16-SigLIP2", "mine.pt", MissingWeights, r"needs the tokenizer of timm/ViT-B-16-SigLIP2"),
        ("openclip", "empty", "", MissingWeights, r"empty has no open_clip_config\.json"),
        ("openclip", "bare", "", MissingWeights, r"bare has no weights, wanted one of .*--checkpoint"),
    ],
)
def test_what_cannot_be_had_has_a_way_out(
    tmp_path: Path, family: Any, model: str, checkpoint: str, kind: type[Exception], words: str
) -> None:
    (tmp_path / "mine.txt").touch()
    (tmp_path / "mine.pt").touch()
    (tmp_path / "empty").mkdir()
    filled(tmp_path / "bare", {"open_clip_config.json": b"{}"})
    with pytest.raises(kind, match=words) as caught:
        locate(family, model, checkpoint)
    assert str(caught.value).isprintable()


def test_without_open_clip_pulled_models_and_folders_are_still_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled("ViT-B-32:openai")
    monkeypatch.setattr(_models, "find_spec", lambda _: None)
    real = builtins.__import__

    def refused(name: str, *arguments: Any, **more: Any) -> Any:
        assert name != "open_clip"
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", refused)
    assert locate("openclip", "ViT-B-32:openai").folder is not None
    assert locate("openclip", str(folder)).folder == folder
    with pytest.raises(UnknownModel, match="did you mean ViT-B-32:openai"):
        locate("openclip", "ViT-B-32:opnai")


def test_spelling() -> None:
    assert spelled("openclip", "ViT-B/32") == "ViT-B-32"
    assert spelled("openclip", "hf-hub:Org/Name/") == "hf-hub:Org/Name"
    assert spelled("clap", "org/name") == "hf-hub:org/name"
    assert spelled("clap", "a/b/c") == "a/b/c"
    assert nearest("vit-b-32", ["ViT-B-32", "RN50"]) == ["ViT-B-32"]
