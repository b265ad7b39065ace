"""What is read page by page becomes lines."""

from encoders.recognizers._writing import GAP, Box, Reading, Track, alike, blocks, side_by_side, through_time
from retriever.types import TimeSpan


def word(text: str, left: float = 0.1, top: float = 0.5, height: float = 0.1, confidence: float = 0.9) -> Reading:
    return Reading(text, confidence, Box(left, top, left + 0.5 * height * len(text), top + height))


def seconds(count: int, step: float = 1.0) -> list[TimeSpan]:
    return [TimeSpan(number * step, number * step + 1) for number in range(count)]


def told(tracks: list[Track]) -> list[tuple[str, float, float]]:
    return [(track.best.text, track.span.start, track.span.end) for track in tracks]


def test_words_of_one_row_are_one_reading_from_left_to_right() -> None:
    row = side_by_side([word("FOR", 0.46), word("THANKS", 0.1), word("WATCHING", 0.1, top=0.62)])
    assert [reading.text for reading in row] == ["THANKS FOR", "WATCHING"]


def test_words_far_apart_or_of_other_size_stay_apart() -> None:
    assert len(side_by_side([word("LEFT", 0.1), word("RIGHT", 1.2)])) == 2
    assert len(side_by_side([word("Title", 0.1, height=0.2), word("note", 0.62, top=0.55, height=0.05)])) == 2


def test_the_same_words_on_neighbouring_pages_are_one_track() -> None:
    tracks = through_time([[word("OPEN")], [word("OPEN")], []], seconds(3))
    assert told(tracks) == [("OPEN", 0, 2)]


def test_pages_vote_for_the_text() -> None:
    pages = [[word("THANKS FOR WAICHING", confidence=0.99)], *[[word("THANKS FOR WATCHING", confidence=0.9)]] * 2]
    assert told(through_time(pages, seconds(3))) == [("THANKS FOR WATCHING", 0, 3)]


def test_words_unread_for_a_moment_are_the_same_and_for_longer_not() -> None:
    unread = int(GAP)
    assert len(through_time([[word("OPEN")], *[[]] * unread, [word("OPEN")]], seconds(unread + 2))) == 1
    assert len(through_time([[word("OPEN")], *[[]] * (unread + 1), [word("OPEN")]], seconds(unread + 3))) == 2


def test_the_same_words_twice_on_a_page_count_once() -> None:
    assert told(through_time([[word("SALE"), word("SALE", 1.0)]], seconds(1))) == [("SALE", 0, 1)]


def test_short_words_are_alike_only_if_equal() -> None:
    assert alike("sam", "sam")
    assert not alike("sam", "sat")
    assert alike("openanewbrowser", "openanewbrovvser")
    assert not alike("openanewbrowser", "closetheoldwindow")


def test_lines_below_each_other_at_one_time_are_a_block() -> None:
    pages = [[word("THE PEACH PROJECT"), word("PRESENTS", 0.3, top=0.63)]] * 3
    (block,) = blocks(through_time(pages, seconds(3)))
    assert [track.best.text for track in block] == ["THE PEACH PROJECT", "PRESENTS"]


def test_a_lasting_sign_takes_no_passing_line_into_its_block() -> None:
    pages = [[word("NEWS"), word(f"headline number {chr(97 + n) * 9}", top=0.62)] for n in range(6)]
    assert sorted(len(block) for block in blocks(through_time(pages, seconds(6)))) == [1] * 7
