"""What was worked out of late, for whoever asks the same again.

recent: Recent[str, Vector] = Recent(4096)
recent.get("a parrot")          # None: it is not among the newest
recent.put("a parrot", row)
"""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The `most` that were wanted last; several threads may ask.  What is in it is shared: nobody changes it."""

    def __init__(self, most: int) -> None:
        self.hits = self.misses = 0
        self._most = most
        self._held: OrderedDict[K, V] = OrderedDict()
        self._guard = Lock()

    def get(self, key: K) -> V | None:
        with self._guard:
            if key not in self._held:
                self.misses += 1
                return None
            self.hits += 1
            self._held.move_to_end(key)
            return self._held[key]

    def put(self, key: K, value: V) -> None:
        with self._guard:
            self._held[key] = value
            self._held.move_to_end(key)
            while len(self._held) > self._most:
                self._held.popitem(last=False)

    def clear(self) -> None:
        with self._guard:
            self._held.clear()

    def __len__(self) -> int:
        return len(self._held)
