"""How a query hangs together."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.errors import QueryError
from retriever.grammar import MOST_CLAUSES, Clause, Link, Relation, Sentence, Term, read
from retriever.types import Modality

THEN, WHILE = Relation.THEN, Relation.WHILE


def said(text: str) -> list[list[str]]:
    """The terms of each clause, as they would be typed."""
    return [[str(term) for term in clause.terms] for clause in read(text).clauses]


PLAIN = [
    "a dog catches a frisbee",
    "back then",
    "wait a while",
    "a long while ago",
    "before sunset",
    "a man rests after a long day",
    "a man who is not smiling",
    "not all heroes wear capes",
    "to be or not to be",
    "not only dogs",
    "and no one laughs",
    "it isn't the dogs' bowl",
    'an open "quote',
    "a dog (brown) runs",
    "Alice: says hi :)",
    "note: the end at 10:30",
    "well-known painter",
    "a house within a forest",
    "people walking up, one after another",
    "it was better back then",
    '"now and then" a cat',
    "'first this, then that' on a board",
    "c++ code",
    "- a list",
]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_sentences_stay_what_they_are(text: str) -> None:
    sentence = read(text)
    assert sentence.is_plain
    assert not sentence.ruled
    assert sentence == Sentence((Clause((Term(text),)),))


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("a dog barks, then a man laughs", "a dog barks", "a man laughs"),
        ("a dog barks and then a man laughs", "a dog barks", "a man laughs"),
        ("a dog THEN a man", "a dog", "a man"),
        ("he puts them back then the crowd cheers", "he puts them back", "the crowd cheers"),
        ("people eat, followed by a speech", "people eat", "a speech"),
        ("a man sits down before the train arrives", "a man sits down", "the train arrives"),
        ("a dog BEFORE a cat", "a dog", "a cat"),
        ("the crowd cheers after the man jumps", "the man jumps", "the crowd cheers"),
        ("cheers AFTER a jump", "a jump", "cheers"),
        ('a sign that says "then" then a cat', 'a sign that says "then"', "a cat"),
    ],
)
def test_steps_in_order(text: str, first: str, second: str) -> None:
    sentence = read(text)
    assert [str(clause) for clause in sentence.clauses] == [first, second]
    assert sentence.links == (Link(THEN),)
    assert sentence.ruled == (not any(word.isupper() and len(word) > 1 for word in text.split()))


@pytest.mark.parametrize("text", ["a woman sings while people dance", "a woman sings WHILE people dance"])
def test_at_the_same_time(text: str) -> None:
    sentence = read(text)
    assert [str(clause) for clause in sentence.clauses] == ["a woman sings", "people dance"]
    assert sentence.links == (Link(WHILE),)


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [("30s", 30), ("30", 30), ("1:30", 90), ("2 min", 120), ("2.5 seconds", 2.5), ("1minute", 60)],
)
@pytest.mark.parametrize("within", ["within", "WITHIN"])
def test_a_step_has_a_limit(within: str, limit: str, seconds: float) -> None:
    sentence = read(f"a dog barks, then a man laughs {within} {limit} -rain")
    assert sentence.links == (Link(THEN, seconds),)
    assert [str(clause) for clause in sentence.clauses] == ["a dog barks", "a man laughs -(rain)"]


def test_three_steps() -> None:
    sentence = read("a THEN b WITHIN 5s THEN c")
    assert [str(clause) for clause in sentence.clauses] == ["a", "b", "c"]
    assert sentence.links == (Link(THEN, 5.0), Link(THEN, math.inf))


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("a street without cars", ["a street", "-(cars)"]),
        ("a street without cars, people walking", ["a street people walking", "-(cars)"]),
        ("a dog but not a cat", ["a dog", "-(a cat)"]),
        ("a man with no hat", ["a man", "-(hat)"]),
        ("a dog NOT a cat", ["a dog", "-(a cat)"]),
        ("dog -cat", ["dog", "-(cat)"]),
        ('dog -"a black cat"', ["dog", '-("a black cat")']),
        ("dog -(a black cat) rain", ["dog rain", "-(a black cat)"]),
        ("dog -heard:barking", ["dog", "-heard:(barking)"]),
        ("seen:dog -cat", ["seen:(dog)", "-(cat)"]),
    ],
)
def test_what_must_not_be_there(text: str, terms: list[str]) -> None:
    assert said(text) == [terms]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("seen:dog", ["seen:(dog)"]),
        ('heard:"a loud bark" SEEN:dog', ['heard:("a loud bark")', "seen:(dog)"]),
        ("seen:(a dog on a beach) waves", ["waves", "seen:(a dog on a beach)"]),
        ("seen: a dog on the beach heard: waves", ["seen:(a dog on the beach)", "heard:(waves)"]),
        ('said:"good boy"', ['said:"good boy"']),
        ("written:exit", ["written:(exit)"]),
        ("+beach^2 dog", ["dog", "+(beach)^2"]),
        ("dog beach^0.5", ["dog", "+(beach)^0.5"]),
        ('"good boy"^3 dog', ["dog", '+("good boy")^3']),
        ("+(two words)^2 -heard:(loud music)^1.5", ["+(two words)^2", "-heard:(loud music)^1.5"]),
    ],
)
def test_fields_and_weights(text: str, terms: list[str]) -> None:
    assert said(text) == [terms]


def test_words_that_must_be_there_are_exact() -> None:
    (clause,) = read('said:"good boy" written:exit seen:"a dog"').clauses
    assert [(term.modality, term.exact) for term in clause.terms] == [
        (Modality.SPEECH, True),
        (Modality.TEXT, False),
        (Modality.VISION, False),
    ]
    assert clause.terms[0].phrases == ("good boy",)


@pytest.mark.parametrize(
    ("text", "seen", "heard"),
    [("both(a dog, barking)", "a dog", "barking"), ("both(a dog barking) -rain", "a dog barking", "a dog barking")],
)
def test_seen_and_heard_at_once(text: str, seen: str, heard: str) -> None:
    (clause,) = read(text).clauses
    assert clause.together
    assert [(term.said, term.modality) for term in clause.terms[-2:]] == [
        (seen, Modality.VISION),
        (heard, Modality.SOUND),
    ]


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("THEN a dog", 1, "wants something before it"),
        ("a dog THEN", 7, "wants something behind it"),
        ("a dog THEN -", 7, "wants something behind it"),
        ("-dog", 1, "only what must not be there"),
        ("NOT a dog", 1, "only what must not be there"),
        ("a THEN -b", 8, "only what must not be there"),
        ("a dog seen:", 7, "nothing to search for"),
        ("a -()", 3, "nothing to search for"),
        ("a cat^0", 6, "a weight is above 0"),
        ("a cat^1000", 6, "at most 100"),
        ("both(a dog", 1, r"wants a \) behind it"),
        ("x both(, b)", 3, "what is seen and what is heard"),
        ("both(a, b) both(c, d)", 12, "one both"),
        ("a seen:(b", 8, r"wants a \) behind it"),
        ("-(a -(b)) c", 6, "brackets do not stand in brackets"),
        ("a THEN b WITHIN soon", 10, "wants a time"),
        (" THEN ".join("abcdefghi"), 57, f"at most {MOST_CLAUSES} parts"),
    ],
)
def test_a_bad_query_points_at_the_character(text: str, place: int, why: str) -> None:
    with pytest.raises(QueryError, match=rf"at character {place}, .*{why}") as raised:
        read(text)
    assert "\n" not in str(raised.value)


PIECES = st.sampled_from(  # what binds, and what it may stand beside
    """a dog cat runs barks then THEN before AFTER while not NOT without and but no within 30s ( ) both( both(a, b)
    seen: heard:x said:"y z" like:m@1-2 -image:p.png^2 -x +y^2 ^3 -( +( "then"
    "a b" ' , ; : then, is WHILE people WITHIN 1:30""".split()  # noqa: SIM905
)


@given(st.lists(PIECES, min_size=1, max_size=12).map(" ".join))
def test_whatever_is_typed_is_read_or_refused_and_means_the_same_spelled_out(text: str) -> None:
    try:
        sentence = read(text)
    except QueryError:
        return
    assert len(sentence.links) == len(sentence.clauses) - 1
    assert all(any(not term.unwanted for term in clause.terms) for clause in sentence.clauses)
    every = "".join(term.said for clause in sentence.clauses for term in clause.terms)
    if not sentence.is_plain and not set("()\"'") & set(every.replace('"y z"', "").replace('"a b"', "")):
        again = read(str(sentence))
        assert [set(clause.terms) for clause in again.clauses] == [set(clause.terms) for clause in sentence.clauses]
        assert again.links == sentence.links


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("image:cat.jpg", ["image:cat.jpg"]),
        ('image:"my cat (2).jpg" at night', ["at night", 'image:"my cat (2).jpg"']),
        ("like:3fa9@2.00-6.00^2 -rain", ["like:3fa9@2.00-6.00^2", "-(rain)"]),
        ("a dog -image:b.png", ["a dog", "-image:b.png"]),
        ("SOUND:bark.wav seen:dog", ["sound:bark.wav", "seen:(dog)"]),
        ("a dog without image:b.png", ["a dog", "-image:b.png"]),
        ("a dog but not like:3fa9@1-2 outdoors", ["a dog outdoors", "-like:3fa9@1-2"]),
    ],
)
def test_an_example_is_a_term_whose_value_is_no_words(text: str, spelled: list[str]) -> None:
    (clause,) = read(text).clauses
    assert [str(term) for term in clause.terms] == spelled
    (shown,) = (term for term in clause.terms if term.example)
    assert (shown.sentence, shown.phrases) == ("", ())
    assert read(" ".join(spelled)).clauses == (clause,)


def test_examples_stand_in_steps() -> None:
    sentence = read("clip:film.mp4@10-20 before like:3fa9@2-6, then a dog barks within 5s")
    assert [str(clause) for clause in sentence.clauses] == ["clip:film.mp4@10-20", "like:3fa9@2-6", "a dog barks"]
    assert sentence.links[1].within == 5
    assert not sentence.is_told  # nobody could put such a sentence into one vector
    assert read(str(sentence)).clauses == sentence.clauses


@pytest.mark.parametrize("text", ["image: cat", "I like: this", "a clip: the best of", "unlike:this"])
def test_a_field_of_examples_binds_only_what_touches_it(text: str) -> None:
    assert read(text).is_plain


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a image:b(1).png", 3),
        ("both(image:a.png, barking)", 6),
        ('image:"" a', 1),
        ("-(like:x)", 3),
        ("seen: like:x", 1),
    ],
)
def test_an_example_that_cannot_be_read_is_pointed_at(text: str, place: int) -> None:
    with pytest.raises(QueryError, match=f"at character {place},"):
        read(text)


@given(st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    try:
        sentence = read(text)
    except QueryError:
        return
    assert sentence.clauses
