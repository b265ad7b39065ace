"""What a library remembers of files that were sent, and of how many may be."""

from collections.abc import Mapping, Sequence
from time import time

from retriever.quotas import DAY_S, Deposit, Quota, Short, Use, Whose
from retriever.stores._database import Connection, Database
from retriever.stores._paths import packed, unpacked

_COLUMN = {Whose.KEY: "owner", Whose.COLLECTION: "collection"}


class Quotas:
    """The `Quotas` port; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, quota: Quota) -> None:
        with self._database.writing() as catalog:
            catalog.execute("DELETE FROM quota WHERE kind = ? AND name = ?", (quota.kind, quota.name))
            if quota.limits:
                catalog.execute(
                    "INSERT INTO quota (kind, name, most_bytes, most_media, most_seconds) VALUES (?, ?, ?, ?, ?)",
                    (quota.kind, quota.name, quota.most_bytes, quota.most_media, quota.most_seconds),
                )

    def all(self) -> list[tuple[Quota, Use]]:
        now = time()
        with self._database.reading() as catalog:
            return [(quota, _use(catalog, quota.kind, quota.name, now)) for quota in _quotas(catalog)]

    def use(self, kind: Whose, name: str) -> Use:
        with self._database.reading() as catalog:
            return _use(catalog, kind, name, time())

    def take(self, deposit: Deposit) -> Short | None:
        now = time()
        with self._database.writing() as catalog:
            for quota in _quotas(catalog):
                if quota.name == (deposit.owner if quota.kind is Whose.KEY else deposit.collection):
                    use = _use(catalog, quota.kind, quota.name, now)
                    if what := _lacking(quota, use, deposit.bytes):
                        return Short(quota, what, use)
            catalog.execute("DELETE FROM deposit WHERE gone < ?", (now - DAY_S,))
            catalog.execute(
                "INSERT INTO deposit (id, owner, collection, path, bytes, seconds, at) VALUES (?, ?, ?, ?, ?, 0, ?)",
                (
                    deposit.id,
                    deposit.owner,
                    deposit.collection,
                    packed(deposit.path),
                    deposit.bytes,
                    deposit.at,
                ),
            )
        return None

    def moved(self, path: str, to: str) -> None:
        with self._database.writing() as catalog:
            there = catalog.execute("SELECT 1 FROM deposit WHERE path = ? AND gone IS NULL", (packed(to),)).fetchone()
            if there:
                catalog.execute("DELETE FROM deposit WHERE path = ?", (packed(path),))
            else:
                catalog.execute("UPDATE deposit SET path = ? WHERE path = ?", (packed(to), packed(path)))

    def withdraw(self, path: str) -> None:
        with self._database.writing() as catalog:
            catalog.execute("DELETE FROM deposit WHERE path = ?", (packed(path),))

    def gone(self, paths: Sequence[str]) -> None:
        rows = [(time(), packed(path)) for path in paths]
        with self._database.writing() as catalog:
            catalog.executemany("UPDATE deposit SET gone = ? WHERE path = ? AND gone IS NULL", rows)

    def lasts(self, seconds: Mapping[str, float]) -> None:
        rows = [(length, packed(path)) for path, length in seconds.items()]
        with self._database.writing() as catalog:
            catalog.executemany("UPDATE deposit SET seconds = ? WHERE path = ?", rows)

    def deposits(self) -> list[Deposit]:
        with self._database.reading() as catalog:
            rows = catalog.execute(
                "SELECT id, owner, collection, path, bytes, at FROM deposit WHERE gone IS NULL ORDER BY at, id"
            ).fetchall()
        return [
            Deposit(id, owner, collection, unpacked(path), size, at) for id, owner, collection, path, size, at in rows
        ]


def _quotas(catalog: Connection) -> list[Quota]:
    rows = catalog.execute("SELECT kind, name, most_bytes, most_media, most_seconds FROM quota ORDER BY kind, name")
    return [Quota(Whose(kind), *rest) for kind, *rest in rows.fetchall()]


def _use(catalog: Connection, kind: Whose, name: str, now: float) -> Use:
    column = _COLUMN[kind]
    lies = catalog.execute(
        f"SELECT coalesce(sum(bytes), 0), count(*) FROM deposit WHERE {column} = ? AND gone IS NULL", (name,)
    ).fetchone()
    came = catalog.execute(
        f"SELECT coalesce(sum(seconds), 0), coalesce(min(at), 0) FROM deposit WHERE {column} = ? AND at > ?"
        " AND seconds > 0",
        (name, now - DAY_S),
    ).fetchone()
    return Use(int(lies[0]), int(lies[1]), float(came[0]), float(came[1]))


def _lacking(quota: Quota, use: Use, size: int) -> str:
    """Which of its numbers a file of so many bytes would go over; empty: none."""
    if quota.most_bytes and use.bytes + size > quota.most_bytes:
        return "bytes"
    if quota.most_media and use.media + 1 > quota.most_media:
        return "media"
    return "seconds" if quota.most_seconds and use.seconds >= quota.most_seconds else ""
