"""What a person types becomes what a search asks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.errors import QueryError
from retriever.query import LONGEST, both, parse
from retriever.types import EVERYTHING, Filter, MediaKind


def test_plain_words_are_a_sentence() -> None:
    query = parse("  a dog catches  a frisbee ")
    assert query.sentence == "a dog catches a frisbee"
    assert query.typed == "a dog catches  a frisbee"
    assert query.phrases == ()
    assert query.where == EVERYTHING
    assert query.notes == ()


@pytest.mark.parametrize(
    ("typed", "sentence", "phrases"),
    [
        ('sign that says "no entry"', "sign that says no entry", ("no entry",)),
        ("title card 'The Long Way' at night", "title card The Long Way at night", ("The Long Way",)),
        ("it isn't the dogs' bowl", "it isn't the dogs' bowl", ()),
        ("a poster 'don't panic' in red", "a poster don't panic in red", ("don't panic",)),
        ("a bird's-eye view", "a bird's-eye view", ()),
        ('“good boy” and "stay"', "good boy and stay", ("good boy", "stay")),
        ('an empty "" quote', "an empty quote", ()),
        ('an open "quote', 'an open "quote', ()),
    ],
)
def test_quoted_parts_are_phrases_and_words(typed: str, sentence: str, phrases: tuple[str, ...]) -> None:
    query = parse(typed)
    assert (query.sentence, query.phrases) == (sentence, phrases)


def test_known_names_are_filters_and_leave_the_sentence() -> None:
    query = parse('a dog tag:holiday TAG:beach path:"my clips/*" longer:1:15 shorter:0:02:00 kind:Video')
    assert query.sentence == "a dog"
    assert query.where == Filter(
        tags=frozenset({"holiday", "beach"}),
        path="my clips/*",
        shortest=75.0,
        longest=120.0,
        kinds=frozenset({MediaKind.VIDEO}),
    )


def test_other_colons_are_plain_text() -> None:
    assert (
        parse("note: the end at 10:30 see http://example.org").sentence
        == "note: the end at 10:30 see http://example.org"
    )
    assert parse("photopath:x").sentence == "photopath:x"


@pytest.mark.parametrize("typed", ["", "   ", "\n\t", "tag:holiday", "?!", '""'])
def test_nothing_to_search_for_is_said(typed: str) -> None:
    with pytest.raises(QueryError, match=r"empty|no words") as caught:
        parse(typed)
    assert "\n" not in str(caught.value)


def test_too_long_is_said_with_its_length() -> None:
    assert parse("a" * LONGEST).sentence
    with pytest.raises(QueryError, match=r"10001 characters, at most 10,000"):
        parse("a" * (LONGEST + 1))


def test_what_an_encoder_will_not_see_is_noted() -> None:
    assert parse("word " * 181).notes == ("compared by meaning up to about word 180 of 181",)


@pytest.mark.parametrize("typed", ["dog longer:soon", "dog kind:film", "dog after:yesterday"])
def test_a_value_that_cannot_be_read_says_what_is_wanted(typed: str) -> None:
    with pytest.raises(QueryError, match="wants"):
        parse(typed)


def test_two_filters_ask_what_both_ask() -> None:
    one = Filter(shortest=2, longest=50, tags=frozenset({"a"}), before="2026-05-01", media=frozenset({"x", "y"}))
    other = Filter(shortest=5, longest=90, tags=frozenset({"b"}), after="2025-01-01", media=frozenset({"y", "z"}))
    assert both(one, other) == Filter(
        shortest=5,
        longest=50,
        tags=frozenset({"a", "b"}),
        before="2026-05-01",
        after="2025-01-01",
        media=frozenset({"y"}),
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Filter(collection="a"), Filter(collection="b")),
        (Filter(path="a*"), Filter(path="*b")),
        (Filter(media=frozenset({"x"})), Filter(media=frozenset({"y"}))),
    ],
)
def test_filters_that_exclude_each_other_are_refused(one: Filter, other: Filter) -> None:
    with pytest.raises(QueryError, match="at once"):
        both(one, other)


filters = st.builds(
    Filter,
    shortest=st.floats(0, 50),
    longest=st.floats(50, 100),
    tags=st.frozensets(st.sampled_from("ab")),
    without=st.frozensets(st.sampled_from("xy")),
    after=st.sampled_from(["", "2025-01-01"]),
    before=st.sampled_from(["", "2026-01-01", "2027-01-01"]),
)


@given(filters, filters)
def test_order_does_not_matter_and_everything_asks_nothing(one: Filter, other: Filter) -> None:
    assert both(one, other) == both(other, one)
    assert both(one, EVERYTHING) == one
    assert both(one, one) == one


@given(st.text(max_size=300))
def test_any_text_is_a_query_or_a_query_error(text: str) -> None:
    try:
        query = parse(text)
    except QueryError:
        return
    assert query.sentence == query.sentence.strip() != ""
