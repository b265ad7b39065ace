"""Requests that may come twice, since the answer to the first was lost: `Idempotency-Key`."""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from api.problems import Problem
from retriever.ports import Store

LONGEST = 255


def once(store: Store, owner: str, token: str, asked: Any, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` returns; a request that came before with the same `token` has the answer that it had then.  Without a
    token nothing is remembered.

    Raises:
        Problem: the token was used for another request (422), or its request is at work still (409).
    """
    if not token:
        return work()
    if len(token) > LONGEST or not token.isascii() or not token.isprintable():
        raise Problem(422, "no such token", f"Idempotency-Key wants up to {LONGEST} printable characters")
    digest = sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    then = store.catalog.claim(owner, token, digest)
    if then is None:
        try:
            made = work()
        except BaseException:
            store.catalog.settle(owner, token, "")
            raise
        store.catalog.settle(owner, token, json.dumps(made))
        return made
    if then[0] != digest:
        raise Problem(422, "another request", "this Idempotency-Key came with another request: take a new one")
    if not then[1]:
        detail = "the request with this Idempotency-Key is being answered: ask again in a while"
        raise Problem(409, "at work", detail, retry_s=1)
    answered: dict[str, Any] = json.loads(then[1])
    return answered
