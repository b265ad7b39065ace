"""A library goes over to another recipe without being lost: its media get the new spaces beside the old ones.

    library ── who lacks what ──▶ jobs ── executor ──▶ decode · encode · checkpoint a chapter · one commit a media

Frames and sounds are encoded again; segments stay as they were cut, and lines as they were read.  What is searched
changes when somebody says so, and not before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import monotonic

from indexer import places
from indexer import recipe as recipes
from indexer.decoding import Wanted
from indexer.encoding import Encoders
from indexer.events import Committed, Planned, Summary, Warned
from indexer.hashing import known_stat
from indexer.plan import NO_PICTURE, NO_SOUND, Given, Job, job_id
from indexer.ports import Executor
from indexer.recipe import Recipe
from indexer.representatives import segment_vectors
from indexer.run import Run, missing
from indexer.saliency import RATE
from retriever.crashpoints import reached
from retriever.errors import MediaError, WrongRecipe
from retriever.ports import Snapshot, Store
from retriever.types import Entry, Filter, Media, Modality, Searched, Segment, Side, TimeSpan, Tokens

ENCODED = (Modality.VISION, Modality.SOUND)
"""Modalities that are embedded again; the others have lines, which one recognizer has read."""


@dataclass(slots=True)
class Again(Run):
    """A run that adds spaces to media which are there.  A file that fails stays as it is, and is tried again."""

    kept: frozenset[Modality] = frozenset()  # modalities that both recipes encode alike, as far as this machine can
    heard: frozenset[int] = frozenset()  # samples a second, as many as an index by this recipe listens to

    def wanted(self) -> Wanted:
        """As ever, and with pictures the sound too: the last picture is on show until both have ended."""
        asked = Run.wanted(self)  # `super()` does not find its class in one with slots
        return replace(asked, rates=tuple(sorted({*asked.rates, *self.heard}))) if asked.sampler else asked

    def done(self, job: Job) -> bool:
        return self.lacking(job.key) is None

    def lacking(self, key: str) -> frozenset[str] | None:
        """The spaces that a media still lacks; None: it is gone, or all is there."""
        with self.store.snapshot() as snapshot:
            return next((lacks for _, lacks in snapshot.lacking(Filter(media=frozenset({key})))), None)

    def commit(self, job: Job) -> None:
        """Add to a media what was encoded of it, in one step; one that was deleted meanwhile stays so."""
        began = monotonic()
        if self.whole(job) is None:
            return
        staging = self.staging(job)
        probe = staging.probe()
        tokens, _ = staging.joined(self.encoders.spaces)
        media = self.extend(job.key, tokens, missing(probe, self.encoders))
        self.leave(job.id(self.recipe))
        reached("reembed-after-unstage")
        if media:
            self.committed(job, media, monotonic() - began)

    def extend(self, key: str, tokens: Mapping[str, Tokens], lacks: Mapping[str, str]) -> Media | None:
        """Commit tokens of a media by space; None: it is not there any more.  `lacks` are modalities that the new
        recipe did not make of it, and why."""
        while True:
            with self.store.snapshot() as snapshot:
                held = snapshot.media(Filter(media=frozenset({key})))
                if not held:
                    return None
                entry = self._entry_of(held[0], _segments(snapshot, key), tokens, lacks)
            reached("reembed-before-commit")
            if self.store.extend(entry):
                reached("reembed-after-commit")
                return entry.media

    def adopt(self, media: Media) -> None:
        """Make a media one of the new recipe's that has all it brings."""
        lacks = {modality.value: reason for modality, reason in self.encoders.missing.items()}
        if made := self.extend(media.key, {}, lacks):
            self.summary.indexed.append(made.path)
            self.watch(Committed(made.path, made.key, made.missing))

    def _entry_of(
        self, media: Media, segments: tuple[Segment, ...], tokens: Mapping[str, Tokens], lacks: Mapping[str, str]
    ) -> Entry:
        stays = {name: why for name, why in media.missing.items() if why in (NO_PICTURE, NO_SOUND) or self._stays(name)}
        told = {name: why for name, why in lacks.items() if why in (NO_PICTURE, NO_SOUND) or not self._stays(name)}
        most = self.recipe.representatives
        return Entry(
            replace(media, recipe=self.recipe.digest, missing=stays | told),
            segments,
            {space: one for space, one in self.encoders.spaces.items() if space in tokens},
            tokens,
            {space: segment_vectors(rows, segments, most) for space, rows in tokens.items()},
        )

    def _stays(self, modality: str) -> bool:
        """Whether what a media has in a modality is what the new recipe would make of it."""
        return modality not in ENCODED or Modality(modality) in self.kept

    def set_aside(self, path: str, error: MediaError, before: int = 0, planned: bool = True) -> None:
        """A file fails, and is in no quarantine: what the old recipe made of it is searched on."""
        self.failed(path, str(error), planned)


def reembed(run: Again, executor: Executor) -> Summary:
    """Bring what the recipe of this run makes to all media of the library that lack it.

    Killed and started again it goes on; two that run at once share the work; media that were indexed meanwhile are
    found by the next run.

    A run that is to be paused or cancelled stops within a batch.

    Raises:
        WrongRecipe: as `sides`.
        DiskFull: what was committed stays.
    """
    began = monotonic()
    run.store.begin(*sides(run))
    reached("reembed-begun")
    _sweep(run)
    lacking = _lacking(run)
    jobs, refused = _jobs(lacking, run)
    with run.store.snapshot() as snapshot:
        run.summary.unchanged = len(snapshot.media()) - len(lacking)
    run.summary.files = len(lacking)
    run.watch(Planned(len(lacking), run.summary.unchanged, 0))
    for modality, reason in run.encoders.missing.items():
        run.watch(Warned(f"{modality} {'stays as it is' if modality in run.kept else 'is not embedded'}: {reason}"))
    for path, reason in refused.items():
        run.failed(path, reason)
    for media, lacks in lacking:
        if not lacks and not run.wish():
            run.adopt(media)
    every = run.encoders
    run.heard = frozenset({it.rate for it in every.sound.values()} | ({RATE} if run.recipe.speech else set()))
    for spaces, several in jobs.items():
        if run.wish():
            break
        run.encoders = only(every, spaces)
        executor.carry_out(Given(several), run)
    run.encoders = every
    if not run.wish():
        run.store.refresh()
    run.summary.wall_seconds = monotonic() - began
    return run.summary


def drop(store: Store, gone: Searched, owner: str) -> None:
    """Take what one of the two recipes made out of the library, and the checkpoints of its jobs.

    Raises:
        WrongRecipe, StoreLocked: as `Store.drop`.
    """
    two = store.catalog.reembedding()
    reached("reembed-before-drop")
    store.drop(gone)
    reached("reembed-after-drop")
    assert two
    digest = (two.old if gone is Searched.OLD else two.new).digest
    for name in store.catalog.staged():
        if name.endswith(job_id("", digest)) and store.catalog.lease(name, owner, 1.0):
            store.catalog.unstage(name)
            store.catalog.release(name, owner)


def only(encoders: Encoders, spaces: frozenset[str]) -> Encoders:
    """Those that fill one of these spaces."""
    return replace(
        encoders,
        vision={name: one for name, one in encoders.vision.items() if one.space.id in spaces},
        clips={name: one for name, one in encoders.clips.items() if one.space.id in spaces},
        sound={name: one for name, one in encoders.sound.items() if one.space.id in spaces},
    )


def alike(old: Recipe, new: Recipe, modality: Modality) -> bool:
    """Whether two recipes encode a modality with the same plug-ins, reading the same models."""
    names = old.names(modality), new.names(modality)
    models = [[(made := recipe.model(name)) and made.digest for name in names[0]] for recipe in (old, new)]
    return names[0] == names[1] and models[0] == models[1]


# ----------------------------------------------------------------------------------------------------------- beginnings


def sides(run: Again) -> tuple[Side, Side]:
    """The recipe that the library has, and the one of this run, which it may hold beside that.

    Raises:
        WrongRecipe: the library is of this recipe already, is on its way to another one, or would need other lines.
    """
    catalog, recipe = run.store.catalog, run.recipe
    made, two = catalog.recipe(), catalog.reembedding()
    if made is None:
        raise WrongRecipe("there is nothing in this library to embed again: reelseek index FILES fills it")
    if two is None and made[0] == recipe.digest:
        raise WrongRecipe(
            f"this library is of recipe {recipe.digest} already: name another --pack, --model or --sound-model"
        )
    if two and two.new.digest != recipe.digest:
        raise WrongRecipe(
            f"this library is on its way to recipe {two.new.digest}, and pack {recipe.pack!r} is {recipe.digest}: take "
            "the --pack and models that it began with, or call it off with reelseek reembed --search old and then "
            "--drop new"
        )
    before = Side(two.old.digest, two.old.recipe, two.old.spaces) if two else Side(*made, frozenset())
    old = recipes.of(before.recipe)
    theirs, ours = (", ".join((*one.speech, *one.text, one.sentences)) for one in (old, recipe))
    if theirs != ours:
        raise WrongRecipe(
            f"the lines of this library are of {theirs}, and pack {recipe.pack!r} reads with {ours}: lines are not "
            "read again, index into another --library"
        )
    with run.store.snapshot() as snapshot:
        held = {space: one.space for space, one in snapshot.held().items()}
    run.kept = frozenset(one for one in run.encoders.missing if alike(old, recipe, one))
    stay = {space for space, one in held.items() if one.modality not in ENCODED or one.modality in run.kept}
    new = Side(recipe.digest, recipe.text_form, frozenset(run.encoders.spaces) | stay)
    if two is None:
        before = replace(before, spaces=frozenset(held))
        if new.spaces == before.spaces:
            raise WrongRecipe(
                f"pack {recipe.pack!r} makes the same spaces as this library has: media that are to be sampled or cut "
                "otherwise are indexed into another --library"
            )
    return before, new


def _sweep(run: Again) -> None:
    """Remove the checkpoints of media that were committed just before somebody was killed."""
    catalog, ours = run.store.catalog, job_id("", run.recipe.digest)
    for name in catalog.staged():
        if name.endswith(ours) and run.lacking(name.removesuffix(ours)) is None and run.lease(name) is None:
            run.leave(name)


def _lacking(run: Again) -> list[tuple[Media, frozenset[str]]]:
    """Media that can be given something here, and which of the spaces."""
    makes = run.encoders.spaces.keys()
    with run.store.snapshot() as snapshot:
        lacking = snapshot.lacking()
    return [(media, lacks.intersection(makes)) for media, lacks in lacking if not lacks or not lacks.isdisjoint(makes)]


def _jobs(
    lacking: list[tuple[Media, frozenset[str]]], run: Again
) -> tuple[dict[frozenset[str], list[Job]], dict[str, str]]:
    """What is to be decoded, by the spaces that it is decoded for; and by path the media that cannot be, with the
    reason: none of their files is what it was."""
    jobs: dict[frozenset[str], list[Job]] = {}
    refused: dict[str, str] = {}
    for media, lacks in lacking:
        if run.wish():
            break
        if not lacks:
            continue
        found = _file(media, run.store)
        if isinstance(found, Job):
            jobs.setdefault(lacks, []).append(found)
        else:
            refused[media.path or media.key] = found
    return jobs, refused


def _file(media: Media, store: Store) -> Job | str:
    """A file that has the content of a media; or why there is none."""
    reasons = []
    for path in media.paths:
        try:
            stat = known_stat(places.of(path), store)
        except MediaError as error:
            reasons.append(str(error))
            continue
        if stat.key == media.key:
            return Job(places.of(path), stat, media.metadata, media.paths)
        reasons.append(f"{path} has another content than when it was indexed: index it again")
    return "; ".join(reasons)


def _segments(snapshot: Snapshot, key: str) -> tuple[Segment, ...]:
    """How a media is cut."""
    table = snapshot.segments(snapshot.numbers(Filter(media=frozenset({key}))))
    return tuple(
        Segment(TimeSpan(start, end), bool(still))
        for (start, end), still in zip(table.spans.tolist(), table.still.tolist(), strict=True)
    )
