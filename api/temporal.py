"""Judging a library by benchmarks that hold sentences against one another, with blind and shuffled scores beside.

document = judged(library, manifest, "", Path("annotations"), seeds=1, tell=say)
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from api import evaluation
from api.altered import Change, altered, shuffled, until
from api.asking import OTHERS, Asker
from api.service import Library
from indexer import recipe as recipes
from retriever.errors import BenchmarkError
from retriever.evaluation import benchmarks, report, temporal
from retriever.evaluation._temporal import Item
from retriever.evaluation.benchmarks import Manifest
from retriever.evaluation.report import Document
from retriever.evaluation.temporal import Told
from retriever.types import Entry, Filter

Tell = Callable[[str], None]


def judged(library: Library, manifest: Manifest, split: str, folder: Path, seeds: int, tell: Tell) -> Document:
    """Ask every option of every item of its media, of other media, and of its media with the frames shuffled.

    Raises:
        BenchmarkError: the annotations cannot be read, or none of the media is in the library.
    """
    everything, notes = benchmarks.read_items(manifest, split, folder)
    for note in notes:
        tell(f"warning: {note}")
    held = evaluation.held_by(library)
    keys = {item.media: evaluation.meant(item.media, manifest, held) for item in everything}
    items = [item for item in everything if keys[item.media]]
    missing = [name for name, key in keys.items() if key is None]
    if not items:
        raise BenchmarkError(
            f"none of the {len(keys):,} media of {manifest.name} is in the library {library.path}; looked for "
            f"{', '.join(f'{name}.*' for name in missing[:2])} and so on: index them first"
        )
    media = {name: key for name, key in keys.items() if key}
    scores = {"asked": _scores(library, items, media, None)}
    tell(f"{len(items):,} items asked")
    scores["text_only"] = _blind(library, items, media)
    tell("and of media that have nothing to do with them")
    for seed in range(1, seeds + 1):
        scores[f"shuffled {seed}"] = _scores(library, items, media, shuffled(seed))
        tell(f"and of shuffled frames, seed {seed}")
    made = library.store.catalog.recipe()
    recipe = recipes.of(made[1]) if made else None
    asked = _told(items, scores, seeds)
    aspects = {
        aspect: [at for at, item in enumerate(items) if item.aspect == aspect]
        for aspect in dict.fromkeys(item.aspect for item in items)
    }
    rows = [
        {
            "aspect": aspect,
            **_told([items[at] for at in places], {k: [v[at] for at in places] for k, v in scores.items()}, seeds),
        }
        for aspect, places in aspects.items()
    ]
    return {
        **evaluation.about(manifest, split, notes),
        "library": str(library.path),
        "frames": recipe.sampling if recipe else "",
        "items": len(items),
        "media": len(media),
        "missing": missing,
        **asked,
        "aspects": rows,
        "modes": {name: _modes(rows, name, manifest.modes) for name in ("asked", "text_only", "frames_shuffled")}
        if manifest.modes
        else None,
    }


# --------------------------------------------------------------------------------------------------------------- asking


def _scores(
    library: Library, items: Sequence[Item], media: Mapping[str, str], change: Change | None
) -> list[list[float]]:
    """Of each item its options on its media, as far as it may be looked at."""
    found: list[list[float]] = [[] for _ in items]
    whole = [at for at, item in enumerate(items) if not item.until]
    parts: dict[tuple[str, float], list[int]] = {}
    for at, item in enumerate(items):
        if item.until:
            parts.setdefault((media[item.media], item.until), []).append(at)

    def ask(asker: Asker, places: Sequence[int]) -> None:
        for at in places:
            found[at] = [asker.score(text, media[items[at].media]) for text in items[at].options]

    if whole and change is None:
        ask(Asker(library.searcher), whole)
    elif whole and change is not None:
        keys = frozenset(media[items[at].media] for at in whole)
        with altered(library, change, Filter(media=keys)) as searcher:
            ask(Asker(searcher), whole)
    for (key, second), places in parts.items():
        with altered(library, _both(until(second), change), Filter(media=frozenset({key}))) as searcher:
            ask(Asker(searcher), places)
    return found


def _both(one: Change, other: Change | None) -> Change:
    def change(entry: Entry) -> Entry | None:
        made = one(entry)
        return made if made is None or other is None else other(made)

    return change


def _blind(library: Library, items: Sequence[Item], media: Mapping[str, str]) -> list[list[float]]:
    """The mean of each option over other media, the same ones for all options of an item."""
    asker, everything = Asker(library.searcher), sorted(one.key for one in library.media())
    found: list[list[float]] = []
    for number, item in enumerate(items):
        strange = [key for key in everything if key != media[item.media]]
        chosen = [strange[at] for at in np.random.default_rng(number).permutation(len(strange))[:OTHERS]]
        found.append([asker.mean(text, chosen) if chosen else -np.inf for text in item.options])
    return found


# ------------------------------------------------------------------------------------------------------------ documents


def _told(items: Sequence[Item], scores: Mapping[str, Sequence[list[float]]], seeds: int) -> Document:
    shuffles = [scores[f"shuffled {seed}"] for seed in range(1, seeds + 1)]
    several = [item for _ in shuffles for item in items], [own for each in shuffles for own in each]
    return {
        "asked": _one(items, scores["asked"]),
        "text_only": _one(items, scores["text_only"]),
        "frames_shuffled": _one(*several) if shuffles else None,
    }


def _one(items: Sequence[Item], scores: Sequence[list[float]]) -> Document:
    told = temporal.summary(items, scores)
    conflict, there = temporal.conflicts(items, scores), temporal.yet(items, scores)
    return {
        **_numbers(told),
        "conflicts": report.estimate(conflict) if conflict else None,
        "not_yet": report.estimate(there) if there else None,
    }


def _numbers(told: Told | None) -> Document:
    return {
        "pairs": report.estimate(told.pairs) if told else None,
        "questions": report.estimate(told.questions) if told else None,
        "groups": report.estimate(told.groups) if told else None,
        "ties": round(told.ties, 6) if told else None,
    }


def _modes(rows: Sequence[Document], asked: str, modes: Mapping[str, Sequence[str]]) -> Document:
    """Pairs of those that choose, and the area under the curve of those that ask whether it is there yet."""
    found: dict[str, float] = {}
    for row in rows:
        one = row[asked]
        value = one and (one["pairs"] or one["not_yet"])
        if value:
            found[row["aspect"]] = value["value"]
    return {mode: round(value, 6) for mode, value in temporal.by_mode(found, modes).items()}
