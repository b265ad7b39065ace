"""What lies in the columns of one media, packed as when it came: so that its digest can be worked out again."""

from collections.abc import Callable, Collection

import numpy as np

from retriever.stores._database import Connection
from retriever.stores._entries import Packed
from retriever.stores._rows import Rows
from retriever.types import Line, Modality, Space, TimeSpan

Look = Callable[[str, str], Rows]
"""The committed rows of a space and a role."""


def parts(
    catalog: Connection, look: Look, number: int, first: int, without: Collection[str] = (), added: bool = True
) -> list[Packed]:
    """What a media, whose segments begin at `first`, has in each of its spaces, by their id; those `without` are left
    out, and without `added` those that a second recipe brought."""
    found = catalog.execute(
        "SELECT id, name, modality, dimension, media_side, query_side, preprocessing, token_lo, token_hi, row_lo,"
        " row_hi FROM extent JOIN space ON space.id = extent.space"
        " WHERE extent.media = ? AND (? = 1 OR added = 0) ORDER BY id",
        (number, int(added)),
    ).fetchall()
    names = [name for (name,) in catalog.execute("SELECT name FROM label ORDER BY number")]
    packed = []
    for space, name, modality, dimension, media_side, query_side, preprocessing, *extent in found:
        if space in without:
            continue
        token_lo, token_hi, row_lo, row_hi = extent
        facts, used = _renamed(look(space, "facts")[token_lo:token_hi], names)
        packed.append(
            Packed(
                Space(name, Modality(modality), dimension, media_side, query_side, preprocessing),
                look(space, "tokens")[token_lo:token_hi],
                facts,
                used,
                look(space, "vectors")[row_lo:row_hi],
                look(space, "map")[row_lo:row_hi] - first,
                np.zeros((0, 2), np.int64),
            )
        )
    return packed


def lines(catalog: Connection, number: int) -> list[Line]:
    """The lines of a media as they came."""
    rows = catalog.execute(
        "SELECT start, end, text, modality, confidence FROM line WHERE media = ? ORDER BY position", (number,)
    ).fetchall()
    return [Line(TimeSpan(start, end), text, Modality(kind), sure) for start, end, text, kind, sure in rows]


def _renamed(facts: Rows, names: list[str]) -> tuple[Rows, tuple[str, ...]]:
    """Facts with their labels counted in order of first use, and those labels."""
    used: dict[int, int] = {-1: -1}
    for number in facts["label"].ravel().tolist():
        used.setdefault(number, len(used) - 1)
    facts = facts.copy()
    facts["label"] = np.array([used[number] for number in facts["label"].ravel().tolist()]).reshape(
        facts["label"].shape
    )
    return facts, tuple(names[number] for number in used if number >= 0)
