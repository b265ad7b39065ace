"""Indexing jobs as people read them: a line each, or all that is known of one."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from api.indexing import REEMBED, Asked, kind
from api.terminal import amount, counted, near, plain, table
from indexer.jobs import Standing
from retriever.types import clock

SHOWN = 3
"""Paths of a job that its line names."""


def table_of(found: Sequence[Standing]) -> list[str]:
    """A line a job, oldest first."""
    head = ("job", "state", "files", "asked", "paths")
    rows = [(one.record.id, _state(one), _files(one), _when(one.record.created), _paths(one)) for one in found]
    return table(rows, head) if rows else []


def lines(found: Standing) -> Iterator[str]:
    """All that is known of one job."""
    record, asked = found.record, Asked.of(found.record.asked)
    counts = record.counts
    rows = [
        ("job", record.id),
        *([("kind", "reembed: all media, by another recipe")] if asked.kind == REEMBED else []),
        ("state", _state(found) + (f", {found.by} works on it" if found.by else "")),
        ("files", _files(found)),
        ("asked", _when(record.created)),
        *((name, _when(at)) for name, at in (("began", record.began), ("ended", record.ended)) if at is not None),
        *((f"  {name}", f"{int(counts[name]):,}") for name in ("unchanged", "renamed", "pruned") if counts.get(name)),
        ("pack", asked.pack + (f", budget {asked.budget:g}" if asked.budget else "")),
        *([("sampling", asked.sampling)] if asked.sampling else []),
        *((name, value) for name, value in _limits(asked)),
    ]
    if counts.get("media_s"):
        rows.append(("length", clock(counts["media_s"])))
    if record.error:
        rows.append(("error", record.error))
    yield from table(rows)
    for path in asked.paths:
        yield f"  {near(path)}"
    if asked.only:
        yield f"of these {counted(len(asked.only), 'file')} that were set aside:"
        yield from (f"  {near(path)}" for path in asked.only[:SHOWN])
        yield from ([f"  and {len(asked.only) - SHOWN:,} more"] if len(asked.only) > SHOWN else [])


def _limits(asked: Asked) -> Iterator[tuple[str, str]]:
    policy = asked.policy
    if asked.every:
        yield "watch", f"every {asked.every:g} s"
    if asked.prune:
        yield "prune", "what is gone"
    if policy.most_seconds:
        yield "longest", clock(policy.most_seconds)
    if policy.most_bytes:
        yield "largest", amount(policy.most_bytes)
    yield "tries", str(policy.tries)


def _state(found: Standing) -> str:
    wish = {"pause": ", is to pause", "cancel": ", is to be cancelled"}.get(found.record.wish, "") if found.by else ""
    return found.state + wish


def _files(found: Standing) -> str:
    counts = found.record.counts
    aside = int(counts.get("quarantined", 0))
    done = f"{int(counts.get('indexed', 0)):,}/{int(counts.get('files', 0)):,}"
    if counts.get("looked", 0) < counts.get("found", 0):
        done += f" so far, {int(counts['looked']):,} of {counted(int(counts['found']), 'file')} looked at"
    return done + (f", {aside:,} set aside" if aside else "")


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _paths(found: Standing) -> str:
    asked = json.loads(found.record.asked)  # also of a job of a newer version
    if kind(found.record) == REEMBED:
        return plain(f"all media again, pack {asked['pack']}")
    paths = [near(path) for path in asked["paths"]]
    more = f" and {len(paths) - SHOWN:,} more" if len(paths) > SHOWN else ""
    return plain(", ".join(paths[:SHOWN]) + more)
