"""Wrong keys, by the address that they came from and by the key that they were meant to be.

After some wrong ones within a minute an address is not listened to, whatever key it shows; nor is anybody who shows a
key that many addresses together have tried to guess.  But who showed a key that was right, from where they are, is
listened to whatever others do: behind one proxy nobody shuts the others out, and nobody is shut out by whoever knows
the beginning of their key, which is no secret.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network
from threading import Lock
from time import monotonic

MOST, WITHIN_S = 20, 60.0
"""Wrong keys of one address."""
MOST_KEY = 100
"""Wrong keys that begin alike, from wherever they come."""
KNOWN_S = 86_400.0
"""Seconds for which it is remembered where a key was right."""
REMEMBERED = 10_000
"""Of each of the three: the oldest are forgotten."""
HOME = 64
"""Bits of an IPv6 address that are one place: the rest are everybody's own to choose (RFC 6177)."""


class Guesses:
    """Several threads may ask."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._by_place: OrderedDict[str, deque[float]] = OrderedDict()
        self._by_key: OrderedDict[str, deque[float]] = OrderedDict()
        self._right: OrderedDict[tuple[str, str], float] = OrderedDict()  # place, id of a key → when
        self._guard = Lock()

    def wrong(self, who: str, id: str) -> None:
        """A key with this id, the part of it that is no secret, came from an address and was none."""
        with self._guard:
            for tried, name, most in ((self._by_place, _place(who), MOST), (self._by_key, id, MOST_KEY)):
                tried[name] = times = tried.pop(name, deque(maxlen=most))
                times.append(self._now())
                _forget(tried)

    def right(self, who: str, id: str) -> None:
        """It was one."""
        with self._guard:
            self._right.pop((_place(who), id), None)
            self._right[_place(who), id] = self._now()
            _forget(self._right)

    def is_over(self, who: str, id: str) -> bool:
        """Whether they are not listened to for now."""
        with self._guard:
            then = self._right.get((_place(who), id))
            if then is not None and self._now() - then < KNOWN_S:
                return False
            return self._are_many(self._by_place.get(_place(who))) or self._are_many(self._by_key.get(id))

    def _are_many(self, times: "deque[float] | None") -> bool:
        return times is not None and len(times) == times.maxlen and self._now() - times[0] < WITHIN_S


def _place(who: str) -> str:
    """An address, or of version 6 the network that somebody has at home."""
    try:
        address = ip_address(who.partition("%")[0])
    except ValueError:
        return who[:HOME]
    if isinstance(address, IPv6Address):
        plain = address.ipv4_mapped
        return str(plain) if plain else str(ip_network((address, HOME), strict=False))
    return str(address)


def _forget(held: "OrderedDict[str, deque[float]] | OrderedDict[tuple[str, str], float]") -> None:
    while len(held) > REMEMBERED:
        held.popitem(last=False)
