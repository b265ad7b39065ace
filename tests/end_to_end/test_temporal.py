"""`reelseek eval temporal`, over films of colours that follow one another."""

import json
from pathlib import Path

import clips
import pytest

from api import exits
from api.main import main

Captured = pytest.CaptureFixture[str]


def call(capsys: Captured, *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["eval", "temporal", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def printed(capsys: Captured, *words: object) -> dict:
    code, out, err = call(capsys, *words, "--json")
    assert code == exits.OK, err
    return json.loads(out)


@pytest.fixture
def filmed(no_weights: None, tmp_path: Path) -> Path:
    """Two films of the same colours in both orders, and a third that has nothing to do with them."""
    folder = tmp_path / "clips"
    folder.mkdir()
    clips.film(folder / "77.mp4", ["red", "blue"], seconds=4)
    clips.film(folder / "77_reverse.mp4", ["blue", "red"], seconds=4)
    clips.film(folder / "other.mp4", ["green", "yellow"], seconds=4)
    assert main(["index", str(folder)]) == exits.OK
    return tmp_path


def test_the_right_order_wins_and_shuffled_frames_do_not_tell(filmed: Path, capsys: Captured) -> None:
    asked = "Which caption matches the video better?\nCaption A: Red then blue.\nCaption B: Blue then red."
    one, other = asked.split("\n")[1:]
    whole = {
        "77": {"order": [{"question": asked, "answer": one}]},
        "77_reverse": {"order": [{"question": asked, "answer": other}]},
        "absent": {"order": [{"question": asked, "answer": one}]},
    }
    (filmed / "caption_matching.json").write_text(json.dumps(whole))
    words = ("--benchmark", "tempcompass", "--annotations", filmed)
    document = printed(capsys, *words)
    assert (document["items"], document["media"], document["missing"]) == (2, 2, ["absent"])
    assert document["asked"]["pairs"]["value"] == 1
    assert document["asked"]["conflicts"]["value"] == 1
    assert document["asked"]["not_yet"] is None
    assert document["text_only"]["pairs"]["value"] <= 0.5
    assert document["frames_shuffled"]["pairs"]["value"] < 1
    assert document["frames"]
    assert [row["aspect"] for row in document["aspects"]] == ["order"]
    assert any("questions here" in note for note in document["notes"])
    code, out, err = call(capsys, *words)
    assert code == exits.OK
    for shown in ("words alone", "frames shuffled", "conflicts", "order", "1 media missing"):
        assert shown in out
    assert "Conflict pairs" in err


def test_nothing_later_than_its_time_is_looked_at(filmed: Path, capsys: Captured) -> None:
    choice = {"id": 0, "task": "STU", "video": "x/77.mp4", "question": "colour", "options": ["red", "blue"]}
    probes = [{"realtime": 3, "type": 0, "step": "blue"}, {"realtime": 8, "type": 1, "step": "blue"}]
    entries = [
        {**choice, "realtime": 4, "gt": 0},
        {**choice, "id": 1, "realtime": 4, "gt": 0, "video": "x/77_reverse.mp4", "options": ["blue", "red"]},
        {"id": 2, "task": "SSR", "video": "x/77.mp4", "test_info": probes},
    ]
    (filmed / "ovo_bench_new.json").write_text(json.dumps(entries))
    document = printed(capsys, "--benchmark", "ovo_bench", "--annotations", filmed)
    by_aspect = {row["aspect"]: row for row in document["aspects"]}
    assert by_aspect["STU"]["asked"]["pairs"]["value"] == 1  # of whole films both colours are as likely
    assert by_aspect["SSR"]["asked"]["not_yet"]["value"] == 1
    assert by_aspect["SSR"]["asked"]["pairs"] is None
    assert document["modes"]["asked"] == {"realtime": 1, "forward": 1, "all": 1}


def test_media_that_are_nowhere(filmed: Path, capsys: Captured) -> None:
    one = {"video": "none.webm", "question": "What?", "candidates": ["a", "b"], "answer": "a"}
    (filmed / "action_antonym.json").write_text(json.dumps([one]))
    words = ("--benchmark", "mvbench", "--split", "action_antonym", "--annotations", filmed)
    code, out, err = call(capsys, *words)
    assert (code, out) == (exits.ERROR, "")
    assert "none of the 1 media of mvbench is in the library" in err
    code, _, err = call(capsys, "--benchmark", "msvd", "--annotations", filmed)
    assert code == exits.ERROR
    assert "reelseek eval retrieval" in err
    code, _, err = call(capsys, *words, "--shuffles", -1)
    assert code == exits.USAGE
