"""The meeting point of training: a library and lines of captions become cached embeddings.

    {"media": "clips/dog.mp4", "caption": "a dog catches a frisbee", "span": [12.5, 17]}

`media` is a path (from where the manifest lies), an id, or the beginning of one; `span`, in seconds, is left out where
the caption is of all of it.  A `group` names media that show the same, cuts of one film for example: they are learnt
from or held out together.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from api.terminal import counted, plain, say
from retriever.errors import ManifestError, SpaceMismatch, TrainingError
from retriever.ports import EncodeSentences, Snapshot, Store
from retriever.training.batches import Padded, Pairs
from retriever.types import Filter, Ids, Media, Modality, RaggedTokens, Space, TimeSpan

if TYPE_CHECKING:
    from retriever.training.loop import Advanced, Judged

LEAST_ID = 4
"""Letters of an id that have to be given for its beginning to name a media."""
SHOWN = 5
"""Lines of which a complaint tells that names many."""
KEYS = frozenset({"media", "caption", "span", "group"})


@dataclass(frozen=True, slots=True)
class Caption:
    """One line of a manifest."""

    line: int
    media: str  # as the person wrote it
    text: str
    span: TimeSpan | None
    group: str = ""


@dataclass(frozen=True)
class Told:
    """What the captions of a manifest are about, as far as the library has it."""

    pairs: Pairs
    query_side: str
    spaces: tuple[str, ...]  # `Space.id` of frames, and of audio where it was asked for
    unknown: tuple[str, ...] = ()  # media that the library does not have, with their lines
    unseen: tuple[str, ...] = ()  # media, or spans, without a frame
    items: tuple[str, ...] = field(default=(), repr=False)  # media key of each item


# ------------------------------------------------------------------------------------------------------------ manifest


def captions(manifest: Path) -> list[Caption]:
    """
    Raises:
        ManifestError: a line is wrong, with its number; or there is none.
    """
    with manifest.open(encoding="utf-8", errors="replace") as lines:
        found = [_caption(manifest, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise ManifestError(f'{manifest} has no lines: it wants {{"media": "clip.mp4", "caption": "…"}}, one a line')
    return found


def _caption(manifest: Path, number: int, line: str) -> Caption:
    where = f"{manifest}, line {number}"
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise ManifestError(f"{where} is not JSON: {error.msg} at column {error.colno}") from error
    wants = '{"media": "clip.mp4", "caption": "a dog catches a frisbee", "span": [12.5, 17]}'
    if not isinstance(entry, dict):
        raise ManifestError(f"{where} is no object: it wants {wants}")
    unknown = sorted(set(entry) - KEYS)
    if unknown:
        raise ManifestError(f"{where} has unknown keys {', '.join(unknown)}: known are {', '.join(sorted(KEYS))}")
    media, text = entry.get("media"), entry.get("caption")
    if not isinstance(media, str) or not media.strip():
        raise ManifestError(f"{where}: media is {media!r}; it wants a path or an id")
    if not isinstance(text, str) or not text.strip():
        raise ManifestError(f"{where}: caption is {text!r}; it wants what happens, in words")
    group = entry.get("group", "")
    if not isinstance(group, str):
        raise ManifestError(f"{where}: group is {group!r}; it wants a name")
    return Caption(number, media, text.strip(), _span(where, entry.get("span")), group)


def _span(where: str, said: Any) -> TimeSpan | None:
    if said is None:
        return None
    try:
        start, end = said
        return TimeSpan(float(start), float(end))
    except (TypeError, ValueError) as error:
        raise ManifestError(f"{where}: span is {said!r}; it wants [start, end] in seconds, start < end") from error


# ------------------------------------------------------------------------------------------------------------- library


def told(
    store: Store,
    encode: EncodeSentences,
    manifest: Path,
    *,
    audio: bool,
    everything: bool = False,
    wanted: Sequence[str] = (),
) -> Told:
    """The captions of `manifest` and the tokens of what they are of, `audio` with it where a head can hear; with
    `everything`, media without a caption are items too.  `wanted` names spaces, by id or name, where the library has
    several of one modality.

    Raises:
        ManifestError: a line is wrong, or not one names a media of the library.
        SpaceMismatch: the library has no such space, or several.
        TrainingError: no frame to train on.
    """
    lines = captions(manifest)
    with store.snapshot() as library:
        _check(wanted, library.spaces)
        spaces = [space(library.spaces, Modality.VISION, wanted)]
        spaces += [space(library.spaces, Modality.SOUND, wanted)] if audio else []
        media = list(library.media())
        named = Named(media, manifest.parent)
        known = [(line, named(line.media)) for line in lines]
        unknown = tuple(f"{line.media} (line {line.line})" for line, found in known if found is None)
        kept = [(line, found) for line, found in known if found is not None]
        if not kept:
            raise ManifestError(
                f"{manifest} names no media of this library (line {lines[0].line}: {lines[0].media}): "
                "`reelseek media` lists what is there"
            )
        wholes: list[tuple[str, TimeSpan | None]] = [(one.key, None) for one in media] if everything else []
        items = list(dict.fromkeys([*wholes, *((found.key, line.span) for line, found in kept)]))
        sets = [_Sets(library, one.id) for one in spaces]
        tokens = [[part(key, span) for key, span in items] for part in sets]
    seen = [len(norms) > 0 for _, norms in tokens[0]]
    places = {item: place for place, item in enumerate(item for item, there in zip(items, seen, strict=True) if there)}
    unseen = tuple(f"{line.media} (line {line.line})" for line, found in kept if (found.key, line.span) not in places)
    kept = [(line, found) for line, found in kept if (found.key, line.span) in places]
    if not kept:
        raise TrainingError(f"no media that {manifest} names has a picture: a head looks at frames")
    padded = [
        Padded.of([found for found, there in zip(part, seen, strict=True) if there], one.dimension)
        for part, one in zip(tokens, spaces, strict=True)
    ]
    texts = encode([line.text for line, _ in kept], spaces[0].query_side)
    pairs = Pairs(
        np.ascontiguousarray(texts, np.float32),
        _numbered([line.text for line, _ in kept]),
        np.array([places[found.key, line.span] for line, found in kept], np.int64),
        padded[0],
        padded[1] if audio else None,
        _numbered([key for key, _ in places]),
        comparable=len({one.query_side for one in spaces}) == 1,
        groups=_groups(named_groups(manifest, kept), [key for key, _ in places]),
    )
    if texts.shape[1] != spaces[0].dimension:
        raise SpaceMismatch(
            f"texts have {texts.shape[1]} numbers and {spaces[0].name} has {spaces[0].dimension}: "
            "a head needs frames in the space of texts"
        )
    return Told(
        pairs, spaces[0].query_side, tuple(one.id for one in spaces), unknown, unseen, tuple(key for key, _ in places)
    )


def _check(wanted: Sequence[str], spaces: Mapping[str, Space]) -> None:
    unknown = [name for name in wanted if not any(name in (one.id, one.name) for one in spaces.values())]
    if unknown:
        there = ", ".join(sorted(spaces)) or "none"
        raise SpaceMismatch(f"this library has no space {', '.join(unknown)}: it has {there}")


def space(spaces: Mapping[str, Space], modality: Modality, wanted: Sequence[str] = ()) -> Space:
    """The one space of a modality.

    Raises:
        SpaceMismatch: there is none, or there are several and `wanted` does not choose.
    """
    found = [one for one in spaces.values() if one.modality is modality]
    chosen = [one for one in found if one.id in wanted or one.name in wanted] or found
    if len(chosen) == 1:
        return chosen[0]
    if not found:
        raise SpaceMismatch(f"this library has no {modality} to train on: index media that have some")
    names = ", ".join(sorted(one.id for one in found))
    raise SpaceMismatch(f"this library has several spaces of {modality}: name one with --space, of {names}")


class _Sets:
    """The tokens of one media in one space, or those whose middle lies in a span of it."""

    def __init__(self, library: Snapshot, space: str) -> None:
        self._library, self._space = library, space
        self._kept: tuple[str, RaggedTokens] | None = None

    def __call__(self, key: str, span: TimeSpan | None) -> tuple[Any, Any]:
        tokens = self._tokens(key)
        chosen: Ids | slice = slice(None)
        if span is not None:
            middles = tokens.spans.mean(axis=1)
            chosen = np.flatnonzero((middles >= span.start) & (middles < span.end))
        return tokens.rows[chosen], tokens.norms[chosen]

    def _tokens(self, key: str) -> RaggedTokens:
        """The last media's are kept: captions of one media stand together, mostly."""
        if self._kept is None or self._kept[0] != key:
            numbers = self._library.numbers(Filter(media=frozenset({key})))
            self._kept = (key, self._library.tokens(numbers, self._space))
        return self._kept[1]


class Named:
    """Which media a line of the manifest means."""

    def __init__(self, media: Sequence[Media], folder: Path) -> None:
        self._folder = folder
        self._by_path = {path: one for one in media for path in one.paths}
        self._by_key = {one.key: one for one in media}

    def __call__(self, name: str) -> Media | None:
        paths = (name, str((self._folder / name).absolute()), str((self._folder / name).resolve()))
        for path in paths:
            if path in self._by_path:
                return self._by_path[path]
        if name in self._by_key:
            return self._by_key[name]
        begun = [one for key, one in self._by_key.items() if key.startswith(name)] if len(name) >= LEAST_ID else []
        return begun[0] if len(begun) == 1 else None


def named_groups(manifest: Path, kept: Sequence[tuple[Caption, Media]]) -> dict[str, str]:
    """The group of each media that the manifest names one for, by key: what must not be parted.

    Raises:
        ManifestError: a media is in two groups.
    """
    named: dict[str, str] = {}
    for line, media in kept:
        if line.group and named.setdefault(media.key, line.group) != line.group:
            raise ManifestError(
                f"{manifest}, line {line.line}: {line.media} is in the group {line.group!r}, and in "
                f"{named[media.key]!r} before: a media is in one group"
            )
    return named


def _groups(named: Mapping[str, str], keys: Sequence[str]) -> Ids | None:
    """The group of each item's media; None where the manifest names none."""
    return _numbered([f"group {named[key]}" if key in named else f"media {key}" for key in keys]) if named else None


def _numbered(names: Sequence[str]) -> Ids:
    """A number a name, the same for the same name."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


# ---------------------------------------------------------------------------------------------------------- for people


def complaints(found: Told) -> Iterator[str]:
    """A line each for what was left out."""
    for left_out, why in ((found.unknown, "not in this library"), (found.unseen, "without a picture")):
        if left_out:
            more = f" and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
            names = ", ".join(plain(name) for name in left_out[:SHOWN])
            yield f"{counted(len(left_out), 'caption')} left out, of media {why}: {names}{more}"


@contextmanager
def watching(stream: TextIO | None = None) -> "Iterator[Callable[[Advanced | Judged], None]]":
    """A watcher of a training run that fits `stream` (stderr): a bar for people, and a line an epoch for all."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from retriever.training.loop import Advanced, Judged

    target = stream or sys.stderr
    shown = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(),
        console=Console(file=target),
        expand=True,
        transient=True,
        disable=not target.isatty(),
    )
    recall = 0.0
    bar = shown.add_task("training", total=None, note="")

    def watch(event: Advanced | Judged) -> None:
        nonlocal recall
        if isinstance(event, Advanced):
            note = f"epoch {event.epoch} · loss {event.loss:.3f} · held-out R@1 {100 * recall:.1f} %"
            shown.update(bar, completed=event.step, total=event.steps, note=note)
            return
        recall = event.recall
        loss = "before training" if event.loss is None else f"loss {event.loss:.3f}"
        mark = ", best so far" if event.best else ""
        say(f"epoch {event.epoch}: {loss}, held-out R@1 {100 * event.recall:.1f} %{mark}")

    with shown:
        yield watch
