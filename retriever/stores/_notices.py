"""What a library remembers of those who are told when something happens in it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from secrets import token_hex
from time import time
from typing import Any

from retriever.notices import Delivery, DeliveryState, Happening, Hook
from retriever.stores._database import Connection, Database

KEPT_S = 7 * 86_400.0
"""Seconds for which it is remembered how a delivery ended."""
FEW = 100
"""Hooks among which the next message is looked for."""
_HOOK = "id, url, secret, events, collection, job, owner, active, created"
_DELIVERY = "id, hook, kind, body, created, state, tries, due, status, told"

_WAITING = (
    "SELECT id FROM hook WHERE active = 1 AND EXISTS"
    " (SELECT 1 FROM delivery WHERE delivery.hook = hook.id AND state = 'waiting' AND due <= ?)"
)
_NEXT = (
    f"SELECT {_DELIVERY} FROM delivery WHERE hook = ? AND state = 'waiting' AND due <= ?"
    " ORDER BY tries, due, id LIMIT 1"
)


def happened(catalog: Connection, kind: str, about: Mapping[str, str]) -> None:
    """With this transaction something happens.  Where nobody listens, nothing is kept of it."""
    catalog.execute(
        "INSERT INTO happening (id, kind, about, at) SELECT ?, ?, ?, ?"
        " WHERE EXISTS (SELECT 1 FROM hook WHERE active = 1)",
        (token_hex(8), kind, json.dumps(dict(about)), time()),
    )


def forget_hooks_of(catalog: Connection, owner: str) -> None:
    """With this transaction a key ends, and with it the hooks that it set."""
    catalog.execute("DELETE FROM delivery WHERE hook IN (SELECT id FROM hook WHERE owner = ?)", (owner,))
    catalog.execute("DELETE FROM hook WHERE owner = ?", (owner,))


def keep_hook(catalog: Connection, hook: Hook) -> bool:
    """With this transaction a hook is kept.  False: the key that set it is none any more."""
    if hook.owner and not catalog.execute("SELECT 1 FROM api_key WHERE id = ?", (hook.owner,)).fetchone():
        return False
    if not _changed(catalog, hook):
        catalog.execute(
            "INSERT INTO hook (url, secret, events, collection, job, owner, active, created, id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            _row(hook),
        )
    return True


class Notices:
    """The `Notices` port; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write_hook(self, hook: Hook) -> bool:
        with self._database.writing() as catalog:
            return keep_hook(catalog, hook)

    def change_hook(self, id: str, change: Callable[[Hook], Hook]) -> Hook | None:
        with self._database.writing() as catalog:
            row = catalog.execute(f"SELECT {_HOOK} FROM hook WHERE id = ?", (id,)).fetchone()
            if row is None:
                return None
            hook = change(_hook(row))
            _changed(catalog, hook)
        return hook

    def forget_hook(self, id: str) -> bool:
        with self._database.writing() as catalog:
            catalog.execute("DELETE FROM delivery WHERE hook = ?", (id,))
            return bool(catalog.execute("DELETE FROM hook WHERE id = ?", (id,)).rowcount)

    def hooks(self) -> list[Hook]:
        with self._database.reading() as catalog:
            rows = catalog.execute(f"SELECT {_HOOK} FROM hook ORDER BY created, id").fetchall()
        return [_hook(row) for row in rows]

    def happenings(self, most: int) -> list[Happening]:
        with self._database.reading() as catalog:
            rows = catalog.execute(
                "SELECT id, kind, about, at FROM happening ORDER BY at, id LIMIT ?", (most,)
            ).fetchall()
        return [Happening(id, kind, json.loads(about), at) for id, kind, about, at in rows]

    def tell(self, happening: Happening | None, deliveries: Sequence[Delivery]) -> bool:
        with self._database.writing() as catalog:
            if happening:
                done = catalog.execute("DELETE FROM happening WHERE id = ?", (happening.id,))
                if not done.rowcount:
                    return False
            catalog.executemany(
                f"INSERT INTO delivery ({_DELIVERY}, owner, until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0)",
                [astuple(one) for one in deliveries],
            )
        return True

    def claim(self, owner: str, seconds: float) -> tuple[Delivery, Hook] | None:
        with self._database.reading() as catalog:  # most of the time there is nothing, and nobody is kept from writing
            now = self._database.clock(catalog, time)
            waiting = {id for (id,) in catalog.execute(_WAITING, (now,)).fetchall()} - self._busy(catalog, seconds)
        hooks = {hook.id: hook for hook in self.hooks() if hook.id in waiting} if waiting else {}
        if not hooks:
            return None
        with self._database.writing() as catalog:
            now = self._database.clock(catalog, time)  # of this transaction: those before it are not of later
            free = sorted(hooks.keys() - self._busy(catalog, seconds))
            rows = [catalog.execute(_NEXT, (hook, now)).fetchone() for hook in free[:FEW]]
            # Those that have not been tried come first, so that hooks which are down do not hold up the others.
            first = min((_delivery(row) for row in rows if row), key=lambda one: (one.tries, one.due), default=None)
            if first is None:
                return None
            catalog.execute("UPDATE delivery SET owner = ?, until = ? WHERE id = ?", (owner, now + seconds, first.id))
            self._database.vouch(catalog, owner)
        return first, hooks[first.hook]

    def _busy(self, catalog: Connection, seconds: float) -> set[str]:
        """Hooks to which somebody sends something now."""
        now = self._database.clock(catalog, time)
        held = catalog.execute("SELECT hook, owner, until FROM delivery WHERE owner > ''").fetchall()
        return {
            hook
            for hook, holder, until in held
            if now < until <= now + seconds and not self._database.ended(catalog, holder)
        }

    def settle(self, delivery: Delivery) -> None:
        with self._database.writing() as catalog:
            catalog.execute(
                "UPDATE delivery SET state = ?, tries = ?, due = ?, status = ?, told = ?, owner = '', until = 0"
                " WHERE id = ? AND state = 'waiting'",
                (delivery.state, delivery.tries, delivery.due, delivery.status, delivery.told, delivery.id),
            )

    def deliveries(self, hook: str, most: int) -> list[Delivery]:
        with self._database.reading() as catalog:
            rows = catalog.execute(
                f"SELECT {_DELIVERY} FROM delivery WHERE hook = ? ORDER BY created DESC, id LIMIT ?", (hook, most)
            ).fetchall()
        return [_delivery(row) for row in rows]

    def again(self, hook: str, id: str) -> bool:
        with self._database.writing() as catalog:
            done = catalog.execute(
                "UPDATE delivery SET state = 'waiting', tries = 0, due = ? WHERE hook = ? AND id = ? AND owner = ''",
                (time(), hook, id),
            )
            return bool(done.rowcount)

    def tidy(self) -> None:
        now = time()
        with self._database.writing() as catalog:
            # Of keys that were revoked before hooks ended with them.
            catalog.execute("DELETE FROM hook WHERE owner != '' AND owner NOT IN (SELECT id FROM api_key)")
            catalog.execute(  # the second: of a hook that was forgotten while a message was made for it
                "DELETE FROM delivery WHERE (state != 'waiting' AND due < ?) OR hook NOT IN (SELECT id FROM hook)",
                (now - KEPT_S,),
            )
            catalog.execute(
                "DELETE FROM hook WHERE job != '' AND created < ? AND id NOT IN (SELECT hook FROM delivery)"
                " AND job NOT IN (SELECT id FROM run WHERE state IN ('queued', 'running', 'paused'))",
                (now - KEPT_S,),
            )


def _row(hook: Hook) -> Sequence[str | int | float]:
    events = json.dumps(sorted(hook.events))
    about = (hook.url, hook.secret, events, hook.collection, hook.job, hook.owner, int(hook.active), hook.created)
    return (*about, hook.id)


def _changed(catalog: Connection, hook: Hook) -> bool:
    done = catalog.execute(
        "UPDATE hook SET url = ?, secret = ?, events = ?, collection = ?, job = ?, owner = ?, active = ?, created = ?"
        " WHERE id = ?",
        _row(hook),
    )
    return bool(done.rowcount)


def _hook(row: Sequence[Any]) -> Hook:
    id, url, secret, events, collection, job, owner, active, created = row
    return Hook(id, url, secret, frozenset(json.loads(events)), collection, job, owner, bool(active), created)


def _delivery(row: Sequence[Any]) -> Delivery:
    id, hook, kind, body, created, state, *rest = row
    return Delivery(id, hook, kind, body, created, DeliveryState(state), *rest)
