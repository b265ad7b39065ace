"""Who asks a served library, and what of it they may see.

Where there is no key, whoever reaches the server may do everything: it listens to its own machine alone then.  A key
comes as `Authorization: Bearer KEY`, or in the cookie that `POST /v1/session` sets for the page.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from typing import Annotated

from fastapi import Depends, Request

from api import keys, known, strays
from api.indexing import Asked
from api.problems import Problem
from api.serving import Serving
from api.trails import Trail
from api.uploads import ONLY
from indexer import places
from indexer.jobs import LEAST_ID, Standing
from retriever.errors import NoSuchJob, NoSuchMedia
from retriever.types import ApiKey, Filter, Media, Metadata

COOKIE = "reelseek_key"
LONGEST_ID = 16
"""Letters of an id that wrong keys are counted by; ours have eight."""


@dataclass(frozen=True, slots=True)
class Caller:
    """One who asks.  Methods run in a thread."""

    serving: Serving
    key: ApiKey | None = None  # None: nobody needs one

    @property
    def id(self) -> str:
        return self.key.id if self.key else ""

    @property
    def collection(self) -> str:
        """The one that they may see; empty: all."""
        return self.key.collection if self.key else ""

    @property
    def stands(self) -> bool:
        """Whether they may still ask, who might when they began."""
        return self.serving.ring.has(self.key) if self.key else self.serving.is_open

    @contextmanager
    def answered(self) -> Iterator[None]:
        """Meanwhile examples are looked for in what they may see, and nowhere else."""
        before = ONLY.set(self.collection)
        try:
            yield
        finally:
            ONLY.reset(before)

    def where(self, asked: Filter) -> Filter:
        """What they may see of what they ask for.

        Raises:
            Problem: it is another collection.
        """
        if not self.collection:
            return asked
        if asked.collection not in ("", self.collection):
            raise Problem(403, "another collection", f"this key sees the collection {self.collection!r} alone")
        return replace(asked, collection=self.collection)

    def said(self, metadata: Metadata) -> Metadata:
        """What they say of media that they bring: those come into their collection.

        Raises:
            Problem: they say another one.
        """
        if not self.collection:
            return metadata
        self.where(Filter(collection=metadata.collection))
        return replace(metadata, collection=self.collection)

    def media(self, id: str) -> Media:
        """
        Raises:
            NoSuchMedia: there is none of this id, or they may not see it: nobody learns which.
        """
        with self.serving.library.store.snapshot() as snapshot:
            found = snapshot.media(self.where(Filter(media=frozenset({id}))))
        if not found:
            raise NoSuchMedia(f"{id} is no id of this library; GET /v1/media lists what is there")
        return found[0]

    def jobs(self) -> list[Standing]:
        """Those that they may see, oldest first."""
        return [one for one in self.serving.library.jobs() if self._is_theirs(one)]

    def job(self, id: str) -> Standing:
        """
        Raises:
            NoSuchJob: there is none of this id, or they may not see it: nobody learns which.
        """
        if not self.collection:
            return self.serving.library.job(id)
        found = [one for one in self.jobs() if one.record.id == id]
        if not found and len(id) >= LEAST_ID:
            found = [one for one in self.jobs() if one.record.id.startswith(id)]
        if len(found) != 1:
            raise NoSuchJob(f"{id} is no job of this library; GET /v1/jobs lists them")
        return found[0]

    def brought(self, path: str) -> bool:
        """Whether a file came with one of their jobs."""
        if not self.collection:
            return True
        roots = [places.of(root) for one in self.jobs() for root in Asked.of(one.record.asked).paths]
        return any(places.is_below(path, root) for root in roots)

    def drop(self, paths: Iterable[str]) -> list[str]:
        """Away with those of these files that were sent here and that neither a media nor a job wants; returns them."""
        return strays.away(self.serving.library.store, [path for path in paths if self.serving.uploads.has(path)])

    def _is_theirs(self, found: Standing) -> bool:
        if not self.collection:
            return True
        metadata = Asked.of(found.record.asked).metadata
        return metadata is not None and metadata.collection == self.collection


def may(scope: str) -> Callable[[Request], Caller]:
    """Lets those pass whose key has this scope, for a route, and who say nothing that it does not know."""

    async def caller(request: Request) -> Caller:
        serving: Serving = request.app.state.serving
        if scope != "search":
            serving.ground.check()  # nothing is written where the library was
        if serving.is_open:
            known.query(request)
            return Caller(serving)
        text = given(request)
        if not text:
            raise Problem(
                401,
                "a key is needed",
                "say it as `Authorization: Bearer KEY` (the Python client: key=, or REELSEEK_API_KEY); "
                "whoever runs this server makes one",
            )
        key = judged(serving, text, request.client.host if request.client else "")
        if scope not in key.scopes:
            raise Problem(403, "not with this key", f"this wants a key with the scope {scope}")
        if wait := serving.ring.wait(key):
            raise Problem(429, "too many requests", f"this key may ask {key.rate:g} times a second", retry_s=ceil(wait))
        known.query(request)
        return Caller(serving, key)

    return caller  # type: ignore[return-value]


def judged(serving: Serving, text: str, who: str) -> ApiKey:
    """Whose key it is that came from an address.

    Raises:
        Problem: nobody's (401), or too many of that address, or that began so, were nobody's (429).
    """
    id = keys.said(text)[1][:LONGEST_ID]
    if serving.guesses.is_over(who, id):
        raise Problem(429, "too many wrong keys", "wait a minute", retry_s=60)
    key = serving.ring.of(text)
    if key is None:
        serving.guesses.wrong(who, id)
        raise Problem(401, "no such key", "the key is not one of this library, or no more")
    serving.guesses.right(who, id)
    if trail := Trail.here():
        trail.key, trail.collection = key.id, key.collection
    return key


def given(request: Request) -> str:
    """The key that came with a request."""
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    return text.strip() if kind.lower() == "bearer" else request.cookies.get(COOKIE, "")


Searching = Annotated[Caller, Depends(may("search"))]
Writing = Annotated[Caller, Depends(may("write"))]
Administering = Annotated[Caller, Depends(may("admin"))]
