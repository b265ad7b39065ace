"""`--budget`: few frames are encoded, and what is short is found all the same."""

import json
from pathlib import Path

import clips
import pytest
from documents import printed_by

from api import Library, exits
from api.main import main

SECONDS = 61


@pytest.fixture
def film(no_weights: None, tmp_path: Path) -> Path:
    """A film of a minute and a second; the screen is red, but blue for a second and green for another, at its end."""
    folder = tmp_path / "films"
    folder.mkdir()
    colours = ["red"] * SECONDS
    colours[33], colours[58] = "blue", "green"
    return clips.film(folder / "film.mp4", colours, seconds=1.0)


def seen(capsys: pytest.CaptureFixture[str]) -> int:
    """Tokens of frames in the library."""
    return next(s["tokens"] for s in printed_by("stats", capsys=capsys)["spaces"] if s["modality"] == "vision")


@pytest.mark.parametrize(("budget", "tokens"), [("0.1", 12 + 1), ("0.3", 36 + 1), ("1", 120 + 2)])
def test_so_many_frames_are_encoded_and_a_second_is_found(film, budget, tokens, capsys):
    assert main(["index", str(film), "--budget", budget]) == exits.OK
    assert seen(capsys) == tokens
    for colour, second in (("blue", 33), ("green", 58)):
        best = printed_by("search", colour, "--min-confidence", "0", capsys=capsys)["moments"][0]
        assert best["start_s"] <= second + 0.5 <= best["end_s"]
        assert best["end_s"] - best["start_s"] < 5


def test_a_library_holds_one_budget(film, capsys):
    assert main(["index", str(film), "--budget", "0.3"]) == exits.OK
    again = printed_by("index", str(film), "--budget", "0.30", capsys=capsys)
    assert (again["indexed"], again["unchanged"]) == ([], 1)
    for other in ([], ["--budget", "0.2"]):
        assert main(["index", str(film), *other]) == exits.ERROR
        message = capsys.readouterr().err
        assert "--budget and --sampling that made this one" in message
        assert len(message.splitlines()) == 1


def test_it_can_be_set_like_everything_else(film, monkeypatch, capsys):
    monkeypatch.setenv("REELSEEK_BUDGET", "0.2")
    assert main(["index", str(film)]) == exits.OK
    assert seen(capsys) == 24 + 1


@pytest.mark.parametrize("budget", ["0.05", "-0.1", "1.5", "nan", "30%", ""])
def test_a_budget_that_is_none_is_one_line(film, budget, capsys):
    assert main(["index", str(film), f"--budget={budget}"]) == exits.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert "--budget is" in line
    assert "it wants" in line


def test_it_is_python_too(film):
    with Library.open("mine") as library:
        library.index([film], budget=0.3)
        assert json.loads(library.stats()["recipe"]["text"])["sampling"] == "salient(2, 0.3)"


def test_another_sampler_is_another_recipe(film, capsys):
    """The encoder makes a keyframe every ten seconds, and where the colour changes."""
    assert main(["index", str(film), "--sampling", "keyframes"]) == exits.OK
    assert 6 <= seen(capsys) <= 6 + 4
    assert main(["index", str(film)]) == exits.ERROR
    assert "--sampling that made this one" in capsys.readouterr().err
    assert printed_by("index", str(film), "--sampling", "keyframes(1)", capsys=capsys)["unchanged"] == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--sampling", "all"], "'all' is no sampler; write one of"),
        (["--sampling", "fixed(1)", "--budget", "0.5"], "both say which frames: leave one out"),
    ],
)
def test_a_sampler_that_is_none_is_one_line(film, words, told, capsys):
    assert main(["index", str(film), *words]) != exits.OK
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
