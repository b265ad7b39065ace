"""The words that every floor shares: few, frozen, and at the bottom.

Arrays are written with their shape: `(N, D)` is N rows of D numbers.  Times are seconds of presentation time from the
container's earliest start; a span is half-open.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
"""Any float32 array."""
Vector = NDArray[np.float32]
"""`(D,)` float32 of length one."""
Matrix = NDArray[np.float32]
"""`(N, D)` float32."""
Halves = NDArray[np.float16]
"""`(N, D)` float16 as stored: to be kept and moved, never to be calculated with."""
Times = NDArray[np.float64]
"""`(N,)` seconds, or `(N, 2)` starts and ends."""
Ids = NDArray[np.int64]
"""`(N,)` segment numbers of one snapshot; -1 is none."""
Pictures = NDArray[np.uint8]
"""`(N, H, W, 3)` RGB."""

LABELS_KEPT = 5
"""Labels kept beside each token, as evidence."""


class Modality(StrEnum):
    """What a person perceives: data, never a flag."""

    VISION = "vision"
    SOUND = "sound"
    SPEECH = "speech"  # spoken words
    TEXT = "text"  # words on screen


class MediaKind(StrEnum):
    VIDEO = "video"
    SOUND = "sound"
    IMAGE = "image"


# ---------------------------------------------------------------------------------------------------------------- time

_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)")


def parse_seconds(text: str) -> float:
    """Seconds from `75.5`, `1:15.5` or `0:01:15.5`.

    Raises:
        ValueError: it is none of these.
    """
    found = _CLOCK.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no time; write seconds (75.5) or a clock (1:15.5, 0:01:15.5)")
    hours, minutes, seconds = found.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)


def clock(seconds: float) -> str:
    """`75.5` as `1:15.5`; an hour and more as `1:02:03.4`."""
    tenths = round(seconds * 10)
    whole, tenth = divmod(tenths, 10)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}.{tenth}" if hours else f"{minute}:{second:02d}.{tenth}"


@dataclass(frozen=True, slots=True, order=True)
class TimeSpan:
    """`[start, end)` in seconds of presentation time; never empty."""

    start: float
    end: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end) and self.start < self.end):
            raise ValueError(f"a time span needs start < end, got [{self.start}, {self.end})")

    @property
    def length(self) -> float:
        return self.end - self.start

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2

    def holds(self, second: float) -> bool:
        return self.start <= second < self.end

    def overlaps(self, other: Self) -> bool:
        return self.start < other.end and other.start < self.end

    def shared(self, other: Self) -> float:
        """Seconds that both cover."""
        return max(0.0, min(self.end, other.end) - max(self.start, other.start))

    def iou(self, other: Self) -> float:
        """Intersection over union, from 0 to 1."""
        both = self.shared(other)
        return both / (self.length + other.length - both)

    def cover(self, other: Self) -> "TimeSpan":
        """The smallest span that holds both."""
        return TimeSpan(min(self.start, other.start), max(self.end, other.end))

    def __str__(self) -> str:
        return f"{clock(self.start)}-{clock(self.end)}"


# -------------------------------------------------------------------------------------------------------------- spaces


@dataclass(frozen=True, slots=True)
class Space:
    """What makes two vectors comparable.  Two vectors meet only if every field here is equal.

    `name` is for people (`concepts→minilm`); `media_side` and `query_side` name encoder and weights digest;
    `preprocessing` is the revision of what happens to pixels or samples before the network.
    """

    name: str
    modality: Modality
    dimension: int
    media_side: str
    query_side: str
    preprocessing: str

    @property
    def id(self) -> str:
        """Safe in a file name, and different wherever any field is."""
        plain = "\x1f".join(
            (self.name, self.modality, str(self.dimension), self.media_side, self.query_side, self.preprocessing)
        )
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
        return f"{slug}-{sha256(plain.encode()).hexdigest()[:8]}"


# ---------------------------------------------------------------------------------------------------- tokens and words


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one media (or one part of it) in one space, in order of time.  Rows are of length one.

    The labels are the evidence: the names that the encoder gave what it met, most probable first.  They belong to
    the media side only; a space without names has none.
    """

    rows: Matrix  # (N, D)
    spans: Times  # (N, 2)
    norms: Floats  # (N,) length of each row before it was normalised
    labels: tuple[tuple[str, ...], ...] = ()  # (N, ≤5), or empty
    probabilities: Floats = field(default_factory=lambda: np.zeros((0, LABELS_KEPT), np.float32))  # (N, 5), 0-padded

    def __post_init__(self) -> None:
        n = len(self.rows)
        wrong = (
            self.rows.ndim != 2
            or self.spans.shape != (n, 2)
            or self.norms.shape != (n,)
            or len(self.labels) not in (0, n)
            or self.probabilities.shape != (len(self.labels), LABELS_KEPT)
        )
        if wrong:
            raise ValueError(
                f"tokens do not fit together: rows {self.rows.shape}, spans {self.spans.shape}, norms "
                f"{self.norms.shape}, {len(self.labels)} labels, probabilities {self.probabilities.shape}"
            )

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def none(cls, dimension: int) -> Self:
        """No tokens at all of a space of this dimension."""
        return cls(np.zeros((0, dimension), np.float32), np.zeros((0, 2)), np.zeros(0, np.float32))

    @classmethod
    def joined(cls, parts: Sequence["Tokens"], dimension: int) -> "Tokens":
        """Several runs of one media, one after the other."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.none(dimension)
        return Tokens(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.spans for part in parts]),
            np.concatenate([part.norms for part in parts]),
            tuple(label for part in parts for label in part.labels),
            np.concatenate([part.probabilities for part in parts]),
        )

    def within(self, span: TimeSpan) -> "Tokens":
        """The tokens whose middle lies in `span`."""
        middles = self.spans.mean(axis=1)
        keep = (middles >= span.start) & (middles < span.end)
        labelled = bool(self.labels)
        return Tokens(
            self.rows[keep],
            self.spans[keep],
            self.norms[keep],
            tuple(label for label, kept in zip(self.labels, keep, strict=True) if kept) if labelled else (),
            self.probabilities[keep] if labelled else self.probabilities,
        )


def touching(spans: Times, part: TimeSpan) -> NDArray[np.bool_]:
    """Which tokens `(N,)` stand for a part of a media: those whose middle lies in it; where it is so short that none
    does, the one that reaches into it and is nearest to its middle."""
    middles = spans.mean(axis=1)
    inside: NDArray[np.bool_] = (middles >= part.start) & (middles < part.end)
    near = (spans[:, 0] < part.end) & (spans[:, 1] > part.start)
    if not inside.any() and near.any():
        inside[int(np.argmin(np.where(near, np.abs(middles - part.middle), np.inf)))] = True
    return inside


@dataclass(frozen=True, slots=True)
class Line:
    """One spoken or written line, as a recognizer read it."""

    span: TimeSpan
    text: str
    modality: Modality  # SPEECH or TEXT
    confidence: float  # 0 to 1, the recognizer's own


@dataclass(frozen=True, slots=True)
class Stretch:
    """Frames of one media that follow one another, as far apart as they were sampled."""

    frames: Pictures  # (N, H, W, 3)
    spans: Times  # (N, 2) when each is on show, in order


# --------------------------------------------------------------------------------------------------------------- media


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a person says about a media.  Every filter names one of these fields, or the media's own."""

    title: str = ""
    tags: tuple[str, ...] = ()
    recorded: str = ""  # ISO 8601 with zone, or empty where nobody knows
    recorded_source: str = ""  # who said so: "manifest", "container", "user"
    collection: str = ""


@dataclass(frozen=True, slots=True)
class Media:
    """One video, sound or image file of a library.

    `key` comes from the content, so two paths of one content are one media.  `missing` says which modality could
    not be indexed, and why: it is shown, never silent.
    """

    key: str
    paths: tuple[str, ...]
    kind: MediaKind
    duration: float  # seconds; 1 for an image
    recipe: str  # digest of the recipe that indexed it
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0  # frames a second as the container says; 0 if there are none
    size: int = 0  # bytes
    metadata: Metadata = Metadata()
    missing: Mapping[str, str] = field(default_factory=dict)  # modality → reason

    @property
    def path(self) -> str:
        """The path that people are shown."""
        return self.paths[0] if self.paths else ""


@dataclass(frozen=True, slots=True)
class Segment:
    """A span of one media.  Its tokens are those whose middle lies in it."""

    span: TimeSpan
    still: bool = False


@dataclass(frozen=True, slots=True)
class SegmentVectors:
    """What the first stage searches in one space: of each segment its mean and a few representatives."""

    rows: Matrix  # (M, D), length one
    segment: NDArray[np.int32]  # (M,) which segment of the media a row belongs to, rising


@dataclass(frozen=True, slots=True)
class Entry:
    """All that one commit brings: a media with its segments, tokens, first-stage vectors and lines.

    `tokens` and `vectors` are keyed by `Space.id`; every space named there is in `spaces`.
    """

    media: Media
    segments: tuple[Segment, ...]  # in order of time, not overlapping
    spaces: Mapping[str, Space]
    tokens: Mapping[str, Tokens]
    vectors: Mapping[str, SegmentVectors]
    lines: tuple[Line, ...] = ()


# -------------------------------------------------------------------------------------------------------------- asking


@dataclass(frozen=True, slots=True)
class Text:
    """Words to search for."""

    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """An image to search for: `(H, W, 3)` RGB."""

    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sound:
    """Mono sound: `(T,)` float32 from -1 to 1 at `rate` samples a second, its first sample at `start` seconds."""

    samples: Floats
    rate: int
    start: float = 0.0

    @property
    def length(self) -> float:
        return len(self.samples) / self.rate


Part = Text | Picture | Sound


@dataclass(frozen=True, slots=True)
class Example:
    """Something to compare with that is not words, as it lies in the spaces of a library."""

    views: Mapping[str, Vector]  # by Space.id; never empty
    itself: tuple[str, TimeSpan] | None = None  # the media, by key, and span that it is: no answer to itself


@dataclass(frozen=True, slots=True)
class Filter:
    """Which media may answer.  An empty field asks nothing; all fields must hold."""

    shortest: float = 0.0  # seconds, inclusive
    longest: float = math.inf  # seconds, inclusive
    tags: frozenset[str] = frozenset()  # all of them
    path: str = ""  # a glob over any of the media's paths, as fnmatch reads it
    collection: str = ""
    after: str = ""  # ISO 8601: recorded at or after
    before: str = ""  # ISO 8601: recorded before
    kinds: frozenset[MediaKind] = frozenset()  # any of them
    media: frozenset[str] = frozenset()  # any of these keys
    without: frozenset[str] = frozenset()  # none of these keys

    @property
    def asks(self) -> bool:
        """Whether anything is asked at all."""
        return self != EVERYTHING


EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class WordQuery:
    """The words of a query: `terms` may match, `phrases` are quoted and count in any case."""

    terms: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Ranking:
    """Segments by falling score; ties by segment number."""

    segments: Ids  # (K,)
    scores: Floats  # (K,)

    def __len__(self) -> int:
        return len(self.segments)


@dataclass(frozen=True, slots=True)
class RaggedTokens:
    """The tokens of several segments in one space: segment i owns rows `offsets[i]:offsets[i + 1]`."""

    rows: Halves  # (N, D)
    offsets: Ids  # (S + 1,)
    spans: Times  # (N, 2)
    norms: Floats  # (N,)
    labels: Sequence[tuple[str, ...]]  # (N,), each ≤ 5 names
    probabilities: Floats  # (N, 5)
    near: Mapping[bytes, Floats] = field(default_factory=dict)  # (N,) cosines by the bytes of a query (`kernels.asked`)


@dataclass(frozen=True, slots=True)
class SegmentTable:
    """What is known of several segments, a row each."""

    segments: Ids  # (S,)
    media: Ids  # (S,) number of the media in this snapshot
    spans: Times  # (S, 2)
    still: NDArray[np.bool_]  # (S,)


# ------------------------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True)
class Label:
    """A name that an encoder gave, and how probable it held it."""

    name: str
    probability: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a moment was found, one a modality that had a say.

    `share` is this modality's part of the moment's score; the shares of one moment sum to one.
    """

    modality: Modality
    space: str
    score: float  # in this modality, as calibrated
    share: float  # 0 to 1
    spans: tuple[TimeSpan, ...]  # where, best first
    labels: tuple[Label, ...] = ()  # what it was held for
    words: tuple[str, ...] = ()  # matched words, as they were said or written
    asked: str = ""  # the part of the query that it answers, where the query has several


@dataclass(frozen=True, slots=True)
class Moment:
    """An answer: a media, a span of it, how good, how sure, and why."""

    media: Media
    span: TimeSpan
    score: float
    confidence: float  # chance that a result this good is not chance, 0 to 1
    evidence: tuple[Evidence, ...] = ()
    parts: tuple[TimeSpan, ...] = ()  # where each step of a query in steps was found, in that order
    copies: tuple[str, ...] = ()  # references of the same footage elsewhere, which would have been answers, too

    @property
    def start_s(self) -> float:
        return self.span.start

    @property
    def end_s(self) -> float:
        return self.span.end

    @property
    def ref(self) -> str:
        """`MEDIA@start-end`: accepted by every command, URL and `#t=`."""
        return f"{self.media.key}@{self.span.start:.2f}-{self.span.end:.2f}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search gives: the moments that pass, the near misses that did not, and the rate of false alarms.

    As a sequence it is its moments: `for moment in answer`, `answer[0]`, `len(answer)`.
    """

    query: str
    moments: tuple[Moment, ...]
    misses: tuple[Moment, ...] = ()  # best first, below the wanted confidence
    false_alarms: float = 1.0  # share of background queries that would have been answered too
    notes: tuple[str, ...] = ()  # for people: what was missing, what was widened
    understood: str = ""  # the query with every rule spelled out: asked again, it means the same
    generation: str = field(default="", compare=False)  # of what was searched

    @property
    def copies_hidden(self) -> int:
        """How many moments are not shown because they are copies of some that are."""
        return sum(len(moment.copies) for moment in self.moments)

    def __iter__(self) -> Iterator[Moment]:
        return iter(self.moments)

    def __len__(self) -> int:
        return len(self.moments)

    def __getitem__(self, rank: int) -> Moment:
        return self.moments[rank]


def parse_reference(text: str) -> tuple[str, TimeSpan | None]:
    """`MEDIA@start-end` into key and span; `MEDIA` alone has no span.

    Raises:
        ValueError: the part behind `@` is no span.
    """
    key, at, times = text.partition("@")
    if not at:
        return key, None
    start, dash, end = times.partition("-")
    if not dash:
        raise ValueError(f"{text!r} is no reference: it wants MEDIA@start-end, such as 3fa9@12.5-17")
    return key, TimeSpan(parse_seconds(start), parse_seconds(end))


def jsonable(value: Any) -> Any:
    """A value of the types here as plain dicts, lists, strings and numbers."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (frozenset, set)):
        return sorted(jsonable(inner) for inner in value)
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [jsonable(inner) for inner in value]
    return value


# ---------------------------------------------------------------------------------------------------------- two recipes


class Searched(StrEnum):
    """Which of a library's two recipes is asked, while it holds two."""

    OLD = "old"
    NEW = "new"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Side:
    """One recipe of a library that holds two, and the spaces that it makes as far as is known."""

    digest: str
    recipe: str  # its text
    spaces: frozenset[str]  # by Space.id


@dataclass(frozen=True, slots=True)
class Reembedding:
    """A library on its way from one recipe to another.  A space that both make is searched whatever is chosen."""

    old: Side
    new: Side
    searched: Searched = Searched.OLD

    @property
    def current(self) -> Side:
        """The one that media are indexed with: the old one as long as it alone is searched."""
        return self.old if self.searched is Searched.OLD else self.new

    @property
    def brought(self) -> frozenset[str]:
        """Spaces that the new recipe alone makes: a media without them would be lost to it."""
        return self.new.spaces - self.old.spaces

    @property
    def hidden(self) -> frozenset[str]:
        """Spaces that are held and not searched."""
        unseen = {
            Searched.OLD: self.brought,
            Searched.NEW: self.old.spaces - self.new.spaces,
            Searched.BOTH: frozenset[str](),
        }
        return unseen[self.searched]


@dataclass(frozen=True, slots=True)
class Held:
    """What a library holds of one space, searched or not."""

    space: Space
    media: int
    tokens: int
    bytes: int  # of its rows, those that are dead counted in


# ---------------------------------------------------------------------------------------------------------------- jobs


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file that could not be indexed, and why."""

    path: str
    reason: str
    since: float  # seconds of the epoch
    size: int
    mtime_ns: int  # a file that changed since is tried again
    tries: int = 1  # how often it failed as it is
    again: float | None = None  # seconds of the epoch from which it may be tried as it is; None: never


@dataclass(frozen=True, slots=True)
class FileStat:
    """What the file system said when `key` was computed: equal again, and the content need not be read."""

    size: int
    mtime_ns: int
    inode: int
    key: str


# ---------------------------------------------------------------------------------------------------------------- jobs


class RunState(StrEnum):
    """What a catalog knows of a run.  A running one that nobody holds the lease of was interrupted."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Wish(StrEnum):
    """What somebody wants of a run; whoever is at it looks for that between two batches."""

    NONE = ""
    PAUSE = "pause"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """An indexing run as the catalog keeps it; people call it a job.  Its lease is named `lease`."""

    id: str
    asked: str  # JSON: what was asked for, so that it can be asked for again
    created: float  # seconds of the epoch, as the other times
    state: RunState = RunState.QUEUED
    began: float | None = None  # when somebody last began to work on it
    ended: float | None = None  # when that one stopped
    counts: Mapping[str, float] = field(default_factory=dict)
    error: str = ""  # the last one
    wish: Wish = Wish.NONE

    @property
    def lease(self) -> str:
        return f"run-{self.id}"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Who may ask a served library, as the catalog keeps it: of the key itself only a digest."""

    id: str
    name: str
    digest: bytes  # SHA-256 of its secret part
    scopes: frozenset[str]
    collection: str = ""  # the one that it may see; empty: all
    rate: float = 0.0  # requests a second; 0: any
    created: float = 0.0  # seconds of the epoch
