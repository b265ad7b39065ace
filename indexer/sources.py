"""What a person names becomes a list of files: folders, files, and manifests with metadata."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from indexer import manifests
from retriever.errors import CannotOpen
from retriever.types import Metadata

# What a folder is searched for.  A file that is named outright is tried whatever it is called.
_SUFFIXES = """
    mp4 m4v mov mkv webm avi mpg mpeg ts mts m2ts wmv flv ogv 3gp gif apng
    mp3 m4a aac wav flac ogg oga opus wma aiff aif
    jpg jpeg png webp bmp tif tiff synthetic
"""
SUFFIXES = frozenset(f".{name}" for name in _SUFFIXES.split())


@dataclass(frozen=True, slots=True)
class Source:
    """One file to index.  `metadata` is None where nobody said anything: what the library has then stays."""

    path: Path  # absolute
    metadata: Metadata | None = None


def merged(base: Metadata | None, over: Metadata | None) -> Metadata | None:
    """`over` where it says something, else `base`; tags are joined."""
    if base is None or over is None:
        return over or base
    said = {f.name: getattr(over, f.name) for f in fields(Metadata) if getattr(over, f.name)}
    said["tags"] = tuple(dict.fromkeys((*base.tags, *over.tags)))
    return replace(base, **said)


def found(paths: Sequence[Path], metadata: Metadata | None = None) -> list[Source]:
    """Every file behind `paths`, each once, in the order in which they were named; folders by name, walked down.

    Raises:
        CannotOpen: a path that is not there.
        ManifestError, MissingExtra: as `manifests.read`.
    """
    sources: dict[Path, Source] = {}
    for path in paths:
        for source in _behind(path):
            sources[source.path] = replace(source, metadata=merged(metadata, source.metadata))
    return list(sources.values())


def there(path: Path) -> None:
    """
    Raises:
        CannotOpen: nothing is at this path.
    """
    if not path.exists():
        raise CannotOpen(f"{path} is not there: name a file, a folder or a manifest (.jsonl, .csv, .parquet)")


def _behind(path: Path) -> Iterator[Source]:
    there(path)
    if path.is_dir():
        yield from (Source(file) for file in _walk(path.absolute()))
    elif path.suffix.lower() in manifests.SUFFIXES:
        yield from (Source(file, said) for file, said in manifests.read(path))
    else:
        yield Source(path.absolute())


def _walk(folder: Path) -> Iterator[Path]:
    """Media files by name, hidden ones left out; links to folders are not followed, so there is no way round."""
    for here, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            file = Path(here, name)
            if not name.startswith(".") and file.suffix.lower() in SUFFIXES:
                yield file


def _refuse(error: OSError) -> None:
    raise CannotOpen(f"{error.filename} cannot be listed: {error.strerror}") from error
