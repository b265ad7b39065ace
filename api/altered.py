"""A library as it would be if something were otherwise: its frames in another order, or only what was seen so far.

    with altered(library, shuffled(seed=1)) as searcher: …       # a `Searcher` over a copy in memory

Nothing is decoded or encoded again, and the library itself is not touched.  All that follows from tokens and lines,
first-stage vectors and chance levels too, is worked out anew, so that the copy knows nothing but what it holds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory

import numpy as np

from api import parts
from api.service import Library
from indexer import recipe as recipes
from indexer.representatives import segment_vectors
from retriever.ports import Snapshot
from retriever.search import Searcher
from retriever.types import EVERYTHING, LABELS_KEPT, Entry, Filter, Ids, Media, Segment, TimeSpan, Tokens

Change = Callable[[Entry], Entry | None]
"""What becomes of a media; None: it is not there.  First-stage vectors are made afterwards."""


@contextmanager
def altered(library: Library, change: Change, where: Filter = EVERYTHING) -> Iterator[Searcher]:
    """A searcher over a changed copy of the media that pass."""
    made = library.store.catalog.recipe()
    most = recipes.of(made[1]).representatives if made else recipes.pack(parts.DEFAULT_PACK).representatives
    store = parts.store("memory", Path(), create=True)
    known = library.searcher
    with TemporaryDirectory(prefix="reelseek-") as folder:
        for file in sorted((library.path / "derived").glob("background-*.npz")):  # of the encoder, not of the library
            copy(file, folder)
        try:
            with library.store.snapshot() as snapshot:
                for media in snapshot.media(where):
                    entry = change(_entry(snapshot, media))
                    if entry is not None and entry.segments:
                        own = entry.tokens.items()
                        vectors = {space: segment_vectors(held, entry.segments, most) for space, held in own}
                        store.add(replace(entry, vectors=vectors))
            yield Searcher(store, known.encode, known.looking, Path(folder), known.asks)
        finally:
            store.close()


def _entry(snapshot: Snapshot, media: Media) -> Entry:
    """All that is held of one media, but for first-stage vectors."""
    numbers = snapshot.numbers(Filter(media=frozenset({media.key})))
    table = snapshot.segments(numbers)
    segments = tuple(
        Segment(TimeSpan(start, end), bool(still))
        for (start, end), still in zip(table.spans.tolist(), table.still, strict=True)
    )
    tokens: dict[str, Tokens] = {}
    for space in snapshot.spaces:
        held = snapshot.tokens(numbers, space)
        labelled = any(held.labels)
        tokens[space] = Tokens(
            held.rows.astype(np.float32),
            held.spans,
            held.norms,
            tuple(held.labels) if labelled else (),
            held.probabilities if labelled else np.zeros((0, LABELS_KEPT), np.float32),
        )
    lines = tuple(line for each in snapshot.lines(numbers) for line in each)
    return Entry(media, segments, dict(snapshot.spaces), tokens, {}, lines)


def shuffled(seed: int) -> Change:
    """What is seen, heard, said and written at one time of a media is so at another: spans stay, and what fills them
    is drawn without replacement, space by space."""

    def change(entry: Entry) -> Entry:
        rng = np.random.default_rng([seed, int(entry.media.key[:8], 16) if _hex(entry.media.key) else 0])
        tokens = {
            space: replace(_at(own, rng.permutation(len(own))), spans=own.spans) for space, own in entry.tokens.items()
        }
        order = rng.permutation(len(entry.lines))
        lines = tuple(replace(entry.lines[to], span=line.span) for line, to in zip(entry.lines, order, strict=True))
        return replace(entry, tokens=tokens, lines=lines)

    return change


def _hex(key: str) -> bool:
    return all(letter in "0123456789abcdef" for letter in key[:8])


def until(second: float) -> Change:
    """Only what was over by `second`: tokens and lines that end by then, and segments up to there."""

    def change(entry: Entry) -> Entry | None:
        segments = tuple(
            replace(one, span=TimeSpan(one.span.start, min(one.span.end, second)))
            for one in entry.segments
            if one.span.start < second
        )
        if not segments:
            return None
        tokens = {space: _at(own, np.flatnonzero(own.spans[:, 1] <= second)) for space, own in entry.tokens.items()}
        lines = tuple(line for line in entry.lines if line.span.end <= second)
        media = replace(entry.media, duration=min(entry.media.duration, second))
        return replace(entry, media=media, segments=segments, tokens=tokens, lines=lines)

    return change


def _at(tokens: Tokens, places: Ids) -> Tokens:
    """The tokens at these places, in their order."""
    labels = tuple(tokens.labels[at] for at in places) if tokens.labels else ()
    probabilities = tokens.probabilities[places] if tokens.labels else tokens.probabilities
    return Tokens(tokens.rows[places], tokens.spans[places], tokens.norms[places], labels, probabilities)
