"""Queries in steps and terms through the command line: every example of docs/queries.md, and what must come out."""

import json
import re
import shlex
from pathlib import Path

import clips
import pytest
from documents import found, printed_by

from api import Library, schemas
from api.main import main

PAGE = Path(__file__).parents[2] / "docs" / "queries.md"
EXAMPLES = re.findall(r"^reelseek (search .*)$", PAGE.read_text("utf-8"), re.MULTILINE)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough here, and quicker."""
    monkeypatch.setattr("retriever.calibrating.ASKED", 24)


@pytest.fixture
def films(no_weights: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Films of two colours each, in both orders, and a tone."""
    folder = tmp_path / "films"
    folder.mkdir()
    for name, colours in {
        "red_blue": ["red", "blue"],
        "blue_red": ["blue", "red"],
        "green_blue_yellow": ["green", "blue", "yellow"],
        "red_green_blue": ["red", "green", "blue"],
        "blue": ["blue"],
    }.items():
        clips.film(folder / f"{name}.mp4", colours)
    clips.tone(folder / "tone.wav", [False, True])
    assert main(["index", str(folder), "--jobs", "1"]) == 0
    capsys.readouterr()
    return folder


def named(moment: dict) -> str:
    return Path(moment["media"]["path"]).stem


def test_the_page_has_examples():
    assert len(EXAMPLES) == len(re.findall(r"^reelseek ", PAGE.read_text("utf-8"), re.MULTILINE)) > 0


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_page_is_read(kept, capsys, example):
    assert main(shlex.split(example)) in (0, 3)
    captured = capsys.readouterr()
    assert "--explain" not in example or "understood as: " in captured.err


@pytest.mark.parametrize("example", EXAMPLES)
def test_python_answers_every_example_as_the_command_line_does(kept, capsys, example):
    _, query, *_ = shlex.split(example)
    capsys.readouterr()
    assert main(["search", query, "--min-confidence", "0", "--json"]) in (0, 3)
    document = json.loads(capsys.readouterr().out)
    with Library.open("lib") as library:
        answer = library.search(query, min_confidence=0)
    assert json.loads(json.dumps(schemas.search(answer, "moment"))) == document


def test_the_order_of_steps_counts(films, capsys):
    there, back = found("red then blue", capsys), found("blue then red", capsys)
    assert {named(moment) for moment in there[:2]} == {"red_blue", "red_green_blue"}
    assert named(back[0]) == "blue_red"
    (first, second) = there[0]["parts"]
    assert first["end_s"] <= second["start_s"]
    assert there[0]["start_s"] == first["start_s"]
    assert there[0]["end_s"] == second["end_s"]
    assert {piece["asked"] for piece in there[0]["evidence"]} == {"red", "blue"}
    assert sum(piece["share"] for piece in there[0]["evidence"]) == pytest.approx(1, abs=1e-4)
    assert back[0]["confidence"] > 0.9
    assert back[0]["score"] > back[1]["score"] + 0.5


@pytest.mark.parametrize(
    ("query", "same"),
    [
        ("blue AFTER red", "red THEN blue"),
        ("red BEFORE blue", "red THEN blue"),
        ("red, followed by blue", "red then blue"),
    ],
)
def test_all_ways_to_say_an_order_are_one(films, capsys, query, same):
    assert found(query, capsys) == found(same, capsys)


def test_a_limit_leaves_out_what_comes_too_late(films, capsys):
    close = found("red then blue within 1s", capsys)
    assert named(close[0]) == "red_blue"
    assert close[0]["confidence"] > 0.9
    assert all(named(moment) != "red_green_blue" or moment["confidence"] < 0.9 for moment in close)


def test_three_steps(films, capsys):
    best = found("green then blue then yellow", capsys)[0]
    assert named(best) == "green_blue_yellow"
    assert [round(part["start_s"]) for part in best["parts"]] == [0, 2, 4]


def test_what_must_not_be_there_takes_away(films, capsys):
    """A part of a film that is blue, and not one that is red as well: the colours of one second exclude each other."""
    plain = found("red", capsys)[0]["score"]
    assert found("red -red", capsys)[0]["score"] < plain - 1
    assert found("+red +blue", capsys)[0]["score"] < plain - 1

    def of_red_part(query: str) -> float:
        moments = found(query, capsys, "--limit", "30")
        return next(one["score"] for one in moments if (named(one), round(one["start_s"])) == ("blue_red", 2))

    assert of_red_part("blue without red") < of_red_part("blue") - 1
    assert {named(moment) for moment in found("blue without yellow", capsys)[:4]} >= {"blue", "red_blue", "blue_red"}


def test_a_field_asks_in_one_way_only(films, capsys):
    for query, modality, name in (("heard:tone", "sound", "tone"), ("seen:yellow", "vision", "green_blue_yellow")):
        best = found(query, capsys)[0]
        assert named(best) == name
        assert {piece["modality"] for piece in best["evidence"]} == {modality}
    assert found("heard:tone -seen:red kind:image", capsys) == []


def test_words_that_must_be_there(films, capsys):
    """Subtitles name the colour of each second."""
    assert found('written:"no such words"', capsys) == []
    assert found('said:"red"', capsys) == []  # it is written, and nobody says it
    there = found('written:"yellow"', capsys)
    assert {named(moment) for moment in there} == {"green_blue_yellow"}
    assert round(there[0]["start_s"]) == 4


def test_how_it_was_understood_is_told_and_means_the_same(films, capsys):
    document = printed_by("search", "red, then blue duration<60 -green", "--min-confidence", "0", capsys=capsys)
    assert document["understood"] == "red then blue -(green) duration<60"
    assert document["notes"] == ["understood as: red then blue -(green) (in quotes they are just words)"]
    again = printed_by("search", document["understood"], "--min-confidence", "0", capsys=capsys)
    assert again["moments"] == document["moments"]
    assert main(["search", "red, then blue", "--explain"]) == 0
    out, err = capsys.readouterr()
    assert "understood as: red then blue\n" in err
    assert "in steps: 0:00.0-0:02.0, then 0:02.0-0:04.0" in out
    assert "for red" in out


def test_a_bad_query_is_one_line_that_points(films, capsys):
    assert main(["search", "red THEN"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "at character 5, 'THEN'" in line


def test_by_video_each_answers_once(films, capsys):
    names = [named(moment) for moment in found("red then blue", capsys, "--by", "video")]
    assert len(names) == len(set(names))
    assert names[0] in ("red_blue", "red_green_blue")
