"""Queries that show something instead of saying it, through the command line: real files, and fake encoders."""

import shutil
from pathlib import Path

import clips
import pytest
from documents import found
from end_to_end.conftest import _in

from api import Library
from api.main import main
from retriever.errors import QueryError


@pytest.fixture(scope="module")
def _indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films of two colours each, a tone and a silence; and files that are not in the library."""
    within = tmp_path_factory.mktemp("shown")
    folder = within / "films"
    folder.mkdir()
    for name, colours in {
        "red_blue": ["red", "blue"],
        "blue_red": ["blue", "red"],
        "green_yellow": ["green", "yellow"],
        "white_green": ["white", "green"],
        "black": ["black"],
    }.items():
        clips.film(folder / f"{name}.mp4", colours)
    clips.tone(folder / "tone.wav", [False, True])
    clips.tone(folder / "silence.wav", [False, False])
    clips.picture(within / "yellow.png", "yellow")
    clips.picture(within / "my red (1).png", "red")
    clips.film(within / "strange.mp4", ["white", "blue", "green"])
    clips.tone(within / "loud.wav", [True])
    (within / "notes.txt").write_text("not a picture")
    with pytest.MonkeyPatch.context() as patch:
        _in(within, patch)
        assert main(["index", str(folder), "--jobs", "1"]) == 0
    return within


@pytest.fixture
def films(_indexed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All tests share them, since they only look."""
    _in(_indexed, monkeypatch)
    return _indexed / "films"


def places(moments: list[dict]) -> list[tuple[str, int]]:
    return [(Path(one["media"]["path"]).stem, round(one["start_s"])) for one in moments]


def test_a_picture_finds_the_second_that_looks_so(films, capsys):
    best = found("image:yellow.png", capsys)[0]
    assert places([best]) == [("green_yellow", 2)]
    (piece,) = best["evidence"]
    assert (piece["modality"], piece["asked"]) == ("vision", "image:yellow.png")


def test_a_sound_finds_what_sounds_so_and_a_clip_what_looks_or_sounds_so(films, capsys):
    assert places(found("sound:loud.wav", capsys))[0] == ("tone", 2)
    assert places(found("clip:loud.wav", capsys))[0] == ("tone", 2)
    assert places(found("clip:strange.mp4@2.2-3.8", capsys)[:2]) in (
        [("red_blue", 2), ("blue_red", 0)],
        [("blue_red", 0), ("red_blue", 2)],
    )
    assert places(found("clip:strange.mp4@4.2-5.8", capsys)[:2]) != places(found("clip:strange.mp4@0-1.8", capsys)[:2])


def test_like_this_moment_finds_others_and_not_itself(films, capsys):
    there = found(f"like:{films / 'red_blue.mp4'}@0-2", capsys)
    assert places(there)[0] == ("blue_red", 2)
    assert all((name, start) != ("red_blue", 0) for name, start in places(there))
    ref = found("seen:red", capsys)[0]["ref"]
    assert found(f"like:{ref}", capsys)[0]["ref"] != ref
    short, _, times = ref.partition("@")
    by_id, by_ref = (found(f"like:{name}@{times}", capsys) for name in (short[:6], short))
    assert [one["ref"] for one in by_id] == [one["ref"] for one in by_ref]


def test_examples_stand_beside_words_and_in_steps(films, capsys):
    backwards = found("image:yellow.png THEN green", capsys, "--by", "video")
    assert backwards
    assert places(backwards[:1]) != [("green_yellow", 0)]
    best = found('image:"my red (1).png" THEN blue', capsys)[0]
    assert places([best]) == [("red_blue", 0)]
    assert [round(part["start_s"]) for part in best["parts"]] == [0, 2]
    with_words = found('blue image:"my red (1).png"^0.01', capsys)
    assert places(with_words[:1])[0] in (("red_blue", 2), ("blue_red", 0))
    score = {place: one["score"] for one in found("green", capsys) for place in places([one])}
    less = {place: one["score"] for one in found("green -image:yellow.png", capsys) for place in places([one])}
    assert less[("white_green", 2)] == pytest.approx(score[("white_green", 2)], abs=0.5)


def test_what_is_far_more_alike_than_chance_is_sure(films, capsys):
    """Chance is what moments of the library find in other media, most of which have a twin there."""
    first, *others = [one["confidence"] for one in found("image:yellow.png", capsys)]
    assert first > max(others) > 0


def test_where_nothing_else_is_heard_nothing_is_known_of_chance(no_weights, tmp_path, capsys):
    clips.film(tmp_path / "mute.mp4", ["red", "blue"])
    clips.tone(tmp_path / "tone.wav", [True])
    clips.tone(tmp_path / "other.wav", [False])
    assert main(["index", str(tmp_path / "mute.mp4"), str(tmp_path / "tone.wav")]) == 0
    for shown in ("other", "tone"):
        assert main(["search", f"sound:{shown}.wav"]) == 3
        assert [one["confidence"] for one in found(f"sound:{shown}.wav", capsys)] == [0]


def test_a_frame_on_show_for_long_is_what_any_of_its_seconds_show(films, capsys):
    """A token of a still film lasts four seconds; a quarter of a second of it is asked for."""
    best = found(f"like:{films / 'black.mp4'}@0.1-0.35 seen:red", capsys)
    assert {piece["modality"] for one in best for piece in one["evidence"]} >= {"vision"}


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("image:nowhere.png", "nowhere.png cannot be opened"),
        ("image:strange.mp4", "image:strange.mp4 is a video: write clip:strange.mp4"),
        ("clip:yellow.png", "clip:yellow.png is a picture: write image:yellow.png"),
        ("sound:strange.mp4", "strange.mp4"),
        ("clip:strange.mp4@99-100", "lasts 0:06.0"),
        ("clip:strange.mp4@3-2", "start < end"),
        ("like:nobody@1-2", "nobody is no id or path"),
        ("image:notes.txt", "notes.txt is not media"),
    ],
)
def test_an_example_that_cannot_be_had_is_one_line(films, capsys, query, told):
    assert main(["search", query]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_python_asks_the_same_way(films):
    with Library.open("lib") as library:
        first = library.search("image:yellow.png", min_confidence=0)
        again = library.search("image:yellow.png", min_confidence=0)
        assert first.moments == again.moments
        assert library.relevance("image:yellow.png", str(films / "green_yellow.mp4"))[0].peak > 0
        shutil.copy("yellow.png", "gone.png")
        assert library.search("image:gone.png", min_confidence=0).moments
        Path("gone.png").unlink()
        with pytest.raises(Exception, match="cannot be opened"):
            library.search("image:gone.png")
        with pytest.raises(QueryError, match="image:"):
            library.search("image:x(1)")
