"""The bookkeeping of one commit: statements that run inside a transaction which somebody else holds."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retriever.errors import NoSuchMedia, SpaceMismatch
from retriever.notices import Kind
from retriever.stores import _beside, _together, _words
from retriever.stores._database import Connection
from retriever.stores._entries import Packed, Parcel, media_digest, recorded_at, words
from retriever.stores._notices import happened
from retriever.stores._paths import packed, unpacked
from retriever.stores._rows import Column
from retriever.types import Metadata, Space


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the rows of a media lie in one space."""

    token_lo: int
    token_hi: int
    row_lo: int
    row_hi: int
    range_lo: int | None = None  # the row of its ranges, where that is not the number of its first segment


@dataclass(frozen=True, slots=True)
class State:
    """The one row of the library that a writer begins from."""

    epoch: int
    commits: int
    media_given: int
    segments_given: int


def state(catalog: Connection) -> State:
    return State(*catalog.execute("SELECT epoch, commits, media_given, segments_given FROM library").fetchone())


def columns(catalog: Connection) -> dict[tuple[str, str], Column]:
    """The live set by space and role; the segment table has no space."""
    rows = catalog.execute(
        "SELECT file.name, coalesce(file.space, ''), file.role, file.rows, coalesce(space.dimension, 0)"
        " FROM file LEFT JOIN space ON space.id = file.space WHERE file.role != 'index'"
    )
    return {(row[1], row[2]): Column(*row) for row in rows}


def indexes(catalog: Connection) -> dict[str, tuple[str, int]]:
    """Space → file and row count of its index."""
    rows = catalog.execute("SELECT space, name, rows FROM file WHERE role = 'index'")
    return {space: (name, count) for space, name, count in rows}


def grow(catalog: Connection, ends: Iterable[tuple[Column, int]]) -> None:
    """Columns have so many committed rows from now on."""
    catalog.executemany(
        "INSERT OR REPLACE INTO file (name, space, role, rows) VALUES (?, ?, ?, ?)",
        [(column.name, column.space or None, column.role, rows) for column, rows in ends],
    )


def name_index(catalog: Connection, index: Column) -> None:
    """This is the index of its space from now on."""
    catalog.execute("DELETE FROM file WHERE space = ? AND role = 'index'", (index.space,))
    grow(catalog, [(index, index.rows)])
    catalog.execute("UPDATE library SET commits = commits + 1")


def labels(catalog: Connection, names: Iterable[str]) -> tuple[dict[str, int], int]:
    """The numbers of those labels that have one, and how many have one in all: they count from 0 without a gap."""
    wanted = json.dumps(sorted(names))
    known = dict(
        catalog.execute("SELECT name, number FROM label WHERE name IN (SELECT value FROM json_each(?))", (wanted,))
    )
    (count,) = catalog.execute("SELECT count(*) FROM label").fetchone()
    return known, count


# ---------------------------------------------------------------------------------------------------------- in and out


def enrol(catalog: Connection, parcel: Parcel, number: int, first: int, extents: Mapping[str, Extent]) -> None:
    """A media whose rows are on the disk begins to exist."""
    media, metadata = parcel.media, parcel.media.metadata
    digest = media_digest(parcel.content, media.paths, metadata)
    catalog.execute(
        "INSERT INTO media (number, key, kind, duration, recipe, width, height, frame_rate, size, missing, title, tags,"
        " recorded, recorded_source, collection, recorded_at, first, segments, content, digest)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            media.key,
            media.kind,
            media.duration,
            media.recipe,
            media.width,
            media.height,
            media.frame_rate,
            media.size,
            json.dumps(dict(media.missing)),
            metadata.title,
            json.dumps(metadata.tags),
            metadata.recorded,
            metadata.recorded_source,
            metadata.collection,
            parcel.recorded_at,
            first,
            len(parcel.segments),
            parcel.content,
            digest,
        ),
    )
    _add_up(catalog, int.from_bytes(digest, "big"))
    _beside.add_up(catalog, int.from_bytes(digest, "big"))
    take_paths(catalog, number, media.paths)
    place(catalog, number, parcel.spaces, extents)
    catalog.executemany(
        "INSERT INTO line (media, middle, position, start, end, modality, confidence, text)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (number, each.span.middle, at, each.span.start, each.span.end, each.modality, each.confidence, each.text)
            for at, each in enumerate(parcel.lines)
        ],
    )
    _words.add(catalog, words(parcel, first))
    happened(catalog, Kind.MEDIA_INDEXED, {"id": media.key})
    catalog.execute(
        "UPDATE library SET commits = commits + 1, media_given = ?, segments_given = ?",
        (number, first + len(parcel.segments)),
    )


def place(
    catalog: Connection,
    number: int,
    parts: Iterable[Packed],
    extents: Mapping[str, Extent],
    added: bool = False,
) -> None:
    """A media has these spaces from now on, too; `added`: the new recipe of two brought them."""
    for part in parts:
        extent = extents[part.space.id]
        _count_space(catalog, part.space, len(part.tokens))
        catalog.execute(
            "INSERT INTO extent (space, media, token_lo, token_hi, row_lo, row_hi, range_lo, added)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                part.space.id,
                number,
                extent.token_lo,
                extent.token_hi,
                extent.row_lo,
                extent.row_hi,
                extent.range_lo,
                int(added),
            ),
        )


def take_out(catalog: Connection, number: int) -> None:
    """A media goes, and nothing comes in its place."""
    key, collection = catalog.execute("SELECT key, collection FROM media WHERE number = ?", (number,)).fetchone()
    path = next(iter(paths_of(catalog, number)), "")
    happened(catalog, Kind.MEDIA_DELETED, {"id": key, "path": path, "collection": collection})
    bury(catalog, number)


def bury(catalog: Connection, number: int) -> None:
    """A media ceases to exist; its rows are dead until compaction."""
    first, count, digest = catalog.execute(
        "SELECT first, segments, digest FROM media WHERE number = ?", (number,)
    ).fetchone()
    extents = catalog.execute(
        "SELECT space, token_hi - token_lo, row_lo, row_hi FROM extent WHERE media = ?", (number,)
    ).fetchall()
    catalog.executemany(
        "UPDATE space SET media = media - 1, tokens = tokens - ? WHERE id = ?",
        [(tokens, space) for space, tokens, _, _ in extents],
    )
    catalog.executemany(
        "INSERT INTO tombstone (space, row_lo, row_hi) VALUES (?, ?, ?)",
        [(space, row_lo, row_hi) for space, _, row_lo, row_hi in extents],
    )
    _words.remove(catalog, range(first, first + count))
    _beside.add_up(catalog, -_beside.digest_of(catalog, number))
    for table in ("extent", "line", "path", "beside"):
        catalog.execute(f"DELETE FROM {table} WHERE media = ?", (number,))
    catalog.execute("DELETE FROM media WHERE number = ?", (number,))
    _add_up(catalog, -int.from_bytes(digest, "big"))
    catalog.execute("UPDATE library SET commits = commits + 1")


def _count_space(catalog: Connection, space: Space, tokens: int) -> None:
    """One more media has this space.

    Raises:
        SpaceMismatch: media here have a space of the same name and other weights, and no second recipe brings it.
    """
    other = catalog.execute(
        "SELECT id FROM space WHERE name = ? AND modality = ? AND id != ? AND media > 0",
        (space.name, space.modality, space.id),
    ).fetchone()
    two = _beside.read(catalog)
    if other and not (two and space.id in two.old.spaces | two.new.spaces):
        raise SpaceMismatch(
            f"the {space.name} vectors of this library are {other[0]}, these are {space.id}: "
            "take the weights that made it, or index into another library"
        )
    catalog.execute(
        "INSERT OR IGNORE INTO space (id, name, modality, dimension, media_side, query_side, preprocessing, media,"
        " tokens) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0)",
        (
            space.id,
            space.name,
            space.modality,
            space.dimension,
            space.media_side,
            space.query_side,
            space.preprocessing,
        ),
    )
    catalog.execute("UPDATE space SET media = media + 1, tokens = tokens + ? WHERE id = ?", (tokens, space.id))


def _add_up(catalog: Connection, change: int) -> None:
    """Keep the library's digest the sum of its media's: the same whatever the order they came and went in."""
    (held,) = catalog.execute("SELECT content FROM library").fetchone()
    catalog.execute("UPDATE library SET content = ?", (_beside.added(held, change),))


# -------------------------------------------------------------------------------------------------- paths and metadata


def take_paths(catalog: Connection, number: int, paths: Sequence[str]) -> None:
    """These are the paths of a media from now on.  A path names one media: another that had one of them loses it,
    and goes with its last."""
    wanted = [packed(path) for path in dict.fromkeys(paths)]
    drop_paths(catalog, number)
    taken = "SELECT asked.at, path.media FROM asked CROSS JOIN path WHERE path.path = asked.path"
    robbed = {other for _, other in _together.asked(catalog, "path", [(path,) for path in wanted], taken)}
    catalog.executemany("DELETE FROM path WHERE path = ?", [(path,) for path in wanted])
    catalog.executemany(
        "INSERT INTO path (media, position, path) VALUES (?, ?, ?)",
        [(number, position, path) for position, path in enumerate(wanted)],
    )
    for other in sorted(robbed):
        if left := paths_of(catalog, other):
            take_paths(catalog, other, left)
            redigest(catalog, other)
        else:
            take_out(catalog, other)


def drop_paths(catalog: Connection, number: int) -> None:
    """Take all paths from a media, which gets others in the same transaction."""
    catalog.execute("DELETE FROM path WHERE media = ?", (number,))


def paths_of(catalog: Connection, number: int) -> tuple[str, ...]:
    rows = catalog.execute("SELECT path FROM path WHERE media = ? ORDER BY position", (number,))
    return tuple(unpacked(path) for (path,) in rows)


def describe(catalog: Connection, number: int, metadata: Metadata) -> None:
    """This is the metadata of a media from now on."""
    catalog.execute(
        "UPDATE media SET title = ?, tags = ?, recorded = ?, recorded_source = ?, collection = ?, recorded_at = ?"
        " WHERE number = ?",
        (
            metadata.title,
            json.dumps(metadata.tags),
            metadata.recorded,
            metadata.recorded_source,
            metadata.collection,
            recorded_at(metadata),
            number,
        ),
    )


def redigest(catalog: Connection, number: int) -> None:
    """Paths or metadata of a media changed: so did its digest, and the library's."""
    content, old, *said = catalog.execute(
        "SELECT content, digest, title, tags, recorded, recorded_source, collection FROM media WHERE number = ?",
        (number,),
    ).fetchone()
    paths, metadata = paths_of(catalog, number), metadata_of(said)
    new = media_digest(content, paths, metadata)
    if new == old:
        return
    before = _beside.digest_of(catalog, number)
    catalog.execute("UPDATE media SET digest = ? WHERE number = ?", (new, number))
    _add_up(catalog, int.from_bytes(new, "big") - int.from_bytes(old, "big"))
    for (other,) in catalog.execute("SELECT content FROM beside WHERE media = ?", (number,)).fetchall():
        again = media_digest(other, paths, metadata)
        catalog.execute("UPDATE beside SET digest = ? WHERE media = ?", (again, number))
    _beside.add_up(catalog, _beside.digest_of(catalog, number) - before)
    catalog.execute("UPDATE library SET commits = commits + 1")


def metadata_of(row: Sequence[Any]) -> Metadata:
    """From title, tags, recorded, recorded_source, collection."""
    title, tags, recorded, source, collection = row
    return Metadata(title, tuple(json.loads(tags)), recorded, source, collection)


def number_of(catalog: Connection, key: str) -> int:
    """
    Raises:
        NoSuchMedia: no media has this key.
    """
    row = catalog.execute("SELECT number FROM media WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise NoSuchMedia(f"no media of this library has the key {key!r}: reelseek media lists them")
    return int(row[0])
