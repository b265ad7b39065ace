"""What stands for a library when chance is measured."""

from collections.abc import Sequence

import numpy as np
import pytest
from libraries import HEARD, SEEN, directions, entry

from retriever.calibration import Chance
from retriever.levels import SAMPLED, SAMPLED_A_MEDIA, Question, measure, sample, sources
from retriever.looking import Looking
from retriever.ports import Snapshot, Store
from retriever.rerankers import maxsim
from retriever.stores import memory
from retriever.types import Entry, Modality, WordQuery


def library(entries: Sequence[Entry]) -> Store:
    store = memory.build()
    for one in entries:
        store.add(one)
    return store


def named(snapshot: Snapshot, numbers: np.ndarray) -> set[tuple[str, float]]:
    table = snapshot.segments(numbers)
    keys = [media.key for media in snapshot.media_at(table.media)]
    return set(zip(keys, table.spans[:, 0].tolist(), strict=True))


def question(count: int = 40) -> Question:
    return Question({SEEN.query_side: directions(count, seed=3)}, [WordQuery(("fox",))] * count)


def test_a_small_library_stands_for_itself() -> None:
    with library([entry("a"), entry("b", segments=5)]).snapshot() as snapshot:
        assert sample(snapshot).tolist() == snapshot.numbers().tolist()


def test_of_a_large_one_the_same_segments_stand_for_it_however_it_was_made() -> None:
    long = [entry("film", segments=40)]
    short = [entry(f"clip{number}", segments=10, spaces=(SEEN,), lines=()) for number in range(70)]
    found = []
    for entries in ([*long, *short], [*reversed(short), *long]):
        with library(entries).snapshot() as snapshot:
            numbers = sample(snapshot)
            assert len(numbers) == len(set(numbers.tolist())) == SAMPLED
            assert np.unique(snapshot.segments(numbers).media, return_counts=True)[1].max() == SAMPLED_A_MEDIA
            found.append(named(snapshot, numbers))
    assert found[0] == found[1]


def test_a_rare_space_gets_its_scale_from_where_it_is() -> None:
    """Two media of eighty have sound, none of them in the sample."""
    deaf = [entry(f"clip{number}", segments=10, spaces=(SEEN,), lines=()) for number in range(78)]
    heard = [entry(f"zz{number}", segments=10, lines=()) for number in range(2)]
    asked = question()
    chances = dict.fromkeys((SEEN.id, HEARD.id), Chance.of(asked.rows[SEEN.query_side]))
    with library([*deaf, *heard]).snapshot() as snapshot:
        rare = [source.space for source in sources(snapshot)].index(HEARD.id)
        seen, first = measure(snapshot, Looking(maxsim.build()), asked, chances)
        assert seen[rare].spread == pytest.approx(0.2, abs=0.1)  # of the best of a few random rows of 16 numbers
        assert first[rare].middle > 0.1


def test_sources_are_the_spaces_and_the_words() -> None:
    with library([entry("a")]).snapshot() as snapshot:
        known = sources(snapshot)
    assert {source.space for source in known} == {SEEN.id, HEARD.id, ""}
    assert [source.modality for source in known if not source.space] == [Modality.SPEECH, Modality.TEXT]


def test_few_questions_are_spread_over_all() -> None:
    few = question(1000).few()
    assert len(few.rows[SEEN.query_side]) == len(few.words) == 128
    assert len(question(5).few().rows[SEEN.query_side]) == 5
