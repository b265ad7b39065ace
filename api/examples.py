"""What a query shows instead of saying it: `image:FILE`, `sound:FILE`, `clip:FILE@START-END`, `like:MEDIA@START-END`.

Files are read where the searching process runs.  Whoever serves people elsewhere must not hand their queries these.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Lock

from api import clipping, parts
from indexer import places, showing
from indexer import recipe as recipes
from indexer.encoding import Encoders
from indexer.recipe import Recipe
from retriever import alike
from retriever.errors import BadSettings, NoSuchMedia, QueryError, WeightsError
from retriever.ports import Snapshot, Store
from retriever.types import Example, Media, MediaKind, TimeSpan, Vector

REMEMBERED = 16
"""Files that are not encoded again: a report asks the same question twice."""


class Examples:
    """A `ShowExample` for one library; several threads may ask."""

    def __init__(self, store: Store, models: parts.ModelChoice, named: Callable[[str, Sequence[Media]], Media]) -> None:
        self._store = store
        self._models = models
        self._named = named
        self._at_work = Lock()
        self._encoders = lru_cache(maxsize=2)(self._built)
        self._seen: dict[tuple[object, ...], dict[str, Vector]] = {}

    def __call__(self, library: Snapshot, kind: str, value: str) -> Example:
        """
        Raises:
            QueryError: there is no such thing, or nothing of it that this library compares.
            MediaError: the file cannot be used.
        """
        return self._like(library, value) if kind == "like" else self._file(library, kind, value)

    def _like(self, library: Snapshot, value: str) -> Example:
        try:
            media, span = clipping.asked(value, list(library.media()), self._named)
            if media.kind is MediaKind.IMAGE:
                span = None
            return alike.moment(library, media.key, clipping.within(media, span))
        except (NoSuchMedia, BadSettings) as error:
            raise QueryError(f"like:{value}: {error}") from error

    def _file(self, library: Snapshot, kind: str, value: str) -> Example:
        whole = kind == "image" or Path(value).expanduser().is_file()
        name, span = (value, None) if whole else clipping.timed(value)
        path = Path(name).expanduser()
        stat = places.stat_of(path)
        made_by = tuple(self._recipes(library))
        place = (made_by, kind, path.absolute(), span, stat.size, stat.mtime_ns, stat.inode)
        with self._at_work:
            if place not in self._seen:
                made = self._views(library, kind, path, span)
                self._seen = dict([*list(self._seen.items())[1 - REMEMBERED :], (place, made)])
            views = self._seen[place]
        ours = {space: row for space, row in views.items() if space in library.spaces}
        if not ours:
            raise QueryError(self._why(library, kind, value, views))
        return Example(ours)

    def _views(self, library: Snapshot, kind: str, path: Path, span: TimeSpan | None) -> dict[str, Vector]:
        """In the spaces of every recipe that the library holds."""
        found: dict[str, Vector] = {}
        refused: list[WeightsError] = []
        for text in self._recipes(library):
            made_by = recipes.of(text)
            try:
                encoders = self._encoders(text)
            except WeightsError as error:
                refused.append(error)
                continue
            found |= showing.shown(path, span, kind, made_by, encoders)
        if refused and not found:
            raise refused[0]
        return found

    def _recipes(self, library: Snapshot) -> list[str]:
        if two := library.reembedding:
            return [two.current.recipe, *(side.recipe for side in (two.old, two.new) if side != two.current)]
        held = self._store.catalog.recipe()
        return [held[1]] if held else []

    def _built(self, text: str) -> Encoders:
        return parts.encoders(_unread(recipes.of(text)), self._models)

    def _why(self, library: Snapshot, kind: str, value: str, views: dict[str, Vector]) -> str:
        if not library.spaces:
            return f"{kind}:{value} has nothing to be compared with: this library is empty"
        if views:
            return (
                f"{kind}:{value} cannot be compared: this library was made with other encoders than this machine has; "
                "name the models that made it, or index again into another --library"
            )
        wanted = {"image": "pictures", "sound": "sounds", "clip": "pictures and sounds"}[kind]
        return f"{kind}:{value} has nothing that this library compares: it wants {wanted}"


def _unread(made_by: Recipe) -> Recipe:
    """Without those who read and listen word by word."""
    return replace(made_by, speech=(), text=())
