"""Indexes with encoders that need no weights, in a process of its own, so that a test can kill it.

python index_child.py LIBRARY PATH...
"""

import sys
from pathlib import Path

# The checkout before the tests: their folders mirror the packages' names.
sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import fakes

from indexer import pipeline, sources
from indexer.encoding import Encoders
from indexer.events import Summary
from indexer.executors import local as executor
from indexer.recipe import Recipe
from indexer.run import Run
from indexer.segmenters import surprise
from retriever import processes
from retriever.ports import Store
from retriever.stores import local as stores

RECIPE = Recipe(
    "fake",
    sentences="hashing",
    vision=("colours",),
    sound=("loudness",),
    speech=("nospeech",),
    text=("subtitles",),
    sampling="fixed(2)",
    pages="fixed(1)",
    chapter=4.0,
)


def encoders() -> Encoders:
    return Encoders(
        fakes.HashingSentences(),
        {"colours": fakes.Colours()},
        {"loudness": fakes.Loudness()},
        {"nospeech": fakes.NoSpeech()},
        {"subtitles": fakes.Subtitles()},
    )


def index(store: Store, paths: list[Path], *, prune: bool = False, limit_s: float = 20.0) -> Summary:
    run = Run(RECIPE, encoders(), store, surprise.build(), processes.me(), lambda event: None, limit_s=limit_s)
    return pipeline.index(sources.found(paths), run, executor.build(), paths if prune else [])


if __name__ == "__main__":
    library = stores.build(Path(sys.argv[1]))
    done = index(library, [Path(path) for path in sys.argv[2:]])
    library.close()
    print(len(done.indexed), len(done.quarantined))
