"""Indexing runs from a person's side: what was asked for, kept so that it can be asked for again, and carried out."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from api import parts
from api.outfits import Outfit
from indexer import jobs, manifests, pipeline, places, reembedding, sources, tracing, waiting, watching
from indexer.encoding import Encoders
from indexer.events import Summary, Warned, Watch
from indexer.listing import Listing
from indexer.places import Place
from indexer.policy import Policy
from indexer.recipe import Recipe
from indexer.run import Run
from retriever import processes
from retriever.errors import CannotOpen, JobOver, ManifestError, MissingExtra, WrongFormat
from retriever.ports import Store
from retriever.settings import Settings
from retriever.types import Metadata, Quarantined, RunRecord, RunState, Wish, jsonable

RunT = TypeVar("RunT", bound=Run)
DEFAULTS = Settings()
POLICY = Policy(DEFAULTS.tries, DEFAULTS.most_seconds, DEFAULTS.most_bytes, DEFAULTS.least_free)
INDEX, REEMBED = "index", "reembed"
"""Kinds of jobs: files go into the library, or its media are embedded again by another recipe."""
PATIENCE = 30.0
"""Seconds that somebody who stops a job waits for it: longer than a batch takes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a job was asked for.  Paths are absolute, so that it can be done again from anywhere."""

    paths: tuple[str, ...]  # none, where the media are that the library has
    pack: str = DEFAULTS.pack
    budget: float = DEFAULTS.budget
    sampling: str = DEFAULTS.sampling
    metadata: Metadata | None = None
    prune: bool = False
    jobs: int = DEFAULTS.jobs
    policy: Policy = POLICY
    models: parts.ModelChoice = parts.AS_MADE
    every: float = 0.0  # seconds between two looks at the paths; 0: one pass
    workers: parts.Workers = parts.HERE
    only: tuple[str, ...] = ()  # of the files behind `paths` only these; empty: all of them
    kind: str = INDEX

    @classmethod
    def of(cls, text: str) -> Self:
        """What `text` wrote; what it does not say is as usual.

        Raises:
            WrongFormat: it asks for something that only a newer version knows.
        """
        told: dict[str, Any] = json.loads(text)
        kinds = {"metadata": Metadata, "policy": Policy, "models": parts.ModelChoice, "workers": parts.Workers}
        inner = {name: told[name] for name in kinds if told.get(name)}
        for kind, said in ((cls, told), *((kinds[name], said) for name, said in inner.items())):
            if unknown := sorted(said.keys() - {field.name for field in fields(kind)}):
                raise WrongFormat(
                    f"a job of this library asks for {', '.join(unknown)}, which this version does not know: install "
                    "the one that registered it"
                )
        if (kind_of := told.get("kind", INDEX)) not in (INDEX, REEMBED):
            raise WrongFormat(f"a job of this library is to {kind_of}: install the version that registered it")
        made = {name: kinds[name](**_frozen(said)) for name, said in inner.items()}
        return cls(**{**_frozen(told), **made})

    @property
    def text(self) -> str:
        return json.dumps(jsonable(self))

    @property
    def folders(self) -> list[Place]:
        """
        Raises:
            Unreachable: the server of an address gives no answer.
        """
        return [place for place in map(places.of, self.paths) if places.is_folder(place)]

    def recipe(self) -> Recipe:
        """
        Raises:
            BadSettings, MissingExtra, WeightsError: as `parts.recipe`.
        """
        return parts.recipe(self.pack, self.models, self.budget, self.sampling)

    def found(self, stopped: Callable[[], bool] = lambda: False) -> Listing:
        """
        Raises:
            CannotOpen, ManifestError, DiskFull: as `sources.found`.
        """
        every = sources.found([places.of(path) for path in self.paths], self.metadata, stopped)
        only = set(self.only)
        return Listing.of(source for source in every if str(source.path) in only) if only else every

    def covers(self, files: Iterable[str]) -> list[str]:
        """Those of these files that are behind the paths."""
        wanted, roots = list(files), [places.of(path) for path in self.paths]
        suffixes = manifests.SUFFIXES
        lists = [
            root for root in roots if isinstance(root, Path) and root.suffix.lower() in suffixes and root.is_file()
        ]
        listed = sources.found(lists)
        return [file for file in wanted if file in listed or any(places.is_below(file, root) for root in roots)]


def kind(record: RunRecord) -> str:
    """What a job does, also of one of a newer version."""
    return str(json.loads(record.asked).get("kind", INDEX))


def _frozen(told: dict[str, Any]) -> dict[str, Any]:
    """Lists as tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}


def absolute(paths: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """
    Raises:
        CannotOpen: one is an address that cannot be read.
    """
    return tuple(places.named(path) for path in paths)


def settled(models: parts.ModelChoice) -> parts.ModelChoice:
    """The same, files and folders by their absolute paths."""

    def place(name: str) -> str:
        return str(Path(name).absolute()) if name and Path(name).exists() else name

    plugin, colon, model = models.video_model.partition(":")
    return replace(
        models,
        model=place(models.model),
        checkpoint=place(models.checkpoint),
        sound_model=place(models.sound_model),
        sound_checkpoint=place(models.sound_checkpoint),
        video_model=f"{plugin}{colon}{place(model)}",
    )


def index(store: Store, asked: Asked, watch: Watch, profile: Path | None = None) -> Summary:
    """Register a job and carry it out, with a trace in the file `profile`.

    Raises:
        as `Library.index`; of a path that is not there and of a pack or model that cannot be, nothing is registered.
    """
    with _telling(watch):
        for path in asked.paths:
            sources.there(places.of(path))
        recipe = asked.recipe()
        with tracing.kept(profile) as trace:
            record = jobs.register(store, replace(asked, models=settled(asked.models)).text)
            summary = _carry_out(store, record, asked, recipe, watch, Outfit(), trace)
    if trace.failed:
        watch(Warned(trace.failed))
    return summary


def reembed(store: Store, asked: Asked, watch: Watch) -> Summary:
    """Register a job that brings what another recipe makes to all media, and carry it out.

    Raises:
        as `Library.reembed`; of a recipe that the library cannot go over to, nothing is registered.
    """
    run = _again(store, asked, asked.recipe(), watch, Outfit(), Summary())
    reembedding.sides(run)
    record = jobs.register(store, replace(asked, models=settled(asked.models)).text)
    return _embed(record, run.summary, store, watch, lambda: run)


def resume(store: Store, name: str, watch: Watch, outfit: Outfit | None = None) -> tuple[jobs.Standing, Summary | None]:
    """Go on with a job where it stopped, as it was asked for, with an `outfit` if there is one from jobs before.  None:
    there is nothing to be done, it is over, or somebody works on it.

    Raises:
        NoSuchJob: there is none of this name.
        JobOver: it was cancelled, or others have brought it to its end by the time that it would go on.
        as `Library.index`.
    """
    found = jobs.named(store, name)
    if found.by and found.record.wish is Wish.PAUSE:
        found = jobs.pause(store, name, PATIENCE)  # it is about to stop
    if found.record.state is RunState.CANCELLED:
        cancelled = Asked.of(found.record.asked)
        again = " ".join((cancelled.kind, *cancelled.paths))
        raise JobOver(f"job {found.record.id} was cancelled, and is not gone on with: reelseek {again}")
    if found.by or found.is_over:
        return found, None
    asked = Asked.of(found.record.asked)
    summary = _gone_on(store, found.record, asked, asked.recipe(), watch, outfit or Outfit())
    return jobs.named(store, found.record.id), summary


def retry(
    store: Store, name: str | None, files: Sequence[str], watch: Watch
) -> tuple[list[tuple[jobs.Standing, Summary]], list[str]]:
    """Take files out of quarantine, and index them as the newest job did that they belong to, or as the one named
    `name` did.  `files` are files, or folders of them; none: all.  Also returns files that no job knows; they are out
    of quarantine all the same.  A job that embeds media again has none there: it is done once more.

    Raises:
        NoSuchJob: there is no job of this name.
        as `Library.index`.  Of a pack or model that cannot be, all stay in quarantine.
    """
    runs = [jobs.named(store, name)] if name else jobs.standing(store)[::-1]
    if name and (asked := Asked.of(runs[0].record.asked)).kind == REEMBED:
        again = jobs.register(store, asked.text)
        summary = _gone_on(store, again, asked, asked.recipe(), watch, Outfit())
        return [(jobs.named(store, again.id), summary)], []
    shut = {entry.path for entry in store.catalog.quarantined() if not files or _below(entry, files)}
    held = store.catalog.recipe()
    work: list[tuple[Asked, Recipe]] = []
    for run in runs:
        if not shut:
            break
        asked = Asked.of(run.record.asked)
        try:
            mine = asked.covers(sorted(shut))
        except (CannotOpen, ManifestError, MissingExtra):  # its list cannot be read any more
            continue
        if not mine:
            continue
        recipe = asked.recipe()
        if held and recipe.digest != held[0] and not name:  # it was refused, or the library has gone over to another
            continue
        shut -= set(mine)
        work.append((replace(asked, only=tuple(mine), prune=False, every=0.0), recipe))
    left = [] if name else sorted(shut)
    store.catalog.forget([*left, *(path for asked, _ in work for path in asked.only)])
    done, outfit = [], Outfit()
    for asked, recipe in work:
        record = jobs.register(store, asked.text)
        summary = _carry_out(store, record, asked, recipe, watch, outfit)
        done.append((jobs.named(store, record.id), summary))
    return done, left


def _below(entry: Quarantined, files: Sequence[str]) -> bool:
    return any(places.is_below(entry.path, places.of(file)) for file in files)


def _gone_on(store: Store, record: RunRecord, asked: Asked, recipe: Recipe, watch: Watch, outfit: Outfit) -> Summary:
    """Carry out a job of either kind."""
    if asked.kind == REEMBED:
        summary = Summary()
        return _embed(record, summary, store, watch, lambda: _again(store, asked, recipe, watch, outfit, summary))
    return _carry_out(store, record, asked, recipe, watch, outfit)


def _again(
    store: Store, asked: Asked, recipe: Recipe, watch: Watch, outfit: Outfit, summary: Summary
) -> reembedding.Again:
    encoders = outfit.encoders(replace(recipe, speech=(), text=()), asked.models)  # no line is read again
    return _run(reembedding.Again, store, asked, recipe, encoders, watch, summary)


def _run(
    kind: type[RunT],
    store: Store,
    asked: Asked,
    recipe: Recipe,
    encoders: Encoders,
    watch: Watch,
    summary: Summary,
    post: jobs.Post | None = None,
    trace: tracing.Trace | None = None,
) -> RunT:
    return kind(
        recipe=recipe,
        encoders=encoders,
        store=store,
        segmenter=parts.SEGMENTERS.load(recipe.segmenter).build(),
        owner=processes.me(),
        watch=watch,
        children=parts.decoders(asked.jobs),
        summary=summary,
        policy=asked.policy,
        post=post,
        trace=trace or tracing.Trace(),
    )


def _embed(
    record: RunRecord, summary: Summary, store: Store, watch: Watch, made: Callable[[], reembedding.Again]
) -> Summary:
    """Carry out what is `made` at work, where whoever stops the job meanwhile is heard: models take seconds."""
    with _telling(watch), jobs.at_work(store, record, processes.me(), summary) as post:
        run = made()
        run.post = post
        return reembedding.reembed(run, parts.EXECUTORS.load("local").build())


def _telling(watch: Watch) -> AbstractContextManager[None]:
    """Whoever watches is told of servers that are waited for."""
    return waiting.heard(lambda text: watch(Warned(text)))


def _carry_out(
    store: Store,
    record: RunRecord,
    asked: Asked,
    recipe: Recipe,
    watch: Watch,
    outfit: Outfit,
    trace: tracing.Trace | None = None,
) -> Summary:
    summary = Summary()
    with _telling(watch), jobs.at_work(store, record, processes.me(), summary) as post:
        found = asked.found(lambda: bool(post.wish(summary)))
        encoders = outfit.encoders(recipe, asked.models)
        if store.catalog.recipe() is None:
            parts.tried(recipe, encoders)
        run = _run(Run, store, asked, recipe, encoders, watch, summary, post, trace)
        executor = parts.executor(asked.workers, recipe, asked.models, asked.jobs)
        below = asked.folders if asked.prune else []
        if asked.every:
            watching.watch(asked.found, run, executor, below, asked.every)
        else:
            pipeline.index(found, run, executor, below)
    return summary
