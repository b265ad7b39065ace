"""Answers and runs as lines for people."""

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import progress, quotes, schemas, show, terminal
from api.terminal import Paint
from indexer import naming
from indexer.events import Advanced, Committed, Crew, Depth, Load, Opened, Planned, SetAside, Summary, Warned
from indexer.naming import Named, Reasons
from retriever.types import Answer, Evidence, Label, Line, Media, MediaKind, Modality, Moment, TimeSpan

PLAIN = Paint(False)


@pytest.fixture
def found() -> Moment:
    media = Media("cafe", ("/elsewhere/clip\x1b[31m.mp4",), MediaKind.VIDEO, 10.0, "recipe")
    labels = (Label("mountain bike, all-terrain bike", 0.41), Label("moped", 0.2))
    seen = Evidence(Modality.VISION, "a", 0.6, 0.75, (TimeSpan(4, 5),), labels)
    said = Evidence(Modality.SPEECH, "b", 0.4, 0.25, (TimeSpan(3, 4),), (), ("never", "free"))
    return Moment(media, TimeSpan(2, 6), 0.9, 0.97, (said, seen))


def test_a_moment_is_where_when_how_sure_and_why(found):
    assert list(show.answer(Answer("q", (found,)), {}, PLAIN)) == [
        " 1  /elsewhere/clip�[31m.mp4  0:02.0-0:06.0  97% sure",
        "    cafe@2.00-6.00  score 0.900",
        "    seen     75%  mountain bike (0.41), moped (0.20)  at 0:04.0-0:05.0",
        "    said     25%  *never* *free*  at 0:03.0-0:04.0",
    ]


def test_a_picture_has_no_times(found):
    still = replace(found, media=replace(found.media, kind=MediaKind.IMAGE))
    shown = "\n".join(show.answer(Answer("q", (still,)), {}, PLAIN))
    assert "  picture  97% sure" in shown
    assert "0:0" not in shown


def test_copies_are_named_by_path_and_time_and_the_rest_is_counted(found):
    refs = ("beef@2.00-6.00", "f00d@12.00-16.00", "dead@1.00-2.00", "c0de@0.00-1.00", "ace@0.00-1.00")
    again = replace(found, copies=refs)
    shown = list(show.answer(Answer("q", (again,)), {}, PLAIN, {"beef": "/else/a\x1b.mp4", "f00d": "/else/b.mp4"}))
    where = "/else/a�.mp4 0:02.0-0:06.0, /else/b.mp4 0:12.0-0:16.0, dead 0:01.0-0:02.0, 2 more"
    assert shown[-1] == f"    also in: {where}"
    still = replace(again, media=replace(found.media, kind=MediaKind.IMAGE), copies=refs[:1])
    assert list(show.answer(Answer("q", (still,)), {}, PLAIN))[-1] == "    also in: beef"
    assert list(show.closing(Answer("q", (again, still), false_alarms=0), 0.9)) == [
        "6 more are copies of what is shown (--copies show shows all)"
    ]


def test_a_line_is_quoted_with_its_words_marked(found):
    lines = [
        Line(TimeSpan(3.2, 3.8), "Never do it for \x1bfree, said Freeman.", Modality.SPEECH, 1.0),
        Line(TimeSpan(9.0, 9.5), "elsewhere, free", Modality.SPEECH, 1.0),
    ]
    shown = list(show.answer(Answer("q", (found,)), {found.ref: lines}, PLAIN))
    assert shown[3] == '    said     25%  "*Never* do it for �*free*, said Freeman."  at 0:03.0-0:04.0'


def test_on_screen_words_are_marked_though_their_spaces_are_lost():
    line = Line(TimeSpan(0, 1), "THANKSFORWATCHING", Modality.TEXT, 1.0)
    assert quotes.marked(line, ["watching", "Thanks"], "[{}]".format, str) == "[THANKS]FOR[WATCHING]"


@given(st.text(), st.lists(st.text(min_size=1)), st.sampled_from([Modality.TEXT, Modality.SPEECH]))
def test_marking_loses_nothing(text, words, modality):
    line = Line(TimeSpan(0, 1), text, modality, 1.0)
    shown = quotes.marked(line, words, str, str)
    assert shown == text or (len(text) > quotes.LONGEST and shown.endswith("…"))


def test_a_path_is_shown_from_the_working_folder_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert terminal.near(str(tmp_path / "a" / "b.mp4")) == "a/b.mp4"
    assert terminal.near("/elsewhere/b.mp4") == "/elsewhere/b.mp4"


def test_nothing_found_names_what_came_nearest(found):
    lines = list(show.closing(Answer("a whale", (), (found,), 0.1, ("a note",)), 0.9))
    assert lines[0] == "nothing found for 'a whale' that is 90% sure"
    assert lines[1].startswith("nearest: /elsewhere/clip�[31m.mp4 0:02.0-0:06.0, 97% sure")
    assert lines[2] == "note: a note"


EVENTS = [
    Warned("speech is not indexed: whisper is missing"),
    Planned(3, 4, 1),
    Opened("/a/one.mp4", 10.0),
    Opened("/a/two.mp4", 20.0),
    Advanced("/a/one.mp4", 10.0, 25, {"decode": 0.1}),
    Advanced("/a/two.mp4", 5.0, 12, {"decode": 0.1}),
    Committed("/a/one.mp4", "cafe", {}),
    SetAside("/a/two.mp4", "broken\nbadly"),
    SetAside("/a/three.mp4", "/a/three.mp4 is empty"),
]


def test_without_a_terminal_there_is_a_line_a_file():
    stream = io.StringIO()
    with progress.watching(stream) as watch:
        for event in EVENTS:
            watch(event)
    assert stream.getvalue().splitlines() == [
        "note: speech is not indexed: whisper is missing",
        "3 files to index, 4 unchanged, 1 renamed",
        "[1/3] indexed /a/one.mp4",
        "[2/3] set aside /a/two.mp4: broken�badly",
        "[3/3] set aside /a/three.mp4: is empty",
    ]


def test_what_was_set_aside_while_looking_is_none_of_those_to_index():
    """Also where a run looks again and again."""
    stream = io.StringIO()
    with progress.watching(stream) as watch:
        for number in range(2):
            watch(SetAside("/a/none.mp4", "empty"))
            watch(Planned(1, 0, 0))
            watch(Committed(f"/a/{number}.mp4", "cafe", {}))
    lines = stream.getvalue().splitlines()
    assert lines[2] == "[1/1] indexed /a/0.mp4"
    assert lines[5] == "[1/1] indexed /a/1.mp4"


def test_numbers_that_are_not_known_yet_are_those_so_far():
    stream = io.StringIO()
    with progress.watching(stream) as watch:
        watch(Planned(2, 254, 0, looked=256, total=5_000, more=True))
        watch(Committed("/a/0.mp4", "cafe", {}))
        watch(SetAside("/a/none.mp4", "empty", planned=False))
        for looked in range(512, 5_000, 256):
            watch(Planned(340, looked - 340, 0, looked=looked, total=5_000, more=True))
        watch(Committed("/a/1.mp4", "cafe", {}))
        watch(Planned(341, 4_659, 0, looked=5_000, total=5_000))
        watch(Committed("/a/2.mp4", "cafe", {}))
    lines = stream.getvalue().splitlines()
    assert lines[:4] == [
        "256 of 5,000 files looked at so far: 2 to index, 254 unchanged",
        "[1 of 2 so far] indexed /a/0.mp4",
        "set aside /a/none.mp4: empty",
        "512 of 5,000 files looked at so far: 340 to index, 172 unchanged",
    ]
    assert sum("looked at so far" in line for line in lines) == 5, "at 256, 512, 1,024, 2,048 and 4,096"
    assert lines[-3:] == [
        "[2 of 340 so far] indexed /a/1.mp4",
        "341 files to index, 4,659 unchanged",
        "[3/341] indexed /a/2.mp4",
    ]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_are_bars_for_the_corpus_and_each_open_file(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    stream = _Terminal()
    with progress.watching(stream) as watch:
        assert isinstance(watch, progress.Bars)
        for event in EVENTS[:6]:
            watch(event)
        shown = {task.description.strip(): task for task in watch.shown.tasks}
        assert set(shown) == {"all files", "one.mp4", "two.mp4"}
        assert shown["all files"].completed == pytest.approx(1.25)
        assert "37 frames" in shown["all files"].fields["note"]
        assert "× realtime" in shown["all files"].fields["note"]
        assert shown["two.mp4"].fields["note"] == "0:05.0 of 0:20.0"
        for event in EVENTS[6:]:
            watch(event)
        assert [task.description for task in watch.shown.tasks] == ["all files"]
    assert "set aside" in stream.getvalue()


def test_a_tally_counts_media_once_though_chapters_come_in_turn():
    tally = progress.Tally()
    for event in EVENTS:
        tally.count(event)
    assert (tally.done, tally.files, tally.frames, tally.media_seconds) == (3, 3, 37, 15.0)
    assert tally.files_done == 3


@pytest.mark.parametrize("name", ["short.mp4", "x" * 50 + ".mp4", "a\x1bb.mp4"])
def test_long_names_keep_their_ends(name):
    shown = progress.shortened(f"/folder/{name}")
    assert len(shown) <= progress.NAME_WIDTH
    assert shown.endswith(".mp4")
    assert "\x1b" not in shown


def test_a_run_ends_with_what_was_done_and_every_file_set_aside():
    summary = Summary(
        indexed=Named(["a"]),
        unchanged=2,
        quarantined=Reasons({"b.mp4": "empty"}),
        media_seconds=30,
        wall_seconds=2,
        frames=60,
    )
    summary.stage_seconds = {"decode": 1.0}
    assert progress.closing(summary) == [
        "1 file indexed (0:30.0 of media, 60 frames) in 2.0 s, 15.0× realtime",
        "  decode 1.0 s",
        "  2 unchanged",
        "1 file set aside:",
        "  b.mp4: empty",
    ]


def test_of_very_many_files_the_first_are_named_and_all_are_counted(monkeypatch):
    monkeypatch.setattr(naming, "MOST", 2)
    summary = Summary(
        indexed=Named("abcd"), quarantined=Reasons(dict.fromkeys("efghi", "empty")), media_seconds=30, wall_seconds=2
    )
    shown = progress.closing(summary)
    assert shown[0].startswith("4 files indexed")
    assert shown[1:] == ["5 files set aside:", "  e: empty", "  f: empty", "  and 3 more"]
    document = schemas.index(summary)
    assert (document["indexed"], [each["path"] for each in document["quarantined"]]) == (["a", "b"], ["e", "f"])
    assert document["counts"] == {"indexed": 4, "renamed": 0, "pruned": 0, "quarantined": 5}


def test_a_run_says_who_set_the_pace_and_who_waited_for_what():
    load = Load(
        {
            "decoders": Crew(10.0, {"files": 0.1, "room": 7.0}),
            "encoders": Crew(5.0, {"chapters": 0.15}),
            "store": Crew(5.0, {}),
        },
        {"chapters ready": Depth(4.0, area=9.0, seconds=5.0)},
    )
    assert progress.closing(Summary(unchanged=1, load=load))[1] == (
        "  the store set the pace; waited: decoders 71 % for room, encoders 3 % for chapters, store 0 %; "
        "1.8 chapters were ready on average, 4 at most"
    )


def test_a_run_with_nothing_to_do_says_so():
    assert progress.closing(Summary(unchanged=3)) == ["nothing new", "  3 unchanged"]
    assert progress.closing(Summary()) == ["no media files there"]
