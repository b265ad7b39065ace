"""What the catalog of a Qdrant library keeps beside the rest: whose points they are, at which version the library is,
and which dead points wait for readers to end.  Statements inside a transaction which somebody else holds."""

import sqlite3
from uuid import uuid4

from retriever.errors import StoreUnavailable
from retriever.stores._database import Connection

_TABLES = (
    # mark: also in Qdrant, so that two catalogs never write the same points
    "qdrant (one INTEGER PRIMARY KEY CHECK (one = 1), mark TEXT NOT NULL, version INTEGER NOT NULL)",
    # points that were dead at `version` may go when nobody reads `epoch` or an earlier one
    "qdrant_grave (epoch INTEGER NOT NULL, version INTEGER NOT NULL)",
)


def lay_out(catalog: Connection) -> None:
    """Make these tables, in a transaction that somebody else holds."""
    for table in _TABLES:
        catalog.execute(f"CREATE TABLE {table}")
    catalog.execute("INSERT INTO qdrant (one, mark, version) VALUES (1, ?, 0)", (uuid4().hex,))


def refuse_used(catalog: Connection, folder: str) -> None:
    """
    Raises:
        StoreUnavailable: the folder is a library of its own.
    """
    if catalog.execute("SELECT media_given FROM library").fetchone() != (0,):
        raise StoreUnavailable(
            f"{folder} is a library of its own and no catalog of one in Qdrant: name another --store-catalog"
        )


def told(catalog: Connection) -> tuple[str, bool]:
    """The mark, and whether a media ever came."""
    mark, given = catalog.execute("SELECT mark, media_given FROM qdrant, library").fetchone()
    return str(mark), given > 0


def is_here(catalog: sqlite3.Connection) -> bool:
    """Whether this is the catalog of a library in Qdrant."""
    return catalog.execute("SELECT 1 FROM sqlite_master WHERE name = 'qdrant'").fetchone() is not None


def watch(catalog: Connection) -> None:
    """This connection notes which media a transaction takes."""
    catalog.execute("CREATE TEMP TABLE gone (media INTEGER NOT NULL)")
    catalog.execute(
        "CREATE TEMP TRIGGER media_gone AFTER DELETE ON media BEGIN INSERT INTO gone VALUES (OLD.number); END"
    )


def taken(catalog: Connection) -> list[int]:
    """Media that were taken since this was asked last."""
    found = [number for (number,) in catalog.execute("SELECT media FROM gone ORDER BY media").fetchall()]
    catalog.execute("DELETE FROM gone")
    return found


def version(catalog: Connection) -> int:
    return int(catalog.execute("SELECT version FROM qdrant").fetchone()[0])


def rise(catalog: Connection) -> None:
    """With this transaction the next version comes."""
    catalog.execute("UPDATE qdrant SET version = version + 1")


def spaces(catalog: Connection) -> list[str]:
    """Every space that the catalog knows, whether a media has it or not."""
    return [space for (space,) in catalog.execute("SELECT id FROM space ORDER BY id").fetchall()]


def bury(catalog: Connection) -> None:
    """What is dead now may go when the readers of this epoch have ended; the next epoch begins."""
    catalog.execute(
        "INSERT INTO qdrant_grave (epoch, version) SELECT library.epoch, qdrant.version FROM library, qdrant"
    )
    catalog.execute("DELETE FROM tombstone")
    catalog.execute("DELETE FROM space WHERE media = 0")
    # Rows are counted, not kept; those of `ranges` give points their numbers, and no number comes twice.
    counts = (("token_hi - token_lo", ("tokens", "facts")), ("row_hi - row_lo", ("vectors", "map")))
    for rows, roles in counts:
        catalog.execute(
            f"UPDATE file SET rows = (SELECT coalesce(sum({rows}), 0) FROM extent WHERE extent.space = file.space)"
            f" WHERE role IN ('{roles[0]}', '{roles[1]}')"
        )
    catalog.execute("DELETE FROM file WHERE role IN ('tokens', 'facts', 'vectors', 'map') AND rows = 0")
    catalog.execute("UPDATE library SET epoch = epoch + 1, commits = commits + 1")


def graves(catalog: Connection) -> list[tuple[int, int]]:
    """Epoch and version of each, the oldest first."""
    return catalog.execute("SELECT epoch, version FROM qdrant_grave ORDER BY epoch").fetchall()


def close(catalog: Connection, epoch: int) -> None:
    """The dead of this epoch are gone."""
    catalog.execute("DELETE FROM qdrant_grave WHERE epoch = ?", (epoch,))
