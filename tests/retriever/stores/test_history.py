"""Whatever happened to a library, it is what its media are: by chance, against one that was made anew."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from libraries import HEARD, NEW, OLD, SEEN, SEEN_AGAIN, contents, entry, more

from retriever.ports import Store
from retriever.stores import local, memory, qdrant
from retriever.types import Entry, Metadata, Searched

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
extensions = st.sampled_from("abcd").map(lambda key: ("extend", key))
chosen = st.sampled_from([Searched.OLD, Searched.BOTH])
changes = st.lists(st.one_of(adds, deletes, titles, st.just("compact"), extensions, chosen), max_size=12)


def apply(change: Any, store: Store, held: dict[str, Entry]) -> None:
    """Change the store, and the dict that it should be equal to."""
    if isinstance(change, Entry):
        store.add(change)
        held[change.media.key] = change
    elif change == "compact":
        store.compact()
    elif isinstance(change, Searched):
        begun(store)
        store.choose(change)
    elif change[:1] == ("extend",):
        begun(store)
        if change[1] in held:
            assert store.extend(more(held[change[1]], SEEN_AGAIN))
    elif change and isinstance(change[-1], Metadata):
        key, metadata = change
        if key in held:
            store.set_metadata({key: metadata})
            held[key] = _said(held[key], metadata)
    else:
        assert store.delete(change) == len({key for key in change if key in held})
        for key in change:
            held.pop(key, None)


def begun(store: Store) -> None:
    """A second recipe is on its way."""
    store.catalog.set_recipe(OLD.digest, OLD.recipe)
    store.begin(OLD, NEW)


def newer(each: Entry) -> Entry:
    """What the new recipe alone makes of a media."""
    made = more(each, SEEN_AGAIN)
    if HEARD.id not in each.spaces:
        return replace(made, lines=each.lines)
    return replace(
        made,
        spaces={**made.spaces, HEARD.id: HEARD},
        tokens={**made.tokens, HEARD.id: each.tokens[HEARD.id]},
        vectors={**made.vectors, HEARD.id: each.vectors[HEARD.id]},
        lines=each.lines,
    )


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
    if store.catalog.reembedding():
        store.choose(Searched.OLD)
    with store.snapshot() as snapshot:
        assert contents(snapshot) == anew(held)
    begun(store)
    for each in reversed(held.values()):
        store.extend(more(each, SEEN_AGAIN))
    store.choose(Searched.NEW)
    expected = anew({key: newer(each) for key, each in held.items()})
    with store.snapshot() as snapshot:
        assert contents(snapshot) == expected
    store.drop(Searched.OLD)
    with store.snapshot() as snapshot:
        assert contents(snapshot) == expected
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


@given(changes)
@settings(max_examples=8, deadline=None)
def test_history_leaves_no_trace_in_qdrant(happened: list[Any]) -> None:
    check(qdrant.build(), happened)
