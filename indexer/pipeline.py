"""A corpus becomes a library.

sources ── plan ──▶ jobs ── executor ──▶ decode · encode · checkpoint a chapter · one commit a media
"""

from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from indexer.events import Planned, Summary, Warned
from indexer.plan import job_key, plan, prune, settle
from indexer.ports import Executor
from indexer.run import Run
from indexer.sources import Source
from retriever.errors import SpaceMismatch, WrongRecipe


def index(sources: Sequence[Source], run: Run, executor: Executor, prune_below: Sequence[Path] = ()) -> Summary:
    """Bring a library to where its sources are.

    What is unchanged is skipped, what was renamed is renamed, one bad file stops nothing.  Media whose files are
    gone are taken out only below `prune_below`.

    Raises:
        WrongRecipe: the library was made with another recipe.
        SpaceMismatch: the library was made with other weights.
        DiskFull: what was committed stays.
    """
    began = monotonic()
    _fits(run)
    able = frozenset(space.modality for space in run.encoders.spaces.values())
    _sweep(run)
    made = plan(sources, run.recipe, run.store, able)
    summary = run.summary
    summary.unchanged, summary.renamed = made.unchanged, made.renamed
    run.watch(Planned(len(made.jobs), made.unchanged, len(made.renamed)))
    for modality, reason in run.encoders.missing.items():
        run.watch(Warned(f"{modality} is not indexed: {reason}"))
    settle(made, run.store)
    for path, reason in made.refused.items():
        run.set_aside(path, reason)
    if made.jobs:
        executor.carry_out(made.jobs, run)
    if prune_below:
        summary.pruned = prune(prune_below, run.store)
    run.store.refresh()
    summary.wall_seconds = monotonic() - began
    return summary


def _fits(run: Run) -> None:
    """Refuse a library of another recipe or of other weights, before anything is decoded."""
    catalog, recipe = run.store.catalog, run.recipe
    held = catalog.recipe()
    if held is None:
        catalog.set_recipe(recipe.digest, recipe.text_form)
    elif held[0] != recipe.digest:
        raise WrongRecipe(
            f"this library was made with recipe {held[0]}, and pack {recipe.pack!r} is recipe {recipe.digest}: "
            "index into another --library, or take the --pack that made this one"
        )
    elif held[1] != recipe.text_form:
        catalog.set_recipe(recipe.digest, recipe.text_form)  # the same weights, and they lie elsewhere by now
    with run.store.snapshot() as snapshot:
        there = {space.name: space for space in snapshot.spaces.values()}
    for space in run.encoders.spaces.values():
        other = there.get(space.name, space)
        if other != space:
            raise SpaceMismatch(
                f"{space.name} of this library is {other.id}, the weights here make {space.id}: "
                "install the version that made it, or index into another --library"
            )


def _sweep(run: Run) -> None:
    """Remove the checkpoints of media that were committed just before somebody was killed."""
    catalog = run.store.catalog
    with run.store.snapshot() as snapshot:
        done = {media.key for media in snapshot.media() if media.recipe == run.recipe.digest}
    for name in catalog.staged():
        if job_key(name) in done and run.lease(name) is None:
            run.leave(name)
