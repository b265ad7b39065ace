"""What `--json` prints, a function a document; docs/schema.md has an example of each, and a test compares them.

Keys are only ever added.  Times are seconds with three decimals; scores and shares have six.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from indexer.events import Load, Summary
from retriever.duplicates import Group, Pair
from retriever.types import Answer, Evidence, Line, Media, Moment, Quarantined, Space

if TYPE_CHECKING:
    from api.checks import Check
    from indexer.jobs import Standing
    from indexer.relocating import Found

Document = dict[str, Any]


def search(answer: Answer, by: str) -> Document:
    """The answer to one question."""
    return {
        "query": answer.query,
        "by": by,
        "moments": [moment(found) for found in answer.moments],
        "misses": [moment(found) for found in answer.misses],
        "false_alarms": round(answer.false_alarms, 6),
        "notes": list(answer.notes),
        "understood": answer.understood,
        "copies_hidden": answer.copies_hidden,
    }


def moment(found: Moment) -> Document:
    return {
        "media": {"id": found.media.key, "path": found.media.path},
        "start_s": _time(found.start_s),
        "end_s": _time(found.end_s),
        "ref": found.ref,
        "score": round(found.score, 6),
        "confidence": round(found.confidence, 6),
        "evidence": [evidence(piece) for piece in found.evidence],
        "parts": [{"start_s": _time(span.start), "end_s": _time(span.end)} for span in found.parts],
        "copies": list(found.copies),
    }


def copies(found: Sequence[Group], asked: int) -> Document:
    """Groups of media with the same footage, among so many."""
    return {
        "media": asked,
        "groups": [
            {
                "media": [
                    {"id": item.key, "path": item.path, "kind": str(item.kind), "duration_s": _time(item.duration)}
                    for item in group.media
                ],
                "pairs": [shared(pair) for pair in group.pairs],
            }
            for group in found
        ],
    }


def shared(pair: Pair) -> Document:
    return {
        "relation": str(pair.relation),
        "one": {"id": pair.one.key, "start_s": _time(pair.span.start), "end_s": _time(pair.span.end)},
        "other": {"id": pair.other.key, "start_s": _time(pair.elsewhere.start), "end_s": _time(pair.elsewhere.end)},
        "nearness": round(pair.nearness, 6),
        "concord": round(pair.concord, 6),
    }


def evidence(piece: Evidence) -> Document:
    return {
        "modality": str(piece.modality),
        "space": piece.space,
        "score": round(piece.score, 6),
        "share": round(piece.share, 6),
        "spans": [{"start_s": _time(span.start), "end_s": _time(span.end)} for span in piece.spans],
        "labels": [{"name": label.name, "probability": round(label.probability, 6)} for label in piece.labels],
        "words": list(piece.words),
        "asked": piece.asked,
    }


def media(found: Iterable[Media], quarantined: Iterable[Quarantined]) -> Document:
    return {
        "media": [one_media(item) for item in found],
        "quarantined": [
            {
                "path": entry.path,
                "reason": entry.reason,
                "since": entry.since,
                "tries": entry.tries,
                "again_at": entry.again,
            }
            for entry in quarantined
        ],
    }


def one_media(item: Media) -> Document:
    return {
        "id": item.key,
        "path": item.path,
        "paths": list(item.paths),
        "kind": str(item.kind),
        "duration_s": _time(item.duration),
        "width": item.width,
        "height": item.height,
        "frame_rate": round(item.frame_rate, 3),
        "bytes": item.size,
        "recipe": item.recipe,
        "metadata": {**asdict(item.metadata), "tags": list(item.metadata.tags)},
        "missing": dict(item.missing),
    }


def relocated(found: "Found", dry_run: bool) -> Document:
    """Paths that were mended, or would be, and those that were not."""
    return {
        "dry_run": dry_run,
        "moved": [{"id": move.media.key, "from": move.old, "to": move.new} for move in found.moves],
        "there": found.there,
        "missing": found.missing,
        "different": found.different,
        "taken": found.taken,
    }


def space(found: Space) -> Document:
    return {**asdict(found), "modality": str(found.modality)}


def line(found: Line) -> Document:
    return {
        "start_s": _time(found.span.start),
        "end_s": _time(found.span.end),
        "modality": str(found.modality),
        "confidence": round(found.confidence, 6),
        "text": found.text,
    }


def index(summary: Summary) -> Document:
    """How an indexing run ended."""
    return {
        "job": summary.job,
        "stopped": str(summary.stopped),
        "indexed": list(summary.indexed),
        "unchanged": summary.unchanged,
        "renamed": list(summary.renamed),
        "pruned": list(summary.pruned),
        "quarantined": [{"path": path, "reason": reason} for path, reason in summary.quarantined.items()],
        "counts": {
            "indexed": summary.indexed.total,
            "renamed": summary.renamed.total,
            "pruned": summary.pruned.total,
            "quarantined": summary.quarantined.total,
        },
        "media_s": _time(summary.media_seconds),
        "wall_s": _time(summary.wall_seconds),
        "frames": summary.frames,
        "stage_s": {stage: _time(seconds) for stage, seconds in summary.stage_seconds.items()},
        "load": load(summary.load),
    }


def load(found: Load) -> Document:
    """How well a run kept those who work at work."""
    return {
        "slowest": found.slowest,
        "crews": {
            name: {
                "s": _time(crew.seconds),
                "idle": round(crew.idle, 6),
                "waited_s": {what: _time(seconds) for what, seconds in crew.waited.items()},
            }
            for name, crew in found.crews.items()
        },
        "depths": {
            name: {"mean": round(depth.mean, 3), "largest": depth.largest} for name, depth in found.depths.items()
        },
    }


def jobs(found: Iterable["Standing"]) -> Document:
    return {"jobs": [job(one) for one in found]}


def job(found: "Standing") -> Document:
    """An indexing job; `request` is what it was asked for."""
    record = found.record
    return {
        "id": record.id,
        "state": found.state,
        "wish": str(record.wish),
        "by": found.by,
        "request": json.loads(record.asked),
        "created_at": _time(record.created),
        "began_at": None if record.began is None else _time(record.began),
        "ended_at": None if record.ended is None else _time(record.ended),
        "counts": dict(record.counts),
        "error": record.error,
    }


def doctor(found: Iterable["Check"]) -> Document:
    checks = [asdict(check) for check in found]
    return {"ok": not any(check["problem"] for check in checks), "checks": checks}


def _time(seconds: float) -> float:
    return round(float(seconds), 3)
