"""`reelseek index --profile FILE`: a trace that a browser opens, and who set the pace."""

import json
from pathlib import Path

import pytest

from api.main import main


def test_a_run_leaves_a_trace_and_says_who_set_the_pace(
    no_weights: None, media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", "clips", "--jobs", "2", "--profile", "run.json"]) == 0
    (pace,) = [line for line in capsys.readouterr().err.split("\n") if "set the pace" in line]
    assert pace.strip().startswith("the ")
    assert all(name in pace for name in ("decoders", "encoders", "store", "chapters were ready"))
    events = json.loads((tmp_path / "run.json").read_text())
    assert {event["args"]["file"] for event in events if event["name"] == "decode"} == {
        "first.mp4",
        "second.mp4",
        "tone.wav",
    }
    assert main(["index", "clips", "--profile", "run.json"]) == 0, "a trace is written over"


def test_a_film_is_not_written_over_and_nothing_is_registered(
    no_weights: None, media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = media / "first.mp4"
    before = film.read_bytes()
    assert main(["index", "clips", "--profile", str(film)]) == 2
    assert "is no trace" in capsys.readouterr().err
    assert film.read_bytes() == before
    assert main(["jobs", "list", "--all", "--json"]) == 3, "nothing was found"
    assert json.loads(capsys.readouterr().out) == {"jobs": []}
