"""A library as people use it from Python; the command line is one of its users."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from api import clipping, indexing, parts, strays
from api import reembedding as standing
from api.clipping import Clip
from api.examples import Examples
from indexer import cutting, places, reembedding, relocating
from indexer import jobs as standing_jobs
from indexer.events import Event, Summary
from indexer.jobs import Standing
from indexer.policy import Policy
from retriever import processes
from retriever.duplicates import Group, duplicates, groups
from retriever.errors import NoSuchMedia, StoreUnavailable, WrongRecipe
from retriever.looking import Looking
from retriever.ports import Store
from retriever.recent import Recent
from retriever.relevance import Relevance, relevance
from retriever.remembering import KEPT, Rows
from retriever.search import Searcher
from retriever.settings import Settings, judged
from retriever.types import (
    EVERYTHING,
    Answer,
    Filter,
    Line,
    Media,
    Metadata,
    Moment,
    Quarantined,
    Searched,
    parse_reference,
)

DEFAULTS = Settings()
LEAST_ID = 4
"""Letters of an id that have to be given for its beginning to name a media."""


def silent(event: Event) -> None:
    """A watcher that says nothing."""


class Library:
    """An indexed corpus.  Close it, or use it in a `with`."""

    def __init__(
        self,
        path: Path,
        store: Store,
        looking: Looking,
        models: parts.ModelChoice = parts.AS_MADE,
        place: str = "",
    ) -> None:
        self.path = path  # the folder on this machine, also of a library whose vectors are in Qdrant
        self.place = place or str(path)  # as people name it
        self.store = store
        self._models = models
        self.sentences: Rows = Recent(KEPT)  # as they were asked of late
        way = "" if models.prompts == parts.AS_MADE.prompts else models.prompts
        self.searcher = Searcher(
            store,
            parts.asking(store, models, self.sentences),
            looking,
            cache=path / "derived",
            asks=way,
            examples=Examples(store, models, _named),
        )

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] = DEFAULTS.library,
        *,
        store: str = DEFAULTS.store,
        store_catalog: str | os.PathLike[str] = DEFAULTS.store_catalog,
        create: bool = True,
        reranker: str = DEFAULTS.reranker,
        head: str | os.PathLike[str] = DEFAULTS.head,
        adapter: str | os.PathLike[str] = DEFAULTS.adapter,
        moment_head: str | os.PathLike[str] = DEFAULTS.moment_head,
        models: parts.ModelChoice = parts.AS_MADE,
    ) -> Self:
        """The library at `path`, a folder or `http(s)://HOST:6333/NAME`.  It is made if it is not there, unless
        `create` is False.  One in Qdrant has its catalog in the folder or database `store_catalog`, or below the
        user's data.

        `reranker` is a plug-in by name; `head`, `adapter` and `moment_head` are folders that `reelseek train` and
        `distill` wrote.
        `models` are those of the pack `openclip`, and where they run; a library knows the ones that made it.

        Raises:
            StoreUnavailable: there is none, or its place cannot hold one.
            WrongFormat: another version wrote it; the message names the command that helps.
            BadSettings: `store_catalog` is no catalog.
            UnknownPlugin, HeadError: as their names say.
        """
        looking = parts.looking(reranker, os.fspath(head), os.fspath(adapter), os.fspath(moment_head))
        place, catalog = os.fspath(path), judged("store_catalog", os.fspath(store_catalog))
        built = parts.store(store, place, create=create, catalog=catalog)
        folder = getattr(built, "folder", Path(place))  # of the catalog, where the library itself is elsewhere
        return cls(folder, built, looking, models, place)

    def index(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        pack: str = DEFAULTS.pack,
        budget: float = DEFAULTS.budget,
        sampling: str = DEFAULTS.sampling,
        metadata: Metadata | None = None,
        prune: bool = False,
        jobs: int = DEFAULTS.jobs,
        policy: Policy = indexing.POLICY,
        every: float = 0.0,
        profile: str | os.PathLike[str] | None = None,
        workers: parts.Workers = parts.HERE,
        watch: Callable[[Event], None] = silent,
    ) -> Summary:
        """Bring the library to where these folders, files and manifests are.

        `budget` is the share of two frames a second that is encoded, 0.1 to 1, or 0 for the sampling of the pack;
        `sampling` another sampler in its place, such as `keyframes`, for which nothing else is decoded.
        `prune` also takes out the media whose files are gone from the folders among `paths`.  `policy` says which files
        are too large, and how often those that fail are tried.  With `every` above 0 it stays, and looks again
        every so many seconds, until it is paused, cancelled or interrupted.  `workers` says who carries it out: this
        process, or a Ray cluster.

        `profile` names a file that takes a trace of it, which a browser opens (chrome://tracing, Perfetto).

        It is a job from here on: `jobs` has it, and `pause`, `resume` and `cancel` steer it from any process.

        Raises:
            CannotOpen: one of `paths` is not there.
            ManifestError: a line of a manifest is wrong.
            WrongRecipe, SpaceMismatch: the library was made otherwise.
            BadSettings, MissingExtra, WeightsError, DeviceError: the pack wants a model that was not named or is not
                here, or there is no such budget, or `profile` cannot be written or is no trace.
            DiskFull: there is no room, or less than `policy` leaves free; what was committed stays.
            PluginError: `workers` cannot be had, or keep dying.
        """
        named = indexing.absolute(paths)
        asked = indexing.Asked(
            named, pack, budget, sampling, metadata, prune, jobs, policy, self._models, every, workers
        )
        return indexing.index(self.store, asked, watch, Path(profile) if profile else None)

    def jobs(self) -> list[Standing]:
        """What this library was asked to index, oldest first, and how that stands."""
        return standing_jobs.standing(self.store)

    def job(self, name: str) -> Standing:
        """The one job of this id, or whose id begins so.

        Raises:
            NoSuchJob: there is none, or there are several.
        """
        return standing_jobs.named(self.store, name)

    def pause(self, name: str) -> Standing:
        """Stop a job within a batch, whichever process is at it; what it has encoded stays, and `resume` goes on.

        Raises:
            NoSuchJob: as `job`.
        """
        return standing_jobs.pause(self.store, name, indexing.PATIENCE)

    def cancel(self, name: str) -> Standing:
        """Stop a job for good; what it had begun and not committed goes, and what was sent to a server for it alone.
        What was committed stays.

        Raises:
            NoSuchJob: as `job`.
        """
        found = standing_jobs.cancel(self.store, name, processes.me(), indexing.PATIENCE)
        strays.left_by(self.store, found)
        return found

    def resume(self, name: str, watch: Callable[[Event], None] = silent) -> tuple[Standing, Summary | None]:
        """Go on with a job as it was asked for.  None: it is over, or somebody works on it.

        Raises:
            NoSuchJob: as `job`.
            JobOver: it was cancelled.
            as `index`.
        """
        return indexing.resume(self.store, name, watch)

    def retry(
        self,
        name: str | None = None,
        paths: Sequence[str | os.PathLike[str]] = (),
        watch: Callable[[Event], None] = silent,
    ) -> tuple[list[tuple[Standing, Summary]], list[str]]:
        """Take files out of quarantine, all or those at `paths`, and index them again as the job did that they belong
        to, or that is named.  Returns the new jobs, and the files that no job knows: these `index` takes again.

        Raises:
            NoSuchJob: as `job`.
            as `index`.
        """
        return indexing.retry(self.store, name, indexing.absolute(paths), watch)

    def reembed(
        self,
        *,
        pack: str = DEFAULTS.pack,
        budget: float = DEFAULTS.budget,
        sampling: str = DEFAULTS.sampling,
        jobs: int = DEFAULTS.jobs,
        policy: Policy = indexing.POLICY,
        watch: Callable[[Event], None] = silent,
    ) -> Summary:
        """Bring what another recipe makes to all media, beside what they have: `choose` says what is searched.

        The recipe is that of `pack`, the library's `models`, `budget` and `sampling`, as `index` has them.  Media that
        cannot be embedded are among the summary's `quarantined`; they keep what they have.  It is a job, as `index` has
        them; run again, it goes on.

        Raises:
            WrongRecipe: the library is of this recipe, is on its way to another one, or has other lines.
            BadSettings, MissingExtra, WeightsError, DeviceError, DiskFull: as `index`.
        """
        asked = indexing.Asked(
            (), pack, budget, sampling, jobs=jobs, models=self._models, policy=policy, kind=indexing.REEMBED
        )
        return indexing.reembed(self.store, asked, watch)

    def choose(self, searched: Searched | str) -> list[str]:
        """Search the old recipe, the new one or both; returns what a person should know.

        Raises:
            WrongRecipe: the library holds one recipe, or media lack the new one, which is wanted alone.
        """
        searched = Searched(searched)
        with self.store.snapshot() as snapshot:
            why = standing.obstacle(snapshot, searched)
        if why and searched is Searched.NEW:
            raise WrongRecipe(why)
        self.store.choose(searched)
        return [why] if why else []

    def drop(self, searched: Searched | str) -> None:
        """Take what only one of two recipes made out of the library, and give its room back.

        Raises:
            WrongRecipe: the library holds one recipe, or this one is searched, or media have nothing else.
            StoreLocked: somebody works on the library.
        """
        searched = Searched(searched)
        with self.store.snapshot() as snapshot:
            stays = Searched.NEW if searched is Searched.OLD else Searched.OLD
            two, why = snapshot.reembedding, standing.obstacle(snapshot, stays)
        if two and two.searched is stays and why:
            raise WrongRecipe(why)
        reembedding.drop(self.store, searched, processes.me())

    def reembedding(self, summary: Summary | None = None) -> dict[str, Any]:
        """Which recipes the library holds, and how far it is from one to the other, as docs/schema.md has it."""
        return standing.document(self.place, self.store, summary)

    def search(
        self,
        query: str,
        *,
        by: str = DEFAULTS.by,
        limit: int = DEFAULTS.limit,
        min_confidence: float = DEFAULTS.min_confidence,
        depth: int = DEFAULTS.depth,
        where: Filter = EVERYTHING,
        copies: str = DEFAULTS.copies,
        most_per_media: int = DEFAULTS.most_per_media,
    ) -> Answer:
        """The moments that answer `query`, best first; with `by="video"` the best one of each media.

        The answer is a sequence of its moments.  Of the same footage it has the best moment, which names its `copies`,
        unless `copies` is `"show"`; of one media it has `most_per_media` at most, if that is not 0.

        Raises:
            QueryError: the query is empty or too long.
            SpaceMismatch: this machine has other weights than the library was made with, or the head or the adapter
                was trained on other spaces.
        """
        return self.searcher.search(
            query,
            by=by,
            limit=limit,
            depth=depth,
            min_confidence=min_confidence,
            where=where,
            copies=copies,
            most_per_media=most_per_media,
        )

    def relevance(self, query: str, *names: str) -> list[Relevance]:
        """How relevant each second of these media is, by modality, in that order; each is named as in `delete`.

        Raises:
            NoSuchMedia: one of the names is unknown, or names several.
            QueryError, SpaceMismatch: as `search`.
        """
        everything = self.media()
        return relevance(self.searcher, query, [_named(name, everything).key for name in names])

    def strips(self, answer: Answer) -> dict[str, Relevance]:
        """The same for the media of an answer, by key."""
        keys = [moment.media.key for moment in answer.moments]
        return {one.media: one for one in relevance(self.searcher, answer.query, keys)}

    def paths(self, answer: Answer) -> dict[str, str]:
        """Of the media that an answer names as copies the path that people are shown, by key."""
        keys = frozenset(parse_reference(ref)[0] for moment in answer for ref in moment.copies)
        return {item.key: item.path for item in self.media(Filter(media=keys))} if keys else {}

    def copies(self, where: Filter = EVERYTHING) -> list[Group]:
        """Media that hold the same footage, the largest group first."""
        with self.store.snapshot() as snapshot:
            return groups(list(duplicates(snapshot, where)))

    def media(self, where: Filter = EVERYTHING) -> list[Media]:
        """By path."""
        with self.store.snapshot() as snapshot:
            return list(snapshot.media(where))

    def lines(self, moment: Moment) -> list[Line]:
        """What is said and written during a moment, in order of time."""
        with self.store.snapshot() as snapshot:
            return snapshot.lines_over([(moment.media.key, moment.span)])[0]

    def relocate(
        self,
        new: str | os.PathLike[str],
        old: str | os.PathLike[str] | None = None,
        *,
        dry_run: bool = False,
        stopped: Callable[[], bool] = lambda: False,
    ) -> relocating.Found:
        """Mend the paths of media whose files lie at or below `new` by now: by the same names as at or below `old`, or
        without `old` by what is in them.  A file that is not the one that was indexed is never taken for it.

        Raises:
            CannotOpen: `new` is not there, or one of the two is an address that cannot be read.
            Unreachable, MissingExtra: as their names say.
            StoreUnavailable: `stopped` said so before all was looked at; nothing was changed.
        """
        before = None if old is None else places.of(old)
        return relocating.relocate(self.store, places.of(new), before, dry_run=dry_run, stopped=stopped)

    def quarantined(self) -> list[Quarantined]:
        """Files that could not be indexed, by path."""
        return self.store.catalog.quarantined()

    def stats(self) -> dict[str, Any]:
        """What the library holds, as docs/schema.md has it."""
        with self.store.snapshot() as snapshot:
            counts, spaces, kinds = snapshot.counts(), snapshot.spaces, snapshot.kinds()
            generation = snapshot.generation
            two, held = snapshot.reembedding, snapshot.held()
        made = self.store.catalog.recipe()
        return {
            "library": self.place,
            "generation": generation,
            "media": counts["media"],
            "kinds": {str(kind): count for kind, (count, _) in kinds.items()},
            "duration_s": round(sum(seconds for _, seconds in kinds.values()), 3),
            "segments": counts["segments"],
            "lines": counts["lines"],
            "tokens": counts["tokens"],
            "spaces": [
                {
                    "id": key,
                    "name": space.name,
                    "modality": str(space.modality),
                    "dimension": space.dimension,
                    "tokens": counts.get(f"tokens:{key}", 0),
                }
                for key, space in sorted(spaces.items())
            ],
            "bytes": counts["bytes"],
            "recipe": {"digest": made[0], "text": made[1]} if made else None,
            "quarantined": len(self.quarantined()),
            "reembedding": two
            and {
                "searched": two.searched.value,
                "old": two.old.digest,
                "new": two.new.digest,
                "hidden": sorted(two.hidden & held.keys()),
            },
        }

    def delete(self, *names: str) -> list[Media]:
        """Take media out, each named by id, the beginning of one, a path, or a reference; returns what went.

        Raises:
            NoSuchMedia: one of the names is unknown, or names several; nothing was deleted.
        """
        everything = self.media()
        gone = {item.key: item for item in (_named(name, everything) for name in names)}
        return self.take_out(list(gone.values()))

    def take_out(self, media: Sequence[Media]) -> list[Media]:
        """The same of media that were found here; returns them."""
        self.store.delete([item.key for item in media])
        self.store.catalog.forget([path for item in media for path in item.paths])
        return list(media)

    def clip(
        self,
        ref: str,
        out: str | os.PathLike[str],
        *,
        margin: float = 0.0,
        exact: bool = False,
        force: bool = False,
        watch: Callable[[float], None] = cutting.silent,
    ) -> Clip:
        """Write a moment to a file of its own, whose suffix says the format.  `ref` is `MEDIA@start-end`, where MEDIA
        may be an id, the beginning of one or a path, and alone is all of it.

        Packets are copied from the keyframe before on; `exact` encodes these very pictures and samples anew.  `margin`
        is in seconds, on both sides; `watch` hears the second of the media that was come to.

        Raises:
            NoSuchMedia: nothing of this name.
            BadSettings: no such span, suffix or margin, or a format that cannot hold the streams as they are.
            MediaError: the file is gone, has changed, is a picture, or cannot be decoded.
            DiskFull: no room; nothing was written.
            OSError: `out` is there and not to be written over (`force`), or cannot be written.
        """
        return clipping.clip(self.store, _named, ref, Path(out), margin=margin, exact=exact, force=force, watch=watch)

    def export(self, folder: str | os.PathLike[str], *, tables: str = "jsonl") -> dict[str, Any]:
        """Everything in open formats, into a new folder; `tables` are `jsonl` or `parquet`.  Returns what was written,
        as docs/schema.md has it.

        Raises:
            StoreUnavailable: the folder holds something already.
            BadSettings, MissingExtra: there are no such tables, or pyarrow is not installed.
            ManifestError: the path of a media is no text, and Parquet holds none but texts.
        """
        from api import export

        return export.write(self.store, Path(folder), tables)

    def import_from(
        self, source: str | os.PathLike[str], store_catalog: str | os.PathLike[str] = DEFAULTS.store_catalog
    ) -> dict[str, Any]:
        """Bring in what another library holds, or what `export` wrote: the media that this one lacks, nothing encoded
        again.  Returns what came, as docs/schema.md has it.  The catalog of that other library is looked for in
        `store_catalog`, too: in PostgreSQL, or in this folder if it is not of this library.

        Raises:
            StoreUnavailable: nothing of either kind is there.
            BadSettings: `store_catalog` is no catalog.
            WrongRecipe, WrongFormat, ManifestError, SpaceMismatch, DiskFull: as their names say; what came stays.
        """
        from api import importing

        path, catalog = Path(source), judged("store_catalog", os.fspath(store_catalog))
        if importing.is_export(path):
            with importing.from_folder(path) as brought:
                return importing.document(importing.into(self.store, brought))
        if parts.same(path, self.place):
            raise StoreUnavailable(f"{os.fspath(source)} is this library itself: name another one")
        other = importing.opened(path, catalog, self.place)
        try:
            with importing.from_library(other) as brought:
                return importing.document(importing.into(self.store, brought))
        finally:
            other.close()

    def back_up(self, folder: str | os.PathLike[str]) -> dict[str, Any]:
        """A copy of this library as it is at this moment, in a new folder, checked; it is searched and written
        meanwhile.  Returns what was written, as docs/schema.md has it.

        Raises:
            StoreUnavailable, DiskFull: as `parts.back_up`; nothing was written.
        """
        parts.back_up(self.store, to := Path(folder))
        with Library.open(to) as copy:
            return {"folder": str(folder), **copy.held()}

    def restore(self, backup: str | os.PathLike[str]) -> dict[str, Any]:
        """Become what a backup is, in one commit: who searches goes on with what they look at.  Returns what is there
        now, as docs/schema.md has it.

        Raises:
            StoreUnavailable, WrongFormat, StoreLocked, DiskFull: as `parts.restore`; nothing was changed.
        """
        parts.restore(self.store, Path(backup))
        return {"library": self.place, **self.held()}

    def held(self) -> dict[str, Any]:
        """Which commit this is, and how much it has."""
        with self.store.snapshot() as snapshot:
            counts = snapshot.counts()
            return {"generation": snapshot.generation} | {key: counts[key] for key in ("media", "segments", "bytes")}

    def compact(self) -> None:
        """Give the room of deleted rows back."""
        self.store.compact()

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _named(name: str, everything: Sequence[Media]) -> Media:
    """The one media that a person means by `name`."""
    path = places.named(name)
    by_path = [item for item in everything if name in item.paths or path in item.paths]
    if by_path:
        return by_path[0]
    key = parse_reference(name)[0] if _is_reference(name) else name
    found = [item for item in everything if item.key == key]
    if not found and len(key) >= LEAST_ID:
        found = [item for item in everything if item.key.startswith(key)]
    if len(found) != 1:
        why = f"begins the id of {len(found)} media: write more of it" if found else "is no id or path of this library"
        raise NoSuchMedia(f"{name} {why}; `reelseek media` lists what is there")
    return found[0]


def _is_reference(name: str) -> bool:
    try:
        return parse_reference(name)[1] is not None
    except ValueError:
        return False
