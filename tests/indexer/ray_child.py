"""Indexes on a Ray of its own, in a process of its own, so that a test can interrupt or kill it.

python ray_child.py LIBRARY FOLDER SECONDS      a chapter takes so many seconds to encode
"""

import sys
from pathlib import Path

# The checkout before the tests: their folders mirror the packages' names.
sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import farm

from indexer import pipeline, sources
from indexer.executors import ray as executor
from indexer.run import Run
from indexer.segmenters import surprise
from retriever import processes
from retriever.stores import local

if __name__ == "__main__":
    library, folder, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    store = local.build(library)
    run = Run(farm.RECIPE, farm.encoders({}), store, surprise.build(), processes.me(), lambda event: None)
    pipeline.index(sources.found([folder]), run, executor.build(farm.making(slow=seconds)))
    store.close()
