"""A library of this machine, asked with the methods of a client that only look: for who needs no server.

    with Library.open("lib/") as library:
        Local(library).search("a parrot", limit=3).moments[0].ref

Who asks may be a program that has read its question somewhere: terms show moments of the library and no file.
"""

from collections.abc import Sequence
from typing import Literal, NoReturn

from api import answering, export, schemas, wire
from api.service import Library
from api.uploads import Shown
from retriever.errors import BadSettings, NoSuchMedia, QueryError
from retriever.settings import Settings
from retriever.types import Filter, Media, Modality

PAGE = 50


class Local:
    """A library with the answers of a served one.  Several threads may ask."""

    def __init__(self, library: Library, settings: Settings | None = None) -> None:
        """`settings` say what is asked for, unless somebody says otherwise."""
        self._library, self._settings = library, settings or Settings()
        if not isinstance(library.searcher.examples, Shown):
            library.searcher.examples = Shown(library.searcher.examples, _no_file)

    def search(
        self,
        query: str,
        *,
        by: Literal["moment", "video"] | None = None,
        limit: int | None = None,
        min_confidence: float | None = None,
        filters: wire.Filters | None = None,
    ) -> wire.Answer:
        """The moments that answer a query, best first.

        Raises:
            QueryError, SpaceMismatch, StoreError: as `Library.search`.
            BadSettings: a filter cannot be read.
        """
        usual = self._settings
        kind = by or usual.by
        found = self._library.search(
            query,
            by=kind,
            limit=usual.limit if limit is None else limit,
            min_confidence=usual.min_confidence if min_confidence is None else min_confidence,
            depth=usual.depth,
            copies=usual.copies,
            most_per_media=usual.most_per_media,
            where=answering.narrowed(filters or wire.Filters()),
        )
        document = schemas.search(found, kind)
        for name in ("moments", "misses"):
            document[name] = answering.moments(self._library, getattr(found, name))
        return wire.Answer.model_validate(document | {"generation": "", "next_page": None})

    def similar(self, ref: str, *, limit: int | None = None, min_confidence: float | None = None) -> wire.Answer:
        """Moments that are like this one.

        Raises:
            as `search`.
        """
        return self.search(f"like:{ref}", limit=limit, min_confidence=min_confidence)

    def media(
        self,
        *,
        limit: int | None = None,
        page: str | None = None,
        tags: Sequence[str] = (),
        collection: str = "",
        path: str = "",
        kinds: Sequence[Literal["video", "sound", "image"]] = (),
    ) -> wire.MediaList:
        """The media of the library, by path.

        Raises:
            BadSettings: `page` is none.
        """
        if page and not page.isdecimal():
            raise BadSettings(f"page is {page!r}; it wants the `next_page` of the answer before")
        asked = wire.Filters(tags=list(tags), collection=collection, path=path, kinds=list(kinds))
        found = self._library.media(answering.narrowed(asked))
        first = int(page or 0)
        end = first + (limit or PAGE)
        return wire.MediaList(
            media=[wire.Media.model_validate(answering.media(item)) for item in found[first:end]],
            total=len(found),
            next_page=str(end) if end < len(found) else None,
        )

    def transcript(self, id: str) -> str:
        """What is said in a media, as WebVTT.

        Raises:
            NoSuchMedia: there is none of this id.
        """
        return self._lines(id, Modality.SPEECH)

    def written(self, id: str) -> str:
        """What is written on screen in a media, as WebVTT.

        Raises:
            NoSuchMedia: there is none of this id.
        """
        return self._lines(id, Modality.TEXT)

    def jobs(self) -> list[wire.Job]:
        """All jobs that are remembered, newest first."""
        return [wire.Job.model_validate(schemas.job(one)) for one in reversed(self._library.jobs())]

    def _lines(self, id: str, modality: Modality) -> str:
        with self._library.store.snapshot() as snapshot:
            where = Filter(media=frozenset({self._one(id).key}))
            lines = [line for group in snapshot.lines(snapshot.numbers(where)) for line in group]
        return "\n".join(export.vtt([line for line in lines if line.modality is modality]))

    def _one(self, id: str) -> Media:
        found = self._library.media(Filter(media=frozenset({id})))
        if not found:
            raise NoSuchMedia(f"{id} is no id of this library; `media` lists what is there")
        return found[0]


def _no_file(name: str) -> NoReturn:
    raise QueryError(f"{name!r} is a file, and files are not shown to this library: like:REF asks with a moment of it")
