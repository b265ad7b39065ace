"""The HTML page: all that is to be told is there, and nothing from a media gets to act."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import pictures, report
from retriever.types import Answer, Evidence, Label, Line, Media, MediaKind, Modality, Moment, TimeSpan

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>${title}&amp;'


def moment(
    path: str = "/clips/talk.mp4",
    words: tuple[str, ...] = ("free",),
    labels: tuple[Label, ...] = (),
    kind: MediaKind = MediaKind.VIDEO,
) -> Moment:
    media = Media("cafe", (path,), kind, 10.0, "recipe")
    seen = Evidence(Modality.VISION, "a", 0.6, 0.75, (TimeSpan(4, 5), TimeSpan(1, 2)), labels)
    said = Evidence(Modality.SPEECH, "b", 0.4, 0.25, (TimeSpan(3, 4),), (), words)
    return Moment(media, TimeSpan(2, 6), 0.9, 0.97, (said, seen))


def picture(_: Moment) -> str:
    return "<p>a picture</p>"


class _Reading(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> _Reading:
    reading = _Reading()
    reading.feed(page)
    reading.close()
    assert reading.open == []
    return reading


def test_a_moment_tells_where_when_how_sure_and_why():
    found = moment(labels=(Label("bicycle, bike", 0.41),))
    text = read(report.page([Answer("a bike", (found,), (), 0.05, ("a note",))], {}, picture)).text
    for told in ("a bike", "talk.mp4", "/clips", "0:02.0–0:06.0", "97% sure", "bicycle", "41%", "75%", "25%", "free"):
        assert told in text
    assert "a note" in text
    assert "about 5 in 100" in text
    assert text.index("seen") < text.rindex("said"), "the greater share comes first"


def test_a_line_is_quoted_with_its_words_marked():
    found = moment()
    line = Line(TimeSpan(3, 3.5), "never do it for <free>", Modality.SPEECH, 1.0)
    page = report.page([Answer("q", (found,))], {found.ref: [line]}, picture)
    assert "<q>never do it for &lt;<mark>free</mark>&gt;</q>" in page


def test_nothing_found_says_so_and_what_came_nearest():
    text = read(report.page([Answer("a whale", (), (moment(),), 0.05)], {}, picture)).text
    assert "Nothing here answers this." in text
    assert "Not sure enough: talk.mp4" in text


def test_a_still_has_no_times():
    page = report.page([Answer("q", (moment(kind=MediaKind.IMAGE),))], {}, picture)
    assert "0:02.0" not in page
    assert "#t=" not in page


@pytest.mark.parametrize("where", ["query", "path", "words", "labels", "notes"])
def test_what_stands_in_a_media_cannot_act(where):
    found = moment(
        path=f"/clips/{EVIL if where == 'path' else 'x'}.mp4",
        words=(EVIL,) if where == "words" else (),
        labels=(Label(EVIL, 0.5),) if where == "labels" else (),
    )
    query = EVIL if where == "query" else "q"
    answer = Answer(query, (found,), (), 0.1, (EVIL,) if where == "notes" else ())
    empty = Answer(query, (), (found,), 0.1)
    reading = read(report.page([answer, empty], {}, picture))
    assert not set(reading.tags) & {"script", "img", "iframe", "object", "form"}
    assert not [name for name, _ in reading.attributes if name.startswith("on")]


@given(st.text())
def test_any_words_leave_the_page_whole(words):
    found = moment(words=(words,), labels=(Label(words, 0.5),))
    tags = read(report.page([Answer(words, (found,))], {}, picture)).tags
    assert tags == read(report.page([Answer("q", (moment(labels=(Label("l", 0.5),)),))], {}, picture)).tags


def test_the_page_needs_nothing_beside_itself():
    reading = read(report.page([Answer("q", (moment(),))], {}, picture))
    links = [value for name, value in reading.attributes if name in ("src", "href")]
    assert links == ["file:///clips/talk.mp4#t=2.00,6.00"]
    policy = next(value for name, value in reading.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'")
    assert "link" not in reading.tags


def _luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "paper", "least"),
    [(ink, paper, 4.5) for ink in ("ink", "soft", "accent", "sure") for paper in ("page", "card")]
    + [("mark-ink", "mark", 4.5)]
    + [(bar, "card", 3.0) for bar in ("vision", "sound", "speech", "text")],
)
def test_colours_have_the_contrast_that_aa_wants(theme, ink, paper, least):
    style = (Path(report.__file__).with_name("report.html")).read_text()
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[theme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    light, dark = sorted((_luminance(colours[ink]), _luminance(colours[paper])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= least


def test_the_picture_is_taken_where_most_was_seen():
    assert pictures.best_second(moment()) == 4.5
    heard = Evidence(Modality.SOUND, "a", 0.6, 1.0, (TimeSpan(2, 3),))
    only_heard = Moment(moment().media, TimeSpan(2, 6), 0.9, 0.97, (heard,))
    assert pictures.best_second(only_heard) == 4.0


@given(st.floats(0.1, 1e5), st.floats(0, 1))
def test_the_stretch_of_sound_holds_the_middle_of_its_moment(length, share):
    media = Media("cafe", ("a.wav",), MediaKind.SOUND, length, "recipe")
    start = share * length * 0.9
    found = Moment(media, TimeSpan(start, start + length * 0.1), 1.0, 1.0)
    around = pictures.shape_span(found)
    assert around.length <= pictures.LONGEST_SHAPE + 1e-6
    assert around.start <= found.span.middle <= around.end
    assert around.start >= -1e-9
    assert around.end <= length + 1e-6
