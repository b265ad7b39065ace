"""What a message tells somebody to do, for whoever asks over HTTP, and has neither a shell nor flags.

    the library was made otherwise: reelseek reembed brings it over  →  the library was made otherwise; whoever runs …
    --duration is 'soon'; it wants a limit such as '<60'             →  duration is 'soon'; it wants …

Settings have the same name without dashes, so whoever runs the server knows what is meant.
"""

import re
from typing import Any

from api import schemas
from indexer.jobs import Standing
from retriever.registry import Registry

OTHERS = "whoever runs this server can mend it"
_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z-]*[a-z])\b")
_COMMAND = re.compile(rf"(?<![\w./-])(?:reelseek (?:{'|'.join(Registry('api.commands').names())})|pip install)\b")
_BREAKS = (": ", "; ")


def elsewhere(message: str, who: str = OTHERS) -> str:
    """The message without the part that is a command; `who` is told in its place, if anybody is."""
    return "\n".join(_line(line, who) for line in message.split("\n"))


def _line(line: str, who: str) -> str:
    command = _COMMAND.search(line)
    ends = max(line.rfind(mark, 0, command.start()) for mark in _BREAKS) if command else -1
    if ends >= 0:
        line = line[:ends] + (who and f"; {who}")
    return _FLAG.sub(lambda flag: flag[1].replace("-", "_"), line)


def job(found: Standing) -> dict[str, Any]:
    """A job, as docs/schema.md has it."""
    document = schemas.job(found)
    return document | {"error": elsewhere(document["error"])}
