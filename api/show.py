"""An answer as lines for people."""

from collections.abc import Iterator, Mapping, Sequence

from api import quotes
from api.terminal import Paint, near, plain
from retriever.types import Answer, Evidence, Line, MediaKind, Modality, Moment, parse_reference

PERCEIVED = {Modality.VISION: "seen", Modality.SOUND: "heard", Modality.SPEECH: "said", Modality.TEXT: "written"}
"""Modalities as people call them."""
LABELS_SHOWN = 3
COPIES_SHOWN = 3
NAMELESS: Mapping[str, str] = {}
"""No paths: media are then named by their ids."""


def short(label: str) -> str:
    """The first of a class's several names: `tandem bicycle, tandem` is `tandem bicycle` to people."""
    return label.partition(",")[0]


def sure(confidence: float) -> str:
    """Nothing is sure for good."""
    return ">99%" if confidence >= 0.995 else f"{100 * confidence:.0f}%"


def answer(found: Answer, lines: quotes.Lines, paint: Paint, paths: Mapping[str, str] = NAMELESS) -> Iterator[str]:
    """Three to six lines a moment: where and how sure, then why, by modality, and where it is again; `paths` are those
    of media that are named as copies, by key."""
    for rank, moment in enumerate(found.moments, 1):
        yield from _moment(rank, moment, lines.get(moment.ref, ()), paint)
        if moment.copies:
            yield paint.dim(f"    also in: {', '.join(again(moment, paths))}")


def again(moment: Moment, paths: Mapping[str, str]) -> Iterator[str]:
    """Where the footage of a moment is again: at most `COPIES_SHOWN` places, and how many more."""
    for ref in moment.copies[:COPIES_SHOWN]:
        key, span = parse_reference(ref)
        still = moment.media.kind is MediaKind.IMAGE
        yield f"{near(paths.get(key, key))}{'' if span is None or still else f' {span}'}"
    if len(moment.copies) > COPIES_SHOWN:
        yield f"{len(moment.copies) - COPIES_SHOWN} more"


def _moment(rank: int, moment: Moment, lines: Sequence[Line], paint: Paint) -> Iterator[str]:
    how_sure = paint.green(f"{sure(moment.confidence)} sure")
    still = moment.media.kind is MediaKind.IMAGE
    yield f"{rank:>2}  {paint.bold(near(moment.media.path))}  {'picture' if still else moment.span}  {how_sure}"
    yield paint.dim(f"    {moment.ref}  score {moment.score:.3f}")
    if moment.parts:
        yield f"    in steps: {', then '.join(map(str, moment.parts))}"
    by_share = sorted(moment.evidence, key=lambda piece: -piece.share)
    for piece in moment.evidence if moment.parts else by_share:
        why = _why(piece, lines, still, paint)
        yield f"    {PERCEIVED[piece.modality]:<7} {100 * piece.share:3.0f}%  {why}".rstrip()


def _why(piece: Evidence, lines: Sequence[Line], still: bool, paint: Paint) -> str:
    parts = [f'"{quotes.marked(line, piece.words, _marking(paint), plain)}"' for line in quotes.behind(piece, lines)]
    if piece.words and not parts:
        parts.append(" ".join(paint.marked(plain(word)) for word in piece.words))
    if piece.labels:
        shown = piece.labels[:LABELS_SHOWN]
        parts.append(", ".join(f"{plain(short(label.name))} ({label.probability:.2f})" for label in shown))
    if piece.spans and not still:
        parts.append(f"at {piece.spans[0]}")
    if piece.asked:
        parts.append(paint.dim(f"for {plain(piece.asked)}"))
    return "  ".join(parts)


def _marking(paint: Paint) -> quotes.Mark:
    return lambda word: paint.marked(plain(word))


def closing(found: Answer, least: float) -> Iterator[str]:
    """What is said beside the answer: nothing found, near misses, false alarms, notes."""
    if not found.moments:
        yield f"nothing found for {plain(found.query)!r} that is {100 * least:.0f}% sure"
        if found.misses:
            best = found.misses[0]
            yield (
                f"nearest: {near(best.media.path)} {best.span}, {sure(best.confidence)} sure "
                "(--min-confidence 0 shows it)"
            )
    elif found.false_alarms >= 0.005:
        yield f"about {100 * found.false_alarms:.0f} in 100 questions without an answer here would get one, too"
    if found.copies_hidden:
        more = "1 more is a copy" if found.copies_hidden == 1 else f"{found.copies_hidden} more are copies"
        yield f"{more} of what is shown (--copies show shows all)"
    yield from (f"note: {plain(note)}" for note in found.notes)
