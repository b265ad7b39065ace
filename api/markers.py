"""The moments of an answer as files that players and editing programs read.

    markers.write(answer, lines, Path("found.srt"), by="moment")

.vtt .srt    cues over the times of one media
.csv         a line a moment, of all media
.edl         an edit list (CMX 3600) that cuts the moments together, best first
.json        as `--json` prints it

A cue belongs to one media: of an answer that has several, .vtt and .srt hold the moments of the media of the best
one that has times, and a note says how many were left out.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from api import keeping, quotes, schemas
from api.show import LABELS_SHOWN, PERCEIVED, short, sure
from api.terminal import counted, plain
from retriever.errors import BadSettings
from retriever.types import Answer, Evidence, Line, Media, MediaKind, Moment

SAID = 120
"""Characters of a cue's line of reasons."""
USUAL_RATE = 25
"""Frames a second of an edit list whose best moment has no pictures."""
COLUMNS = ("path", "start_s", "end_s", "in", "out", "confidence", "query", "evidence", "ref")


@dataclass(frozen=True, slots=True)
class _Export:
    """What is written, and what people should know of it."""

    text: str
    notes: tuple[str, ...] = ()


def suffix_of(file: Path) -> str:
    """
    Raises:
        BadSettings: nothing can be exported as that.
    """
    suffix = file.suffix.lower()
    if suffix not in _KINDS:
        raise BadSettings(f"--export {file} ends in {suffix or 'nothing'!r}; it wants {', '.join(_KINDS)}")
    return suffix


def write(answer: Answer, lines: quotes.Lines, file: Path, by: str) -> list[str]:
    """Write the moments to `file`, whole or not at all, over what is there; returns notes for people."""
    made = _KINDS[suffix_of(file)](answer, lines, by)
    keeping.text(file, made.text, "the export")
    return [*made.notes]


# ---------------------------------------------------------------------------------------------------------------- cues


def _vtt(answer: Answer, lines: quotes.Lines, by: str) -> _Export:
    """WebVTT (https://www.w3.org/TR/webvtt1/): a cue's text may hold neither `-->`, nor a bare `&` or `<`."""
    moments, notes = _of_one_media(answer)
    about = f" {_one_line(moments[0].media.path)}" if moments else ""
    cues = [
        f"{moment.ref}\n{_stamp(moment.start_s, '.')} --> {_stamp(moment.end_s, '.')}\n"
        + "\n".join(_escaped(line) for line in _told(answer.query, moment, lines))
        + "\n"
        for moment in moments
    ]
    return _Export("\n".join([f"WEBVTT{about}\n", *cues]), notes)


def _srt(answer: Answer, lines: quotes.Lines, by: str) -> _Export:
    moments, notes = _of_one_media(answer)
    cues = [
        f"{number}\n{_stamp(moment.start_s, ',')} --> {_stamp(moment.end_s, ',')}\n"
        + "\n".join(line.replace("<", "‹").replace(">", "›") for line in _told(answer.query, moment, lines))
        + "\n"
        for number, moment in enumerate(moments, 1)
    ]
    return _Export("\n".join(cues), notes)


def _of_one_media(answer: Answer) -> tuple[list[Moment], tuple[str, ...]]:
    """The moments of the media of the best one that has times, in order of time; and what was left out."""
    timed = [moment for moment in answer.moments if moment.media.kind is not MediaKind.IMAGE]
    ours = sorted((one for one in timed if one.media.key == timed[0].media.key), key=lambda one: one.span)
    others = len(answer.moments) - len(ours)
    if not others:
        return ours, ()
    best = f"of {ours[0].media.path}: " if ours else ""
    return ours, (f"cues are {best}{counted(others, 'moment')} of other media left out (.csv and .edl have all)",)


def _told(query: str, moment: Moment, lines: quotes.Lines) -> Iterator[str]:
    """What is asked and how sure it is; then why.  Two lines, neither empty."""
    yield f"{_one_line(query)} ({sure(moment.confidence)} sure)"
    why = reasons(moment, lines.get(moment.ref, ()))
    if why:
        yield why if len(why) <= SAID else f"{why[: SAID - 1]}…"


def reasons(moment: Moment, lines: Sequence[Line]) -> str:
    """Why it is an answer, on one line: `seen 75%: bicycle, moped; said 25%: "never do it for free"`."""
    pieces = sorted(moment.evidence, key=lambda piece: -piece.share)
    return "; ".join(_reason(piece, lines) for piece in pieces)


def _reason(piece: Evidence, lines: Sequence[Line]) -> str:
    said = [f'"{quotes.marked(line, (), str, str)}"' for line in quotes.behind(piece, lines)] if piece.words else []
    what = said or list(piece.words) or [short(label.name) for label in piece.labels[:LABELS_SHOWN]]
    asked = f" {piece.asked}" if piece.asked else ""
    shown = f": {_one_line(', '.join(what))}" if what else ""
    return f"{PERCEIVED[piece.modality]}{_one_line(asked)} {100 * piece.share:.0f}%{shown}"


def _one_line(text: str) -> str:
    """Without control characters and arrows, of which a cue has one already."""
    return plain(" ".join(text.split(" "))).replace("-->", "→")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _stamp(seconds: float, point: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{thousandths:03d}"


# ------------------------------------------------------------------------------------------------------------ timecode


def timecode(seconds: float, rate: float) -> str:
    """The frame that begins nearest to a second as `HH:MM:SS:FF`, without dropping numbers: 29.97 frames a second are
    counted as 30, so the clock of an hour is 3.6 s behind."""
    return _frames(round(seconds * rate), rate)


def _frames(count: int, rate: float) -> str:
    whole = max(1, round(rate))
    seconds, frame = divmod(count, whole)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frame:02d}"


def _clock(media: Media, seconds: float) -> str:
    """Timecode where there are frames, else thousandths."""
    return timecode(seconds, media.frame_rate) if media.frame_rate else _stamp(seconds, ".")


def _csv(answer: Answer, lines: quotes.Lines, by: str) -> _Export:
    """As RFC 4180 has it, with a head; a still has no timecode."""
    page = io.StringIO(newline="")
    table = csv.writer(page)
    table.writerow(COLUMNS)
    for moment in answer.moments:
        media = moment.media
        still = media.kind is MediaKind.IMAGE
        marks = ("", "") if still else (_clock(media, moment.start_s), _clock(media, moment.end_s))
        told = (f"{moment.confidence:.4f}", answer.query, reasons(moment, lines.get(moment.ref, ())), moment.ref)
        table.writerow((media.path, f"{moment.start_s:.3f}", f"{moment.end_s:.3f}", *marks, *told))
    return _Export(page.getvalue())


def _edl(answer: Answer, lines: quotes.Lines, by: str) -> _Export:
    """CMX 3600, at the frame rate of the best moment's media.  An event is as long in its source as in the cut, so all
    timecodes count frames of that one rate; reels are `AX`, and comments name the files."""
    moments = [moment for moment in answer.moments if moment.media.kind is not MediaKind.IMAGE]
    rates = [moment.media.frame_rate for moment in moments if moment.media.frame_rate]
    rate = rates[0] if rates else float(USUAL_RATE)
    rows = [f"TITLE: {_one_line(answer.query)[:70]}", "FCM: NON-DROP FRAME", ""]
    notes = [] if len(moments) == len(answer.moments) else ["pictures have no timecode and are not in the edit list"]
    if any(abs(other - rate) > 0.001 for other in rates):
        notes.append(f"media of several frame rates: the edit list counts {rate:g} frames a second for all of them")
    at = 0
    for number, moment in enumerate(moments, 1):
        first = round(moment.start_s * rate)
        length = max(1, round(moment.end_s * rate) - first)
        codes = (first, first + length, at, at + length)
        marks = " ".join(_frames(count, rate) for count in codes)
        rows += [
            f"{number:03d}  AX       {_track(moment.media):<5} C        {marks}",
            f"* FROM CLIP NAME: {_one_line(Path(moment.media.path).name)}",
            f"* SOURCE FILE: {_one_line(moment.media.path)}",
            f"* FRAME RATE: {rate:.3f}",
            f"* COMMENT: {sure(moment.confidence)} sure, {_one_line(reasons(moment, lines.get(moment.ref, ())))}",
            "",
        ]
        at += length
    return _Export("\n".join(rows), tuple(notes))


def _track(media: Media) -> str:
    """What an event takes of its source: pictures, sound, or both."""
    if media.kind is MediaKind.SOUND:
        return "A"
    return "V" if "sound" in media.missing else "B"


def _json(answer: Answer, lines: quotes.Lines, by: str) -> _Export:
    return _Export(json.dumps(schemas.search(answer, by), indent=2, allow_nan=False) + "\n")


_KINDS: dict[str, Callable[[Answer, quotes.Lines, str], _Export]] = {
    ".vtt": _vtt,
    ".srt": _srt,
    ".csv": _csv,
    ".edl": _edl,
    ".json": _json,
}
