"""Whatever happened to a library, it is what its media are: by chance, against one that was made anew."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from libraries import HEARD, SEEN, contents, entry

from retriever.ports import Store
from retriever.stores import local, memory
from retriever.types import Entry, Metadata

SPACES = {"both": (SEEN, HEARD), "seen": (SEEN,), "heard": (HEARD,), "none": ()}

adds = st.builds(
    lambda key, seed, spaces, segments: entry(key, seed, spaces=SPACES[spaces], segments=segments),
    st.sampled_from("abcd"),
    st.integers(0, 3),
    st.sampled_from(sorted(SPACES)),
    st.integers(1, 4),
)
deletes = st.lists(st.sampled_from("abcd"), max_size=3).map(tuple)
titles = st.tuples(st.sampled_from("abcd"), st.text(max_size=5)).map(lambda pair: (pair[0], Metadata(title=pair[1])))
changes = st.lists(st.one_of(adds, deletes, titles, st.just("compact")), max_size=12)


def apply(change: Any, store: Store, held: dict[str, Entry]) -> None:
    """Change the store, and the dict that it should be equal to."""
    if isinstance(change, Entry):
        store.add(change)
        held[change.media.key] = change
    elif change == "compact":
        store.compact()
    elif change and isinstance(change[-1], Metadata):
        key, metadata = change
        if key in held:
            store.set_metadata(key, metadata)
            held[key] = _said(held[key], metadata)
    else:
        assert store.delete(change) == len({key for key in change if key in held})
        for key in change:
            held.pop(key, None)


def _said(before: Entry, metadata: Metadata) -> Entry:
    return replace(before, media=replace(before.media, metadata=metadata))


def anew(held: dict[str, Entry]) -> dict[str, Any]:
    store = memory.build()
    for key in sorted(held):
        store.add(held[key])
    with store.snapshot() as snapshot:
        found = contents(snapshot)
    store.close()
    return found


def check(store: Store, happened: list[Any]) -> None:
    held: dict[str, Entry] = {}
    for change in happened:
        apply(change, store, held)
    with store.snapshot() as snapshot:
        assert contents(snapshot) == anew(held)
    store.close()


@given(changes)
@settings(max_examples=30, deadline=None)
def test_history_leaves_no_trace_in_memory(happened: list[Any]) -> None:
    check(memory.build(), happened)


@given(changes)
@settings(max_examples=8, deadline=None)
def test_history_leaves_no_trace_on_disk(happened: list[Any]) -> None:
    with TemporaryDirectory() as place:
        check(local.build(Path(place) / "library"), happened)
        assert local.problems(Path(place) / "library") == []
