"""`reelseek clip`: from what a search prints to a file of its own."""

import json
from pathlib import Path

import filming
import pytest
from documents import documented, fits, printed_by, shape
from end_to_end.conftest import _in
from filming import Picture, number_of, write
from media_files import film_with_tone, jpeg

from api import exits
from api.main import main
from indexer.media import pyav

Captured = pytest.CaptureFixture[str]


def _indexed(within: Path) -> Path:
    """A film of three seconds with a keyframe a second, a silent one and a picture, indexed into `lib`."""
    folder = within / "films"
    folder.mkdir()
    film_with_tone(folder).path.rename(folder / "me@home.mp4")
    write(folder / "mute.mkv", filming.film(20), Picture())
    jpeg(folder)
    assert main(["index", str(folder), "--jobs", "1"]) == 0
    return folder


@pytest.fixture
def films(no_weights: None, tmp_path: Path, capsys: Captured) -> Path:
    folder = _indexed(tmp_path)
    capsys.readouterr()
    return folder


@pytest.fixture(scope="module")
def _kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        _in(folder, patch)
        _indexed(folder)
    return folder


@pytest.fixture
def kept(_kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `films`, for tests that make nothing: all of them share it."""
    _in(_kept, monkeypatch)


def cut(capsys: Captured, *words: str) -> tuple[int, str, str]:
    code = main(["clip", *words])
    out, err = capsys.readouterr()
    return code, out, err


def made(capsys: Captured, *words: str) -> dict:
    code, out, err = cut(capsys, *words, "--json")
    assert code == exits.OK, err
    return json.loads(out)


def ids(capsys: Captured) -> dict[str, str]:
    assert main(["media", "--json"]) == 0
    return {Path(item["path"]).name: item["id"] for item in json.loads(capsys.readouterr().out)["media"]}


def numbers(path: str) -> list[int | None]:
    with pyav.build().open(Path(path)) as media:
        return [number_of(frame.rgb()) for frame in media.frames()]


def test_what_a_search_prints_can_be_cut_out(films, capsys):
    assert main(["search", "white", "--min-confidence", "0", "--kind", "video", "--json"]) == 0
    ref = json.loads(capsys.readouterr().out)["moments"][0]["ref"]
    told = made(capsys, ref, "--out", "cut.mp4")
    assert told["media"]["id"] == ref.partition("@")[0]
    assert (
        told["start_s"] <= told["asked"]["start_s"] < told["asked"]["end_s"] <= told["end_s"] + 0.03
    )  # what the container claims
    assert Path("cut.mp4").stat().st_size == told["bytes"]


def test_a_media_is_named_by_id_by_its_beginning_or_by_path(films, capsys):
    key = ids(capsys)["me@home.mp4"]
    for number, name in enumerate((key, key[:6], "films/me@home.mp4", str(films / "me@home.mp4"))):
        told = made(capsys, f"{name}@0:01.25-0:02.35", "--exact", "--out", f"{number}.mp4")
        assert told["asked"] == {"start_s": 1.25, "end_s": 2.35}
        assert numbers(f"{number}.mp4") == list(range(12, 24))
    told = made(capsys, "films/me@home.mp4", "--out", "all.mp4")
    assert numbers("all.mp4") == list(range(30))
    assert told["asked"]["start_s"] == 0


def test_a_margin_stops_at_both_ends(films, capsys):
    told = made(capsys, "films/mute.mkv@0.5-1.9", "--margin", "5", "--out", "cut.mkv", "--exact")
    assert told["asked"]["start_s"] == 0
    assert numbers("cut.mkv") == list(range(20))
    told = made(capsys, "films/mute.mkv@0.5-1.0", "--margin", "0.2", "--out", "some.mkv", "--exact")
    assert told["asked"] == {"start_s": 0.3, "end_s": 1.2}
    assert numbers("some.mkv") == list(range(3, 12))


def test_an_early_beginning_is_told(films, capsys):
    code, out, err = cut(capsys, "films/me@home.mp4@1.25-2.35", "--out", "cut.mp4")
    assert code == exits.OK
    assert out.startswith("cut.mp4: 0:01.0-0:02.4 of films/me@home.mp4, h264 and aac, ")
    assert err.startswith("note: it begins 0.25 s early, at the keyframe before; --exact ")
    _, _, err = cut(capsys, "films/me@home.mp4@1.25-2.35", "--exact", "--out", "exact.mp4")
    assert err == ""


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nobody@1-2", "--out", "a.mp4"], exits.ERROR, "is no id or path of this library"),
        (["films/mute.mkv@5-9", "--out", "a.mp4"], exits.USAGE, "behind the end"),
        (["films/mute.mkv@2-1", "--out", "a.mp4"], exits.USAGE, "start < end"),
        (["films/mute.mkv@0-1", "--out", "a.doc"], exits.USAGE, "it wants .mp4"),
        (["films/mute.mkv@0-1", "--out", "a.webm"], exits.USAGE, "add --exact"),
        (["films/mute.mkv@0-1", "--out", "a.wav"], exits.ERROR, "no sound"),
        (["films/mute.mkv@0-1", "--out", "a.mp4", "--margin", "-1"], exits.USAGE, "--margin"),
        (["films/mute.mkv@0-1", "--out", "no/where.mp4"], exits.ERROR, "cannot be written"),
        (["films/photo.jpg", "--out", "a.mp4"], exits.ERROR, "is a picture"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_what_cannot_be_is_one_line(kept, capsys, words, code, told):
    before = sorted(Path().rglob("*"))
    found, out, err = cut(capsys, *words)
    assert (found, out) == (code, "")
    assert told in err
    assert len(err.splitlines()) == 1
    assert [path for path in sorted(Path().rglob("*")) if "lib" not in path.parts] == [
        path for path in before if "lib" not in path.parts
    ]


def test_a_file_that_is_there_stays(films, capsys):
    Path("cut.mp4").write_text("mine")
    code, _, err = cut(capsys, "films/mute.mkv@0-1", "--out", "cut.mp4")
    assert (code, Path("cut.mp4").read_text()) == (exits.ERROR, "mine")
    assert err == "reelseek: cut.mp4: it is there already: --force writes over it\n"
    assert cut(capsys, "films/mute.mkv@0-1", "--out", "cut.mp4", "--force")[0] == exits.OK
    code, _, err = cut(capsys, "films/mute.mkv@0-1", "--out", "films/mute.mkv", "--force")
    assert code == exits.ERROR
    assert "the media itself" in err


def test_a_media_that_is_gone_or_another_is_not_cut(films, capsys):
    key = ids(capsys)["mute.mkv"]
    whole = (films / "mute.mkv").read_bytes()
    (films / "mute.mkv").write_bytes(whole + b"\0")
    code, _, err = cut(capsys, f"{key}@0-1", "--out", "cut.mp4")
    assert code == exits.ERROR
    assert "has changed since it was indexed" in err
    (films / "mute.mkv").unlink()
    code, _, err = cut(capsys, f"{key}@0-1", "--out", "cut.mp4")
    assert code == exits.ERROR
    assert "cannot be opened" in err
    (films / "mute.mkv").write_bytes(whole)  # a copy that somebody put back: its content is told
    assert cut(capsys, f"{key}@0-1", "--out", "cut.mkv")[0] == exits.OK


def test_the_page_tells_what_it_prints(films, capsys):
    printed = printed_by("clip", "films/me@home.mp4@1-2", "--out", "cut.mp4", capsys=capsys)
    assert fits(shape(printed), shape(documented()["clip"]))


def test_clips_are_python_too(films):
    from api import Library

    heard: list[float] = []
    with Library.open("lib") as library:
        clip = library.clip("films/me@home.mp4@1.25-2.35", "cut.webm", exact=True, watch=heard.append)
        assert clip.media.path.endswith("me@home.mp4")
        assert clip.cut.span.start == pytest.approx(1.25)
        assert clip.early == 0
    assert numbers("cut.webm") == list(range(12, 24))
