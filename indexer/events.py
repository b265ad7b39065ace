"""What an indexing run tells whoever watches it, and the summary that it ends with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from indexer.naming import Named, Reasons
from retriever.types import Wish


@dataclass(frozen=True, slots=True)
class Planned:
    """The corpus was looked through, or a part of it: then the numbers are those so far."""

    files: int  # to be indexed
    unchanged: int
    renamed: int
    looked: int = 0  # files that were looked at
    total: int = 0  # that there are to look at
    more: bool = False  # whether some are left


@dataclass(frozen=True, slots=True)
class Opened:
    """A file was opened."""

    path: str
    duration: float  # seconds of media


@dataclass(frozen=True, slots=True)
class Advanced:
    """A chapter of a file went through all encoders."""

    path: str
    done: float  # seconds of media behind us in this file
    frames: int  # frames decoded for this chapter
    stage_seconds: Mapping[str, float]  # decode, encode, recognize, store: wall seconds of this chapter


@dataclass(frozen=True, slots=True)
class Committed:
    """A media is in the library, and searchable."""

    path: str
    key: str
    missing: Mapping[str, str]  # modality → why it is not there


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file could not be indexed and is in quarantine."""

    path: str
    reason: str
    planned: bool = True  # whether it was among those to be indexed


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that a person should know, once a run."""

    message: str


Event = Planned | Opened | Advanced | Committed | SetAside | Warned
Watch = Callable[[Event], None]


@dataclass(slots=True)
class Depth:
    """How many of something there were: what waited in a queue, bytes in memory."""

    largest: float = 0.0
    area: float = 0.0  # times seconds
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        """Over all the time that somebody looked."""
        return self.area / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class Crew:
    """Those who do one kind of work."""

    seconds: float = 0.0  # that they could have worked, all of them together
    waited: dict[str, float] = field(default_factory=dict)  # for want of what → seconds

    @property
    def idle(self) -> float:
        """The share of the time in which they had nothing to do, 0 to 1."""
        return min(1.0, sum(self.waited.values()) / self.seconds) if self.seconds else 0.0


@dataclass(slots=True)
class Load:
    """How well a run kept its crews at work."""

    crews: dict[str, Crew] = field(default_factory=dict)
    depths: dict[str, Depth] = field(default_factory=dict)

    def crew(self, name: str) -> Crew:
        return self.crews.setdefault(name, Crew())

    @property
    def slowest(self) -> str:
        """The crew that had least to wait, for which the others did; empty: nobody looked."""
        timed = {name: crew for name, crew in self.crews.items() if crew.seconds}
        return min(timed, key=lambda name: timed[name].idle, default="")


@dataclass(slots=True)
class Summary:
    """How a run ended."""

    job: str = ""  # what people know the run as; empty: nobody can steer it
    stopped: Wish = Wish.NONE  # what ended it before its end
    found: int = 0  # files that there were to look at, the last time
    looked: int = 0  # that were looked at
    files: int = 0  # that there were to be indexed
    indexed: Named = field(default_factory=Named)  # paths
    unchanged: int = 0
    renamed: Named = field(default_factory=Named)  # paths
    pruned: Named = field(default_factory=Named)  # keys
    quarantined: Reasons = field(default_factory=Reasons)  # path → reason
    media_seconds: float = 0.0
    wall_seconds: float = 0.0
    frames: int = 0
    stage_seconds: dict[str, float] = field(default_factory=dict)
    load: Load = field(default_factory=Load)

    @property
    def failed_all(self) -> bool:
        """Whether there was something to do and none of it could be done."""
        return bool(self.quarantined.total) and not (self.indexed or self.unchanged or self.renamed)
