"""Tokens of further pages: where to go on, of which answer, over which content."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

from api.problems import Problem


def token(generation: str, asked: Any, first: int) -> str:
    """`asked` is all that the answer depends on beside the library, as JSON would have it; the next page begins with
    number `first`."""
    text = json.dumps([generation, _digest(asked), first])
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def first(text: str, generation: str, asked: Any) -> int:
    """Where the page begins that a token stands for.

    Raises:
        Problem: it is none (422), or of another question (422), or the library has changed since (410).
    """
    try:
        then, digest, number = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if not isinstance(number, int) or number < 0:
            raise ValueError(number)
    except (ValueError, TypeError) as error:
        raise Problem(422, "no such page", "`page` is no token that this server gave") from error
    if digest != _digest(asked):
        raise Problem(422, "no such page", "`page` belongs to another question: ask it again as it was asked")
    if then != generation:
        raise Problem(410, "the page is gone", "the library has changed since `page` was given: begin with the first")
    return number


def _digest(asked: Any) -> str:
    return sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
