"""What people say of media becomes metadata."""

from dataclasses import replace

from api.filters import is_date
from retriever.errors import BadSettings
from retriever.types import Metadata


def said(
    before: Metadata,
    title: str | None = None,
    tags: list[str] | None = None,
    recorded: str | None = None,
    collection: str | None = None,
) -> Metadata:
    """`before`, with what is said now; None says nothing.

    Raises:
        BadSettings: `recorded` is no date.
    """
    if recorded and not is_date(recorded):
        raise BadSettings(f"recorded is {recorded!r}; it wants a date such as 2026-01-31T12:00:00+01:00")
    now = before
    if title is not None:
        now = replace(now, title=title)
    if collection is not None:
        now = replace(now, collection=collection)
    if tags is not None:
        now = replace(now, tags=tuple(dict.fromkeys(tag for tag in tags if tag)))
    if recorded is not None:
        now = replace(now, recorded=recorded, recorded_source="user" if recorded else "")
    return now
