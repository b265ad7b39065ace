"""Moments as cues, markers and edit lists, read back by small readers that know only what the formats say."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import markers
from retriever.errors import BadSettings
from retriever.types import Answer, Evidence, Label, Line, Media, MediaKind, Modality, Moment, TimeSpan

Cue = tuple[float, float, str]


def media(key: str = "cafe", kind: MediaKind = MediaKind.VIDEO, rate: float = 25.0, **more: object) -> Media:
    return Media(key, (f"/clips/{key}.mp4",), kind, 7200.0, "recipe", frame_rate=rate, **more)  # type: ignore[arg-type]


def moment(start: float, end: float, of: Media | None = None, words: tuple[str, ...] = ()) -> Moment:
    seen = Evidence(Modality.VISION, "a", 0.6, 0.75, (TimeSpan(start, end),), (Label("bicycle, bike", 0.4),))
    said = Evidence(Modality.SPEECH, "b", 0.4, 0.25, (TimeSpan(start, end),), (), words)
    return Moment(of or media(), TimeSpan(start, end), 0.9, 0.97, (said, seen))


def exported(answer: Answer, suffix: str, folder: Path, lines: dict[str, list[Line]] | None = None) -> tuple[str, list]:
    file = folder / f"out{suffix}"
    notes = markers.write(answer, lines or {}, file, "moment")
    assert [one.name for one in folder.iterdir()] == [file.name]
    return file.read_bytes().decode("utf-8"), notes


def seconds(stamp: str) -> float:
    hours, minutes, rest = stamp.replace(",", ".").split(":")
    assert re.fullmatch(r"\d\d\.\d\d\d", rest)
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def read_vtt(text: str) -> list[Cue]:
    """https://www.w3.org/TR/webvtt1/#file-parsing, as much of it as there are cues."""
    head, *blocks = re.split(r"\n\n+", text.strip("\n"))
    assert re.fullmatch(r"WEBVTT( [^\n]*)?", head)
    cues = []
    for block in blocks:
        lines = block.split("\n")
        timing = lines.pop(0) if "-->" in lines[0] else lines.pop(1)
        words = "\n".join(lines[1:] if "-->" not in block.split("\n")[0] else lines)
        assert "-->" not in words
        assert not re.search(r"<|&(?!amp;|lt;|gt;)", words)
        start, end = timing.split(" --> ")
        plain = words.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        cues.append((seconds(start), seconds(end), plain))
    return cues


def read_srt(text: str) -> list[Cue]:
    cues = []
    for number, block in enumerate(re.split(r"\n\n+", text.strip("\n")), 1):
        if block:
            count, timing, *words = block.split("\n")
            assert count == str(number)
            start, end = timing.split(" --> ")
            assert "," in start
            cues.append((seconds(start), seconds(end), "\n".join(words)))
    return cues


def frames(code: str, rate: int) -> int:
    hours, minutes, second, frame = map(int, code.split(":"))
    assert minutes < 60
    assert second < 60
    assert frame < rate
    return (hours * 3600 + minutes * 60 + second) * rate + frame


def read_edl(text: str, rate: int) -> list[dict]:
    """CMX 3600: an event a line, comments behind it."""
    lines = text.split("\n")
    assert lines[0].startswith("TITLE: ")
    assert lines[1] == "FCM: NON-DROP FRAME"
    events: list[dict] = []
    for line in lines[2:]:
        if line.startswith("* "):
            key, _, value = line[2:].partition(": ")
            events[-1][key] = value
        elif line:
            number, reel, track, kind, *codes = line.split()
            assert re.fullmatch(r"\d{3}", number)
            assert len(reel) <= 8
            assert kind == "C"
            counted = [frames(code, rate) for code in codes]
            assert counted[1] - counted[0] == counted[3] - counted[2] > 0
            events.append({"track": track, "source": tuple(counted[:2]), "record": tuple(counted[2:])})
    return events


@pytest.mark.parametrize(("suffix", "read"), [(".vtt", read_vtt), (".srt", read_srt)])
def test_cues_lie_in_the_media_and_say_what_how_sure_and_why(tmp_path, suffix, read):
    found = moment(3661.5, 3663.25, words=("free",))
    lines = {found.ref: [Line(TimeSpan(3662, 3663), "never do it for free", Modality.SPEECH, 1.0)]}
    text, notes = exported(Answer("a bike", (found, moment(2.0, 4.5))), suffix, tmp_path, lines)
    first, second = read(text)
    assert (first[:2], second[:2]) == ((2.0, 4.5), (3661.5, 3663.25)), "in order of time"
    assert second[2] == 'a bike (97% sure)\nseen 75%: bicycle; said 25%: "never do it for free"'
    assert notes == []


@pytest.mark.parametrize(("suffix", "read"), [(".vtt", read_vtt), (".srt", read_srt)])
def test_cues_are_of_the_best_moments_media_and_the_rest_is_told(tmp_path, suffix, read):
    still = moment(0, 1, media("dada", MediaKind.IMAGE, 0.0))
    answer = Answer("q", (still, moment(5, 6), moment(1, 2, media("beef")), moment(2, 3)))
    text, notes = exported(answer, suffix, tmp_path)
    assert [cue[:2] for cue in read(text)] == [(2.0, 3.0), (5.0, 6.0)]
    assert notes == ["cues are of /clips/cafe.mp4: 2 moments of other media left out (.csv and .edl have all)"]


@given(st.text(), st.text(min_size=1), st.floats(0, 90_000), st.floats(0.01, 500))
def test_no_words_break_a_cue(query, word, start, length):
    found = moment(start, start + length, words=(word,))
    answer = Answer(query, (found,))
    for made, read in ((markers._vtt, read_vtt), (markers._srt, read_srt)):
        ((begin, end, words),) = read(made(answer, {}, "moment").text)
        assert (begin, end) == pytest.approx((start, start + length), abs=6e-4)
        assert len(words.split("\n")) == 2
        assert "97% sure" in words


@given(st.text(), st.text())
def test_markers_survive_any_words(query, name):
    found = replace(moment(1.5, 2.52, media(rate=25.0)), media=replace(media(), paths=(f"/clips/{name}",)))
    text = markers._csv(Answer(query, (found,)), {}, "moment").text
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["path"], row["query"]) == (f"/clips/{name}", query)
    assert (float(row["start_s"]), float(row["end_s"]), row["ref"]) == (1.5, 2.52, "cafe@1.50-2.52")
    assert (row["in"], row["out"]) == ("00:00:01:13", "00:00:02:13")
    assert float(row["confidence"]) == 0.97
    assert row["evidence"].startswith("seen 75%: bicycle")


def test_markers_have_all_media_and_timecodes_where_there_are_frames(tmp_path):
    found = (
        moment(10.0, 12.0),
        moment(1.25, 2.5, media("beef", MediaKind.SOUND, 0.0)),
        moment(0, 1, media("dada", MediaKind.IMAGE, 0.0)),
    )
    text, notes = exported(Answer("q", found), ".csv", tmp_path)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == markers.COLUMNS
    assert [(row["in"], row["out"]) for row in rows] == [
        ("00:00:10:00", "00:00:12:00"),
        ("00:00:01.250", "00:00:02.500"),
        ("", ""),
    ]
    assert notes == []


def test_an_edit_list_cuts_the_moments_together(tmp_path):
    silent = media("beef", missing={"sound": "no sound in this file"})
    found = (moment(10.0, 12.0), moment(3661.0, 3661.4, silent), moment(1, 2, media("feed", MediaKind.SOUND, 0.0)))
    text, notes = exported(Answer("a bike", found), ".edl", tmp_path)
    events = read_edl(text, 25)
    assert [event["source"] for event in events] == [(250, 300), (91525, 91535), (25, 50)]
    assert [event["record"] for event in events] == [(0, 50), (50, 60), (60, 85)]
    assert [event["track"] for event in events] == ["B", "V", "A"]
    assert [event["FROM CLIP NAME"] for event in events] == ["cafe.mp4", "beef.mp4", "feed.mp4"]
    assert events[0]["SOURCE FILE"] == "/clips/cafe.mp4"
    assert events[0]["FRAME RATE"] == "25.000"
    assert events[0]["COMMENT"].startswith("97% sure, seen 75%: bicycle")
    assert notes == []


def test_an_edit_list_counts_frames_and_drops_no_numbers(tmp_path):
    ntsc = media("cafe", rate=30000 / 1001)
    text, notes = exported(Answer("q", (moment(3600.0, 3601.0, ntsc), moment(1, 2))), ".edl", tmp_path)
    first = read_edl(text, 30)[0]
    assert first["source"] == (round(3600 * 30000 / 1001), round(3601 * 30000 / 1001))
    assert "00:59:56:12" in text, "the clock of an hour is 3.6 s behind"
    assert len(notes) == 1
    assert "29.97 frames a second for all" in notes[0]


@given(st.floats(0, 86_000), st.sampled_from([12.0, 24000 / 1001, 24.0, 25.0, 30000 / 1001, 50.0, 60.0]))
def test_a_timecode_names_the_nearest_frame(second, rate):
    assert frames(markers.timecode(second, rate), round(rate)) == round(second * rate)


def test_a_picture_is_not_in_an_edit_list(tmp_path):
    found = (moment(0, 1, media("dada", MediaKind.IMAGE, 0.0)),)
    text, notes = exported(Answer("q", found), ".edl", tmp_path)
    assert read_edl(text, 25) == []
    assert len(notes) == 1


def test_json_is_what_the_command_prints(tmp_path):
    text, _ = exported(Answer("q", (moment(1, 2),)), ".json", tmp_path)
    assert json.loads(text)["moments"][0]["ref"] == "cafe@1.00-2.00"


def test_another_suffix_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(BadSettings, match=r"'\.doc'; it wants \.vtt, \.srt, \.csv, \.edl, \.json"):
        markers.suffix_of(tmp_path / "a.doc")


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(OSError, match="the export cannot be written"):
        markers.write(Answer("q", ()), {}, tmp_path / "no" / "a.vtt", "moment")
