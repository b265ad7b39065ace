"""Words on a terminal."""

import io

from hypothesis import given
from hypothesis import strategies as st

from api.terminal import Paint, amount, counted, plain, table


@given(st.text())
def test_what_stands_in_a_media_cannot_steer_a_terminal(text):
    shown = plain(text)
    assert len(shown) == len(text)
    assert not set(shown) & {"\x1b", "\x07", "\r", "\n", "\x9b", "\u202e"}


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_only_on_a_terminal_and_never_against_no_color(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert Paint.for_stream(_Terminal()).on
    assert not Paint.for_stream(io.StringIO()).on
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Paint.for_stream(_Terminal()).on


def test_matched_words_are_marked_without_colours_too():
    assert Paint(False).marked("free") == "*free*"
    assert Paint(True).marked("free") == "\x1b[1;33mfree\x1b[0m"


def test_columns_stand_side_by_side():
    assert table([("a", "bcd"), ("long", "e")]) == ["a     bcd", "long  e"]
    assert table([]) == []


def test_amounts_and_counts():
    assert [amount(n) for n in (0, 999, 1500, 2_000_000, 3 * 10**12)] == ["0 B", "999 B", "1.5 kB", "2.0 MB", "3.0 TB"]
    assert [counted(1, "file"), counted(1200, "file"), counted(2, "media", "media")] == [
        "1 file",
        "1,200 files",
        "2 media",
    ]
