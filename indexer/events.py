"""What an indexing run tells whoever watches it, and the summary that it ends with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from retriever.types import Wish


@dataclass(frozen=True, slots=True)
class Planned:
    """The corpus was looked through."""

    files: int  # to be indexed
    unchanged: int
    renamed: int


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


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that a person should know, once a run."""

    message: str


Event = Planned | Opened | Advanced | Committed | SetAside | Warned
Watch = Callable[[Event], None]


@dataclass(slots=True)
class Summary:
    """How a run ended."""

    job: str = ""  # what people know the run as; empty: nobody can steer it
    stopped: Wish = Wish.NONE  # what ended it before its end
    files: int = 0  # that there were to be indexed
    indexed: list[str] = field(default_factory=list)  # paths
    unchanged: int = 0
    renamed: list[str] = field(default_factory=list)  # paths
    pruned: list[str] = field(default_factory=list)  # keys
    quarantined: dict[str, str] = field(default_factory=dict)  # path → reason
    media_seconds: float = 0.0
    wall_seconds: float = 0.0
    frames: int = 0
    stage_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def failed_all(self) -> bool:
        """Whether there was something to do and none of it could be done."""
        return bool(self.quarantined) and not (self.indexed or self.unchanged or self.renamed)
