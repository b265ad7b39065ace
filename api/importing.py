"""What another library holds, or a folder that `export` wrote, goes into a library: nothing is encoded again.

    summary = into(store, from_library(other))       # merge, move to another store, or back up while it is searched
    summary = into(store, from_folder(Path("exported/")))

A media is one commit.  What is there already stays as it is; so what was interrupted is run again, and goes on.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from api import parts, tables
from indexer import recipe as recipes
from indexer.representatives import segment_vectors
from retriever.errors import ManifestError, StoreUnavailable, WrongFormat, WrongRecipe
from retriever.ports import Snapshot, Store
from retriever.types import (
    LABELS_KEPT,
    Entry,
    Filter,
    Halves,
    Line,
    Media,
    MediaKind,
    Metadata,
    Modality,
    RaggedTokens,
    Segment,
    Space,
    TimeSpan,
    Tokens,
)

FORMAT = 1
HEADER = "library.json"


@dataclass(frozen=True, slots=True)
class Source:
    """What is brought: the recipe that it was made by, and its media one after the other."""

    digest: str
    recipe: str
    media: int
    entries: Iterator[Entry]


@dataclass(slots=True)
class Imported:
    """How it ended."""

    media: list[str] = field(default_factory=list)  # keys of those that are new
    unchanged: int = 0  # were there
    left_out: list[str] = field(default_factory=list)  # keys of those whose paths are other media's here
    segments: int = 0
    tokens: int = 0


Watch = Callable[[int, int], None]
"""Media that are done, of how many."""


def silent(done: int, of: int) -> None:
    """A watcher that says nothing."""


def into(store: Store, source: Source, watch: Watch = silent) -> Imported:
    """Commit all media of a source that the library lacks; those that it has learn the paths that they are also at.  A
    path that another media of the library has stays with that one; a media that would have none is left out.

    Raises:
        WrongRecipe: the library is of another recipe.
        SpaceMismatch: a space of that name is another one here.
        ManifestError, DiskFull: what was committed stays.
    """
    held = store.catalog.recipe()
    if held is not None and held[0] != source.digest:
        raise WrongRecipe(
            f"this library was made with recipe {held[0]}, and what is to come in with {source.digest}: import into "
            "another --library, or bring one of them over to the other's recipe with reelseek reembed"
        )
    with store.snapshot() as snapshot:
        there = {media.key: media for media in snapshot.media()}
    owners = {path: media.key for media in there.values() for path in media.paths}
    done = Imported()
    for number, entry in enumerate(source.entries, 1):
        key = entry.media.key
        paths = tuple(path for path in entry.media.paths if owners.setdefault(path, key) == key)
        if known := there.get(key):
            done.unchanged += 1
            together = tuple(dict.fromkeys((*known.paths, *paths)))
            if together != known.paths:
                store.set_paths({key: together})
        elif not paths:
            done.left_out.append(key)
        else:
            if held is None:
                store.catalog.set_recipe(source.digest, source.recipe)
                held = source.digest, source.recipe
            _add(store, replace(entry, media=replace(entry.media, paths=paths)))
            done.media.append(key)
            done.segments += len(entry.segments)
            done.tokens += sum(map(len, entry.tokens.values()))
        watch(number, source.media)
    store.refresh()
    return done


def _add(store: Store, entry: Entry) -> None:
    try:
        store.add(entry)
    except ValueError as error:
        raise ManifestError(f"media {entry.media.key} contradicts itself ({error}): export it again") from error


def document(done: Imported) -> dict[str, Any]:
    """As docs/schema.md has it."""
    return {
        "imported": done.media,
        "unchanged": done.unchanged,
        "left_out": done.left_out,
        "segments": done.segments,
        "tokens": done.tokens,
    }


def opened(source: Path | str, catalog: str, beside: Path | str) -> Store:
    """The library at `source`; `catalog` was said of it and of the one at `beside`, which it is to be brought into.

    Raises:
        StoreUnavailable, WrongFormat, MissingExtra: as `parts.store`.
    """
    own = parts.catalog_of(source, catalog, beside)
    return parts.store(parts.DEFAULT_STORE, source, create=False, catalog=own)


@contextmanager
def from_library(store: Store) -> Iterator[Source]:
    """What a library searches at this moment; it may be searched and written meanwhile.

    Raises:
        StoreUnavailable: nothing was ever indexed in it.
    """
    made = store.catalog.recipe()
    if made is None:
        raise StoreUnavailable("nothing was ever indexed in the library that is to be imported")
    digest, text = made
    if two := store.catalog.reembedding():
        digest, text = two.current.digest, two.current.recipe
    most = recipes.of(text).representatives
    with store.snapshot() as snapshot:
        everything = snapshot.media()
        yield Source(digest, text, len(everything), (_read(snapshot, media, most) for media in everything))


def _read(snapshot: Snapshot, media: Media, most: int) -> Entry:
    numbers = snapshot.numbers(Filter(media=frozenset({media.key})))
    table = snapshot.segments(numbers)
    segments = tuple(
        Segment(TimeSpan(start, end), still)
        for (start, end), still in zip(table.spans.tolist(), table.still.tolist(), strict=True)
    )
    tokens = {space: _tokens(snapshot.tokens(numbers, space)) for space in snapshot.spaces}
    lines = [line for group in snapshot.lines(numbers) for line in group]
    return _entry(media, segments, snapshot.spaces, tokens, lines, most)


def _tokens(ragged: RaggedTokens) -> Tokens:
    labels = tuple(ragged.labels) if any(ragged.labels) else ()
    probabilities = ragged.probabilities if labels else np.zeros((0, LABELS_KEPT), np.float32)
    return Tokens(ragged.rows.astype(np.float32), ragged.spans, ragged.norms, labels, probabilities)


def _entry(
    media: Media,
    segments: tuple[Segment, ...],
    spaces: Mapping[str, Space],
    tokens: Mapping[str, Tokens],
    lines: Sequence[Line],
    most: int,
) -> Entry:
    """A media has every space of its library, also where it has no tokens there.  First-stage vectors are worked out
    again: they follow from the rest."""
    vectors = {space: segment_vectors(own, segments, most) for space, own in tokens.items()}
    return Entry(media, segments, spaces, tokens, vectors, tuple(lines))


# ------------------------------------------------------------------------------------------------- an exported folder


def is_export(folder: Path) -> bool:
    """Whether `export` wrote this folder."""
    return (folder / HEADER).is_file()


@contextmanager
def from_folder(folder: Path) -> Iterator[Source]:
    """What `export` wrote.

    Raises:
        StoreUnavailable: there is no such folder, or nothing of an export in it.
        WrongFormat, WrongRecipe: another version wrote it.
        ManifestError: a file of it is missing or broken; the message has file and line.
    """
    if not is_export(folder):
        raise StoreUnavailable(f"{folder} is no library, and nothing that reelseek export wrote: it has no {HEADER}")
    header = _header(folder)
    spaces = {key: _space(folder, key, told) for key, told in header["spaces"].items()}
    for rows in sorted((folder / "tokens").glob("*.npy")):
        if rows.stem not in spaces:
            raise ManifestError(f"{folder / HEADER} does not tell of the space of {rows}: export it again")
    digest, text = header["recipe"]["digest"], header["recipe"]["text"]
    most = recipes.of(text).representatives
    with ExitStack() as stack:
        segments = stack.enter_context(_Groups.open(folder / "segments"))
        lines = stack.enter_context(_Groups.open(folder / "lines"))
        tokens = {key: _Table(folder, space, stack) for key, space in spaces.items()}
        with tables.read(folder / "media") as documents:
            count = sum(1 for _ in documents)

        def entries() -> Iterator[Entry]:
            came: set[str] = set()
            with tables.read(folder / "media") as documents:
                for place, told in documents:
                    media = _told(place, _media, told)
                    if media.key in came:
                        raise tables.broken(place, f"media {media.key} came before")
                    came.add(media.key)
                    cuts = tuple(_told(where, _segment, one) for where, one in segments.of(media.key))
                    found = {key: table.of(media.key) for key, table in tokens.items()}
                    said = [_told(where, _line, one) for where, one in lines.of(media.key)]
                    yield _entry(media, cuts, spaces, found, said, most)
            for group in (segments, lines):
                group.end()
            for table in tokens.values():
                table.end()

        yield Source(digest, text, count, entries())


def _header(folder: Path) -> dict[str, Any]:
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        if header["format"] != FORMAT:
            raise WrongFormat(
                f"{folder / HEADER} has format {header['format']}, this reelseek reads {FORMAT}: export it again"
            )
        if not header["recipe"]:
            raise StoreUnavailable(f"{folder} is the export of a library in which nothing was ever indexed")
        made = {name: str(header["recipe"][name]) for name in ("digest", "text")}
        if recipes.of(made["text"]).digest != made["digest"]:
            raise ManifestError(f"{folder / HEADER}: its recipe is not of the digest {made['digest']}: export it again")
        return {"spaces": dict(header["spaces"]), "recipe": made}
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{folder / HEADER} cannot be read ({error!r}): export it again") from error


def _space(folder: Path, key: str, told: Mapping[str, Any]) -> Space:
    try:
        space = Space(**{**told, "modality": Modality(told["modality"])})
    except (TypeError, ValueError, KeyError) as error:
        raise ManifestError(f"{folder / HEADER}: space {key} cannot be read ({error}): export it again") from error
    if space.id != key:
        raise ManifestError(f"{folder / HEADER}: space {key} is {space.id} by what is said of it: export it again")
    return space


def _media(told: Mapping[str, Any]) -> Media:
    said = dict(told["metadata"])
    paths = told["paths"]
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) and path for path in paths):
        raise ValueError(f"paths are {paths!r}")
    duration = _number(told["duration_s"])
    if duration <= 0:
        raise ValueError(f"it lasts {duration} s")
    return Media(
        key=str(told["id"]),
        paths=tuple(paths),
        kind=MediaKind(told["kind"]),
        duration=duration,
        recipe=str(told["recipe"]),
        width=int(told["width"]),
        height=int(told["height"]),
        frame_rate=float(told["frame_rate"]),
        size=int(told["bytes"]),
        metadata=Metadata(**{**said, "tags": tuple(said["tags"])}),
        missing=dict(told["missing"]),
    )


def _number(value: Any) -> float:
    if not isfinite(number := float(value)):
        raise ValueError(f"{number} is no number")
    return number


def _segment(told: Mapping[str, Any]) -> Segment:
    return Segment(TimeSpan(float(told["start_s"]), float(told["end_s"])), bool(told["still"]))


def _line(told: Mapping[str, Any]) -> Line:
    span = TimeSpan(float(told["start_s"]), float(told["end_s"]))
    return Line(span, str(told["text"]), Modality(told["modality"]), _number(told["confidence"]))


def _told(place: tables.Place, read: Callable[[Mapping[str, Any]], Any], document: Mapping[str, Any]) -> Any:
    try:
        return read(document)
    except (KeyError, TypeError, ValueError) as error:
        raise tables.broken(place, f"{type(error).__name__}: {error}") from error


Told = tuple[tables.Place, dict[str, Any]]


class _Groups:
    """The lines of a file media by media, in the order in which the media come."""

    def __init__(self, documents: Iterator[Told]) -> None:
        self._groups = groupby(documents, key=lambda one: str(one[1].get("media")))
        self._next: tuple[str, list[Told]] | None = self._read()

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator["_Groups"]:
        with tables.read(path) as documents:
            yield cls(documents)

    def _read(self) -> tuple[str, list[Told]] | None:
        found = next(self._groups, None)
        return found and (found[0], list(found[1]))

    def of(self, key: str) -> list[Told]:
        """What comes next, if it is of this media."""
        if self._next is None or self._next[0] != key:
            return []
        found = self._next[1]
        self._next = self._read()
        return found

    def end(self) -> None:
        """
        Raises:
            ManifestError: lines are left, of media that did not come, or came in another order.
        """
        if self._next:
            place, document = self._next[1][0]
            raise tables.broken(place, f"media {document.get('media')} is not next in the table of media")


class _Table:
    """The tokens of one space."""

    def __init__(self, folder: Path, space: Space, stack: ExitStack) -> None:
        path = folder / "tokens" / f"{space.id}.npy"
        self._path = path
        self._rows = _mapped(path, space.dimension)
        self.facts = stack.enter_context(_Groups.open(path.with_suffix("")))
        self._at = 0

    def end(self) -> None:
        """
        Raises:
            ManifestError: rows, or what is known of some, are left.
        """
        self.facts.end()
        if self._at < len(self._rows):
            raise ManifestError(f"{self._path} has {len(self._rows)} rows, and {self._at} are told of: export it again")

    def of(self, key: str) -> Tokens:
        facts = self.facts.of(key)
        first, self._at = self._at, self._at + len(facts)
        if self._at > len(self._rows):
            raise ManifestError(f"{self._path} has {len(self._rows)} rows, and more are told of: export it again")
        rows = np.asarray(self._rows[first : self._at], np.float32)
        spans = np.array([_told(place, _times, one) for place, one in facts], np.float64).reshape(-1, 2)
        norms = np.array([_told(place, lambda one: _number(one["norm"]), one) for place, one in facts], np.float32)
        named = [_told(place, _labels, one) for place, one in facts]
        if not any(labels for labels, _ in named):
            return Tokens(rows, spans, norms)
        probabilities = np.zeros((len(rows), LABELS_KEPT), np.float32)
        for row, (labels, chances) in zip(probabilities, named, strict=True):
            row[: len(labels)] = chances
        return Tokens(rows, spans, norms, tuple(labels for labels, _ in named), probabilities)


def _times(told: Mapping[str, Any]) -> tuple[float, float]:
    span = TimeSpan(float(told["start_s"]), float(told["end_s"]))
    return span.start, span.end


def _labels(told: Mapping[str, Any]) -> tuple[tuple[str, ...], list[float]]:
    labels = told["labels"]
    if len(labels) > LABELS_KEPT:
        raise ValueError(f"{len(labels)} labels, {LABELS_KEPT} are kept")
    return tuple(str(label["name"]) for label in labels), [_number(label["probability"]) for label in labels]


def _mapped(path: Path, dimension: int) -> Halves:
    """
    Raises:
        ManifestError: no such file, or it does not hold half-precision rows of this length.
    """
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False) if path.stat().st_size else None
    except (OSError, ValueError) as error:
        rows = _empty(path, dimension, error)
    if rows is None or rows.dtype != np.float16 or rows.ndim != 2 or rows.shape[1] != dimension:
        raise ManifestError(f"{path} does not hold (N, {dimension}) half-precision rows: export it again")
    found: Halves = rows
    return found


def _empty(path: Path, dimension: int, error: Exception) -> Halves:
    """An array without rows cannot be mapped."""
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError):
        raise ManifestError(f"{path} cannot be read ({error}): export it again") from error
