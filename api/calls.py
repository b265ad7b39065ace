"""What can be asked of a served library, each request described once; `api/client.py` sends them, at once or later.

Nothing here touches a network: a `Call` says what goes out and how the answer is read, `Patience` when it goes out
again, and `Following` what the events of a job mean.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import uniform
from secrets import token_hex
from time import monotonic
from typing import Any, BinaryIO, Generic, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from api import wire
from retriever.errors import BadSettings, ReelseekError
from retriever.types import parse_reference

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Blob = str | os.PathLike[str] | bytes
"""A file: where it is, or its bytes."""
Kind = Literal["video", "sound", "image"]

BUSY = frozenset({409, 429, 503})
"""Nothing was done, and with `Retry-After` it may be asked for again."""
FIRST_S, LONGEST_S = 0.1, 2.0
"""The first wait after a lost connection, and the longest: each is twice the one before."""
LONGEST_FETCH_S = 570.0
"""A server takes up to nine minutes to fetch a media, and answers then."""
OVER = frozenset({"done", "failed", "cancelled", "paused"})
"""States in which a job stays until somebody does something."""
_SECONDS = re.compile(r"\d{1,9}")


class ClientError(ReelseekError):
    """A served library did not do what it was asked for; `status` 0: it could not be asked.

    What it said (docs/http.md, Problems) is in `title`, `detail`, `errors` by the path of the field, `position`, the
    character of the query where it goes wrong, and `search`, the question of a batch that it is about.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        position: int | None = None,
        errors: Sequence[dict[str, str]] = (),
        search: int | None = None,
    ) -> None:
        super().__init__(detail if detail.startswith(title) else f"{title}: {detail}" if detail else title)
        self.status, self.title, self.detail = status, title, detail
        self.position, self.errors, self.search = position, list(errors), search


# ------------------------------------------------------------------------------------------------------ one description


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None  # JSON
    form: Mapping[str, Any] | None = None  # fields beside `files`
    files: Mapping[str, Blob] = field(default_factory=dict)
    again: bool = False  # whether it may arrive twice
    token: str = ""  # Idempotency-Key, with which it may, too
    to: Path | None = None  # where the answer goes, if it is a file
    timeout_s: float | None = None  # of an answer that takes longer than others

    @contextmanager
    def request(self, http: httpx.Client | httpx.AsyncClient) -> Iterator[httpx.Request]:
        """The request as it goes out; its files are open meanwhile."""
        opened: dict[str, tuple[str, BinaryIO | bytes]] = {}
        try:
            for name, blob in self.files.items():
                opened[name] = (name, blob) if isinstance(blob, bytes) else _open(Path(blob))
            yield http.build_request(
                self.method,
                self.path,
                params=dict(self.params) or None,
                json=self.body,
                data=self.form,
                files=opened or None,
                headers={"Idempotency-Key": self.token} if self.token else None,
                timeout=httpx.USE_CLIENT_DEFAULT if self.timeout_s is None else self.timeout_s,
            )
        except UnicodeEncodeError as error:
            raise BadSettings(f"{error.object[:60]!r} has characters that are none") from error
        finally:
            for _, file in opened.values():
                if not isinstance(file, bytes):
                    file.close()

    def result(self, answer: httpx.Response) -> T:
        """
        Raises:
            ClientError: the server refused, or whatever answered is none.
        """
        if not answer.is_success:
            raise problem(answer)
        try:
            return self.read(answer)
        except ValidationError as error:
            raise ClientError(
                answer.status_code, "not understood", f"{answer.url} answered, and not as reelseek serve does"
            ) from error

    def at(self, page: str) -> "Call[T]":
        """The same of another page."""
        if self.method == "GET":
            return replace(self, params={**self.params, "page": page})
        return replace(self, body={**self.body, "page": page})


def problem(answer: httpx.Response) -> ClientError:
    """What a server said that refused."""
    try:
        told = wire.Problem.model_validate_json(answer.content)
    except ValidationError:
        return ClientError(answer.status_code, answer.reason_phrase or "refused", " ".join(answer.text.split())[:200])
    return ClientError(answer.status_code, told.title, told.detail, told.position, told.errors, told.search)


def lost(error: httpx.RequestError, url: object) -> ClientError:
    """Nobody answered."""
    return ClientError(0, "no answer", f"{url} cannot be asked ({type(error).__name__}: {error}); is it served there?")


class Patience:
    """How long one request is tried, and when again."""

    def __init__(self, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self.begin()

    def begin(self) -> None:
        """From now on."""
        self._until, self._wait = self._clock() + self._seconds, FIRST_S

    def after(self, call: Call[Any], outcome: httpx.Response | httpx.RequestError) -> float | None:
        """Seconds until the next try; None: that was the last."""
        if isinstance(outcome, httpx.Response):
            said = outcome.headers.get("retry-after", "")
            if outcome.status_code not in BUSY or not _SECONDS.fullmatch(said):
                return None
            wait = max(float(said), FIRST_S)
        else:
            if not (call.again or call.token or isinstance(outcome, (httpx.ConnectError, httpx.ConnectTimeout))):
                return None  # it may have arrived
            self._wait = min(2 * self._wait, LONGEST_S)
            wait = self._wait / 2
        wait *= uniform(1.0, 1.25)  # so that those who were turned away together come back one by one
        return wait if self._clock() + wait <= self._until else None


class Following:
    """A job as its events tell it, line by line: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

    def __init__(self, job: str | wire.Job) -> None:
        self.call = one_job(job)
        self.path = f"{self.call.path}/events"
        self._last: wire.Job | None = None

    @property
    def is_over(self) -> bool:
        return self._last is not None and self._last.state in OVER

    def take(self, line: str) -> wire.Job | None:
        """The job, if this line tells of it what the last one did not."""
        name, _, value = line.partition(":")
        if name != "data":
            return None
        try:
            found = wire.Job.model_validate_json(value)
        except ValidationError as error:
            raise ClientError(200, "not understood", f"{self.path} answers, and not as reelseek serve does") from error
        if found == self._last:  # a new connection begins with where it stands
            return None
        self._last = found
        return found


# -------------------------------------------------------------------------------------------------------- all requests


def search(
    query: str,
    *,
    by: Literal["moment", "video"] | None = None,
    limit: int | None = None,
    min_confidence: float | None = None,
    depth: int | None = None,
    copies: Literal["collapse", "show"] | None = None,
    most_per_media: int | None = None,
    filters: wire.Filters | None = None,
    page: str | None = None,
) -> Call[wire.Answer]:
    """The moments that answer a query, best first; what is left out is as the server was started with."""
    asked = _given(
        query=query,
        by=by,
        limit=limit,
        min_confidence=min_confidence,
        depth=depth,
        copies=copies,
        most_per_media=most_per_media,
        filters=filters and filters.model_dump(exclude_defaults=True),
        page=page,
    )
    return _post("/v1/search", wire.Answer, asked, again=True)


def batch(searches: Sequence[str | wire.Search]) -> Call[list[wire.Answer]]:
    """Several queries at once; their answers, in their order."""
    asked = [
        {"query": one} if isinstance(one, str) else one.model_dump(exclude_defaults=True, exclude_none=True)
        for one in searches
    ]

    def read(answer: httpx.Response) -> list[wire.Answer]:
        return wire.Answers.model_validate_json(answer.content).answers

    return Call(method="POST", path="/v1/search/batch", read=read, body={"searches": asked}, again=True)


def similar(ref: str, *, limit: int | None = None, min_confidence: float | None = None) -> Call[wire.Answer]:
    """Moments that are like this one."""
    params = _given(limit=limit, min_confidence=min_confidence)
    return _get(f"/v1/similar/{quote(ref, safe='@')}", wire.Answer, params)


def example(*, image: Blob | None = None, sound: Blob | None = None, clip: Blob | None = None) -> Call[wire.Term]:
    """Send one file to ask with: its `term` stands in queries, alone or beside words, for an hour."""
    files = _given(image=image, sound=sound, clip=clip)
    if len(files) != 1:
        raise BadSettings(f"example has {len(files)} files; it wants one of image, sound, clip")
    return Call(method="POST", path="/v1/examples", read=_as(wire.Term), files=files, again=True)


def media(
    *,
    limit: int | None = None,
    page: str | None = None,
    tags: Sequence[str] = (),
    collection: str = "",
    path: str = "",
    kinds: Sequence[Kind] = (),
) -> Call[wire.MediaList]:
    """The media of the library, by path."""
    said = {"tag": list(tags), "collection": collection, "path": path, "kind": list(kinds), "page": page}
    params = {name: value for name, value in said.items() if value} | _given(limit=limit)
    return _get("/v1/media", wire.MediaList, params)


def one(id: str) -> Call[wire.Media]:
    """One media."""
    return _get(_media(id), wire.Media)


def patch(
    id: str,
    *,
    title: str | None = None,
    tags: Sequence[str] | None = None,
    recorded: str | None = None,
    collection: str | None = None,
) -> Call[wire.Media]:
    """Change what is known of a media; what is left out stays."""
    said = _given(title=title, recorded=recorded, collection=collection)
    body = said | ({} if tags is None else {"tags": list(tags)})
    return Call(method="PATCH", path=_media(id), read=_as(wire.Media), body=body)


def delete(id: str, *, file: bool = False) -> Call[list[dict[str, str]]]:
    """Take a media out of the library; its file stays, but with `file` one that was sent.  The ids and paths of what
    went."""
    return Call(method="DELETE", path=_media(id), read=_deleted, params={"file": True} if file else {})


def upload(
    file: str | os.PathLike[str],
    *,
    title: str = "",
    tags: Sequence[str] = (),
    recorded: str = "",
    collection: str = "",
    webhook: str = "",
    webhook_secret: str = "",
    idempotency_key: str = "",
) -> Call[wire.Job]:
    """Send a media; the job indexes it, and tells `webhook` what comes of that, signed with a secret that is yours
    (`api.signing.secret()` makes one).  It comes once, however often this has to be sent: the key sees to that, one is
    made if none is given, and the same key later is the same upload."""
    form = _named(title, tags, recorded, collection) | _told(webhook, webhook_secret)
    token, files = idempotency_key or token_hex(16), {"file": file}
    return Call(method="POST", path="/v1/media", read=_accepted, form=form, files=files, token=token)


def fetch(
    url: str,
    *,
    title: str = "",
    tags: Sequence[str] = (),
    recorded: str = "",
    collection: str = "",
    webhook: str = "",
    webhook_secret: str = "",
    idempotency_key: str = "",
) -> Call[wire.Job]:
    """Have the server fetch a media from the web, if it does that; otherwise as `upload`."""
    body = {"url": url} | _named(title, tags, recorded, collection) | _told(webhook, webhook_secret)
    token = idempotency_key or token_hex(16)
    return Call(method="POST", path="/v1/media", read=_accepted, body=body, token=token, timeout_s=LONGEST_FETCH_S)


def index(
    paths: Sequence[str | os.PathLike[str]],
    *,
    title: str = "",
    tags: Sequence[str] = (),
    recorded: str = "",
    collection: str = "",
    prune: bool = False,
    webhook: str = "",
    webhook_secret: str = "",
    idempotency_key: str = "",
) -> Call[wire.Job]:
    """Index files, folders or manifests of the server, below its roots; `webhook` as of `upload`."""
    asked: dict[str, Any] = {"paths": [os.fspath(path) for path in paths], "prune": prune}
    asked |= _told(webhook, webhook_secret)
    asked |= {"title": title, "tags": list(tags), "recorded": recorded, "collection": collection}
    token = idempotency_key or token_hex(16)
    return Call(method="POST", path="/v1/jobs", read=_accepted, body=asked, token=token)


def relocate(
    new: str | os.PathLike[str], old: str | os.PathLike[str] | None = None, *, dry_run: bool = False
) -> Call[wire.Relocated]:
    """Mend the paths of media that lie at or below `new` by now, a place of the server; without `old` by content."""
    asked = _given(new=os.fspath(new), old=old if old is None else os.fspath(old), dry_run=dry_run)
    return _post("/v1/relocations", wire.Relocated, asked, again=True)


def webhooks() -> Call[list[wire.Webhook]]:
    """Addresses that are told when something happens."""

    def read(answer: httpx.Response) -> list[wire.Webhook]:
        return wire.Webhooks.model_validate_json(answer.content).webhooks

    return Call(method="GET", path="/v1/webhooks", read=read, again=True)


def webhook(id: str) -> Call[wire.Webhook]:
    """One of them."""
    return _get(_webhook(id), wire.Webhook)


def add_webhook(
    url: str, *, events: Sequence[wire.Event] = (), collection: str = "", secret: str = ""
) -> Call[wire.NewWebhook]:
    """Have an address told of these events, or of all.  The answer has the secret, which is not told again."""
    asked = {"url": url, "events": list(events), "collection": collection, "secret": secret}
    return _post("/v1/webhooks", wire.NewWebhook, asked)


def change_webhook(
    id: str, *, url: str | None = None, events: Sequence[wire.Event] | None = None, active: bool | None = None
) -> Call[wire.Webhook]:
    """Change a webhook; what is left out stays."""
    body = _given(url=url, events=None if events is None else list(events), active=active)
    return Call(method="PATCH", path=_webhook(id), read=_as(wire.Webhook), body=body, again=True)


def delete_webhook(id: str) -> Call[None]:
    """Tell it nothing more."""
    return Call(method="DELETE", path=_webhook(id), read=lambda _: None)


def ping(id: str) -> Call[wire.Delivery]:
    """Send a webhook a message of the type `ping`."""
    return _post(f"{_webhook(id)}/ping", wire.Delivery)


def deliveries(id: str, *, limit: int | None = None) -> Call[list[wire.Delivery]]:
    """What a webhook was told, newest first, and how that went."""

    def read(answer: httpx.Response) -> list[wire.Delivery]:
        return wire.Deliveries.model_validate_json(answer.content).deliveries

    path = f"{_webhook(id)}/deliveries"
    return Call(method="GET", path=path, read=read, params=_given(limit=limit), again=True)


def deliver(id: str, message: str) -> Call[wire.Delivery]:
    """Send a message anew, under the id that it had."""
    return _post(f"{_webhook(id)}/deliveries/{quote(message, safe='')}/again", wire.Delivery)


def collections() -> Call[list[wire.Collection]]:
    """Those that this key may see and that have media, by name."""

    def read(answer: httpx.Response) -> list[wire.Collection]:
        return wire.CollectionList.model_validate_json(answer.content).collections

    return Call(method="GET", path="/v1/collections", read=read, again=True)


def collection(name: str) -> Call[wire.Collection]:
    """One of them."""
    return Call(method="GET", path=_collection(name), read=_as(wire.Collection), again=True)


def delete_collection(name: str, *, file: bool = False) -> Call[list[dict[str, str]]]:
    """Take all of its media out of the library; files stay, but with `file` those that were sent."""
    return Call(method="DELETE", path=_collection(name), read=_deleted, params={"file": True} if file else {})


def quota() -> Call[list[wire.Quota]]:
    """What this key may send, and has sent."""
    return Call(method="GET", path="/v1/quota", read=_quotas, again=True)


def quotas() -> Call[list[wire.Quota]]:
    """All quotas that are set."""
    return Call(method="GET", path="/v1/quotas", read=_quotas, again=True)


def set_quota(
    kind: Literal["key", "collection"],
    name: str,
    *,
    most_bytes: int = 0,
    most_media: int = 0,
    most_s_a_day: float = 0.0,
) -> Call[wire.Quota]:
    """Say how much may be sent with a key, or into a collection; 0: any."""
    body = {"most_bytes": most_bytes, "most_media": most_media, "most_s_a_day": most_s_a_day}
    path = f"/v1/quotas/{kind}/{quote(name, safe='')}"
    return Call(method="PUT", path=path, read=_as(wire.Quota), body=body, again=True)


def quarantine() -> Call[list[wire.Quarantined]]:
    """Files that could not be indexed, and why."""

    def read(answer: httpx.Response) -> list[wire.Quarantined]:
        return wire.Quarantine.model_validate_json(answer.content).quarantined

    return Call(method="GET", path="/v1/quarantine", read=read, again=True)


def throw_away(path: str) -> Call[str]:
    """Away with a file in quarantine that was sent to the server.  Its path."""

    def read(answer: httpx.Response) -> str:
        return wire.Dropped.model_validate_json(answer.content).dropped

    return Call(method="DELETE", path="/v1/quarantine", read=read, params={"path": path})


def stream(id: str, to: str | os.PathLike[str]) -> Call[Path]:
    """The file of a media, put at `to`."""
    return _file(f"{_media(id)}/stream", to)


def thumbnail(id: str, to: str | os.PathLike[str], *, t: float = 0.0, w: int = 320) -> Call[Path]:
    """The picture on show at second `t`, at most `w` pixels wide and high, put at `to` as JPEG."""
    return _file(f"{_media(id)}/thumbnail", to, {"t": t, "w": w})


def clip(ref: str, to: str | os.PathLike[str], *, exact: bool = False) -> Call[Path]:
    """The stretch of a moment, `ID@start-end`, put at `to` as a file of its own; `exact` encodes it anew, to the frame.

    Raises:
        BadSettings: that is no reference.
    """
    try:
        id, span = parse_reference(ref)
    except ValueError as error:
        raise BadSettings(str(error)) from error
    if span is None:
        raise BadSettings(f"{ref!r} names no stretch: a clip wants ID@start-end, such as the `ref` of a moment")
    params = {"start": span.start, "end": span.end, "exact": exact}
    return _file(f"{_media(id)}/clip", to, params)


def transcript(id: str) -> Call[str]:
    """What is said in a media, as WebVTT."""
    return _text(f"{_media(id)}/transcript.vtt")


def written(id: str) -> Call[str]:
    """What is written on screen in a media, as WebVTT."""
    return _text(f"{_media(id)}/written.vtt")


def timeline(id: str, query: str) -> Call[wire.Timeline]:
    """How relevant each second of a media is to a query, by modality."""
    return _get(f"{_media(id)}/timeline", wire.Timeline, {"query": query})


def jobs() -> Call[list[wire.Job]]:
    """All jobs that are remembered, newest first."""

    def read(answer: httpx.Response) -> list[wire.Job]:
        return wire.Jobs.model_validate_json(answer.content).jobs

    return Call(method="GET", path="/v1/jobs", read=read, again=True)


def one_job(job: str | wire.Job) -> Call[wire.Job]:
    """One job as it stands."""
    return _get(_job(job), wire.Job)


def pause(job: str | wire.Job) -> Call[wire.Job]:
    """Stop a job within a batch; what it has encoded stays."""
    return _post(f"{_job(job)}/pause", wire.Job)


def resume(job: str | wire.Job) -> Call[wire.Job]:
    """Go on with a job that was paused, interrupted or failed."""
    return _post(f"{_job(job)}/resume", wire.Job)


def cancel(job: str | wire.Job) -> Call[wire.Job]:
    """Stop a job for good."""
    return _post(f"{_job(job)}/cancel", wire.Job)


def library() -> Call[dict[str, Any]]:
    """What the library holds, as `reelseek stats --json` has it."""

    def read(answer: httpx.Response) -> dict[str, Any]:
        return _Document.model_validate_json(answer.content).model_dump()

    return Call(method="GET", path="/v1/library", read=read, again=True)


# ------------------------------------------------------------------------------------------------------------- helpers


class _Document(BaseModel):
    """Whatever keys it has."""

    model_config = {"extra": "allow"}


def _as(model: type[M]) -> Callable[[httpx.Response], M]:
    return partial(_read, model)


def _read(model: type[M], answer: httpx.Response) -> M:
    return model.model_validate_json(answer.content)


def _accepted(answer: httpx.Response) -> wire.Job:
    return wire.Accepted.model_validate_json(answer.content).job


def _quotas(answer: httpx.Response) -> list[wire.Quota]:
    return wire.QuotaList.model_validate_json(answer.content).quotas


def _named(title: str, tags: Sequence[str], recorded: str, collection: str) -> dict[str, Any]:
    """What somebody says of a media, as far as they do."""
    said = {"title": title, "tags": list(tags), "recorded": recorded, "collection": collection}
    return {name: value for name, value in said.items() if value}


def _told(webhook: str, secret: str) -> dict[str, Any]:
    """
    Raises:
        BadSettings: a webhook without a secret: whoever is told could not trust what it hears.
    """
    if bool(webhook) != bool(secret):
        raise BadSettings("webhook and webhook_secret go together: api.signing.secret() makes one")
    return {"webhook": webhook, "webhook_secret": secret} if webhook else {}


def _deleted(answer: httpx.Response) -> list[dict[str, str]]:
    return wire.Deleted.model_validate_json(answer.content).deleted


def _collection(name: str) -> str:
    return f"/v1/collections/{quote(name, safe='')}"


def _webhook(id: str) -> str:
    return f"/v1/webhooks/{quote(id, safe='')}"


def _open(file: Path) -> tuple[str, BinaryIO]:
    return file.name, file.open("rb")


def _get(path: str, model: type[M], params: Mapping[str, Any] | None = None) -> Call[M]:
    return Call(method="GET", path=path, read=_as(model), params=params or {}, again=True)


def _post(path: str, model: type[M], body: Any = None, again: bool = False) -> Call[M]:
    return Call(method="POST", path=path, read=_as(model), body=body, again=again)


def _text(path: str) -> Call[str]:
    return Call(method="GET", path=path, read=lambda answer: answer.text, again=True)


def _file(path: str, to: str | os.PathLike[str], params: Mapping[str, Any] | None = None) -> Call[Path]:
    place = Path(to)
    return Call(method="GET", path=path, read=lambda _: place, params=params or {}, again=True, to=place)


def _media(id: str) -> str:
    return f"/v1/media/{quote(id, safe='')}"


def _job(job: str | wire.Job) -> str:
    return f"/v1/jobs/{quote(job if isinstance(job, str) else job.id, safe='')}"


def _given(**said: Any) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None}
