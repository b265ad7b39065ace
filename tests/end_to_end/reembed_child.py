"""Embeds a library of `index_child.py` again with another encoder, in a process of its own, so that a test can kill it.

PYTHONPATH=.:tests python reembed_child.py LIBRARY             builds, and goes on where it stopped
PYTHONPATH=.:tests python reembed_child.py LIBRARY old         ends with the new recipe alone
"""

import sys
from dataclasses import replace
from pathlib import Path

import fakes
import index_child

from indexer import reembedding
from indexer.encoding import Encoders
from indexer.events import Summary
from indexer.executors import local as executor
from indexer.recipe import Model
from indexer.segmenters import surprise
from retriever import processes
from retriever.ports import Store
from retriever.stores import local as stores
from retriever.types import Pictures, Searched, Times, Tokens

RECIPE = replace(index_child.RECIPE, models=(Model("colours", "hues", "", "2"),), representatives=2)


class Hues(fakes.Colours):
    """Other weights of the same name: its rows are not comparable with those of `Colours`."""

    def __init__(self) -> None:
        super().__init__()
        self.space = replace(self.space, media_side="colours:2")

    def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
        return super().encode_frames(frames[:, :, :, ::-1], spans)  # red is blue


def encoders() -> Encoders:
    return replace(index_child.encoders(), vision={"colours": Hues()}, speech={}, text={})


def run(store: Store, *, limit_s: float = 20.0, owner: str = "") -> reembedding.Again:
    return reembedding.Again(
        RECIPE,
        encoders(),
        store,
        surprise.build(),
        owner or processes.me(),
        lambda event: None,
        limit_s=limit_s,
    )


def reembed(store: Store, **how: float) -> Summary:
    return reembedding.reembed(run(store, **how), executor.build())  # type: ignore[arg-type]


if __name__ == "__main__":
    library = stores.build(Path(sys.argv[1]), create=False)
    if sys.argv[2:] != ["old"]:
        reembed(library)
    elif library.catalog.reembedding():
        library.choose(Searched.NEW)
        reembedding.drop(library, Searched.OLD, processes.me())
    library.close()
