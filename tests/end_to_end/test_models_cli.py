"""`reelseek models`, as people and scripts use it, against a hub on this machine."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import hubs
import pytest

from api.main import main
from encoders._cache import cache_folder
from encoders._models import locate, pinned

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")

NAME = "hf-hub:tiny/clip"
MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, bytes]]:
    """A tiny real model, and its files."""
    from safetensors.torch import save_file

    file = tmp_path_factory.mktemp("tower") / "open_clip_model.safetensors"
    model = open_clip.model.CLIP(**MODEL).eval()
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, file)
    config = json.dumps({"model_cfg": MODEL, "preprocess_cfg": {}}).encode()
    return model, {"open_clip_config.json": config, file.name: file.read_bytes()}


@pytest.fixture
def hub(tower: tuple[Any, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hubs.Hub]:
    for name in ("REELSEEK_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REELSEEK_CACHE", str(tmp_path / "cache"))
    with hubs.running() as hub:
        hub.add("tiny/clip", tower[1], licence="apache-2.0")
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        yield hub


def weights(hub: hubs.Hub) -> str:
    return hub.path("tiny/clip", "open_clip_model.safetensors")


def answered(monkeypatch: pytest.MonkeyPatch, line: str, terminal: bool = True) -> None:
    """What stands on stdin."""
    stdin = StringIO(line)
    stdin.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", stdin)


def test_from_pull_to_the_same_answers(hub: hubs.Hub, tower: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "pull", "--yes", NAME]) == 0
    out, err = capsys.readouterr()
    assert "apache-2.0" in err
    assert "in 2 files" in err
    assert "open_clip_model.safetensors: " in err
    assert "16" in out
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{locate('openclip', NAME).folder}")
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.eval().encode_image(pixels), tower[0].encode_image(pixels))


def test_licence_and_size_are_shown_before_anything_is_asked(
    hub: hubs.Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(monkeypatch, "n\n")
    assert main(["models", "pull", NAME]) == 3
    err = capsys.readouterr().err
    assert err.index("apache-2.0") < err.index("MB in 2 files") < err.index("pull it? [y/N]")
    assert "nothing was pulled" in err
    assert hub.gets(weights(hub)) == []
    answered(monkeypatch, "y\n")
    assert main(["models", "pull", NAME]) == 0
    assert list(pinned()) == [NAME]


def test_a_script_has_to_say_yes(
    hub: hubs.Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(monkeypatch, "", terminal=False)
    assert main(["models", "pull", NAME]) == 2
    assert "say --yes" in capsys.readouterr().err
    assert pinned() == {}


def test_list_show_verify_remove(hub: hubs.Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 3
    assert "no models here" in capsys.readouterr().err
    assert main(["models", "pull", NAME, "--yes", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["name"], card["dimension"], card["licence"], card["image"]) == (NAME, 16, "apache-2.0", 32)
    assert card["memory"] == 4 * card["parameters"] > 0
    assert main(["models", "pull", NAME, "--yes"]) == 0
    assert "is here already" in capsys.readouterr().err
    assert len(hub.gets(weights(hub))) == 1
    assert main(["models", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"models": [card]}
    assert main(["models", "show", NAME]) == 0
    assert "77 tokens" in capsys.readouterr().out
    assert main(["models", "verify"]) == 0
    assert "as it was pulled" in capsys.readouterr().out
    (Path(card["place"]) / "open_clip_config.json").write_text("{}")
    assert main(["models", "verify", NAME, "--json"]) == 1
    assert "has SHA-256" in json.loads(capsys.readouterr().out)["models"][0]["fault"]
    assert main(["models", "remove", NAME, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "removed": NAME,
        "bytes": card["size"] - len(hub.files[hub.path("tiny/clip", "open_clip_config.json")]) + 2,
    }
    assert main(["models", "remove", NAME]) == 1
    assert not Path(card["place"]).exists()


def test_what_open_clip_knows_is_listed(hub: hubs.Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--known", "siglip2-256"]) == 0
    assert "ViT-B-16-SigLIP2-256:webli" in capsys.readouterr().out.split()
    assert main(["models", "list", "--known", "no such thing"]) == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ViT-B-32:own", "--url", "https://example.org/a.safetensors"], 2, "--url and --sha256 come together"),
        (["ViT-B-32:own", "--url", "https://a.org/a.safetensors", "--sha256", "12"], 2, "64 hexadecimal digits"),
        (["ViT-B-32:own", "--url", "http://a.org/a.safetensors", "--sha256", "0" * 64], 1, "not a https:// address"),
        (["ViT-B-32:openai", "--url", "https://a.org/a.safetensors", "--sha256", "0" * 64], 1, "is a tag of open_clip"),
        (["ViT-B-99:own", "--url", "https://a.org/a.safetensors", "--sha256", "0" * 64], 1, "ARCHITECTURE:TAG"),
        (["ViT-B-32:own", "--url", "https://a.org/a.zip", "--sha256", "0" * 64], 1, "ends in .zip, wanted one of"),
        (["hf-hub:tiny/absent"], 1, "tiny/absent is not there"),
        (["ViT-B-32"], 1, "did you mean ViT-B-32:openai"),
    ],
)
def test_one_line_and_the_way_out(
    hub: hubs.Hub, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(["models", "pull", "--yes", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_offline_is_offline(hub: hubs.Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("REELSEEK_OFFLINE", "1")
    assert main(["models", "pull", NAME, "--yes"]) == 1
    assert "REELSEEK_OFFLINE is set" in capsys.readouterr().err
    assert hub.asked == []


# ------------------------------------------------------------------------------------------------------------ processes


def started(*words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "api.main", "models", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
        cwd=Path(__file__).parents[2],
    )


def until(met: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_two_processes_pull_once(hub: hubs.Hub) -> None:
    hub.held[weights(hub)] = threading.Event()
    first = started("pull", NAME, "--yes")
    until(lambda: hub.gets(weights(hub)))
    second = started("pull", NAME, "--yes")
    assert second.stderr is not None
    lines: list[str] = []
    while not any("waiting for it" in line for line in lines):
        lines.append(second.stderr.readline())
        assert lines[-1], lines
    assert pinned() == {}
    hub.held[weights(hub)].set()
    for process in (first, second):
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert NAME in out
    assert len(hub.gets(weights(hub))) == 1
    assert main(["models", "verify"]) == 0


def test_a_pull_that_was_killed_is_gone_on_with(hub: hubs.Hub, tmp_path: Path) -> None:
    hub.held[weights(hub)] = threading.Event()
    killed = started("pull", NAME, "--yes")
    half = len(hub.files[weights(hub)]) // 4
    until(lambda: any(file.stat().st_size > half for file in (tmp_path / "cache").rglob("*.part")))
    killed.kill()
    killed.communicate(timeout=60)
    assert pinned() == {}
    hub.held.pop(weights(hub)).set()
    assert main(["models", "pull", NAME, "--yes"]) == 0
    assert hub.gets(weights(hub))[-1].span.startswith("bytes=")
    assert main(["models", "verify"]) == 0


def test_how_fast_it_is_here_stands_on_its_card(
    hub: hubs.Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("api.throughput.SECONDS", 0.0)
    assert main(["models", "pull", "--yes", NAME]) == 0
    capsys.readouterr()
    assert main(["models", "show", NAME, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["throughput"] == []
    assert main(["models", "measure", NAME, "--device", "cpu", "--runtime", "torch"]) == 0
    assert "frames/s (cpu torch, " in capsys.readouterr().out
    assert main(["models", "measure", NAME, "--json"]) == 0
    capsys.readouterr()
    assert main(["models", "measure", NAME, "--json"]) == 0  # again in that setting: one stays
    both = json.loads(capsys.readouterr().out)["throughput"]
    assert [(one["device"], one["runtime"], one["unit"]) for one in both] == [
        ("cpu", "torch", "frames/s"),
        ("auto", "auto", "frames/s"),
    ]
    assert all(one["rate"] > 0 for one in both)
    file = cache_folder() / "throughput.json"
    file.write_text(file.read_text().replace(both[0]["host"], "another"))
    assert main(["models", "show", NAME, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["throughput"] == []  # measured elsewhere, where the cache came from
    file.write_text("torn")
    assert main(["models", "show", NAME]) == 0


def test_what_is_not_here_cannot_be_measured(hub: hubs.Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "measure", NAME]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"reelseek models pull {NAME}" in line or "list" in line
    assert main(["models", "measure", NAME, "--device", "gpu"]) == 2
