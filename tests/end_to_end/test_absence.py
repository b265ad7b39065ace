"""`reelseek eval absence`: what is not here, and what was not there yet."""

import json
from pathlib import Path

import clips
import pytest

from api import exits
from api.main import main

Captured = pytest.CaptureFixture[str]


def call(capsys: Captured, *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["eval", "absence", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def printed(capsys: Captured, *words: object) -> dict:
    code, out, err = call(capsys, *words, "--json")
    assert code == exits.OK, err
    return json.loads(out)


def written(folder: Path, *lines: object) -> Path:
    (folder / "asked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "asked.jsonl"


ANSWERED = ({"text": "green", "relevant": ["second"]}, {"text": "red blue", "relevant": ["first.mp4"]})
NONE = {"text": "yellow", "relevant": []}


def test_every_question_is_asked_again_without_its_answer(kept: Path, tmp_path: Path, capsys: Captured) -> None:
    document = printed(capsys, "--manifest", written(tmp_path, *ANSWERED, NONE), "--rate", 0.34)
    assert (document["questions"], document["present"]) == (3, 2)
    assert document["absent"] == {"left_out": 2, "unanswerable": 1}
    assert document["top_1"]["value"] == 1
    assert document["auroc"]["all"]["value"] > 0.8
    (rate,) = document["rates"]
    assert rate["false_alarms"] <= 0.34
    assert rate["rightly"]["value"] <= 1 - rate["misses"]
    assert 0 <= rate["stated"] <= 1
    curve = document["curve"]
    assert {len(values) for values in curve.values()} == {101}
    assert (curve["false_alarms"][0], curve["misses"][0]) == (1, 0)
    assert curve["false_alarms"] == sorted(curve["false_alarms"], reverse=True)
    code, out, _ = call(capsys, "--manifest", tmp_path / "asked.jsonl")
    assert code == exits.OK
    for shown in ("AUROC", "answer taken away", "never had one", "--min-confidence", "as stated"):
        assert shown in out


def test_filters_hold_for_every_question(kept: Path, tmp_path: Path, capsys: Captured) -> None:
    # Within sounds there is no green, so what was an answer is none, and nothing is asked again.
    lines = written(tmp_path, *ANSWERED, {"text": "tone", "relevant": ["tone"]})
    document = printed(capsys, "--manifest", lines, "--kind", "sound")
    assert document["present"] == 1
    assert document["absent"] == {"left_out": 1, "unanswerable": 2}


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([{"text": "", "relevant": []}], "asked.jsonl:1: 'text' is ''"),
        ([NONE, {"text": "x", "relevant": "first"}], "asked.jsonl:2: 'relevant' is 'first'"),
        ([{"text": "x", "relevant": ["third"]}], "'third' is no media of this library"),
        ([NONE], "no question with an answer"),
        ([], "has no lines"),
    ],
)
def test_questions_with_a_mistake(kept, tmp_path, capsys, lines, complaint) -> None:
    code, out, err = call(capsys, "--manifest", written(tmp_path, *lines))
    assert (code, out) == (exits.ERROR, "")
    assert complaint in err


def test_wrong_usage(kept: Path, tmp_path: Path, capsys: Captured) -> None:
    code, _, err = call(capsys, "--manifest", written(tmp_path, NONE), "--rate", 2)
    assert code == exits.USAGE
    assert "shares from 0 to 1" in err
    code, _, err = call(capsys, "--manifest", tmp_path / "none.jsonl")
    assert code == exits.ERROR


# --------------------------------------------------------------------------------------------------------------- causal


def test_nothing_later_than_a_second_may_answer(no_weights: None, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "clips").mkdir()
    clips.film(tmp_path / "clips" / "long.mp4", ["red", "green", "blue", "yellow"], seconds=5)
    assert main(["index", str(tmp_path / "clips")]) == exits.OK
    lines = written(
        tmp_path,
        {"text": "blue", "media": "long", "t": 20, "windows": [[10, 15]]},  # asked again at 10: not yet
        {"text": "red", "media": "long", "t": 6, "windows": [[0, 5]]},  # there from the beginning: never absent
        {"text": "yellow", "media": "long", "t": 12, "windows": [[15, 20]]},  # not yet
    )
    document = printed(capsys, "--manifest", lines, "--causal")
    assert document["causal"] is True
    assert document["present"] == 2
    assert document["absent"] == {"left_out": 1, "unanswerable": 1}
    assert document["auroc"]["all"]["value"] == 1
    assert document["top_1"]["value"] == 1
    assert [one["stated"] for one in document["rates"]] == [None, None]


def test_only_what_was_recorded_by_a_date_may_answer(no_weights: None, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "clips").mkdir()
    for colour, day in (("red", "2026-01-01"), ("green", "2026-03-01")):
        film = clips.film(tmp_path / "clips" / f"{colour}.mp4", [colour])
        assert main(["index", str(film), "--recorded", day]) == exits.OK
    lines = written(
        tmp_path,
        {"text": "green", "relevant": ["green"], "t": "2026-02-01"},  # not yet
        {"text": "red", "relevant": ["red"], "t": "2026-02-01"},
    )
    document = printed(capsys, "--manifest", lines, "--causal")
    assert document["present"] == 1
    assert document["absent"] == {"left_out": 1, "unanswerable": 1}
    assert document["top_1"]["value"] == 1
    lines = written(tmp_path, {"text": "green", "relevant": ["green"]})
    code, _, err = call(capsys, "--manifest", lines, "--causal")
    assert code == exits.ERROR
    assert "'t' is None; --causal wants a date, or seconds" in err
    lines = written(tmp_path, {"text": "green", "media": "green", "t": 3, "windows": [[2, 1]]})
    code, _, err = call(capsys, "--manifest", lines, "--causal")
    assert code == exits.ERROR
    assert "'windows' is [[2, 1]]" in err
