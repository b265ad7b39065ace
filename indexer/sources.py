"""What a person names becomes a list of files: folders, files, and JSONL manifests with metadata."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path

from retriever.errors import CannotOpen, ManifestError
from retriever.types import Metadata

# What a folder is searched for.  A file that is named outright is tried whatever it is called.
_SUFFIXES = """
    mp4 m4v mov mkv webm avi mpg mpeg ts mts m2ts wmv flv ogv 3gp gif apng
    mp3 m4a aac wav flac ogg oga opus wma aiff aif
    jpg jpeg png webp bmp tif tiff synthetic
"""
SUFFIXES = frozenset(f".{name}" for name in _SUFFIXES.split())
MANIFEST_KEYS = frozenset({"path", "title", "tags", "recorded", "collection"})


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
        ManifestError: a manifest line that is wrong, with its number.
    """
    sources: dict[Path, Source] = {}
    for path in paths:
        for source in _behind(path):
            sources[source.path] = replace(source, metadata=merged(metadata, source.metadata))
    return list(sources.values())


def _behind(path: Path) -> Iterator[Source]:
    if path.is_dir():
        yield from (Source(file) for file in _walk(path.absolute()))
    elif not path.exists():
        raise CannotOpen(f"{path} is not there: name a file, a folder or a .jsonl manifest")
    elif path.suffix.lower() == ".jsonl":
        yield from _manifest(path)
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


def _manifest(path: Path) -> Iterator[Source]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _manifest_line(path, number, line)


def _manifest_line(manifest: Path, number: int, line: str) -> Source:
    where = f"{manifest}, line {number}"
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise ManifestError(f"{where} is not JSON: {error.msg} at column {error.colno}") from error
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str) or not entry["path"]:
        raise ManifestError(f'{where} has no path: it wants {{"path": "clip.mp4", "title": …, "tags": […]}}')
    unknown = sorted(set(entry) - MANIFEST_KEYS)
    if unknown:
        raise ManifestError(
            f"{where} has unknown keys {', '.join(unknown)}: known are {', '.join(sorted(MANIFEST_KEYS))}"
        )
    tags = entry.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ManifestError(f"{where}: tags is {tags!r}; it wants a list of strings")
    for key in ("title", "recorded", "collection"):
        if not isinstance(entry.get(key, ""), str):
            raise ManifestError(f"{where}: {key} is {entry[key]!r}; it wants a string")
    recorded = entry.get("recorded", "")
    if recorded:
        try:
            datetime.fromisoformat(recorded)
        except ValueError as error:
            raise ManifestError(
                f"{where}: recorded is {recorded!r}; it wants a date such as 2026-01-31T12:00:00+01:00"
            ) from error
    said = Metadata(
        title=entry.get("title", ""),
        tags=tuple(tags),
        recorded=recorded,
        recorded_source="manifest" if recorded else "",
        collection=entry.get("collection", ""),
    )
    file = Path(entry["path"])
    return Source((file if file.is_absolute() else manifest.parent / file).absolute(), said)
