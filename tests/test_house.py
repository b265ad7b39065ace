"""The gates: style, types, the arrows of the house, and promises that the text of the repository makes."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = ("retriever", "encoders", "indexer", "api", "data_manifests")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
    ],
    ids=" ".join,
)
def test_the_gate_is_clean(command: tuple[str, ...]) -> None:
    done = run(*command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_go_down_only() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_changelog_names_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == version


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(file.relative_to(ROOT))
        for package in CODE
        for file in (ROOT / package).rglob("*.py")
        if not file.read_text().lstrip().startswith(('"""', 'r"""'))
    ]
    assert silent == []


def test_nothing_is_unpickled() -> None:
    unsafe = re.compile(r"pickle\.load|torch\.load\((?!.*weights_only=True)|allow_pickle=True")
    found = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for package in CODE
        for file in (ROOT / package).rglob("*.py")
        for line in file.read_text().splitlines()
        if unsafe.search(line)
    ]
    assert found == []


def test_only_the_restricted_reader_knows_how_to_unpickle() -> None:
    """`encoders/_unpickling.py` calls nothing that a file names; its own tests say so."""
    knows = {
        str(file.relative_to(ROOT))
        for package in CODE
        for file in (ROOT / package).rglob("*.py")
        if re.search(
            r"Unpickler|^\s*(import|from) (c?pickle|dill|cloudpickle|joblib|marshal|shelve)\b", file.read_text(), re.M
        )
    }
    assert knows == {"encoders/_unpickling.py"}


def test_no_big_file_is_tracked() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    big = [name for name in listed.stdout.split("\0") if name and (ROOT / name).stat().st_size > 1_000_000]
    assert big == []
