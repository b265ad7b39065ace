"""A library that goes over from one model to another, as people see it: what stands, and what comes next."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from api import parts
from api.terminal import amount, counted, near, plain, table
from indexer import places
from indexer import recipe as recipes
from indexer.events import Summary
from retriever.errors import WrongRecipe
from retriever.ports import Snapshot, Store
from retriever.types import Held, Media, Reembedding, Searched, Side

Document = dict[str, Any]
SHOWN = 3
"""Media that a message names; the document has all."""


def document(library: Path | str, store: Store, summary: Summary | None = None) -> Document:
    """What stands, as docs/schema.md has it; `summary` is of a run that has just ended."""
    with store.snapshot() as snapshot:
        two, held = snapshot.reembedding, snapshot.held()
        lacking = [media for media, _ in snapshot.lacking()]
        foreign, counts = snapshot.foreign(), snapshot.counts()
    made = store.catalog.recipe()
    old = two.old if two else Side(*made, frozenset(held)) if made else None
    return {
        "library": str(library),
        "media": counts["media"],
        "searched": two.searched.value if two else None,
        "old": old and _side(old, two.new if two else None, held),
        "new": _side(two.new, two.old, held) if two else None,
        "lacking": [_named(one) for one in lacking],
        "foreign": [_named(one) for one in foreign],
        "bytes": counts["bytes"],
        "run": summary and _run(summary),
        "next": _next(library, two, bool(lacking), bool(foreign)),
    }


def _side(side: Side, other: Side | None, held: Mapping[str, Held]) -> Document:
    """A recipe and what the library holds of it; `alone` are the bytes that would go with it."""
    own = {key: one for key, one in held.items() if key in side.spaces}
    return {
        "digest": side.digest,
        "text": side.recipe,
        "spaces": [
            {
                "id": key,
                "name": one.space.name,
                "modality": str(one.space.modality),
                "dimension": one.space.dimension,
                "media": one.media,
                "tokens": one.tokens,
                "bytes": one.bytes,
            }
            for key, one in own.items()
        ],
        "alone": sum(one.bytes for key, one in own.items() if not other or key not in other.spaces),
    }


def _named(media: Media) -> Document:
    return {"id": media.key, "path": media.path}


def _run(summary: Summary) -> Document:
    return {
        "job": summary.job,
        "stopped": str(summary.stopped),
        "embedded": list(summary.indexed),
        "failed": [{"path": path, "reason": reason} for path, reason in summary.quarantined.items()],
        "counts": {"embedded": summary.indexed.total, "failed": summary.quarantined.total},
        "media_s": round(summary.media_seconds, 3),
        "wall_s": round(summary.wall_seconds, 3),
        "frames": summary.frames,
        "stage_s": {stage: round(spent, 3) for stage, spent in summary.stage_seconds.items()},
    }


def _next(library: Path | str, two: Reembedding | None, lacking: bool, foreign: bool) -> str:
    """The command that most people want now."""
    at = f"--library {quote(str(library))}"
    if two is None:
        return f"reelseek reembed --pack PACK --model MODEL {at}"
    if two.searched is Searched.OLD and foreign:
        return f"reelseek index FILES {flags(two.old.recipe)} {at}"
    if lacking:
        return f"reelseek reembed {flags(two.new.recipe)} {at}"
    return f"reelseek reembed {'--drop old' if two.searched is Searched.NEW else '--search new'} {at}"


def flags(text: str) -> str:
    """What people say to have this recipe."""
    try:
        made = recipes.of(text)
    except WrongRecipe:  # of another version, which knows how it is called
        return "--pack PACK --model MODEL"
    words = ["--pack", "openclip" if made.model("openclip") else "offline"]
    for model in made.models:
        if model.plugin in made.clips:
            words += [parts.VIDEO_FLAG, f"{model.plugin}:{model.name}"]
        else:
            name, weights = parts.FLAGS[made.modality(model.plugin)]
            words += [name, model.name, *([weights, model.checkpoint] if model.checkpoint else [])]
    if share := re.fullmatch(r"salient\(2, ([\d.]+)\)", made.sampling):
        words += ["--budget", share[1]]
    elif made.sampling != recipes.pack(parts.DEFAULT_PACK).sampling:
        words += ["--sampling", made.sampling]
    return " ".join(map(quote, words))


def obstacle(snapshot: Snapshot, searched: Searched) -> str:
    """Why a recipe cannot be searched alone or kept alone; empty: it can."""
    two = snapshot.reembedding
    if two is None or searched is Searched.BOTH:
        return ""
    if searched is Searched.NEW and (lacking := [media for media, _ in snapshot.lacking()]):
        return (
            f"{counted(len(lacking), 'media', 'media')} lack what the new recipe makes ({names(lacking)}): run the "
            "same reelseek reembed again, take --search both, or delete those media"
        )
    if searched is Searched.OLD and (foreign := snapshot.foreign()):
        return (
            f"{counted(len(foreign), 'media', 'media')} were indexed with the new recipe alone ({names(foreign)}): "
            "reelseek index on their files, with the old recipe, brings what is lacking, or delete those media"
        )
    return ""


def names(media: Sequence[Media]) -> str:
    """A few of them, and where a file is gone."""
    shown = [near(one.path) + ("" if any(_may_be_there(path) for path in one.paths) else ", gone") for one in media]
    more = [f"and {len(shown) - SHOWN:,} more"] if len(shown) > SHOWN else []
    return "; ".join((*shown[:SHOWN], *more))


def _may_be_there(path: str) -> bool:
    """Whether a file is there; of an address nobody asks for this."""
    return places.is_address(path) or Path(path).exists()


def lines(found: Document) -> Iterator[str]:
    """The document for people."""
    rows = [("library", f"{found['library']}, {counted(found['media'], 'media', 'media')}, {amount(found['bytes'])}")]
    for name in ("old", "new"):
        side = found[name]
        if side:
            rows.append(("recipe" if found["new"] is None else f"{name} recipe", _about(found, name)))
            told = [] if name == "old" else [space["id"] for space in found["old"]["spaces"]]
            own = [space for space in side["spaces"] if space["id"] not in told]
            rows += [(f"  {space['name']}", _held(space, found["media"])) for space in own]
    yield from table(rows)
    for name, what in (("lacking", "lack the new recipe"), ("foreign", "have the new recipe alone")):
        if found[name]:
            yield f"{counted(len(found[name]), 'media', 'media')} {what}:"
            yield from (f"  {near(one['path'])}" for one in found[name][:SHOWN])
            yield from ([f"  and {len(found[name]) - SHOWN:,} more"] if len(found[name]) > SHOWN else [])
    yield f"next: {plain(found['next'])}"


def _about(found: Document, name: str) -> str:
    side = found[name]
    if found["new"] is None:
        return str(side["digest"])
    searched = found["searched"] in (name, Searched.BOTH)
    return f"{side['digest']}, {'searched' if searched else 'not searched'}, {amount(side['alone'])} of its own"


def _held(space: Document, of: int) -> str:
    some = f"{space['media']:,} of {of:,} media"
    return f"{space['tokens']:,} tokens, {some}, {amount(space['bytes'])}  {space['modality']}, {space['id']}"
