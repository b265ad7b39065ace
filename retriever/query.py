"""What a person types becomes what a search asks.

    parse('a dog "good boy" tag:holiday longer:10')
    parse("a dog barks, then a man laughs within 20s -rain duration<60")

Plain words are compared by meaning and matched as words.  A part in double quotes (or in single quotes that stand
around whole words) is also looked for as a phrase.  `name:value` is a filter where the name is a known one; a value
with spaces is quoted: `path:"my clips/*"`.  How what is left hangs together `grammar` says; anything else, colons
included, is plain text.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from retriever.errors import QueryError
from retriever.grammar import Sentence, quoted, read, wrong
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
    said: Sentence | None = None  # how it hangs together; None: it is one thing, in whichever way

    @property
    def shows(self) -> bool:
        """Whether a file, or a moment of the library, is part of it."""
        return self.said is not None and any(term.example for clause in self.said.clauses for term in clause.terms)

    @property
    def explained(self) -> str:
        """The query as it was understood, every rule spelled out: read again, it means the same."""
        return " ".join([str(self.said) if self.said else self.typed_plain, *_spelled(self.where)])

    @property
    def typed_plain(self) -> str:
        """As it was typed, without filters."""
        return " ".join(_FILTER.sub(" ", self.typed).split())


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
    "in": _Name("collection", str, "the name of a collection"),
    "kind": _Name("kinds", _kind, "video, sound or image"),
    "media": _Name("media", _one, "the key of a media"),
    "longer": _Name("shortest", _seconds, "a time such as 75.5 or 1:15.5"),
    "shorter": _Name("longest", _seconds, "a time such as 75.5 or 1:15.5"),
    "after": _Name("after", _moment, "a date such as 2026-05-01"),
    "before": _Name("before", _moment, "a date such as 2026-05-01"),
}

_FILTER = re.compile(
    rf'(?<!\S)(?:(?P<name>{"|".join(NAMES)}):(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s"]\S*))'
    r"|duration(?P<sign>[<>:])(?P<limit>\S+))",
    re.IGNORECASE,
)


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
    for found in _FILTER.finditer(typed):
        where = both(where, _filter(found))
    plain = _FILTER.sub(lambda found: " " * len(found.group()), typed)  # places stay what they are
    sentence, phrases = quoted(plain)
    if not any(character.isalnum() for character in sentence):
        raise QueryError(f"{typed[:80]!r} has no words to search for: add some, such as 'a dog catches a frisbee'")
    words = len(sentence.split())
    notes: tuple[str, ...] = ()
    if words > ENCODED_WORDS:
        notes = (f"compared by meaning up to about word {ENCODED_WORDS} of {words}",)
    said = read(plain)
    if said.is_plain:
        return Query(typed, sentence, phrases, where, notes)
    if said.ruled:
        notes += (f"understood as: {said} (in quotes they are just words)",)
    return Query(typed, sentence, phrases, where, notes, said)


def _filter(found: re.Match[str]) -> Filter:
    if found["name"] is None:
        return _duration(found)
    known, value = NAMES[found["name"].lower()], found["quoted"] or found["bare"] or ""
    try:
        return replace(EVERYTHING, **{known.field: known.read(value)})
    except ValueError as error:
        raise wrong(found.start(), found.group(), f"{found['name'].lower()}: wants {known.wants}") from error


def _duration(found: re.Match[str]) -> Filter:
    """`duration<60`, `duration>1:30`, `duration:10-60`."""
    try:
        if found["sign"] == "<":
            return replace(EVERYTHING, longest=parse_seconds(found["limit"].removeprefix("=")))
        if found["sign"] == ">":
            return replace(EVERYTHING, shortest=parse_seconds(found["limit"].removeprefix("=")))
        shortest, _, longest = found["limit"].partition("-")
        return replace(EVERYTHING, shortest=parse_seconds(shortest), longest=parse_seconds(longest))
    except ValueError as error:
        wanted = "duration wants times such as duration<60, duration>1:30, duration:10-60"
        raise wrong(found.start(), found.group(), wanted) from error


def _spelled(where: Filter) -> list[str]:
    """A filter as it is typed."""
    said: list[str] = [f"duration>{where.shortest:g}"] if where.shortest else []
    said += [f"duration<{where.longest:g}"] if math.isfinite(where.longest) else []
    for name in ("tag", "kind", "media"):
        said += [f"{name}:{_safe(str(value))}" for value in sorted(getattr(where, NAMES[name].field))]
    for name in ("path", "collection", "after", "before"):
        value = getattr(where, NAMES[name].field)
        said += [f"{name}:{_safe(value)}"] if value else []
    return said


def _safe(value: str) -> str:
    return f'"{value}"' if " " in value else value


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
