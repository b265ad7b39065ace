"""A corpus becomes a library.

listing ── hashing ── plan ──▶ jobs ── executor ──▶ decode · encode · checkpoint a chapter · one commit a media
"""

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic

from indexer.events import Summary, Warned
from indexer.listing import Listing
from indexer.places import Place
from indexer.plan import job_id, prune
from indexer.planning import planning
from indexer.ports import Executor
from indexer.run import Run
from retriever.errors import SpaceMismatch, WrongRecipe
from retriever.types import Filter, Modality, Reembedding


def index(listing: Listing, run: Run, executor: Executor, prune_below: Sequence[Place] = ()) -> Summary:
    """Bring a library to where its sources are.

    What is unchanged is skipped, what was renamed is renamed, one bad file stops nothing.  The first files are decoded
    while later ones are looked at.  Media whose files are gone are taken out only below `prune_below`, as `prune` has
    it.  A run that is to be paused or cancelled stops within a batch; one that goes over several times adds up in its
    summary.

    Raises:
        WrongRecipe: the library was made with another recipe.
        SpaceMismatch: the library was made with other weights.
        DiskFull: there is no room, or less than the run is to leave; what was committed stays.
    """
    began, summary = monotonic(), run.summary
    _fits(run)
    able = frozenset(space.modality for space in run.encoders.spaces.values())
    _sweep(run)
    if run.wish():
        return summary
    with planning(listing, run, able) as plan:
        with run.trace.span("store", "look at the files", files=len(listing)):
            plan.begin()
        if run.wish():
            return summary
        for modality, reason in run.encoders.missing.items():
            run.watch(Warned(f"{modality} is not indexed: {reason}"))
        if plan.known:
            executor.carry_out(plan, run)
    for went in prune(prune_below, run.store, run.watch) if prune_below and not run.wish() else ():
        summary.pruned += went
        if run.wish():
            break
    if not run.wish():
        run.store.refresh()
    summary.wall_seconds += monotonic() - began
    return summary


def _fits(run: Run) -> None:
    """Refuse a library of another recipe or of other weights, before anything is decoded."""
    catalog, recipe = run.store.catalog, run.recipe
    held, two = catalog.recipe(), catalog.reembedding()
    if held is None:
        catalog.set_recipe(recipe.digest, recipe.text_form)
    elif two and recipe.digest != held[0] and recipe.digest in (two.old.digest, two.new.digest):
        raise WrongRecipe(
            f"this library holds two recipes, and files are indexed with {held[0]} as long as {two.searched} is "
            f"searched; pack {recipe.pack!r} is {recipe.digest}: reelseek reembed --search chooses"
        )
    elif held[0] != recipe.digest:
        raise WrongRecipe(
            f"this library was made with recipe {held[0]}, and pack {recipe.pack!r} is recipe {recipe.digest}: "
            "index into another --library, or take the --pack, models, --budget and --sampling that made this one, or "
            "go over to this one with reelseek reembed"
        )
    elif held[1] != recipe.text_form:
        catalog.set_recipe(recipe.digest, recipe.text_form)  # the same weights, and they lie elsewhere by now
    with run.store.snapshot() as snapshot:
        own = two.current.spaces if two else snapshot.spaces.keys()
        there = {space.name: space for key, space in snapshot.spaces.items() if key in own}
    for space in run.encoders.spaces.values():
        other = there.get(space.name, space)
        if other != space:
            raise SpaceMismatch(
                f"{space.name} of this library is {other.id}, the weights here make {space.id}: "
                "install the version that made it, or index into another --library"
            )
    if two:
        _know(run, two)


def _know(run: Run, two: Reembedding) -> None:
    """Weights may have come since the second recipe was begun: the library learns whose their spaces are."""
    made = run.encoders.spaces
    lines = frozenset(key for key, space in made.items() if space.modality in (Modality.SPEECH, Modality.TEXT))
    old, new = (
        replace(side, spaces=side.spaces | (made.keys() if side is two.current else lines))
        for side in (two.old, two.new)
    )
    if (old, new) != (two.old, two.new):
        run.store.begin(old, new)
    with run.store.snapshot() as snapshot:
        lacking = len(snapshot.lacking())
    if two.current is two.new and lacking:
        run.watch(Warned(f"{lacking:,} media lack this recipe, and are left to reelseek reembed"))


def _sweep(run: Run) -> None:
    """Remove the checkpoints of media that were committed just before somebody was killed, and of recipes that the
    library has given up."""
    catalog, two = run.store.catalog, run.store.catalog.reembedding()
    digests = {run.recipe.digest, *((two.old.digest, two.new.digest) if two else ())}
    if not (staged := catalog.staged()):
        return
    with run.store.snapshot() as snapshot:
        there = snapshot.media(Filter(media=frozenset(name.partition("-")[0] for name in staged)))
    done = {job_id(media.key, run.recipe.digest) for media in there if media.recipe == run.recipe.digest}
    ours = tuple(job_id("", digest) for digest in digests)
    for name in staged:
        if (name in done or not name.endswith(ours)) and run.lease(name) is None:
            run.leave(name)
