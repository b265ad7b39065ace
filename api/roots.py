"""Which files of the server whoever asks may name: those below its roots."""

import os
from pathlib import Path

from api.problems import Problem
from indexer import manifests
from retriever.errors import BadSettings


def named(text: str) -> tuple[Path, ...]:
    """The roots, from their setting: paths with `:` between.

    Raises:
        BadSettings: one is not there.  A place at which a disk is to be mounted is, and may be empty until then.
    """
    found = tuple(Path(root).absolute() for root in text.split(":") if root)
    for root in found:
        if not root.exists():
            raise BadSettings(f"--roots names {root}, which is not there: make the folder, or leave it out")
    return found


def below(text: str, roots: tuple[Path, ...]) -> str:
    """The real path of a file of the server, which must lie below a root, links and all.

    Raises:
        Problem: it does not (403), or it is not there (422).
    """
    real = Path(text).resolve()
    if not Path(text).is_absolute() or not _is_below(real, roots):
        raise Problem(
            403, "not below a root", f"{text} is no whole path below a root; whoever runs this server names those"
        )
    if not real.exists():
        raise Problem(422, "no such file", f"{text} is not there")
    if real.is_file() and real.suffix.lower() in manifests.SUFFIXES:
        for place, _ in manifests.read(real):
            if not isinstance(place, Path) or not _is_below(place.resolve(), roots):
                raise Problem(403, "not below a root", f"{text} lists {place}, which is not below a root")
    for folder, _, names in os.walk(real):  # of a file: nothing
        for file in (Path(folder, name) for name in names):
            if file.is_symlink() and not _is_below(file.resolve(), roots):
                raise Problem(403, "not below a root", f"{file} is a link to what is not below a root")
    return str(real)


def _is_below(path: Path, roots: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(root.resolve()) for root in roots)
