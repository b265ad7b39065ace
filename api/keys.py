"""Keys of a served library: made once, shown once, kept as a digest.

    rs_5f0c1d2e_Wq…      what a person keeps: an id that may be shown, and a secret that may not

A secret is random and long, so a plain SHA-256 keeps it: there is nothing to guess that a slow hash would slow down.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from math import isfinite
from secrets import token_hex, token_urlsafe
from threading import Lock
from time import monotonic, time

from retriever.errors import BadSettings
from retriever.ports import Store
from retriever.quotas import Quota, Whose
from retriever.types import ApiKey

SCOPES = ("search", "write", "admin")
"""What a key may do: ask and look; send, change and take out media; all of it, jobs of the server's files too.  Each
includes those before it."""
PREFIX = "rs"
KNOWN_S = 1.0
"""Seconds for which a server believes the keys that it has read: so long a revoked one lives."""
BURST_S = 2.0
"""Seconds of its rate that a key may ask for at once."""


def make(store: Store, name: str, scope: str, collection: str = "", rate: float = 0.0) -> tuple[ApiKey, str]:
    """A new key, and the text that is never seen again.

    Raises:
        BadSettings: there is no such scope, or another key has this name, or it has none.
    """
    if scope not in SCOPES:
        raise BadSettings(f"--scope is {scope!r}; it wants {', '.join(SCOPES)}")
    if not name.strip():
        raise BadSettings("a key wants a name, so that people know whose it is")
    if collection and scope == "admin":
        raise BadSettings("--collection narrows a key, and --scope admin is for all of a library: leave one out")
    if not (isfinite(rate) and rate >= 0):
        raise BadSettings(f"--rate is {rate:g}; it wants requests a second, 0 for any number")
    secret = token_urlsafe(32)
    scopes = frozenset(SCOPES[: SCOPES.index(scope) + 1])
    key = ApiKey(token_hex(4), name, _digest(secret), scopes, collection, rate, time())
    store.catalog.write_key(key)
    return key, f"{PREFIX}_{key.id}_{secret}"


def revoke(store: Store, name: str) -> tuple[ApiKey, int]:
    """One is none any more, and its quota and its webhooks end with it.  Returns it, and how many those were.

    Raises:
        BadSettings: there is no key of this name or id.
    """
    for key in store.catalog.api_keys():
        if name in (key.name, key.id):
            ended = sum(hook.owner == key.id for hook in store.catalog.notices.hooks())
            store.catalog.forget_key(key.id)
            store.catalog.quotas.set(Quota(Whose.KEY, key.id))
            return key, ended
    raise BadSettings(f"there is no key {name!r}: reelseek keys list shows those that there are")


def said(text: str) -> tuple[str, str, str]:
    """Prefix, id and secret of what somebody shows as a key."""
    prefix, _, rest = text.partition("_")
    id, _, secret = rest.partition("_")
    return prefix, id, secret


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


@dataclass(slots=True)
class Ring:
    """The keys of a library, as a server looks at them; several threads may ask."""

    store: Store
    now: Callable[[], float] = monotonic
    _keys: dict[str, ApiKey] = field(default_factory=dict)
    _read: float = -1e9
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)  # id → requests left, when
    _guard: Lock = field(default_factory=Lock)

    def is_empty(self) -> bool:
        """Whether nobody needs a key."""
        return not self._known()

    def of(self, text: str) -> ApiKey | None:
        """Whose key a text is; None: nobody's."""
        prefix, id, secret = said(text)
        key = self._known().get(id)
        kept = key.digest if key else bytes(32)
        same = hmac.compare_digest(kept, _digest(secret))  # takes as long, whatever is wrong
        return key if key and same and prefix == PREFIX else None

    def has(self, key: ApiKey) -> bool:
        """Whether it is a key still."""
        return self._known().get(key.id) == key

    def wait(self, key: ApiKey) -> float:
        """Seconds until this key may ask again; 0: it may, and has."""
        if not key.rate:
            return 0.0
        most = max(1.0, key.rate * BURST_S)
        with self._guard:
            now = self.now()
            left, then = self._buckets.get(key.id, (most, now))
            left = min(most, left + (now - then) * key.rate)
            if left < 1:
                self._buckets[key.id] = left, now
                return (1 - left) / key.rate
            self._buckets[key.id] = left - 1, now
        return 0.0

    def _known(self) -> dict[str, ApiKey]:
        with self._guard:
            if self.now() - self._read > KNOWN_S:
                self._keys = {key.id: key for key in self.store.catalog.api_keys()}
                self._read = self.now()
            return self._keys
