"""Benchmarks: what `data_manifests` says of them, and what they ask.

    manifest = load("msrvtt_1ka")
    task = read(manifest, "test", Path("annotations"))   # task.notes: counts that differ from the published ones

A manifest is a TOML file, and its name is the benchmark's: a new benchmark is one new file.
"""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from retriever.errors import BenchmarkError
from retriever.evaluation import _formats, _temporal
from retriever.evaluation._formats import Moments
from retriever.evaluation._temporal import Item
from retriever.evaluation.measures import Truth

TASKS = ("retrieval", "moments", "temporal")
MADE = "toy"
"""The format of the benchmark that is made on the spot."""


@dataclass(frozen=True, slots=True)
class Split:
    """A part of a benchmark, and how many questions and media its authors count there."""

    name: str
    queries: int
    media: int  # 0 where they count questions alone
    options: Mapping[str, Any]  # what its format is told


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of a benchmark before anything is read."""

    name: str
    title: str
    task: str
    licence: str
    protocol: str
    traps: tuple[str, ...]
    default: str
    splits: Mapping[str, Split]
    stems: tuple[str, ...]  # how a media's file may be called: {name}, {base} is the name before its last "_"
    published: tuple[Mapping[str, Any], ...]
    modes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # aspects whose means are meant together

    def split(self, name: str = "") -> Split:
        """
        Raises:
            BenchmarkError: the message lists the splits.
        """
        wanted = name or self.default
        if wanted not in self.splits:
            raise BenchmarkError(f"{self.name} has no split {wanted!r}: it has {', '.join(self.splits)}")
        return self.splits[wanted]


def names() -> tuple[str, ...]:
    """All benchmarks, sorted."""
    return tuple(sorted(file.name[:-5] for file in files("data_manifests").iterdir() if file.name.endswith(".toml")))


def load(name: str) -> Manifest:
    """
    Raises:
        BenchmarkError: there is no such benchmark; the message lists those that there are.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BenchmarkError(f"there is no benchmark {name!r}: there are {', '.join(names())}{hint}")
    return parse(name, files("data_manifests").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Manifest:
    """
    Raises:
        BenchmarkError: the manifest lacks something, or names what there is not.
    """
    try:
        whole = tomllib.loads(text)
        splits = {split: _split(split, whole, told) for split, told in whole["splits"].items()}
        manifest = Manifest(
            name,
            whole["title"],
            whole["task"],
            whole["licence"],
            whole["protocol"],
            tuple(whole["traps"]),
            whole["default"],
            splits,
            tuple(whole.get("stems", ("{name}",))),
            tuple(whole["published"]),
            whole.get("modes", {}),
        )
    except tomllib.TOMLDecodeError as error:
        raise BenchmarkError(f"the manifest {name}.toml is no TOML: {error}") from error
    except KeyError as error:
        raise BenchmarkError(f"the manifest {name}.toml has no {error.args[0]!r}") from error
    known = {
        "retrieval": {*_formats.FORMATS, MADE},
        "moments": set(_formats.MOMENT_FORMATS),
        "temporal": set(_temporal.FORMATS),
    }.get(manifest.task)
    if known is None:
        raise BenchmarkError(f"the manifest {name}.toml has the task {manifest.task!r}; it wants {' or '.join(TASKS)}")
    for split in splits.values():
        if split.options["format"] not in known:
            wanted = ", ".join(sorted(known))
            raise BenchmarkError(
                f"the manifest {name}.toml has the format {split.options['format']!r}; it wants one of {wanted}"
            )
    manifest.split()
    return manifest


def _split(name: str, whole: Mapping[str, Any], told: Mapping[str, Any]) -> Split:
    options = {**whole.get("read", {}), **told}
    needs = () if options["format"] == MADE else _formats.NEEDS.get(options["format"], ("file",))
    absent = next((each for each in ("count_queries", "count_media", *needs) if each not in options), "")
    if absent:
        raise KeyError(absent)
    return Split(name, options["count_queries"], options["count_media"], options)


@dataclass(frozen=True)
class Task:
    """Questions, media, and which media answer which question."""

    queries: tuple[str, ...]
    media: tuple[str, ...]
    relevant: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def truth(self) -> Truth:
        return Truth.of(self.relevant, len(self.media))

    @property
    def digest(self) -> str:
        """Equal for the same questions about the same media: only such runs can be compared."""
        rows = zip(self.queries, self.relevant, strict=True)
        lines = ["\t".join(self.media), *(f"{query}\t{columns}" for query, columns in rows)]
        return sha256("\n".join(lines).encode()).hexdigest()[:16]


def read(manifest: Manifest, split: str, folder: Path) -> Task:
    """What a split asks, from the files in `folder`.

    Raises:
        BenchmarkError: a file is missing or not as published; the message has the line.
    """
    chosen = manifest.split(split)
    read_captions = _formats.FORMATS.get(chosen.options["format"])
    if read_captions is None:
        raise BenchmarkError(f"{manifest.name} asks for no media: reelseek eval {manifest.task}")
    told = list(read_captions(folder, chosen.options))
    if not told:
        raise BenchmarkError(f"{_source(folder, chosen)} has no captions of {chosen.name}; is this the right file?")
    for caption in told:
        if not caption.text.strip():
            raise BenchmarkError(f"{caption.where}: the caption of {caption.media} is empty; it wants words")
        if not caption.media.strip():
            raise BenchmarkError(f"{caption.where}: the media has no name")
    task = asked([(caption.text.strip(), caption.media) for caption in told], bool(chosen.options.get("merge")))
    return Task(
        task.queries, task.media, task.relevant, differences(manifest, chosen, len(task.queries), len(task.media))
    )


def asked(pairs: Sequence[tuple[str, str]], merge: bool = False) -> Task:
    """From captions, each with its media.  Equal captions are questions of their own, unless they are to `merge`
    into one that several media answer."""
    column = {media: place for place, media in enumerate(dict.fromkeys(media for _, media in pairs))}
    if not merge:
        return Task(tuple(text for text, _ in pairs), tuple(column), tuple((column[media],) for _, media in pairs))
    right: dict[str, dict[int, None]] = {}
    for text, media in pairs:
        right.setdefault(text, {})[column[media]] = None
    return Task(tuple(right), tuple(column), tuple(tuple(columns) for columns in right.values()))


def read_moments(manifest: Manifest, split: str, folder: Path) -> tuple[list[Moments], tuple[str, ...]]:
    """The questions of a split with their spans, and notes on counts.

    Raises:
        BenchmarkError: as `read`.
    """
    chosen = manifest.split(split)
    if chosen.options["format"] not in _formats.MOMENT_FORMATS:
        raise BenchmarkError(f"{manifest.name} asks for no moments: reelseek eval {manifest.task}")
    found = list(_formats.MOMENT_FORMATS[chosen.options["format"]](folder, chosen.options))
    if not found:
        raise BenchmarkError(f"{_source(folder, chosen)} has no questions of {chosen.name}; is this the right file?")
    _once(found)
    return found, differences(manifest, chosen, len(found), len({one.media for one in found}))


def read_truth(file: Path) -> list[Moments]:
    """Questions with their spans from any file in the form of QVHighlights.

    Raises:
        BenchmarkError: as `read`.
    """
    if not file.is_file():
        raise BenchmarkError(f"{file} is no file")
    found = list(_formats.highlights(file.parent, {"file": file.name}))
    if not found:
        raise BenchmarkError(f"{file} has no questions; it wants lines of {{qid, query, vid, duration, …}}")
    _once(found)
    return found


def _once(questions: Sequence[Moments] | Sequence[Item]) -> None:
    asked_at: dict[str, str] = {}
    for one in questions:
        if asked_at.setdefault(one.id, one.where) != one.where:
            raise BenchmarkError(f"{one.where}: question {one.id} is there already ({asked_at[one.id]})")


def read_items(manifest: Manifest, split: str, folder: Path) -> tuple[list[Item], tuple[str, ...]]:
    """The questions of a split that asks for one of several sentences, and notes on counts.

    Raises:
        BenchmarkError: as `read`.
    """
    chosen = manifest.split(split)
    if chosen.options["format"] not in _temporal.FORMATS:
        raise BenchmarkError(f"{manifest.name} asks no sentence against another: reelseek eval {manifest.task}")
    found = list(_temporal.FORMATS[chosen.options["format"]](folder, chosen.options))
    if not found:
        raise BenchmarkError(f"{_source(folder, chosen)} has no questions of {chosen.name}; is this the right file?")
    _once(found)
    return found, differences(manifest, chosen, len(found), len({one.media for one in found}))


def _source(folder: Path, split: Split) -> Path:
    return folder / str(split.options["file"])


def differences(manifest: Manifest, split: Split, queries: int, media: int) -> tuple[str, ...]:
    """A note for each count that is not as published."""
    counts = (("questions", queries, split.queries), ("media", media, split.media))
    return tuple(
        f"{manifest.name} {split.name}: {found:,} {what} here, {published:,} published"
        for what, found, published in counts
        if published and found != published
    )
