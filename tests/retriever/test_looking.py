"""Who looks at a candidate: a reranker everywhere, and a head only at spaces that it was trained on."""

from dataclasses import replace

import numpy as np
import pytest
from libraries import DIMENSION, HEARD, SEEN, directions, entry

from retriever import kernels
from retriever.errors import SpaceMismatch
from retriever.heads import Block, Head
from retriever.looking import Looking
from retriever.ports import Snapshot
from retriever.rerankers.maxsim import MaxSim
from retriever.rerankers.textpool import TextPool
from retriever.search import Searcher
from retriever.stores import memory
from retriever.types import Matrix

ASKED = SEEN.query_side
XPOOL = Head("xpool", ASKED, (SEEN.id,), (Block.identity(DIMENSION),))
TEFAL = Head("tefal", ASKED, (SEEN.id, HEARD.id), (Block.identity(DIMENSION), Block.identity(DIMENSION)))
VIEW = directions(1, 3)[0]


def library(*spaces: object) -> memory.MemoryStore:
    store = memory.build()
    for number in range(3):
        store.add(entry(f"media{number}", number, spaces=spaces or (SEEN, HEARD)))  # type: ignore[arg-type]
    return store


def looked(looking: Looking, snapshot: Snapshot) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    numbers = snapshot.numbers()
    tokens = {space: snapshot.tokens(numbers, space) for space in snapshot.spaces}
    return looking.look(dict.fromkeys(tokens, VIEW), tokens, {})


@pytest.mark.parametrize("head", [XPOOL, TEFAL, replace(XPOOL, query_space="")], ids=["xpool", "tefal", "any texts"])
def test_a_head_of_these_spaces_is_let_in(head: Head) -> None:
    with library().snapshot() as snapshot:
        Looking(MaxSim(), TextPool(head)).check(snapshot)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (replace(XPOOL, token_spaces=("elsewhere",)), "trained on the space elsewhere, this library has heard.*seen"),
        (replace(TEFAL, token_spaces=(SEEN.id, "elsewhere")), "trained on the space elsewhere"),
        (replace(XPOOL, query_space="words:2"), "trained on texts of words:2, this library is asked by words:1"),
        (replace(XPOOL, blocks=(Block.identity(8),)), "wants 8 numbers a token of .*seen.*, this library has 16"),
    ],
)
def test_a_head_of_other_spaces_is_refused_before_anything_is_asked(head: Head, said: str) -> None:
    def encode(sentences: object, side: str) -> Matrix:
        raise AssertionError("nothing may be encoded for a head that does not fit")

    looking, store = Looking(MaxSim(), TextPool(head)), library()
    with store.snapshot() as snapshot, pytest.raises(SpaceMismatch, match=said):
        looking.check(snapshot)
    with pytest.raises(SpaceMismatch, match=said) as caught:
        Searcher(store, encode, looking).search("a parrot")
    assert str(caught.value).isprintable()


def test_a_head_that_hears_is_refused_where_nothing_can_be_heard() -> None:
    with library(SEEN).snapshot() as snapshot:
        Looking(MaxSim(), TextPool(XPOOL)).check(snapshot)
        with pytest.raises(SpaceMismatch, match=r"trained on the space .*heard"):
            Looking(MaxSim(), TextPool(TEFAL)).check(snapshot)


def test_a_head_speaks_for_its_own_spaces_and_the_reranker_for_the_others() -> None:
    with library().snapshot() as snapshot:
        plain, headed = looked(Looking(MaxSim()), snapshot), looked(Looking(MaxSim(), TextPool(XPOOL)), snapshot)
        own = TextPool(XPOOL).rerank(VIEW, snapshot.tokens(snapshot.numbers(), SEEN.id))
    np.testing.assert_array_equal(headed[HEARD.id][0], plain[HEARD.id][0])
    np.testing.assert_array_equal(headed[SEEN.id][0], own[0])
    assert not np.array_equal(headed[SEEN.id][0], plain[SEEN.id][0])


def test_a_head_of_two_spaces_gives_both_one_score() -> None:
    with library().snapshot() as snapshot:
        headed = looked(Looking(MaxSim(), TextPool(TEFAL)), snapshot)
        numbers = snapshot.numbers()
        tokens = {space: snapshot.tokens(numbers, space) for space in (SEEN.id, HEARD.id)}
        scores = TextPool(TEFAL).together(VIEW, list(tokens.values()))
    for space, own in tokens.items():
        np.testing.assert_array_equal(headed[space][0], scores)
        np.testing.assert_array_equal(headed[space][1], kernels.cosines(own.rows, VIEW))


def test_a_head_hears_what_is_asked_by_another_side() -> None:
    """Sounds of another tower come through the head's map; where they answer is by their own text tower."""
    strange = replace(HEARD, query_side="ears:1")
    mapped = (np.eye(DIMENSION, dtype=np.float32)[::-1].copy(), np.zeros(DIMENSION, np.float32))
    head = replace(TEFAL, token_spaces=(SEEN.id, strange.id), audio_map=mapped)
    other = directions(2, 3)[1]
    with library(SEEN, strange).snapshot() as snapshot:
        looking = Looking(MaxSim(), TextPool(head))
        looking.check(snapshot)
        numbers = snapshot.numbers()
        tokens = {space: snapshot.tokens(numbers, space) for space in (SEEN.id, strange.id)}
        looks = looking.look({SEEN.id: VIEW, strange.id: other}, tokens, {})
    np.testing.assert_array_equal(looks[strange.id][0], TextPool(head).together(VIEW, list(tokens.values())))
    np.testing.assert_array_equal(looks[strange.id][1], kernels.cosines(tokens[strange.id].rows, other))


def test_another_head_is_another_key() -> None:
    heads = (None, XPOOL, TEFAL, replace(XPOOL, query_space=""))
    assert len({Looking(MaxSim(), head and TextPool(head)).key for head in heads}) == len(heads)
