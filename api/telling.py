"""A moment in words, for those who read and do not look: language models."""

from api.quotes import LONGEST
from api.show import LABELS_SHOWN, PERCEIVED, short
from api.wire import Evidence, Line, Moment
from retriever.types import Modality, clock

LINES_SHOWN = 6
"""Lines of one moment that are told."""


def why(found: Moment) -> str:
    """One sentence: by which way of perceiving it was found, how much each counted, and what it was."""
    by_share = sorted(found.evidence, key=lambda piece: -piece.share)
    steps = len({piece.asked for piece in found.evidence}) > 1
    pieces = [
        f"{_perceived(piece.modality)} ({100 * piece.share:.0f}%){_what(piece, found, steps)}" for piece in by_share
    ]
    return "; ".join(pieces) or "nothing is known of why"


def lines(found: Moment) -> list[str]:
    """What is said and written during it, with the second where it begins; those with words that were asked for come
    before others where not all can be told."""
    best = sorted(found.lines, key=lambda line: (not line.marks, line.start_s))[:LINES_SHOWN]
    return [
        f"{_perceived(line.modality)} at {clock(line.start_s)}: {_text(line)}"
        for line in sorted(best, key=lambda line: line.start_s)
    ]


def words(found: Moment) -> str:
    """All of it that can be read: what is said and written, seen and heard."""
    told = lines(found)
    for piece in found.evidence:
        if piece.labels:
            told.append(f"{_perceived(piece.modality)}: {_labels(piece)}")
    if found.media.title:
        told.insert(0, found.media.title)
    return "\n".join(told) or f"{found.media.path} at {clock(found.start_s)}-{clock(found.end_s)}"


def _what(piece: Evidence, found: Moment, steps: bool) -> str:
    parts = []
    if piece.labels:
        parts.append(_labels(piece))
    quoted = next((line for line in found.lines if line.modality == piece.modality and line.marks), None)
    if quoted:
        parts.append(f'"{_text(quoted)}"')
    elif piece.words:
        parts.append(" ".join(piece.words))
    if piece.asked and steps:
        parts.append(f"for {piece.asked}")
    return f": {', '.join(parts)}" if parts else ""


def _perceived(modality: str) -> str:
    return PERCEIVED[Modality(modality)]


def _labels(piece: Evidence) -> str:
    return ", ".join(f"{short(label.name)} {label.probability:.2f}" for label in piece.labels[:LABELS_SHOWN])


def _text(line: Line) -> str:
    text = " ".join(line.text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
