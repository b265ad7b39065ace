"""What a person types becomes what a search asks.

    parse('a dog "good boy" tag:holiday longer:10')

Plain words are compared by meaning and matched as words.  A part in double quotes (or in single quotes that stand
around whole words) is also looked for as a phrase.  `name:value` is a filter where the name is a known one; a value
with spaces is quoted: `path:"my clips/*"`.  Anything else, colons included, is plain text.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from retriever.errors import QueryError
from retriever.types import EVERYTHING, Filter, MediaKind, parse_seconds

LONGEST = 10_000
"""Characters: above this a query is refused, since nobody meant it."""
ENCODED_WORDS = 180
"""Words that a sentence encoder surely sees: 256 word pieces at about 1.4 pieces an English word."""


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query."""

    typed: str  # as it was typed, trimmed
    sentence: str  # what is compared by meaning: without filters, without quotation marks
    phrases: tuple[str, ...] = ()  # quoted parts
    where: Filter = EVERYTHING
    notes: tuple[str, ...] = ()  # for people


def _seconds(value: str) -> float:
    return parse_seconds(value)


def _moment(value: str) -> str:
    datetime.fromisoformat(value)
    return value


def _one(value: str) -> frozenset[str]:
    return frozenset({value})


def _kind(value: str) -> frozenset[MediaKind]:
    return frozenset({MediaKind(value.lower())})


@dataclass(frozen=True, slots=True)
class _Name:
    """A filter that can be typed: the field it sets, how its value is read, and what it wants."""

    field: str
    read: Callable[[str], Any]
    wants: str


NAMES: Mapping[str, _Name] = {
    "tag": _Name("tags", _one, "a tag"),
    "path": _Name("path", str, "a pattern such as *.mp4"),
    "collection": _Name("collection", str, "the name of a collection"),
    "kind": _Name("kinds", _kind, "video, sound or image"),
    "media": _Name("media", _one, "the key of a media"),
    "longer": _Name("shortest", _seconds, "a time such as 75.5 or 1:15.5"),
    "shorter": _Name("longest", _seconds, "a time such as 75.5 or 1:15.5"),
    "after": _Name("after", _moment, "a date such as 2026-05-01"),
    "before": _Name("before", _moment, "a date such as 2026-05-01"),
}

_FILTER = re.compile(rf'(?<!\S)({"|".join(NAMES)}):(?:"([^"]*)"|([^\s"]\S*))', re.IGNORECASE)
_DOUBLE = re.compile(r'["“”„]([^"“”„]*)["“”„]')
_SINGLE = re.compile(
    r"(?<!\w)['‘]([^'‘’]*(?:\w['’]\w[^'‘’]*)*)['’](?!\w)"
)  # an apostrophe inside a word is none of these


def parse(text: str) -> Query:
    """
    Raises:
        QueryError: nothing to search for, too long, or a filter whose value cannot be read.
    """
    typed = text.strip()
    if not typed:
        raise QueryError("the query is empty: write what you look for, such as 'a dog catches a frisbee'")
    if len(typed) > LONGEST:
        raise QueryError(f"the query has {len(typed)} characters, at most {LONGEST:,} are taken: shorten it")
    where = EVERYTHING
    for name, quoted, bare in _FILTER.findall(typed):
        where = both(where, _filter(name.lower(), quoted or bare))
    plain = _FILTER.sub(" ", typed)
    phrases = [found.strip() for pattern in (_DOUBLE, _SINGLE) for found in pattern.findall(plain)]
    sentence = " ".join(_SINGLE.sub(r" \1 ", _DOUBLE.sub(r" \1 ", plain)).split())
    if not any(character.isalnum() for character in sentence):
        raise QueryError(f"{typed[:80]!r} has no words to search for: add some, such as 'a dog catches a frisbee'")
    words = len(sentence.split())
    notes = (f"compared by meaning up to about word {ENCODED_WORDS} of {words}",) if words > ENCODED_WORDS else ()
    return Query(typed, sentence, tuple(phrase for phrase in phrases if phrase), where, notes)


def _filter(name: str, value: str) -> Filter:
    known = NAMES[name]
    try:
        return replace(EVERYTHING, **{known.field: known.read(value)})
    except ValueError as error:
        raise QueryError(f"{name}:{value} cannot be read: {name}: wants {known.wants}") from error


def both(one: Filter, other: Filter) -> Filter:
    """The filter that asks what both ask.

    Raises:
        QueryError: no media can pass both.
    """
    kept = {f.name: _meet(f.name, getattr(one, f.name), getattr(other, f.name)) for f in fields(Filter)}
    return Filter(**kept)


_UNIONS = frozenset({"tags", "without"})  # all of them must hold: asking both is asking all
_ANY = frozenset({"kinds", "media"})  # one of them must hold: asking both is asking the common ones


def _meet(name: str, one: Any, other: Any) -> Any:
    if name in _UNIONS:
        return one | other
    if name == "shortest":
        return max(one, other)
    if name == "longest":
        return min(one, other)
    if name == "after":
        return max(one, other)
    if name == "before":
        return min(one or other, other or one)
    if not one or not other or one == other:
        return one or other
    if name in _ANY and one & other:
        return one & other
    raise QueryError(f"no media can have {name} {_shown(one)} and {_shown(other)} at once: leave one out")


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else " or ".join(sorted(str(part) for part in value))
