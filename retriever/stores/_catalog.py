"""What a library remembers beside its media: recipe, files seen before, quarantine, runs, leases, staging folders."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import time
from typing import Any

from retriever import ports
from retriever.errors import BadSettings, WrongRecipe
from retriever.notices import Hook
from retriever.stores import _beside, _together
from retriever.stores._database import Connection, Database, translated
from retriever.stores._notices import Notices, forget_hooks_of, happened, keep_hook
from retriever.stores._paths import packed, unpacked
from retriever.stores._quotas import Quotas
from retriever.types import ApiKey, FileStat, Quarantined, Reembedding, RunRecord, RunState, Wish

RUNS_KEPT = 1000
"""So many runs that are over are remembered: a library that is indexed every minute stays small."""
ONCE_S = 86_400.0
"""Seconds for which an answer is remembered, in case its request comes again."""
AT_IT_S = 600.0
"""And for which it is believed that somebody is at it: longer than an upload takes to be kept."""
ENDS = frozenset({RunState.DONE, RunState.FAILED, RunState.CANCELLED})
"""States of a run that people are told of."""
_JOB = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


class Catalog:
    """The `Catalog` port; each method is one transaction."""

    def __init__(self, database: Database, staging: Path) -> None:
        self._database = database
        self._staging = staging
        self.notices: ports.Notices = Notices(database)
        self.quotas: ports.Quotas = Quotas(database)

    # ------------------------------------------------------------------------------------------------------ recipe

    def recipe(self) -> tuple[str, str] | None:
        with self._database.reading() as catalog:
            digest, text = catalog.execute("SELECT recipe_digest, recipe FROM library").fetchone()
        return None if digest is None else (digest, text)

    def set_recipe(self, digest: str, text: str) -> None:
        with self._database.writing() as catalog:
            if (two := _beside.read(catalog)) is None:
                catalog.execute("UPDATE library SET recipe_digest = ?, recipe = ?", (digest, text))
            elif digest in (two.old.digest, two.new.digest):
                _beside.renew(catalog, digest, text)
            else:
                raise WrongRecipe(f"this library holds recipes {two.old.digest} and {two.new.digest}, not {digest}")

    def reembedding(self) -> Reembedding | None:
        with self._database.reading() as catalog:
            return _beside.read(catalog)

    # --------------------------------------------------------------------------------------------- files seen before

    def stat(self, path: str) -> FileStat | None:
        return self.stats([path]).get(path)

    def remember(self, path: str, stat: FileStat) -> None:
        self.remember_all({path: stat})

    def stats(self, paths: Sequence[str]) -> Mapping[str, FileStat]:
        asked = "SELECT asked.at, size, mtime_ns, inode, key FROM asked CROSS JOIN stat WHERE stat.path = asked.path"
        rows = self._of_paths(paths, asked)
        return {paths[at]: FileStat(size, mtime_ns, int(inode), key) for at, size, mtime_ns, inode, key in rows}

    def remember_all(self, stats: Mapping[str, FileStat]) -> None:
        rows = [(packed(path), stat.size, stat.mtime_ns, str(stat.inode), stat.key) for path, stat in stats.items()]
        with self._database.writing() as catalog:
            catalog.executemany(
                "INSERT OR REPLACE INTO stat (path, size, mtime_ns, inode, key) VALUES (?, ?, ?, ?, ?)", rows
            )

    def owners(self, paths: Sequence[str]) -> Mapping[str, str]:
        asked = (
            "SELECT asked.at, media.key FROM asked CROSS JOIN path CROSS JOIN media"
            " WHERE path.path = asked.path AND media.number = path.media"
        )
        return {paths[at]: key for at, key in self._of_paths(paths, asked)}

    def _of_paths(self, paths: Sequence[str], asked: str) -> list[Any]:
        with self._database.reading() as catalog:
            return _together.asked(catalog, "path", [(packed(path),) for path in paths], asked)

    def paths(self, after: str, most: int) -> Mapping[str, tuple[str, ...]]:
        with self._database.reading() as catalog:
            rows = catalog.execute(
                "SELECT media.key, path.path FROM media JOIN path ON path.media = media.number WHERE media.number IN"
                " (SELECT number FROM media WHERE key > ? ORDER BY key LIMIT ?) ORDER BY media.key, path.position",
                (after, most),
            ).fetchall()
        found: dict[str, list[str]] = {}
        for key, path in rows:
            found.setdefault(key, []).append(unpacked(path))
        return {key: tuple(own) for key, own in found.items()}

    def forget(self, paths: Sequence[str]) -> None:
        rows = [(packed(path),) for path in paths]
        with self._database.writing() as catalog:
            catalog.executemany("DELETE FROM stat WHERE path = ?", rows)
            catalog.executemany("DELETE FROM quarantine WHERE path = ?", rows)

    def quarantine(self, entry: Quarantined) -> None:
        row = (
            packed(entry.path),
            _text(entry.reason),
            entry.since,
            entry.size,
            entry.mtime_ns,
            entry.tries,
            entry.again,
        )
        with self._database.writing() as catalog:
            catalog.execute(
                "INSERT OR REPLACE INTO quarantine (path, reason, since, size, mtime_ns, tries, again)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )

    def quarantined(self) -> list[Quarantined]:
        with self._database.reading() as catalog:
            rows = catalog.execute(
                "SELECT path, reason, since, size, mtime_ns, tries, again FROM quarantine ORDER BY path"
            ).fetchall()
        return [Quarantined(unpacked(path), *rest) for path, *rest in rows]

    # --------------------------------------------------------------------------------------------------------- runs

    def write_run(self, run: RunRecord, hook: Hook | None = None) -> None:
        asked, error = _text(run.asked), _text(run.error)
        row = (asked, run.state, run.created, run.began, run.ended, json.dumps(dict(run.counts)), error, run.id)
        with self._database.writing() as catalog:
            if hook is not None:
                keep_hook(catalog, hook)
            before = catalog.execute("SELECT state FROM run WHERE id = ?", (run.id,)).fetchone()
            if run.state in ENDS and before != (run.state,):
                happened(catalog, f"job.{run.state}", {"id": run.id})
            written = catalog.execute(
                "UPDATE run SET asked = ?, state = ?, created = ?, began = ?, ended = ?, counts = ?, error = ?"
                " WHERE id = ?",
                row,
            )
            if not written.rowcount:
                catalog.execute(
                    "INSERT INTO run (asked, state, created, began, ended, counts, error, id, wish, number)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(number), 0) + 1 FROM run))",
                    (*row, run.wish),
                )
                catalog.execute(
                    "DELETE FROM run WHERE id IN (SELECT id FROM run WHERE state IN ('done', 'failed', 'cancelled')"
                    " ORDER BY number DESC LIMIT -1 OFFSET ?)",
                    (RUNS_KEPT,),
                )

    def wish(self, run: str, wish: Wish) -> bool:
        with self._database.writing() as catalog:
            return bool(catalog.execute("UPDATE run SET wish = ? WHERE id = ?", (wish, run)).rowcount)

    def wished(self, run: str) -> Wish:
        with self._database.reading() as catalog:
            row = catalog.execute("SELECT wish FROM run WHERE id = ?", (run,)).fetchone()
        return Wish(row[0]) if row else Wish.NONE

    def runs(self) -> list[RunRecord]:
        with self._database.reading() as catalog:
            rows = catalog.execute(
                "SELECT id, asked, created, state, began, ended, counts, error, wish FROM run ORDER BY number"
            ).fetchall()
        return [
            RunRecord(id, asked, created, RunState(state), began, ended, json.loads(counts), error, Wish(wish))
            for id, asked, created, state, began, ended, counts, error, wish in rows
        ]

    # ------------------------------------------------------------------------------------------------------ service

    def write_key(self, key: ApiKey) -> None:
        row = (key.id, key.name, key.digest, json.dumps(sorted(key.scopes)), key.collection, key.rate, key.created)
        with self._database.writing() as catalog:
            if catalog.execute("SELECT 1 FROM api_key WHERE name = ?", (key.name,)).fetchone():
                raise BadSettings(f"there is a key named {key.name!r} already: revoke it, or take another name")
            catalog.execute(
                "INSERT INTO api_key (id, name, digest, scopes, collection, rate, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )

    def forget_key(self, id: str) -> bool:
        with self._database.writing() as catalog:
            forget_hooks_of(catalog, id)
            return bool(catalog.execute("DELETE FROM api_key WHERE id = ?", (id,)).rowcount)

    def api_keys(self) -> list[ApiKey]:
        with self._database.reading() as catalog:
            rows = catalog.execute(
                "SELECT id, name, digest, scopes, collection, rate, created FROM api_key ORDER BY name"
            ).fetchall()
        return [
            ApiKey(id, name, digest, frozenset(json.loads(scopes)), *rest) for id, name, digest, scopes, *rest in rows
        ]

    def claim(self, owner: str, token: str, request: str) -> tuple[str, str] | None:
        now = time()
        with self._database.writing() as catalog:
            catalog.execute("DELETE FROM once WHERE at < ? OR at > ?", (now - ONCE_S, now + ONCE_S))
            catalog.execute("DELETE FROM once WHERE answer = '' AND at < ?", (now - AT_IT_S,))
            row = catalog.execute(
                "SELECT request, answer FROM once WHERE owner = ? AND token = ?", (owner, token)
            ).fetchone()
            if row:
                return str(row[0]), str(row[1])
            catalog.execute("INSERT INTO once VALUES (?, ?, ?, '', ?)", (owner, token, request, now))
        return None

    def settle(self, owner: str, token: str, answer: str) -> None:
        with self._database.writing() as catalog:
            if answer:
                catalog.execute("UPDATE once SET answer = ? WHERE owner = ? AND token = ?", (answer, owner, token))
            else:
                catalog.execute("DELETE FROM once WHERE owner = ? AND token = ? AND answer = ''", (owner, token))

    # ------------------------------------------------------------------------------------------------------- leases

    def lease(self, job: str, owner: str, seconds: float) -> bool:
        with self._database.writing() as catalog:
            now = self._database.clock(catalog, time)
            row = catalog.execute("SELECT owner, until FROM lease WHERE job = ?", (job,)).fetchone()
            if row and row[0] != owner and runs(self._database, catalog, row[0], row[1], now):
                if row[1] > now + seconds:  # the clock was set back since; nobody is to wait until it comes there
                    catalog.execute("UPDATE lease SET until = ? WHERE job = ?", (now + seconds, job))
                return False
            catalog.execute(
                "INSERT OR REPLACE INTO lease (job, owner, until) VALUES (?, ?, ?)", (job, owner, now + seconds)
            )
            self._database.vouch(catalog, owner)
        return True

    def release(self, job: str, owner: str) -> None:
        with self._database.writing() as catalog:
            catalog.execute("DELETE FROM lease WHERE job = ? AND owner = ?", (job, owner))

    def leased(self) -> Mapping[str, str]:
        with self._database.reading() as catalog:
            now = self._database.clock(catalog, time)
            rows = catalog.execute(
                "SELECT job, owner, until FROM lease WHERE until > ? ORDER BY job", (now,)
            ).fetchall()
            ended = {owner: self._database.ended(catalog, owner) for owner in {owner for _, owner, _ in rows}}
            return {job: owner for job, owner, _ in rows if not ended[owner]}

    # ------------------------------------------------------------------------------------------------------ staging

    def staging(self, job: str) -> Path:
        folder = self._folder(job)
        with translated(self._database.place):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def staged(self) -> list[str]:
        if not self._staging.is_dir():
            return []
        return sorted(folder.name for folder in self._staging.iterdir() if folder.is_dir())

    def unstage(self, job: str) -> None:
        folder = self._folder(job)
        if folder.is_dir():
            shutil.rmtree(folder)

    def _folder(self, job: str) -> Path:
        if not _JOB.fullmatch(job):
            raise ValueError(
                f"job {job!r} cannot name a folder: it wants letters, digits, '.', '_' and '-', at most 200"
            )
        return self._staging / job


def runs(database: Database, catalog: Connection, owner: str, until: float, now: float) -> bool:
    """Whether a lease of this owner until then holds now."""
    return until > now and not database.ended(catalog, owner)


def _text(text: str) -> str:
    """What SQLite can keep of a text that may quote a path which is none."""
    return text.encode("utf-8", "backslashreplace").decode()
