"""An answer as lines for people."""

from collections.abc import Iterator

from api.terminal import Paint, near, plain
from retriever.types import Answer, Evidence, Modality, Moment

PERCEIVED = {Modality.VISION: "seen", Modality.SOUND: "heard", Modality.SPEECH: "said", Modality.TEXT: "written"}
"""Modalities as people call them."""
LABELS_SHOWN = 3


def short(label: str) -> str:
    """The first of a class's several names: `tandem bicycle, tandem` is `tandem bicycle` to people."""
    return label.partition(",")[0]


def answer(found: Answer, paint: Paint) -> Iterator[str]:
    """Two to five lines a moment: where and how sure, then why, by modality."""
    for rank, moment in enumerate(found.moments, 1):
        yield from _moment(rank, moment, paint)


def _moment(rank: int, moment: Moment, paint: Paint) -> Iterator[str]:
    sure = f"{100 * moment.confidence:.0f}% sure"
    yield f"{rank:>2}  {paint.bold(near(moment.media.path))}  {moment.span}  {paint.green(sure)}"
    yield paint.dim(f"    {moment.ref}  score {moment.score:.3f}")
    for piece in sorted(moment.evidence, key=lambda piece: -piece.share):
        yield f"    {PERCEIVED[piece.modality]:<7} {100 * piece.share:3.0f}%  {_why(piece, paint)}".rstrip()


def _why(piece: Evidence, paint: Paint) -> str:
    parts = []
    if piece.words:
        parts.append(" ".join(paint.marked(plain(word)) for word in piece.words))
    if piece.labels:
        shown = piece.labels[:LABELS_SHOWN]
        parts.append(", ".join(f"{plain(short(label.name))} ({label.probability:.2f})" for label in shown))
    if piece.spans:
        parts.append(f"at {piece.spans[0]}")
    return "  ".join(parts)


def closing(found: Answer, least: float) -> Iterator[str]:
    """What is said beside the answer: nothing found, near misses, false alarms, notes."""
    if not found.moments:
        yield f"nothing found for {plain(found.query)!r} that is {100 * least:.0f}% sure"
        if found.misses:
            best = found.misses[0]
            yield (
                f"nearest: {near(best.media.path)} {best.span}, {100 * best.confidence:.0f}% sure "
                "(--min-confidence 0 shows it)"
            )
    elif found.false_alarms >= 0.005:
        yield f"about {100 * found.false_alarms:.0f} in 100 questions without an answer here would get one, too"
    yield from (f"note: {plain(note)}" for note in found.notes)
