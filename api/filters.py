"""What a person writes to narrow a search becomes a `Filter`."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from retriever.errors import BadSettings
from retriever.types import Filter, MediaKind, parse_seconds

_TIME = r"[\d:.]+"
_LIMIT = re.compile(rf"(?P<sign><=|>=|<|>)?\s*(?P<low>{_TIME})\s*(?:-\s*(?P<high>{_TIME}))?")


def parsed(
    *,
    durations: Sequence[str] = (),
    tags: Sequence[str] = (),
    path: str = "",
    collection: str = "",
    after: str = "",
    before: str = "",
    kinds: Sequence[str] = (),
) -> Filter:
    """
    Raises:
        BadSettings: one line a complaint, all of them.
    """
    complaints: list[str] = []
    shortest, longest = 0.0, math.inf
    for text in durations:
        try:
            low, high = duration(text)
        except ValueError as wrong:
            complaints.append(str(wrong))
        else:
            shortest, longest = max(shortest, low), min(longest, high)
    for flag, date in (("--after", after), ("--before", before)):
        if date and not is_date(date):
            complaints.append(f"{flag} is {date!r}; it wants a date such as 2026-01-31 or 2026-01-31T12:00:00+01:00")
    if complaints:
        raise BadSettings("\n".join(complaints))
    glob = path if not path or set(path) & set("*?[") else f"*{path}*"  # a plain word may stand anywhere
    narrowed = Filter(shortest=shortest, longest=longest, tags=frozenset(tags), path=glob, collection=collection)
    return replace(narrowed, after=after, before=before, kinds=frozenset(MediaKind(kind) for kind in kinds))


def duration(text: str) -> tuple[float, float]:
    """`<60`, `>1:30`, `>=5`, `10-60` as shortest and longest, both inclusive.

    A strict bound is the next number a float can hold, so that `<60` leaves out what lasts 60 seconds.

    Raises:
        ValueError: it is none of these.
    """
    found = _LIMIT.fullmatch(text.strip())
    wanted = f"--duration is {text!r}; it wants a limit such as '<60', '>1:30' or '10-60'"
    if not found or bool(found["sign"]) == bool(found["high"]):
        raise ValueError(wanted)
    try:
        low = parse_seconds(found["low"])
        high = parse_seconds(found["high"]) if found["high"] else 0.0
    except ValueError as error:
        raise ValueError(wanted) from error
    match found["sign"]:
        case "<":
            return 0.0, math.nextafter(low, 0.0)
        case "<=":
            return 0.0, low
        case ">":
            return math.nextafter(low, math.inf), math.inf
        case ">=":
            return low, math.inf
    if high < low:
        raise ValueError(f"--duration is {text!r}; its first time is later than its second")
    return low, high


def is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
