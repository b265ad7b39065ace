"""The lines behind an answer, with the words that were asked for marked in them."""

import re
from collections.abc import Callable, Mapping, Sequence

from retriever.types import Evidence, Line, Modality

Lines = Mapping[str, Sequence[Line]]
"""By `Moment.ref`: what is said and written in the media around it."""
Mark = Callable[[str], str]

SHOWN = 2
"""Lines of one modality that are shown."""
LONGEST = 200
"""Characters of a line that are shown."""


def behind(piece: Evidence, lines: Sequence[Line]) -> list[Line]:
    """The lines that a piece of evidence rests on: of its modality, where it found something."""
    own = [line for line in lines if line.modality is piece.modality]
    return [line for line in own if any(line.span.overlaps(span) for span in piece.spans)][:SHOWN]


def marked(line: Line, words: Sequence[str], mark: Mark, leave: Mark) -> str:
    """The text of a line; `mark` dresses the words that were asked for, `leave` all that stands between."""
    text = line.text if len(line.text) <= LONGEST else line.text[: LONGEST - 1] + "…"
    dressed, end = [], 0
    for start, stop in marks(text, line.modality, words):
        dressed += [leave(text[end:start])] if start > end else []
        dressed.append(mark(text[start:stop]))
        end = stop
    return "".join([*dressed, *([leave(text[end:])] if end < len(text) or not text else [])])


def marks(text: str, modality: Modality, words: Sequence[str]) -> list[tuple[int, int]]:
    """Where the words that were asked for stand in a line of this modality: characters, from and to."""
    found = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    if not found:
        return []
    # Spoken words stand alone; on screen, recognizers lose the spaces between them.
    pattern = found if modality is Modality.TEXT else rf"(?<!\w)(?:{found})(?!\w)"
    return [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]
