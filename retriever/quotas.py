"""How much of a library somebody may fill, and how much they have: what was sent and lies there."""

from dataclasses import dataclass
from enum import StrEnum

DAY_S = 86_400.0


class Whose(StrEnum):
    KEY = "key"
    COLLECTION = "collection"


@dataclass(frozen=True, slots=True)
class Quota:
    """What may be sent with a key, or into a collection; of each number 0: any."""

    kind: Whose
    name: str  # id of the key, name of the collection
    most_bytes: int = 0  # that lie there
    most_media: int = 0  # files that lie there
    most_seconds: float = 0.0  # of media within a day

    @property
    def limits(self) -> bool:
        return bool(self.most_bytes or self.most_media or self.most_seconds)


@dataclass(frozen=True, slots=True)
class Use:
    """What was sent with a key, or into a collection."""

    bytes: int = 0
    media: int = 0
    seconds: float = 0.0  # of media within the last day
    oldest: float = 0.0  # seconds of the epoch: when the first of that day came; 0: nothing did


@dataclass(frozen=True, slots=True)
class Deposit:
    """A file that was sent, or is on its way."""

    id: str
    owner: str  # id of the key that sent it; empty: nobody needs one
    collection: str
    path: str
    bytes: int
    at: float  # seconds of the epoch


@dataclass(frozen=True, slots=True)
class Short:
    """Why a file is not taken: which quota it is, of which number, and how it stands."""

    quota: Quota
    what: str  # bytes, media or seconds
    use: Use
