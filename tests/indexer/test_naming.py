"""What a run names at its end: few of very many, and all of them counted."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import naming
from indexer.naming import Named, Reasons

NAMES = st.sampled_from(["/a", "/b", "/c", "/d", "/\udcff"])


@pytest.fixture(autouse=True, scope="module")
def _two() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(naming, "MOST", 2)
        yield


def test_of_many_the_first_are_named_and_all_are_counted() -> None:
    named = Named("ab")
    named.append("c")
    named += iter("de")
    named.extend("f")
    assert (named, named.total) == (["a", "b"], 6)
    assert (Named(), Named().total) == ([], 0)


@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=30))
def test_each_that_is_set_aside_counts_once_until_it_is_not(steps: list[tuple[str, bool]]) -> None:
    reasons, plain = Reasons(), set[str]()
    for path, fails in steps:
        if fails:
            reasons[path] = "it is empty"
            plain.add(path)
        else:
            reasons.drop(path)
            plain.discard(path)
        assert reasons.total == len(plain)
        assert reasons.keys() <= plain
        assert len(reasons) <= 2
