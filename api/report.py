"""Answers as one HTML page that needs nothing beside itself: pictures inside, no script, no outside resource.

Everything that comes from a media (names, words, labels) is escaped, and the page's own policy forbids scripts.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from api import keeping, quotes, strip
from api.show import NAMELESS, PERCEIVED, again, short, sure
from api.terminal import counted, plain
from indexer import places
from retriever.relevance import Relevance
from retriever.types import Answer, Evidence, Line, MediaKind, Moment, TimeSpan, clock

MISSES_SHOWN = 3
LABELS_SHOWN = 4

Draw = Callable[[Moment], str]
"""A picture of a moment as HTML: an image with its data inside, or a few words."""
Strips = Sequence[Mapping[str, Relevance]]
"""For each answer how relevant its media are over time, by key."""


def write(
    answers: Sequence[Answer],
    lines: quotes.Lines,
    target: str | os.PathLike[str],
    strips: Strips = (),
    paths: Mapping[str, str] = NAMELESS,
) -> None:
    """Write the page to `target`, whole or not at all; `paths` are as `api.show.answer` has them."""
    from api import pictures

    drawn = pictures.drawn([moment for answer in answers for moment in answer.moments])
    keeping.text(Path(target), page(answers, lines, lambda moment: drawn[moment.ref], strips, paths), "the report")


def page(
    answers: Sequence[Answer],
    lines: quotes.Lines,
    draw: Draw,
    strips: Strips = (),
    paths: Mapping[str, str] = NAMELESS,
) -> str:
    """The page as text."""
    template = Template(files("api").joinpath("report.html").read_text(encoding="utf-8"))
    alone = len(answers) == 1
    head = "" if alone else f"<h1>{counted(len(answers), 'question')}</h1>"
    level = 1 if alone else 2
    title = answers[0].query if alone else counted(len(answers), "question")
    over_time = strips or [{}] * len(answers)
    sections = (
        _section(answer, level, lines, draw, strips, paths) for answer, strips in zip(answers, over_time, strict=True)
    )
    body = "\n".join([head, *sections])
    foot = (
        "Confidence is the chance that a result this good is not chance, learned from questions that have no answer "
        "in this library. A share is what a modality adds to the score. Relevance over time is what each second says "
        "by itself: what stays below the dashed line may be chance, and lanes of one answer can be compared."
    )
    return template.substitute(title=f"{_safe(title)} · reelseek", body=body, foot=foot)


def _section(
    answer: Answer,
    level: int,
    lines: quotes.Lines,
    draw: Draw,
    strips: Mapping[str, Relevance],
    paths: Mapping[str, str],
) -> str:
    heading = f"<h{level}>{_safe(answer.query)}</h{level}>"
    notes = "".join(f'<p class="note">{_safe(note)}</p>' for note in answer.notes)
    if not answer.moments:
        return f"<section>{heading}{_nothing(answer.misses)}{notes}</section>"
    said = f'<p class="said">{counted(len(answer.moments), "moment")}, {_alarms(answer.false_alarms)}</p>'
    top = strip.top_of(strips)
    found = "\n".join(
        _moment(
            rank,
            moment,
            lines.get(moment.ref, ()),
            draw,
            strip.drawn(moment, strips.get(moment.media.key), top),
            tuple(again(moment, paths)),
        )
        for rank, moment in enumerate(answer.moments, 1)
    )
    return f"<section>{heading}{said}\n{found}{notes}</section>"


def _alarms(rate: float) -> str:
    if rate < 0.005:
        return "fewer than 1 in 200 questions without an answer here would get one"
    return f"about {100 * rate:.0f} in 100 questions without an answer here would get one, too"


def _nothing(misses: Sequence[Moment]) -> str:
    near = "".join(
        f"<p>Not sure enough: {_safe(Path(miss.media.path).name)}, {_times(miss.span)} "
        f"({_safe(sure(miss.confidence))} sure)</p>"
        for miss in misses[:MISSES_SHOWN]
    )
    return f'<div class="none"><p><strong>Nothing here answers this.</strong></p>{near}</div>'


def _moment(rank: int, moment: Moment, lines: Sequence[Line], draw: Draw, over_time: str, also: Sequence[str]) -> str:
    media, place = moment.media, places.of(moment.media.path)
    still = media.kind is MediaKind.IMAGE
    there = place.as_uri() if isinstance(place, Path) else str(place)
    link = f"{there}{'' if still else f'#t={moment.start_s:.2f},{moment.end_s:.2f}'}"
    time = "picture" if still else f"{_times(moment.span)} <span class='at'>of {clock(media.duration)}</span>"
    title = f" · {_safe(media.metadata.title)}" if media.metadata.title else ""
    rows = "\n".join(
        _evidence(piece, lines, still) for piece in sorted(moment.evidence, key=lambda piece: -piece.share)
    )
    return f"""<article class="moment">
<div class="picture">{draw(moment)}{"" if still or over_time else _timeline(moment)}</div>
<div class="facts">
<div class="head"><h3>{rank}. <a href="{escape(link)}">{_safe(place.name)}</a>{title}</h3>
<span class="sure">{_safe(sure(moment.confidence))} sure</span></div>
<p class="time">{time}</p>
<p class="path">{_safe(media.path.rpartition("/")[0] or "/")}</p>
<table>{rows}</table>
{f'<p class="path">also in: {_safe(", ".join(also))}</p>' if also else ""}
</div>
{over_time}
</article>"""


def _timeline(moment: Moment) -> str:
    """Where in its media the moment lies."""
    length = max(moment.media.duration, moment.end_s)
    left, width = 100 * moment.start_s / length, 100 * moment.span.length / length
    return f'<div class="where"><i style="left:{left:.2f}%;width:{width:.2f}%"></i></div>'


def _evidence(piece: Evidence, lines: Sequence[Line], still: bool) -> str:
    said = [quotes.marked(line, piece.words, _marked, _safe) for line in quotes.behind(piece, lines)]
    words = " ".join(f"<q>{line}</q>" for line in said) or " ".join(map(_marked, piece.words))
    labels = "".join(
        f'<span class="label">{_safe(short(label.name))} <small>{_percent(label.probability)}</small></span>'
        for label in piece.labels[:LABELS_SHOWN]
    )
    at = f'<span class="at">at {_times(piece.spans[0])}</span>' if piece.spans and not still else ""
    return (
        f'<tr class="{piece.modality}"><th scope="row">{PERCEIVED[piece.modality]}</th>'
        f'<td class="share"><span class="bar"><i style="width:{100 * piece.share:.0f}%"></i></span>'
        f"{_percent(piece.share)}</td><td>{words} {labels} {at}</td></tr>"
    )


def _marked(word: str) -> str:
    return f"<mark>{_safe(word)}</mark>"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _times(span: TimeSpan) -> str:
    return f"{clock(span.start)}–{clock(span.end)}"


def _safe(text: str) -> str:
    """Text for HTML: escaped, and on one line."""
    return escape(plain(text), quote=True)
