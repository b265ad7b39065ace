"""Footage that is in a library several times, through the command line: real files, written by a real encoder."""

import json
import shutil
from pathlib import Path

import av
import clips
import numpy as np
import pytest
from documents import documented, fits, shape
from fakes import COLOURS

from api.main import main

SCENES = ("red", "blue", "green", "red", "yellow", "blue")
OTHER = ("red", "white", "red", "green", "white", "black")


def film_again(path: Path, colours: tuple[str, ...], side: int, bars: int = 0) -> Path:
    """The same film smaller, with other options, between black bars of so many pixels."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "40", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = side, side + 2 * bars, "yuv420p"
        for colour in colours:
            pixels = np.zeros((side + 2 * bars, side, 3), np.uint8)
            pixels[bars : bars + side] = COLOURS[colour]
            for _ in range(20):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    clips.film(folder / "clip.mp4", SCENES)
    film_again(folder / "small.mp4", SCENES, 32, bars=4)
    clips.film(folder / "other.mp4", OTHER)
    clips.film(folder / "plain.mp4", ["green"], seconds=4)
    return folder


@pytest.fixture
def films(no_weights: None, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(made, "films")
    assert main(["index", "films"]) == 0
    capsys.readouterr()


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict, str]:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


def names(answer: dict) -> list[str]:
    return [Path(moment["media"]["path"]).stem for moment in answer["moments"]]


SEARCH = ("search", "red", "--by", "video", "--min-confidence", "0")


def test_a_clip_encoded_again_is_one_answer(films: None, capsys: pytest.CaptureFixture[str]) -> None:
    few, said = asked(capsys, *SEARCH)
    assert fits(shape(few), shape(documented()["search"]))
    every, silent = asked(capsys, *SEARCH, "--copies", "show")
    assert sorted(names(every)) == ["clip", "other", "plain", "small"]
    assert every["copies_hidden"] == 0
    assert not any(moment["copies"] for moment in every["moments"])
    assert "--copies show" not in silent
    assert sorted({*names(few), "clip"} - {"small"}) == ["clip", "other", "plain"]
    assert len(few["moments"]) == 3
    (best,) = (moment for moment in few["moments"] if moment["copies"])
    assert few["copies_hidden"] == 1
    gone = {moment["ref"] for moment in every["moments"]} - {moment["ref"] for moment in few["moments"]}
    assert best["copies"] == [*gone]
    assert "1 more is a copy of what is shown (--copies show shows all)" in said


def test_people_read_where_it_is_again(films: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SEARCH, "--report", "page.html"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("also in: films/") == 1
    assert any(f"also in: films/{name}.mp4 0:0" in printed for name in ("clip", "small"))
    assert "also in: films/" in Path("page.html").read_text()
    assert main(["report", "answers.html", "red", "--min-confidence", "0", "--copies", "show"]) == 0
    assert "also in" not in Path("answers.html").read_text()


def test_a_media_may_be_kept_from_filling_the_list(films: None, capsys: pytest.CaptureFixture[str]) -> None:
    every, _ = asked(capsys, "search", "red", "--min-confidence", "0", "--copies", "show")
    assert max(map(names(every).count, names(every))) > 1
    few, _ = asked(capsys, "search", "red", "--min-confidence", "0", "--copies", "show", "--most-per-media", "1")
    assert len(set(names(few))) == len(names(few))


def test_a_library_lists_its_copies(films: None, capsys: pytest.CaptureFixture[str]) -> None:
    found, said = asked(capsys, "copies")
    assert fits(shape(found), shape(documented()["copies"]))
    assert found["media"] == 4
    (group,) = found["groups"]
    assert sorted(Path(item["path"]).stem for item in group["media"]) == ["clip", "small"]
    (pair,) = group["pairs"]
    assert pair["relation"] == "copy"
    assert pair["one"]["end_s"] == pytest.approx(12, abs=1)
    assert "1 group with 2 media of 4" in said
    assert main(["copies"]) == 0
    assert "copy     films/" in capsys.readouterr().out


def test_a_part_says_where_it_was_cut_out(films: None, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips.film(Path("films/part.mp4"), SCENES[1:4])
    assert main(["index", "films"]) == 0
    assert main(["copies", "--path", "*/[cp]*.mp4"]) == 0
    assert "part     films/part.mp4  0:02.0-0:08.0" in capsys.readouterr().out


def test_nothing_twice_is_nothing_found(indexed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copies"]) == 3
    assert "0 groups with 0 media of 3" in capsys.readouterr().err


@pytest.mark.parametrize(("flag", "value"), [("--copies", "hide"), ("--most-per-media", "-1")])
def test_what_cannot_be_wanted_is_refused(
    indexed: Path, flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "red", flag, value]) == 2
    assert f"{flag} is '{value}'" in capsys.readouterr().err
