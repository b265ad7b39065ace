"""Media whose files lie elsewhere by now, at the command line and over HTTP."""

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import clips
import pytest
from end_to_end.conftest import _clips, _in
from serving import problem, serving, strict

from api import Library, wire
from api.main import main
from retriever.settings import Settings


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """`clips` with two films and a tone, one film in a folder of its own, indexed into `lib`."""
    _in(tmp_path, monkeypatch)
    made = _clips(tmp_path)
    (made / "more").mkdir()
    (made / "second.mp4").rename(made / "more" / "second.mp4")
    with Library.open("lib") as library:
        library.index([made])
    return tmp_path


def relocated(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    assert main(["media", "relocate", *words, "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def paths() -> dict[str, tuple[str, ...]]:
    with Library.open("lib") as library:
        return {Path(media.path).name: media.paths for media in library.media()}


def intact() -> bool:
    """Whether every media lies where the library says, and needs not be indexed again."""
    with Library.open("lib") as library:
        before = {media.key for media in library.media()}
        summary = library.index(sorted({str(Path(media.path).parent) for media in library.media()}))
        return not summary.indexed and {media.key for media in library.media()} == before


def test_a_folder_that_moved(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("clips").rename("films")
    before = paths()
    told = relocated(capsys, "clips", "films", "--dry-run")
    assert (told["dry_run"], len(told["moved"]), told["there"]) == (True, 3, 0)
    assert paths() == before
    assert relocated(capsys, "clips", "films")["moved"] == told["moved"]
    assert paths()["second.mp4"] == (str(folder / "films" / "more" / "second.mp4"),)
    assert intact()
    told = relocated(capsys, "clips", "films")
    assert (told["moved"], told["there"], told["missing"]) == ([], 0, [])
    assert relocated(capsys, "films", "films")["there"] == 3


def test_one_file_that_moved(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("clips/first.mp4").rename("renamed.mp4")
    assert main(["media", "relocate", "clips/first.mp4", "renamed.mp4"]) == 0
    told = capsys.readouterr()
    assert told.out == "clips/first.mp4 -> renamed.mp4\n"
    assert told.err.startswith("1 path mended, 0 still there, 0 not found")
    assert paths()["renamed.mp4"] == (str(folder / "renamed.mp4"),)


def test_a_different_file_is_never_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("clips", "films")
    clips.film(Path("films/first.mp4"), ["yellow"])
    os.unlink("films/tone.wav")
    shutil.rmtree("clips")
    told = relocated(capsys, "clips", "films")
    assert [Path(move["to"]).name for move in told["moved"]] == ["second.mp4"]
    assert told["different"] == [str(folder / "films" / "first.mp4")]
    assert told["missing"] == [str(folder / "clips" / "tone.wav")]
    assert paths()["first.mp4"] == (str(folder / "clips" / "first.mp4"),)
    told = relocated(capsys, "clips", "films", code=3)
    assert told["moved"] == []


def test_what_lies_where_it_did_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = paths()
    shutil.copytree("clips", "films")
    assert relocated(capsys, "clips", "films")["there"] == 3
    assert paths() == before


def test_another_file_in_the_old_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two films have changed places with one that nobody knows."""
    Path("clips/first.mp4").rename("kept.mp4")
    clips.film(Path("clips/first.mp4"), ["yellow"])
    assert len(relocated(capsys, "clips/first.mp4", "kept.mp4")["moved"]) == 1
    assert paths()["kept.mp4"] == (str(folder / "kept.mp4"),)


def test_what_another_media_is_known_by_stays_with_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Though another file lies there by now: `index` says what becomes of that."""
    before = paths()
    Path("clips/first.mp4").replace("clips/tone.wav")
    told = relocated(capsys, "clips/first.mp4", "clips/tone.wav", code=3)
    assert told["taken"] == [str(folder / "clips" / "tone.wav")]
    assert relocated(capsys, "clips", code=3)["taken"] == [str(folder / "clips" / "tone.wav")]
    assert paths() == before


def test_files_that_lie_anywhere_are_found_by_their_content(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    attic = folder / "attic" / "deep"
    attic.mkdir(parents=True)
    for number, name in enumerate(("first.mp4", "more/second.mp4")):
        shutil.move(f"clips/{name}", attic / f"x{number}.bin")
    data = (attic / "x0.bin").read_bytes()
    (attic / "same size.bin").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (attic / "link").symlink_to(folder)
    told = relocated(capsys, "attic", "--dry-run")
    assert (len(told["moved"]), told["there"], told["missing"]) == (2, 1, [])
    relocated(capsys, "attic")
    assert paths()["x0.bin"] == (str(attic / "x0.bin"),)
    assert intact()
    os.unlink(attic / "x1.bin")
    assert relocated(capsys, "attic", code=3)["missing"] == [str(attic / "x1.bin")]


def test_of_several_paths_those_that_are_gone_are_mended(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("clips", "copies")
    with Library.open("lib") as library:
        library.index(["copies"])
    assert len(paths()["tone.wav"]) == 2
    Path("clips").rename("films")
    assert len(relocated(capsys, "clips", "copies")["moved"]) == 3  # they lie there, too
    assert paths()["tone.wav"] == (str(folder / "copies" / "tone.wav"),)
    Path("copies").rename("far")
    assert len(relocated(capsys, "films")["moved"]) == 3
    assert paths()["tone.wav"] == (str(folder / "films" / "tone.wav"),)


def test_what_is_asked_for_wrongly(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = paths()
    for words, code in ((["clips", "nowhere"], 1), (["nowhere"], 1), ([], 2), (["a", "b", "c"], 2)):
        assert main(["media", "relocate", *words]) == code
    assert relocated(capsys, "elsewhere", "clips")["moved"] == []  # it may have been done before
    Path("empty").mkdir()
    for words, code in ((["elsewhere", "clips"], 0), (["elsewhere", "empty"], 3)):
        assert main(["media", "relocate", *words]) == code
        assert "known at or below elsewhere" in capsys.readouterr().err
    assert main(["media", "--library", "lib", "relocate", "clips", "clips"]) == 0
    assert main(["media", "relocate", "--library", "none", "clips", "clips"]) == 1
    assert paths() == before
    capsys.readouterr()


def test_over_http_below_the_roots(folder: Path) -> None:
    Path("clips").rename("films")
    with serving(partial(Library.open, folder / "lib"), Settings(roots=str(folder / "films"))) as served:
        old, new = str(folder / "clips"), str(folder / "films")
        assert {one["there"] for one in served.client.get("/v1/media").json()["media"]} == {False}
        for body, status in (
            ({"old": old, "new": "/etc"}, 403),
            ({"old": old, "new": str(folder)}, 403),
            ({"old": old, "new": "films"}, 403),
            ({"old": "clips", "new": new}, 422),
            ({"old": "https://user:pw@a.example/", "new": new}, 422),
            ({"old": "a\0b", "new": new}, 422),
            ({"old": old}, 422),
        ):
            problem(served.client.post("/v1/relocations", json=body), status)
        answer = served.client.post("/v1/relocations", json={"old": old, "new": new, "dry_run": True})
        strict(wire.Relocated, answer.json())
        assert len(answer.json()["moved"]) == 3
        assert len(served.client.post("/v1/relocations", json={"new": new}).json()["moved"]) == 3
        assert {one["there"] for one in served.client.get("/v1/media").json()["media"]} == {True}
        media = served.client.get("/v1/media").json()["media"][0]
        assert served.client.get(media["links"]["stream"]).status_code == 200
