"""A process that changes a library in a fixed way, for tests that kill it wherever they like.

It is started once, imports what is slow to import, and then forks for each request, so that a kill costs
milliseconds.  A request is a line of JSON on stdin: folder, how, and where to crash.  Two lines come back: the child's
process id, and its exit code when it has ended.

once      do all changes, and end
forever   do them again and again
upgrade   bring the library to the format that the newest migration makes
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from libraries import HEARD, SEEN, entry

from retriever.ports import Store
from retriever.stores import _ann, _format, local
from retriever.types import Metadata

_ann.FLAT_UP_TO = 8
"""So that these small libraries have indexes, too."""

NEXT_MIGRATION = "ALTER TABLE media ADD COLUMN rating INTEGER NOT NULL DEFAULT 0;\n"

Change = Callable[[Store], object]


def adds(key: str, seed: int, paths: tuple[str, ...] = ()) -> Change:
    return lambda store: store.add(entry(key, seed, paths=paths))


CHANGES: tuple[Change, ...] = (
    adds("a", 0),
    adds("b", 0, ("/1", "/2")),
    lambda store: store.add(entry("c", 0, spaces=[HEARD])),
    lambda store: store.refresh(),
    adds("a", 1),
    lambda store: store.set_metadata("b", Metadata(title="renamed")),
    lambda store: store.set_paths("b", ["/3"]),
    adds("d", 0, ("/3",)),  # takes b's last path
    lambda store: store.delete(["c", "nobody"]),
    lambda store: store.compact(),
    lambda store: store.add(entry("e", 2, spaces=[SEEN], segments=5)),
    adds("d", 3, ("/3",)),
    lambda store: store.compact(),
)


def carry_out(store: Store) -> None:
    for change in CHANGES:
        change(store)


def with_another_migration() -> None:
    """As if a newer version were installed."""
    newest = (*_format.migrations(), (_format.current() + 1, NEXT_MIGRATION))
    _format.migrations = lambda: newest  # type: ignore[assignment]


def main(folder: str, how: str) -> None:
    if how == "upgrade":
        with_another_migration()
        _format.upgrade(Path(folder))
        return
    store = local.build(Path(folder))
    store.catalog.set_recipe("r1", "{}")
    carry_out(store)
    while how == "forever":
        carry_out(store)
    store.close()


def serve() -> None:
    for line in sys.stdin:
        folder, how, crash_at = json.loads(line)
        child = os.fork()
        if not child:
            os.environ["REELSEEK_CRASH_AT"] = crash_at
            main(folder, how)
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
