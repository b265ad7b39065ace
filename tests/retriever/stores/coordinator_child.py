"""A coordinator of a library in Qdrant, in a process of its own: what several of them do at once is tested with it.

PYTHONPATH=.:tests python coordinator_child.py WHAT LIBRARY CATALOG ...

add NAME COUNT   add media, and say how many there are then
hold             take a lease in the name of another host, and keep it
index PATH...    index files
"""

import sys
import time
from contextlib import closing
from pathlib import Path

from end_to_end import index_child
from libraries import entry

from retriever.stores import qdrant

if __name__ == "__main__":
    what, library, catalog, *words = sys.argv[1:]
    with closing(qdrant.build(library, catalog=catalog)) as store:
        if what == "add":
            name, count = words
            for seed in range(int(count)):
                store.add(entry(f"{name}{seed}", seed))
                store.add(entry("shared", seed, segments=3 + seed))
            with store.snapshot() as snapshot:
                sys.stdout.write(f"{len(snapshot.media())}\n")
        elif what == "index":
            index_child.index(store, [Path(path) for path in words])
        else:
            assert store.catalog.lease("job", "another-host:1:2", 600)
            sys.stdout.write("held\n")
            sys.stdout.flush()
            time.sleep(60)
