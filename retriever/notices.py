"""What happens in a library, who is told of it, and how that went."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What may happen.  What a run comes to is `job.` and its state."""

    JOB_DONE = "job.done"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    MEDIA_INDEXED = "media.indexed"  # it came, or was made anew
    MEDIA_DELETED = "media.deleted"
    PING = "ping"  # somebody wants to know whether a hook hears


@dataclass(frozen=True, slots=True)
class Hook:
    """An address that is told; people call it a webhook."""

    id: str
    url: str
    secret: str = field(repr=False)  # whsec_…
    events: frozenset[str]
    collection: str = ""  # of which it hears; empty: all
    job: str = ""  # the one job of which it hears; empty: whatever happens
    owner: str = ""  # id of the key that set it
    active: bool = True
    created: float = 0.0  # seconds of the epoch


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened, and of which nobody has been told yet."""

    id: str
    kind: str
    about: Mapping[str, str]  # id; of a media that is gone also path and collection
    at: float  # seconds of the epoch


class DeliveryState(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one hook, with what became of it."""

    id: str
    hook: str
    kind: str
    body: str
    created: float
    state: DeliveryState = DeliveryState.WAITING
    tries: int = 0
    due: float = 0.0  # the next try; of one that is over: when it ended
    status: int = 0  # of the last answer; 0: none came
    told: str = ""  # how the last try ended
