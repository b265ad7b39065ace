"""A moment head is trained on a library and searched with: it moves where answers begin and end, and nothing else."""

import json
from pathlib import Path

import clips
import pytest
from documents import documented, fits, printed_by, shape
from end_to_end.conftest import _in

from api.main import main
from retriever.spanning import MomentHead

FILMS = {
    "one.mp4": ["red", "blue"],
    "two.mp4": ["green", "red"],
    "three.mp4": ["blue", "green"],
    "four.mp4": ["yellow", "blue"],
    "five.mp4": ["green", "yellow"],
    "six.mp4": ["white", "red"],
    "seven.mp4": ["black", "yellow"],
}
SECONDS = 3.0
QUICK = ("--epochs", "2", "--batch-size", "4", "--holdout", "0.3")


@pytest.fixture(scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown") / "clips"
    folder.mkdir()
    for name, colours in FILMS.items():
        clips.film(folder / name, colours, SECONDS)
    clips.tone(folder / "tone.wav", [False, True])
    clips.picture(folder / "still.png", "red")
    with pytest.MonkeyPatch.context() as patch:
        _in(folder.parent, patch)
        assert main(["index", str(folder), "--jobs", "1"]) == 0
    return folder


@pytest.fixture
def shown(_shared, monkeypatch) -> Path:
    """Films of two colours each, and a sound, indexed: training and searching leave the library as it is."""
    _in(_shared.parent, monkeypatch)
    return _shared


def manifest(shown: Path, folder: Path, *more: str, timed: bool = True) -> Path:
    lines = []
    for name, colours in FILMS.items():
        for place, colour in enumerate(colours):
            line = {"media": str(shown / name), "caption": colour}
            if timed:
                line["span"] = [place * SECONDS, (place + 1) * SECONDS]
            lines.append(json.dumps(line))
    file = folder / "train.jsonl"
    file.write_text("\n".join([*lines, *more]) + "\n", "utf-8")
    return file


def searched(capsys: pytest.CaptureFixture[str], query: str, *words: str) -> list[dict]:
    return printed_by("search", query, "--min-confidence", "0", *words, capsys=capsys)["moments"]


@pytest.mark.parametrize("weak", [False, True])
def test_a_head_is_trained_and_moves_spans_and_no_score(shown, tmp_path, capsys, weak):
    head, captions = tmp_path / "moments", manifest(shown, tmp_path, timed=not weak)
    words = ("moments", "--manifest", str(captions), "--out", str(head), *QUICK, *(["--weak"] if weak else []))
    trained = printed_by("train", *words, capsys=capsys)
    assert fits(shape(trained), shape(documented()["train"]))
    assert MomentHead.load(head).digest == trained["digest"]
    assert trained["family"] == ("weak" if weak else "spans")
    assert trained["options"]["recipe"]["seed"] == 24
    assert {"head", "windows", "whole", "prior"} <= set(trained["options"]["held_out"]["joined"])
    for query in ("blue", "yellow", "red", "tone"):
        plain, placed = (searched(capsys, query, *flags) for flags in ((), ("--moment-head", str(head))))
        best, again = plain[0], placed[0]
        for name in ("media", "score", "confidence"):
            assert best[name] == again[name]
        length = 2 * SECONDS if query != "tone" else 4
        assert 0 <= again["start_s"] < again["end_s"] <= length + 0.1


def test_the_same_seed_trains_the_same_head(shown, tmp_path, capsys):
    captions, digests = manifest(shown, tmp_path), []
    for name in ("one", "other"):
        words = ("moments", "--manifest", str(captions), "--out", str(tmp_path / name), *QUICK, "--epochs", "1")
        digests.append(printed_by("train", *words, capsys=capsys)["digest"])
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('{"media": "one.mp4"}', "line 15: caption is None"),
        ('{"media": "one.mp4", "caption": "red", "span": [3, 1]}', "line 15: span is [3, 1]"),
        ('{"media": "one.mp4", "caption": "red", "when": 3}', "line 15 has unknown keys when"),
        ("nothing", "line 15 is not JSON"),
    ],
)
def test_a_wrong_line_is_told_by_its_number(shown, tmp_path, capsys, more, told):
    captions = manifest(shown, tmp_path, more)
    assert main(["train", "moments", "--manifest", str(captions), "--out", str(tmp_path / "head")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not (tmp_path / "head").exists()


def test_what_cannot_be_learnt_from_is_left_out_and_counted(shown, tmp_path, capsys):
    more = [
        json.dumps({"media": "nowhere.mp4", "caption": "a parrot"}),
        json.dumps({"media": str(shown / "still.png"), "caption": "a red picture"}),
        json.dumps({"media": str(shown / "one.mp4"), "caption": "red", "span": [90, 95]}),
    ]
    captions = manifest(shown, tmp_path, *more)
    words = ("moments", "--manifest", str(captions), "--out", str(tmp_path / "head"), *QUICK)
    trained = printed_by("train", *words, capsys=capsys)
    assert trained["options"]["left_out"] == {"unknown": 1, "timeless": 1, "outside": 1}


def test_a_manifest_of_no_media_here_is_refused(shown, tmp_path, capsys):
    file = tmp_path / "other.jsonl"
    file.write_text('{"media": "nowhere.mp4", "caption": "a parrot"}\n', "utf-8")
    assert main(["train", "moments", "--manifest", str(file), "--out", str(tmp_path / "head")]) == 1
    assert "names no media of this library" in capsys.readouterr().err


def test_two_media_are_too_few(shown, tmp_path, capsys):
    file = tmp_path / "two.jsonl"
    lines = [json.dumps({"media": str(shown / name), "caption": name}) for name in ("one.mp4", "two.mp4")]
    file.write_text("\n".join(lines), "utf-8")
    assert main(["train", "moments", "--manifest", str(file), "--out", str(tmp_path / "head")]) == 1
    assert "at least 2 are wanted: caption more media, of more groups" in capsys.readouterr().err


def test_a_media_of_two_groups_is_refused_with_its_line(shown, tmp_path, capsys):
    more = [json.dumps({"media": str(shown / "one.mp4"), "caption": "x", "group": name}) for name in "ab"]
    captions = manifest(shown, tmp_path, *more)
    assert main(["train", "moments", "--manifest", str(captions), "--out", str(tmp_path / "head")]) == 1
    assert "line 16: " in capsys.readouterr().err


def test_flags_of_one_kind_of_head_are_refused_for_the_other(capsys, tmp_path):
    where = ("--manifest", "none.jsonl", "--out", str(tmp_path / "head"))
    assert main(["train", "moments", *where, "--resume", "--family", "tefal", "--lr", "0"]) == 2
    said = capsys.readouterr().err
    assert "--resume is for textpool" in said
    assert "--family is for textpool" in said
    assert "--lr is 0.0; it wants a number above 0" in said
    assert main(["train", "textpool", *where, "--weak"]) == 2
    assert "--weak is for moments" in capsys.readouterr().err


def test_a_folder_that_is_no_moment_head_is_refused_in_one_line(shown, tmp_path, capsys):
    assert main(["search", "blue", "--moment-head", str(tmp_path / "none")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "is no moment head: moments.json cannot be read" in line
