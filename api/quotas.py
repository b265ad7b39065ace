"""How much whoever sends media may send: counted in the catalog, so that all processes of a library count together.

`folder` is everywhere that in which this machine keeps what is sent: files that are gone count no more, and of those of
other machines nobody knows here whether they are (`api.marks`).
"""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from time import time
from typing import Any

from api import marks, strays
from api.coming import alone
from api.problems import Problem
from api.terminal import amount
from retriever.errors import BadSettings
from retriever.ports import Store
from retriever.quotas import DAY_S, Deposit, Quota, Short, Use, Whose
from retriever.types import Filter

ON_ITS_WAY_S = 900.0
"""Seconds for which a file counts that is not there yet: it may be on its way."""


def take(store: Store, folder: Path, owner: str, collection: str, path: Path, size: int) -> None:
    """Count a file of so many bytes, which lies, or is to lie, at `path`.

    Raises:
        Problem: a quota has no room for it (507), never could have (413), or has none before tomorrow (429).
    """
    deposit = Deposit(marks.numbered(store, folder), owner, collection, str(path), size, time())
    short = store.catalog.quotas.take(deposit)
    if short and short.what != "seconds" and _swept(store, folder, short.quota.kind, short.quota.name):
        short = store.catalog.quotas.take(deposit)
    if short:
        raise _problem(short, size)


def room(store: Store, folder: Path, owner: str, collection: str) -> int | None:
    """Bytes that may still come; None: any number.

    Raises:
        Problem: none may, as `take`.
    """
    left = None
    for quota, use in store.catalog.quotas.all():
        if quota.name != (owner if quota.kind is Whose.KEY else collection):
            continue
        if _swept(store, folder, quota.kind, quota.name):
            use = store.catalog.quotas.use(quota.kind, quota.name)
        if quota.most_media and use.media >= quota.most_media:
            raise _problem(Short(quota, "media", use), 1)
        if quota.most_seconds and use.seconds >= quota.most_seconds:
            raise _problem(Short(quota, "seconds", use), 1)
        if quota.most_bytes:
            free = quota.most_bytes - use.bytes
            if free <= 0:
                raise _problem(Short(quota, "bytes", use), 1)
            left = free if left is None else min(left, free)
    return left


def weigh(store: Store, paths: tuple[str, ...]) -> None:
    """What was sent has been looked at: the length of its media counts."""
    lengths: dict[str, float] = {}
    with store.snapshot() as snapshot:
        for path in paths:
            if seen := store.catalog.stat(path):
                found = snapshot.media(Filter(media=frozenset({seen.key})))
                lengths[path] = sum(media.duration for media in found)  # of one, or none
    if lengths:
        store.catalog.quotas.lasts(lengths)


def of(store: Store, folder: Path, kind: Whose, name: str) -> dict[str, Any]:
    """A quota, or that there is none, with what is used of it."""
    _swept(store, folder, kind, name)
    held = {(quota.kind, quota.name): quota for quota, _ in store.catalog.quotas.all()}
    return _document(store, held.get((kind, name), Quota(kind, name)), store.catalog.quotas.use(kind, name))


def every(store: Store, folder: Path) -> list[dict[str, Any]]:
    """All that are set."""
    for quota, _ in store.catalog.quotas.all():
        _swept(store, folder, quota.kind, quota.name)
    return [_document(store, quota, use) for quota, use in store.catalog.quotas.all()]


def _document(store: Store, quota: Quota, use: Use) -> dict[str, Any]:
    return {
        "kind": str(quota.kind),
        "id": quota.name,
        "name": _called(store, quota),
        "most_bytes": quota.most_bytes,
        "most_media": quota.most_media,
        "most_s_a_day": quota.most_seconds,
        "bytes": use.bytes,
        "media": use.media,
        "s_today": round(use.seconds, 3),
    }


def whose(store: Store, kind: Whose, name: str) -> str:
    """What a quota is kept under: of a key that is called so, or has this id, its id.

    Raises:
        BadSettings: there is no such key.
    """
    if kind is Whose.COLLECTION:
        return name
    for key in store.catalog.api_keys():
        if name in (key.name, key.id):
            return key.id
    raise BadSettings(f"there is no key {name!r}: reelseek keys list shows those that there are")


def _called(store: Store, quota: Quota) -> str:
    if quota.kind is Whose.COLLECTION:
        return quota.name
    return next((key.name for key in store.catalog.api_keys() if key.id == quota.name), "")


def left(store: Store, folders: Sequence[Path]) -> None:
    """Files in these folders were on their way when whoever took them was killed: they do not count."""
    for one in store.catalog.quotas.deposits() if folders else ():
        if any(Path(one.path).is_relative_to(folder) for folder in folders):
            store.catalog.quotas.withdraw(one.path)


def _swept(store: Store, folder: Path, kind: Whose, name: str) -> bool:
    """Whether files that count for somebody have gone, which do so no more."""
    counted = (one for one in store.catalog.quotas.deposits() if marks.may_judge(store, folder, one))
    theirs = (one for one in counted if name == (one.owner if kind is Whose.KEY else one.collection))
    gone = [one.path for one in theirs if _has_gone(one)]
    if gone:
        store.catalog.quotas.gone(gone)
    return bool(gone)


def _has_gone(one: Deposit) -> bool:
    file = Path(one.path)
    home = file.parent.parent
    if file.exists():
        return False
    if strays.key_of(file) and home.is_dir():
        with alone(home):  # whoever was about to put it there has done so
            return not file.exists()
    return one.at < time() - ON_ITS_WAY_S


def _problem(short: Short, size: int) -> Problem:
    quota, use = short.quota, short.use
    of_whom = "this key" if quota.kind is Whose.KEY else f"the collection {quota.name!r}"
    if short.what == "seconds":
        wait = max(1, ceil(use.oldest + DAY_S - time()))
        told = f"{of_whom} may send {quota.most_seconds:g} s of media a day, and has sent {use.seconds:,.0f}"
        return Problem(429, "enough for today", told, retry_s=wait)
    if short.what == "media":
        told = (
            f"{of_whom} may keep {quota.most_media:,} files here, and has {use.media:,}: delete some, with their files"
        )
        return Problem(507, "the quota is full", told)
    most, there = amount(quota.most_bytes), amount(use.bytes)
    if size > quota.most_bytes:
        told = f"{of_whom} may keep {most} here, and this is {amount(size)}"
        return Problem(413, "larger than the quota", told)
    told = f"{of_whom} may keep {most} here, and has {there}: delete some, with their files"
    return Problem(507, "the quota is full", told)
