"""A served library as people use it from Python: every request of docs/http.md, typed, at once or awaited.

    with ReelseekClient("http://127.0.0.1:8000") as client:
        for moment in client.search("a parrot", limit=3).moments:
            print(moment.media.path, moment.start_s, moment.end_s, moment.confidence)
        job = client.wait(client.upload("holiday.mp4", tags=["sea"]))

    async with AsyncReelseekClient(url, key="rs_…") as client:
        answer = await client.search("a parrot")

Answers are the models of `api/wire.py`.  A server that is busy is asked again when it says, and a connection that was
lost is made again, where that cannot do anything twice: for as many seconds as `patience_s`, and then that is a
`ClientError`.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from time import sleep
from typing import Any, BinaryIO, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from api import signing
from api.signing import WrongSignature
from retriever.errors import BadSettings, MissingExtra

try:
    import httpx

    from api import calls, wire
    from api.calls import Call, ClientError, Following, Patience
except ModuleNotFoundError as error:
    raise MissingExtra(f"the client needs {error.name}: pip install 'reelseek[client]'") from error

__all__ = ["AsyncReelseekClient", "ClientError", "ReelseekClient", "WrongSignature", "received"]

API_KEY = "REELSEEK_API_KEY"
"""The key, where none is given."""
URL = "http://127.0.0.1:8000"
PATIENCE_S = 10.0
TIMEOUT_S = 60.0
"""Of one read or write; events of a job have a sign of life every 15 s."""
HERE = frozenset({"localhost", "127.0.0.1", "::1"})

P = ParamSpec("P")
T = TypeVar("T")


class Paged(Protocol):
    """An answer that may go on."""

    next_page: str | None


N = TypeVar("N", bound=Paged)


class _Now(Generic[P, T]):
    """A request as a method of the client that waits."""

    def __init__(self, describe: Callable[P, Call[T]]) -> None:
        self._describe = describe

    @overload
    def __get__(self, client: None, owner: type) -> Callable[P, Call[T]]: ...
    @overload
    def __get__(self, client: "ReelseekClient", owner: type) -> Callable[P, T]: ...
    def __get__(self, client: "ReelseekClient | None", owner: type) -> Callable[P, Any]:
        if client is None:
            return self._describe

        @wraps(self._describe)
        def ask(*args: P.args, **named: P.kwargs) -> T:
            return client._ask(self._describe(*args, **named))

        return ask


class _Soon(Generic[P, T]):
    """A request as a method of the client that is awaited."""

    def __init__(self, describe: Callable[P, Call[T]]) -> None:
        self._describe = describe

    @overload
    def __get__(self, client: None, owner: type) -> Callable[P, Call[T]]: ...
    @overload
    def __get__(self, client: "AsyncReelseekClient", owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: "AsyncReelseekClient | None", owner: type) -> Callable[P, Any]:
        if client is None:
            return self._describe

        @wraps(self._describe)
        async def ask(*args: P.args, **named: P.kwargs) -> T:
            return await client._ask(self._describe(*args, **named))

        return ask


class _Pages(Generic[P, N]):
    """All pages of an answer, one after the other, for either client.  A library that changes meanwhile ends them with
    a `ClientError` of status 410."""

    def __init__(self, describe: Callable[P, Call[N]]) -> None:
        self._describe = describe

    @overload
    def __get__(self, client: None, owner: type) -> Callable[P, Call[N]]: ...
    @overload
    def __get__(self, client: "ReelseekClient", owner: type) -> Callable[P, Iterator[N]]: ...
    @overload
    def __get__(self, client: "AsyncReelseekClient", owner: type) -> Callable[P, AsyncIterator[N]]: ...
    def __get__(self, client: "ReelseekClient | AsyncReelseekClient | None", owner: type) -> Callable[P, Any]:
        if client is None:
            return self._describe

        @wraps(self._describe)
        def ask(*args: P.args, **named: P.kwargs) -> Iterator[N] | AsyncIterator[N]:
            return client._pages(self._describe(*args, **named))

        return ask


class ReelseekClient:
    """For programs that wait for an answer.  Close it, or use it in a `with`; several threads may ask."""

    def __init__(
        self, url: str = URL, *, key: str | None = None, patience_s: float = PATIENCE_S, timeout_s: float = TIMEOUT_S
    ) -> None:
        """`key` None: `REELSEEK_API_KEY`, if it is there.

        Raises:
            BadSettings: `url` is none, or a key would travel in the clear.
        """
        self._patience_s = patience_s
        self._http = httpx.Client(**_opened(url, key, timeout_s))

    search = _Now(calls.search)
    pages = _Pages(calls.search)
    batch = _Now(calls.batch)
    similar = _Now(calls.similar)
    example = _Now(calls.example)
    media = _Now(calls.media)
    media_pages = _Pages(calls.media)
    one = _Now(calls.one)
    patch = _Now(calls.patch)
    delete = _Now(calls.delete)
    upload = _Now(calls.upload)
    fetch = _Now(calls.fetch)
    index = _Now(calls.index)
    quarantine = _Now(calls.quarantine)
    throw_away = _Now(calls.throw_away)
    stream = _Now(calls.stream)
    thumbnail = _Now(calls.thumbnail)
    clip = _Now(calls.clip)
    transcript = _Now(calls.transcript)
    written = _Now(calls.written)
    timeline = _Now(calls.timeline)
    jobs = _Now(calls.jobs)
    job = _Now(calls.one_job)
    pause = _Now(calls.pause)
    resume = _Now(calls.resume)
    cancel = _Now(calls.cancel)
    library = _Now(calls.library)
    relocate = _Now(calls.relocate)
    webhooks = _Now(calls.webhooks)
    webhook = _Now(calls.webhook)
    add_webhook = _Now(calls.add_webhook)
    change_webhook = _Now(calls.change_webhook)
    delete_webhook = _Now(calls.delete_webhook)
    ping = _Now(calls.ping)
    deliveries = _Now(calls.deliveries)
    deliver = _Now(calls.deliver)
    collections = _Now(calls.collections)
    collection = _Now(calls.collection)
    delete_collection = _Now(calls.delete_collection)
    quota = _Now(calls.quota)
    quotas = _Now(calls.quotas)
    set_quota = _Now(calls.set_quota)

    def events(self, job: str | wire.Job) -> Iterator[wire.Job]:
        """A job each time that it changes, until it is done, failed, cancelled or paused.

        Raises:
            ClientError: there is none, or the server stays away.
        """
        following, patience = Following(job), Patience(self._patience_s)
        while not following.is_over:
            try:
                with self._http.stream("GET", following.path) as answer:
                    if not answer.is_success:
                        answer.read()
                    for line in answer.iter_lines() if answer.is_success else ():
                        if found := following.take(line):
                            patience.begin()
                            yield found
                outcome = _ended(answer)
            except httpx.RequestError as error:
                outcome = error
            if not following.is_over:
                sleep(_pause(patience, following, outcome))

    def wait(self, job: str | wire.Job) -> wire.Job:
        """A job once it is done, failed, cancelled or paused.

        Raises:
            ClientError: as `events`.
        """
        *_, last = self.events(job)
        return last

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, call: Call[T]) -> T:
        patience = Patience(self._patience_s)
        while True:
            outcome = self._outcome(call)
            pause = patience.after(call, outcome)
            if pause is None:
                return _result(call, outcome)
            sleep(pause)

    def _outcome(self, call: Call[Any]) -> "httpx.Response | httpx.RequestError":
        try:
            with call.request(self._http) as request:
                answer = self._http.send(request, stream=True)
                try:
                    if call.to is None or not answer.is_success:
                        answer.read()
                    else:
                        with _whole(call.to) as file:
                            for block in answer.iter_bytes():
                                file.write(block)
                finally:
                    answer.close()
        except httpx.RequestError as error:
            return error
        return answer

    def _pages(self, call: Call[N]) -> Iterator[N]:
        while True:
            page = self._ask(call)
            yield page
            if not page.next_page:
                return
            call = call.at(page.next_page)


class AsyncReelseekClient:
    """For programs that do something else meanwhile.  Close it, or use it in an `async with`."""

    def __init__(
        self, url: str = URL, *, key: str | None = None, patience_s: float = PATIENCE_S, timeout_s: float = TIMEOUT_S
    ) -> None:
        """As `ReelseekClient`."""
        self._patience_s = patience_s
        self._http = httpx.AsyncClient(**_opened(url, key, timeout_s))

    search = _Soon(calls.search)
    pages = _Pages(calls.search)
    batch = _Soon(calls.batch)
    similar = _Soon(calls.similar)
    example = _Soon(calls.example)
    media = _Soon(calls.media)
    media_pages = _Pages(calls.media)
    one = _Soon(calls.one)
    patch = _Soon(calls.patch)
    delete = _Soon(calls.delete)
    upload = _Soon(calls.upload)
    fetch = _Soon(calls.fetch)
    index = _Soon(calls.index)
    quarantine = _Soon(calls.quarantine)
    throw_away = _Soon(calls.throw_away)
    stream = _Soon(calls.stream)
    thumbnail = _Soon(calls.thumbnail)
    clip = _Soon(calls.clip)
    transcript = _Soon(calls.transcript)
    written = _Soon(calls.written)
    timeline = _Soon(calls.timeline)
    jobs = _Soon(calls.jobs)
    job = _Soon(calls.one_job)
    pause = _Soon(calls.pause)
    resume = _Soon(calls.resume)
    cancel = _Soon(calls.cancel)
    library = _Soon(calls.library)
    relocate = _Soon(calls.relocate)
    webhooks = _Soon(calls.webhooks)
    webhook = _Soon(calls.webhook)
    add_webhook = _Soon(calls.add_webhook)
    change_webhook = _Soon(calls.change_webhook)
    delete_webhook = _Soon(calls.delete_webhook)
    ping = _Soon(calls.ping)
    deliveries = _Soon(calls.deliveries)
    deliver = _Soon(calls.deliver)
    collections = _Soon(calls.collections)
    collection = _Soon(calls.collection)
    delete_collection = _Soon(calls.delete_collection)
    quota = _Soon(calls.quota)
    quotas = _Soon(calls.quotas)
    set_quota = _Soon(calls.set_quota)

    async def events(self, job: str | wire.Job) -> AsyncIterator[wire.Job]:
        """As `ReelseekClient.events`."""
        following, patience = Following(job), Patience(self._patience_s)
        while not following.is_over:
            try:
                async with self._http.stream("GET", following.path) as answer:
                    if not answer.is_success:
                        await answer.aread()
                    else:
                        async for line in answer.aiter_lines():
                            if found := following.take(line):
                                patience.begin()
                                yield found
                outcome = _ended(answer)
            except httpx.RequestError as error:
                outcome = error
            if not following.is_over:
                await asyncio.sleep(_pause(patience, following, outcome))

    async def wait(self, job: str | wire.Job) -> wire.Job:
        """As `ReelseekClient.wait`."""
        async for last in self.events(job):  # noqa: B007 - the last one is wanted
            pass
        return last

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, call: Call[T]) -> T:
        patience = Patience(self._patience_s)
        while True:
            outcome = await self._outcome(call)
            pause = patience.after(call, outcome)
            if pause is None:
                return _result(call, outcome)
            await asyncio.sleep(pause)

    async def _outcome(self, call: Call[Any]) -> "httpx.Response | httpx.RequestError":
        try:
            with call.request(self._http) as request:
                answer = await self._http.send(request, stream=True)
                try:
                    if call.to is None or not answer.is_success:
                        await answer.aread()
                    else:
                        with _whole(call.to) as file:
                            async for block in answer.aiter_bytes():
                                file.write(block)
                finally:
                    await answer.aclose()
        except httpx.RequestError as error:
            return error
        return answer

    async def _pages(self, call: Call[N]) -> AsyncIterator[N]:
        while True:
            page = await self._ask(call)
            yield page
            if not page.next_page:
                return
            call = call.at(page.next_page)


def received(secret: str, headers: Mapping[str, str], body: bytes) -> wire.Message:
    """The message that came to a webhook, once it is sure who sent it.  `body` is what came, byte for byte.  A message
    may come twice, under one `id`.

    Raises:
        WrongSignature: whoever sent it does not know the secret, or sent it more than five minutes ago.
    """
    id = signing.verify(secret, headers, body)
    return wire.Message.model_validate({**wire.Body.model_validate_json(body).model_dump(), "id": id})


# ------------------------------------------------------------------------------------------------------ what both share


def _opened(url: str, key: str | None, timeout_s: float) -> dict[str, Any]:
    """What both clients of httpx are made with."""
    try:
        place = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise BadSettings(f"url is {url!r}; {error}; it wants http://HOST:PORT or https://HOST") from error
    if place.scheme not in ("http", "https") or not place.host:
        raise BadSettings(f"url is {url!r}; it wants http://HOST:PORT or https://HOST")
    key = os.environ.get(API_KEY, "") if key is None else key
    if not (key.isascii() and key.isprintable()):
        raise BadSettings("the key has characters that no key has; reelseek keys add prints one")
    if key and place.scheme == "http" and place.host not in HERE:
        raise BadSettings(f"the key would travel to {place.host} in the clear: name it with https://")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # No proxy and no .netrc of the environment: a key goes where it was told to go, and nowhere else.
    return {"base_url": url, "headers": headers, "timeout": timeout_s, "trust_env": False}


def _result(call: Call[T], outcome: "httpx.Response | httpx.RequestError") -> T:
    if isinstance(outcome, httpx.RequestError):
        raise calls.lost(outcome, outcome.request.url) from outcome
    return call.result(outcome)


def _ended(answer: "httpx.Response") -> "httpx.Response | httpx.RequestError":
    """A server that stops ends its events before the job is over: as if the connection had been lost."""
    if not answer.is_success:
        return answer
    return httpx.RemoteProtocolError("the events ended before the job", request=answer.request)


def _pause(patience: Patience, following: Following, outcome: "httpx.Response | httpx.RequestError") -> float:
    """Seconds until events are asked for again.

    Raises:
        ClientError: they are not.
    """
    pause = patience.after(following.call, outcome)
    if pause is None:
        _result(following.call, outcome)
        raise AssertionError("an outcome that ends events is a refusal")
    return pause


@contextmanager
def _whole(to: Path) -> Iterator[BinaryIO]:
    """A file that is there whole or not at all."""
    part = to.with_name(f".{to.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(to)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
