"""Words with their times become lines that a person would write: a sentence each, or what is said in one breath."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

PAUSE = 1.0  # seconds of silence that end a line
LONG = 8.0  # seconds after which a comma ends a line
TOO_LONG = 15.0  # seconds after which any word does
TITLES = frozenset({"mr.", "mrs.", "ms.", "dr.", "st.", "prof.", "vs."})  # full stops that end no sentence


@dataclass(frozen=True, slots=True)
class Spoken:
    """One word as it was heard, with its own blanks and punctuation."""

    text: str
    start: float  # seconds
    end: float
    confidence: float


def sentences(words: Sequence[Spoken]) -> list[list[Spoken]]:
    """The same words, line by line; lines without a letter or digit are dropped."""
    if not words:
        return []
    lines = [[words[0]]]
    for word, following in pairwise(words):
        if _ends(word, following, word.end - lines[-1][0].start):
            lines.append([])
        lines[-1].append(following)
    return [line for line in lines if any(letter.isalnum() for word in line for letter in word.text)]


def _ends(word: Spoken, following: Spoken, length: float) -> bool:
    """Whether a line ends behind `word`, `length` seconds after it began."""
    text = word.text.strip().lower()
    if following.start - word.end >= PAUSE or length >= TOO_LONG:
        return True
    if text.endswith((".", "?", "!", '."', '?"', '!"')):
        return text not in TITLES
    return length >= LONG and text.endswith((",", ";", ":", "-", "–"))
