"""What a person names becomes a list of files: folders, files, addresses, and manifests with metadata."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from itertools import takewhile

from indexer import manifests, places
from indexer.listing import Listing, Source
from indexer.places import Place
from retriever.errors import CannotOpen
from retriever.types import Metadata

# What a folder is searched for.  A file that is named outright is tried whatever it is called.
_SUFFIXES = """
    mp4 m4v mov mkv webm avi mpg mpeg ts mts m2ts wmv flv ogv 3gp gif apng
    mp3 m4a aac wav flac ogg oga opus wma aiff aif
    jpg jpeg png webp bmp tif tiff synthetic
"""
SUFFIXES = frozenset(f".{name}" for name in _SUFFIXES.split())


def merged(base: Metadata | None, over: Metadata | None) -> Metadata | None:
    """`over` where it says something, else `base`; tags are joined."""
    if base is None or over is None:
        return over or base
    said = {f.name: getattr(over, f.name) for f in fields(Metadata) if getattr(over, f.name)}
    said["tags"] = tuple(dict.fromkeys((*base.tags, *over.tags)))
    return replace(base, **said)


def found(
    paths: Sequence[Place], metadata: Metadata | None = None, stopped: Callable[[], bool] = lambda: False
) -> Listing:
    """Every file behind `paths`, each once, in the order in which they were named; folders by name, walked down.  Once
    `stopped` says so it is a part of them.

    Raises:
        CannotOpen: a path that is not there; an Unreachable, a server that gives no answer.
        ManifestError, MissingExtra: as `manifests.read`.
        DiskFull: as `Listing.of`.
    """
    every = takewhile(lambda _: not stopped(), (source for path in paths for source in _behind(path)))
    return Listing.of(replace(source, metadata=merged(metadata, source.metadata)) for source in every)


def there(path: Place) -> None:
    """
    Raises:
        CannotOpen: nothing is at this path.
        MissingExtra: it is an address, and what reads those is not installed.
    """
    places.reachable(path)
    if places.is_gone(path):
        raise CannotOpen(f"{path} is not there: name a file, a folder or a manifest (.jsonl, .csv, .parquet)")


def _behind(path: Place) -> Iterator[Source]:
    there(path)
    if places.is_folder(path):
        for file, seen in places.walked(path.absolute()):
            if file.suffix.lower() in SUFFIXES:
                yield Source(file, seen=seen)
    elif path.suffix.lower() in manifests.SUFFIXES:
        yield from (Source(file, said) for file, said in manifests.read(path))
    else:
        yield Source(path.absolute())
