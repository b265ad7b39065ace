"""Messages that whoever receives them can trust, as https://www.standardwebhooks.com has it: an HMAC-SHA256 over id,
time and body, under a secret that both sides know.

    webhook-id: msg_…
    webhook-timestamp: 1795965897
    webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from secrets import token_bytes
from time import time

from retriever.errors import BadSettings, ReelseekError

PREFIX, VERSION = "whsec_", "v1"
BYTES = 32
LEAST, MOST = 24, 64
"""Bytes of a secret, as the standard wants them."""
TOLERANCE_S = 300.0
"""Seconds by which the clocks of both sides may differ; a message that is older may be one that somebody kept."""


class WrongSignature(ReelseekError):
    """A message is not from whom it says, or not of now."""


def secret() -> str:
    """A new one."""
    return PREFIX + b64encode(token_bytes(BYTES)).decode()


def key_of(text: str) -> bytes:
    """The bytes of a secret.

    Raises:
        BadSettings: it is none.
    """
    try:
        key = b64decode(text.removeprefix(PREFIX), validate=True) if text.startswith(PREFIX) else b""
    except ValueError:
        key = b""
    if not LEAST <= len(key) <= MOST:
        raise BadSettings(f"a secret is {PREFIX} and {LEAST} to {MOST} bytes in base64; leave it out, and one is made")
    return key


def headers(text: str, id: str, at: int, body: bytes) -> dict[str, str]:
    """What goes with a message, under the secret `text`, at a second of the epoch."""
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"{VERSION},{_signature(key_of(text), id, str(at), body)}",
    }


def verify(
    text: str,
    told: Mapping[str, str],
    body: bytes,
    tolerance_s: float = TOLERANCE_S,
    now: Callable[[], float] = time,
) -> str:
    """The id of a message with these headers, once it is sure that it was sent by whoever knows the secret.  A message
    may come twice: whoever must not do a thing twice remembers ids.

    Raises:
        WrongSignature: it was not, or too long ago, or too far ahead.
        BadSettings: the secret is none.
    """
    key, lower = key_of(text), {name.lower(): value for name, value in told.items()}
    id, at, signatures = (lower.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not (id and at.isascii() and at.isdigit() and signatures):
        raise WrongSignature("the message lacks webhook-id, webhook-timestamp or webhook-signature")
    wanted = _signature(key, id, at, body).encode()
    given = [one.partition(",") for one in signatures.split()]
    same = [hmac.compare_digest(wanted, one.encode("utf-8", "replace")) for way, _, one in given if way == VERSION]
    if not any(same):
        raise WrongSignature("the signature of the message is not made with this secret, or its text was changed")
    if abs(now() - int(at)) > tolerance_s:
        raise WrongSignature(f"the message is of another time: its clock and this one differ by over {tolerance_s:g} s")
    return id


def _signature(key: bytes, id: str, at: str, body: bytes) -> str:
    return b64encode(hmac.digest(key, f"{id}.{at}.".encode() + body, "sha256")).decode()
