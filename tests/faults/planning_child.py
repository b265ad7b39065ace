"""Indexes as `index_child.py` does, files looked at one by one, and writes down which were read for their keys.

PYTHONPATH=.:tests python planning_child.py LIBRARY LOG PATH...
"""

import sys
from pathlib import Path

from end_to_end import index_child

from indexer import hashing, planning
from indexer.places import Place
from retriever.stores import local

if __name__ == "__main__":
    library, log, *paths = sys.argv[1:]
    hashing.BATCH = planning.BATCH = 1
    key_of = hashing.key_of

    def key(place: Place) -> str:
        found = key_of(place)
        with Path(log).open("a") as told:
            told.write(f"{place.name}\n")
        return found

    hashing.key_of = key
    store = local.build(Path(library))
    index_child.index(store, [Path(path) for path in paths])
    store.close()
