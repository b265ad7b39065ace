"""Moments compared with moments: what is shown, what chance does, and that nothing answers itself."""

import numpy as np
import pytest
from libraries import HEARD, SEEN, entry, unit
from zoo import ZOO, Words, library, media

from retriever import alike
from retriever.errors import QueryError
from retriever.looking import Looking
from retriever.rerankers import maxsim
from retriever.search import Searcher
from retriever.stores import memory
from retriever.types import Example, TimeSpan


def asked(entries=ZOO, examples=None) -> Searcher:
    return Searcher(library(entries), Words(), examples=examples)


def test_a_moment_is_the_mean_of_its_tokens_in_each_space_that_has_any():
    store = library()
    with store.snapshot() as snapshot:
        example = alike.moment(snapshot, "concert", TimeSpan(4.0, 10.0))
        assert example.itself == ("concert", TimeSpan(4.0, 10.0))
        (heard,) = (row for space, row in example.views.items() if "heard" in space)
        near = Words()(["piano concert"])[0]
        assert float(heard @ near) > 0.98
        assert all(np.linalg.norm(row) == pytest.approx(1, abs=1e-5) for row in example.views.values())
        with pytest.raises(QueryError, match="name a longer span"):
            alike.moment(snapshot, "concert", TimeSpan(11.0, 12.0))
        short = alike.moment(snapshot, "concert", TimeSpan(4.6, 4.7))  # less than a token
        assert set(short.views) == set(example.views)


def test_nothing_answers_itself_nor_does_what_touches_it():
    searcher = asked()
    answer = searcher.search("like:parrot@5-10", min_confidence=0)
    assert all(one.media.key != "parrot" or one.end_s <= 4.01 or one.start_s >= 10.99 for one in answer)
    same = searcher.search("seen:parrot -like:parrot@5-10", min_confidence=0)
    assert any(one.media.key == "parrot" for one in same)  # what must not be there may be looked at


def test_like_finds_the_same_scene_of_another_media():
    twins = (*ZOO, media("aviary", seen=[(6, "desk lamp"), (4, "parrot branch")]))
    best = asked(twins).search("like:parrot@5-10", min_confidence=0)[0]
    assert best.media.key == "aviary"
    assert (best.start_s, best.end_s) == pytest.approx((6, 10), abs=0.6)


def test_in_a_library_of_one_media_chance_is_its_other_segments():
    alone = (media("alone", seen=[(5, "street crowd"), (5, "parrot branch"), (10, "street crowd")]),)
    answer = asked(alone).search("like:alone@0-5", min_confidence=0)
    assert answer[0].start_s >= 10 - 0.6
    assert answer[0].confidence > answer[-1].confidence


def test_that_each_segment_finds_itself_is_no_chance():
    """Or nothing in a library of one media could be more alike than chance."""
    scenes = [(5.0, f"scene{number} thing{number}") for number in range(12)]
    best = asked([media("alone", seen=[*scenes, scenes[0]])]).search("like:alone@0-5", min_confidence=0)[0]
    assert best.start_s == pytest.approx(60, abs=0.6)
    assert best.confidence > 0.8


def test_chance_is_a_function_of_what_is_committed():
    """The same content in another order, asked before or not: the same answers."""
    forth, back = asked(), asked(ZOO[::-1])
    back.search("like:kitchen@0-5", min_confidence=0)
    ours, theirs = (one.search("like:parrot@5-10 cloud", min_confidence=0) for one in (forth, back))
    assert [one.ref for one in ours] == [one.ref for one in theirs]
    assert [one.confidence for one in ours] == pytest.approx([one.confidence for one in theirs], abs=1e-5)


def test_an_example_of_a_space_that_hardly_anything_has():
    """Only two of its media are heard at all: they are looked for, not sampled."""
    view = Words()(["piano"])[0]
    entries = [*ZOO, *(media(f"silent{number}", seen=[(5, f"scene {number}")]) for number in range(40))]
    searcher = asked(entries, lambda snapshot, kind, value: Example({heard(snapshot): view}))
    best = searcher.search("sound:any", min_confidence=0)[0]
    assert best.media.key == "concert"
    assert best.start_s == pytest.approx(4, abs=0.6)


def heard(snapshot) -> str:
    return next(key for key in snapshot.spaces if "heard" in key)


def test_levels_are_those_of_strange_media_alone():
    """Tokens of one media lie close together, and that is no chance."""
    store = memory.build()
    rng = np.random.default_rng(0)
    for number in range(12):
        made = entry(f"m{number}", number)
        centre = rng.standard_normal(16)
        for tokens in made.tokens.values():
            tokens.rows[:] = unit(tokens.rows * 0.2 + unit(centre))
        store.add(made)
    with store.snapshot() as snapshot:
        measured = alike.measure(snapshot, Looking(maxsim.build()))
        seen = measured["scales"][1]  # as the first stage names them: plain cosines
        assert np.all(np.abs(seen[:, 0]) < 0.5)  # of its own media each finds nearly one
        assert set(measured) == {"scales", f"rows {SEEN.id}", f"rows {HEARD.id}"}


@pytest.mark.parametrize("query", ["like:nobody@1-2", "like:parrot@2", "image:cat.png"])
def test_without_anybody_who_reads_files_only_whole_references_are_known(query):
    with pytest.raises(QueryError):
        asked().search(query)
