"""How lines and questions are cut, folded, stemmed and compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever import spacing
from retriever.stemming import stem
from retriever.types import Modality, WordQuery
from retriever.words import forms, line_forms, matched, query_words, term_stems


def same_stem(*words: str) -> bool:
    return len({stem(word) for word in words}) == 1


@pytest.mark.parametrize(
    "family",
    [
        "dog dogs",
        "city cities",
        "walk walks walked walking",
        "bake bakes baked baking",
        "run runs running",
        "hope hoped hoping",
        "hop hopped hopping",
        "create creates created creating",
        "watch watches watching",
        "glass glasses",
        "movie movies",
        "house houses housing",
        "carry carries carried carrying",
        "control controlled controlling",
        "man men",
        "woman women",
        "child children",
        "bus buses",
        "photo photos",
    ],
)
def test_inflections_share_a_stem(family: str) -> None:
    assert same_stem(*family.split())


@pytest.mark.parametrize("pair", ["car care", "hop hope", "general generation", "new newt", "sing single", "king kin"])
def test_other_words_keep_stems_of_their_own(pair: str) -> None:
    assert not same_stem(*pair.split())


@given(st.text())
def test_any_text_is_cut_into_folded_forms(text: str) -> None:
    for form in forms(text):
        assert form
        assert " " not in form
        assert form.casefold() == form
        assert stem(form)


@given(st.text())
def test_case_and_repetition_change_no_form(text: str) -> None:
    assert forms(" ".join(forms(text))) == forms(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don’t STOP", ["dont", "stop"]),
        ("the café-crème", ["the", "cafe", "creme"]),
        ("ﬁne x²", ["fine", "x2"]),
        ("cafe\u0301", ["cafe"]),
        ("it's the dog's 1,000", ["its", "the", "dogs", "1", "000"]),
        ("我爱你", ["我爱", "爱你"]),
        ("…!?_", []),
    ],
)
def test_words_are_folded(text: str, expected: list[str]) -> None:
    assert forms(text) == expected


def test_a_question_has_terms_and_phrases() -> None:
    assert query_words('find "Drug Mart" in “the town” by dogs') == WordQuery(
        ("find", "dogs"), (("drug", "mart"), ("the", "town"))
    )


def test_function_words_count_only_alone() -> None:
    assert query_words("who are you").terms == ("who", "are", "you")
    assert query_words("who are the dogs").terms == ("dogs",)
    assert query_words('the "drug mart"').terms == ()


@pytest.mark.parametrize("text", ["", "  ", '"', '""', "?!"])
def test_a_question_without_words_asks_nothing(text: str) -> None:
    assert query_words(text) == WordQuery(())


def test_an_open_quote_is_an_ordinary_character() -> None:
    assert query_words('say "hello world') == WordQuery(("say", "hello", "world"))


@pytest.mark.parametrize(
    ("joined", "words"),
    [
        ("shoppersdrugmart", ("shoppers", "drug", "mart")),
        ("thanksforwatching", ("thanks", "for", "watching")),
        ("nowhiringatshoppersdrugmarttoronto", ("now", "hiring", "at", "shoppers", "drug", "mart", "toronto")),
        ("bankofamerica", ("bank", "of", "america")),
        ("noparking", ("no", "parking")),
    ],
)
def test_lost_spaces_are_found(joined: str, words: tuple[str, ...]) -> None:
    assert spacing.split(joined) == words


@pytest.mark.parametrize(
    "word", ["heart", "understanding", "discrimination", "shoppers", "xqzvwkjh", "b2b2b2b2b2", "北京市海淀区的街道"]
)
def test_a_word_is_left_whole(word: str) -> None:
    assert spacing.split(word) == ()


@given(st.lists(st.sampled_from("coffee market parking street dancing music river".split()), min_size=2, max_size=5))  # noqa: SIM905
def test_common_words_survive_joining(words: list[str]) -> None:
    assert spacing.split("".join(words)) == tuple(words)


def test_only_text_on_screen_is_split() -> None:
    assert line_forms("SHOPPERSDRUGMART!", Modality.TEXT) == (["shoppers", "drug", "mart"], ["shoppersdrugmart"])
    assert line_forms("SHOPPERSDRUGMART!", Modality.SPEECH) == (["shoppersdrugmart"], [])


def test_neighbours_may_be_written_as_one() -> None:
    assert term_stems(("ice", "cream")) == {"ice": ("ice", "icecream"), "cream": ("cream", "icecream")}


@pytest.mark.parametrize(
    ("question", "line", "expected"),
    [
        ("shoppers", "Open: SHOPPERSDRUGMART", ("SHOPPERSDRUGMART",)),
        ("a dog runs", "The Dog’s running, dogs!", ("Dog’s", "running", "dogs")),
        ('"drug mart"', "Drug store, DRUG MART, mart", ("DRUG", "MART")),
        ('"drug mart"', "SHOPPERSDRUGMART", ("SHOPPERSDRUGMART",)),
        ("art", "SHOPPERSDRUGMART heart", ()),
        ("jean coutu", "JEANCOUTU", ("JEANCOUTU",)),
    ],
)
def test_matched_words_come_as_they_stand(question: str, line: str, expected: tuple[str, ...]) -> None:
    assert matched(query_words(question), line, Modality.TEXT) == expected


PIECES = st.sampled_from(
    ["dogs", "Dog’s", "dogs' ", "ran", "CAFÉ", "cafe\u0301", "icecream", "ice", "日本語", "日本", "12", "_x"]
)


@given(st.lists(PIECES, min_size=1, max_size=4), st.lists(st.tuples(PIECES, st.sampled_from([" ", "", "-", ", "]))))
@pytest.mark.parametrize("modality", [Modality.SPEECH, Modality.TEXT])
def test_a_line_matches_without_phrases_as_beside_one_that_is_not_there(
    modality: Modality, asked: list[str], line: list[tuple[str, str]]
) -> None:
    """Both ways of looking agree."""
    words = query_words(" ".join(asked))
    beside = WordQuery(words.terms, (("nowhere", "at", "all"),))
    text = "".join(piece + gap for piece, gap in line)
    assert matched(words, text, modality) == matched(beside, text, modality)
