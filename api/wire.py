"""What goes over the wire, as pydantic models: requests are judged by them, answers are documented by them.

The words are those of docs/schema.md.  A request with a key that nobody knows is refused, so that no filter is lost to
a slip of the pen.
"""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from retriever.query import LONGEST as LONGEST_QUERY
from retriever.types import MediaKind

MOST = 100
"""Results of one page."""
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def _text(value: str) -> str:
    if _NO_TEXT.search(value):
        raise ValueError("has characters that are none")
    return value


Text = Annotated[str, Field(max_length=1_000), AfterValidator(_text)]
QueryText = Annotated[str, Field(max_length=LONGEST_QUERY), AfterValidator(_text)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Filters(_Asked):
    """Which media may answer; all of it must hold."""

    duration: list[Text] = Field(default=[], max_length=10, examples=[["<60"]], description="`<60`, `>1:30`, `10-60`")
    tags: list[Text] = Field(default=[], max_length=100, description="all of them")
    path: Text = Field(default="", description="a word of the path, or a glob")
    collection: Text = ""
    after: Text = Field(default="", description="recorded at or after: 2026-01-31", examples=["2026-01-31"])
    before: Text = ""
    kinds: list[Literal["video", "sound", "image"]] = Field(default=[], max_length=3)


class Search(_Asked):
    """A question.  What is left out is as the server was started with."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"query": "a man on a bicycle", "limit": 3, "filters": {"kinds": ["video"]}}]},
    )

    query: QueryText = Field(description="what happens in it; the grammar is that of docs/queries.md")
    by: Literal["moment", "video"] | None = None
    limit: int | None = Field(default=None, ge=1, le=MOST)
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    depth: int | None = Field(default=None, ge=1, le=10_000)
    copies: Literal["collapse", "show"] | None = None
    most_per_media: int | None = Field(default=None, ge=0, le=1_000)
    filters: Filters = Filters()
    page: str | None = Field(default=None, max_length=500, description="`next_page` of the answer before")


class Batch(_Asked):
    """Several questions at once."""

    searches: list[Search] = Field(min_length=1, max_length=32)


class Said(_Asked):
    """What is to be known of a media; what is left out stays."""

    title: Text | None = None
    tags: list[Text] | None = Field(default=None, max_length=100)
    recorded: Text | None = Field(default=None, description="2026-01-31, or with time and zone")
    collection: Text | None = None


Url = Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(_text)]


PathText = Annotated[str, Field(min_length=1, max_length=4_096), AfterValidator(_text)]
Event = Literal["job.done", "job.failed", "job.cancelled", "media.indexed", "media.deleted"]
EVENTS = get_args(Event)


class Told(_Asked):
    """Whom a job tells what comes of it (docs/http.md, Webhooks)."""

    webhook: Url | None = Field(default=None, description="address that hears when it is done, failed or cancelled")
    webhook_secret: Text = Field(default="", description="whsec_…, with which it is signed; none: one is made")


class Sent(Said, Told):
    """What a form says beside its file."""


class Fetched(Sent):
    """A media on the web, for servers that were started with `--allow-urls yes`."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"url": "https://cdn.example.org/holiday.mp4", "tags": ["sea"]}]},
    )

    url: Url


class Wanted(Told):
    """An indexing job: files, folders or manifests of the server, below the roots that it was started with."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"paths": ["/srv/clips"]}]})

    paths: list[PathText] = Field(min_length=1, max_length=1_000)
    title: Text = ""
    tags: list[Text] = Field(default=[], max_length=100)
    recorded: Text = ""
    collection: Text = ""
    prune: bool = False


class Hook(_Asked):
    """A webhook to be set; without events it hears of all."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"url": "https://example.org/hooks/reelseek", "events": ["media.indexed"]}]},
    )

    url: Url
    events: list[Event] = Field(default=[], max_length=len(EVENTS))
    collection: Text = Field(default="", description="the one that it hears of; empty: all")
    secret: Text = Field(default="", description="whsec_…; none: one is made")


class HookChange(_Asked):
    """What is to be so from now on; what is left out stays."""

    url: Url | None = None
    events: list[Event] | None = Field(default=None, min_length=1, max_length=len(EVENTS))
    active: bool | None = Field(default=None, description="whether anything is sent to it")


class QuotaChange(_Asked):
    """What may be sent; 0 or left out: any."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"most_bytes": 50_000_000_000}]}
    )

    most_bytes: int = Field(default=0, ge=0, le=1 << 60, description="that lie on the server")
    most_media: int = Field(default=0, ge=0, le=1 << 60, description="files that lie on the server")
    most_s_a_day: float = Field(default=0.0, ge=0, le=1e12, description="seconds of media within a day")


class Relocation(_Asked):
    """Media whose files lie elsewhere by now: below `new`, by the same names as below `old`; without `old` they are
    looked for by what is in them."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"old": "/srv/clips", "new": "/srv/films", "dry_run": True}]},
    )

    new: PathText
    old: PathText | None = None
    dry_run: bool = False


# ------------------------------------------------------------------------------------------------------------- answers


class Span(BaseModel):
    start_s: float
    end_s: float


class Label(BaseModel):
    name: str
    probability: float


class Evidence(BaseModel):
    """Why a moment was found, by one way of perceiving."""

    modality: Literal["vision", "sound", "speech", "text"]
    space: str
    score: float
    share: float = Field(description="how much of the score it made")
    spans: list[Span]
    labels: list[Label]
    words: list[str]
    asked: str


class Line(BaseModel):
    """A spoken or written line; `marks` are the characters, from and to, of the words that were asked for."""

    start_s: float
    end_s: float
    modality: Literal["speech", "text"]
    confidence: float
    text: str
    marks: list[tuple[int, int]]


class ShortMedia(BaseModel):
    id: str
    path: str
    title: str
    kind: MediaKind
    duration_s: float
    there: bool = Field(description="whether its file is where it was")


class Links(BaseModel):
    thumbnail: str
    stream: str
    clip: str
    similar: str


class Moment(BaseModel):
    ref: str = Field(examples=["3fa9c0ffee12d4b7@12.50-17.00"])
    media: ShortMedia
    start_s: float
    end_s: float
    score: float
    confidence: float
    evidence: list[Evidence]
    lines: list[Line]
    parts: list[Span]
    copies: list[str]
    links: Links


class Answer(BaseModel):
    """`moments` are sure enough; `misses` are the nearest of those that are not."""

    query: str
    understood: str
    by: Literal["moment", "video"]
    moments: list[Moment]
    misses: list[Moment]
    false_alarms: float = Field(description="share of questions without an answer here that would get one, too")
    notes: list[str]
    copies_hidden: int
    generation: str
    next_page: str | None


class Answers(BaseModel):
    answers: list[Answer]


class Term(BaseModel):
    """A file to ask with: the term stands in queries of this server until it expires."""

    term: str = Field(examples=["image:upload-3f9c51aa02b7d1ce"])
    expires_at: float


class Metadata(BaseModel):
    title: str
    tags: list[str]
    recorded: str
    recorded_source: str
    collection: str


class MediaLinks(BaseModel):
    thumbnail: str
    stream: str
    transcript: str
    written: str
    timeline: str


class Media(BaseModel):
    id: str
    path: str
    paths: list[str]
    kind: MediaKind
    duration_s: float
    width: int
    height: int
    frame_rate: float
    bytes: int
    recipe: str
    metadata: Metadata
    missing: dict[str, str]
    there: bool
    links: MediaLinks


class MediaList(BaseModel):
    media: list[Media]
    total: int
    next_page: str | None


class Quarantined(BaseModel):
    path: str
    reason: str
    since: float
    tries: int
    again_at: float | None


class Quarantine(BaseModel):
    quarantined: list[Quarantined]


class Dropped(BaseModel):
    dropped: str = Field(description="the path of what is gone")


class Curve(BaseModel):
    """`heights` are logarithms of odds between neighbouring `edges`, in seconds; null where there is nothing at all."""

    edges: list[float]
    heights: list[float | None]


class Timeline(BaseModel):
    duration_s: float
    chance: float | None = Field(description="what stays below it may be chance; null where nothing is known of it")
    curves: dict[str, Curve]


class Job(BaseModel):
    id: str
    state: Literal["queued", "running", "paused", "done", "failed", "cancelled", "interrupted"]
    wish: str
    by: str
    request: dict[str, Any]
    created_at: float
    began_at: float | None
    ended_at: float | None
    counts: dict[str, int | float]
    error: str


class Jobs(BaseModel):
    jobs: list[Job]


class SetHook(BaseModel):
    """The webhook of a job; `secret` is told this once, and not where it came with the request."""

    id: str
    secret: str | None


class Accepted(BaseModel):
    job: Job
    webhook: SetHook | None = None


class Delivery(BaseModel):
    """A message, and how its last try ended; `due_at` is the next one, or of one that is over when that was."""

    id: str
    event: str
    state: Literal["waiting", "delivered", "failed"]
    tries: int
    created_at: float
    due_at: float
    status: int = Field(description="of the last answer; 0: none came")
    told: str


class Body(BaseModel):
    """What is sent to a webhook: `data` has the `job` or the `media` as the API tells of it."""

    type: str
    timestamp: str
    data: dict[str, Any]


class Message(Body):
    """It, and the id under which it came."""

    id: str


class Webhook(BaseModel):
    id: str
    url: str
    events: list[str]
    collection: str
    job: str = Field(description="the one job that it hears of; empty: whatever happens")
    active: bool
    created_at: float
    last: Delivery | None = Field(description="the newest message to it")


class NewWebhook(BaseModel):
    """`secret` is told this once."""

    webhook: Webhook
    secret: str


class Webhooks(BaseModel):
    webhooks: list[Webhook]


class Deliveries(BaseModel):
    deliveries: list[Delivery]


class Quota(BaseModel):
    """What may be sent with a key or into a collection, 0 for any, and what was and lies there."""

    kind: Literal["key", "collection"]
    id: str
    name: str
    most_bytes: int
    most_media: int
    most_s_a_day: float
    bytes: int
    media: int
    s_today: float


class QuotaList(BaseModel):
    quotas: list[Quota]


class Relocated(BaseModel):
    """`there` lie where they did; of `missing` nothing was found, of `different` something else, and of `taken` what
    another media of the library is known by."""

    dry_run: bool
    moved: list[dict[str, str]] = Field(description="id, from, to")
    there: int
    missing: list[str]
    different: list[str]
    taken: list[str]


class Collection(BaseModel):
    """A named part of a library; without a name, what is in none."""

    name: str
    media: int
    duration_s: float
    bytes: int
    kinds: dict[str, int]


class CollectionList(BaseModel):
    collections: list[Collection]


class Deleted(BaseModel):
    deleted: list[dict[str, str]]


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    position: int | None = Field(default=None, description="the character of the query where it goes wrong")
    search: int | None = Field(default=None, description="of a batch the question that it is about, counted from 0")
    errors: list[dict[str, str]] = []
    request: str = Field(default="", description="the number by which the log of the server knows it")


def answers(kind: str) -> dict[int | str, dict[str, Any]]:
    """How a route is described that answers with bytes of this type."""
    return {200: {"description": "As it is", "content": {kind: {"schema": {"type": "string", "format": "binary"}}}}}
