"""Heard words become lines."""

from hypothesis import given
from hypothesis import strategies as st

from encoders.recognizers._sentences import LONG, PAUSE, TOO_LONG, Spoken, sentences


def said(text: str, pause: dict[int, float] | None = None, length: float = 0.4) -> list[Spoken]:
    """The words of `text`, `length` seconds each; `pause` after the word of that number."""
    words, second = [], 0.0
    for number, word in enumerate(text.split()):
        words.append(Spoken(f" {word}", second, second + length, 0.9))
        second += length + (pause or {}).get(number, 0.0)
    return words


def texts(words: list[Spoken]) -> list[str]:
    return ["".join(word.text for word in line).strip() for line in sentences(words)]


def test_a_sentence_is_a_line() -> None:
    assert texts(said("I do. Do you? Yes!")) == ["I do.", "Do you?", "Yes!"]


def test_a_title_ends_no_sentence() -> None:
    assert texts(said("Good morning, Mrs. Allen. Tea?")) == ["Good morning, Mrs. Allen.", "Tea?"]


def test_a_pause_ends_a_line() -> None:
    assert texts(said("ask not what you can", pause={1: PAUSE + 0.01})) == ["ask not", "what you can"]


def test_a_long_sentence_ends_at_a_comma_and_a_longer_one_anywhere() -> None:
    seconds = 0.5
    clause = "word " * int(LONG / seconds) + "then, "
    assert len(texts(said(clause + "and on", length=seconds))) == 2
    assert len(texts(said("word " * int(2.5 * TOO_LONG / seconds), length=seconds))) == 3


def test_a_line_without_a_letter_is_none() -> None:
    assert texts(said(". ... hello. -")) == ["hello."]


@given(st.text("ab .,?!", max_size=200), st.dictionaries(st.integers(0, 40), st.floats(0, 3), max_size=5))
def test_no_word_is_lost_or_moved(text: str, pauses: dict[int, float]) -> None:
    words = said(text, pauses)
    kept = [word for line in sentences(words) for word in line]
    dropped = [word for word in words if word not in kept]
    assert kept == [word for word in words if word in kept]
    assert not any(letter.isalnum() for word in dropped for letter in word.text)
