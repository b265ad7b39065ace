"""`reelseek make order-set` and `reelseek eval order`, over encoders that know colours and tones."""

import json
from dataclasses import replace
from pathlib import Path

import av
import clips
import fakes
import pytest

from api import exits, parts
from api.main import main
from retriever.types import Line, Modality, Sound, TimeSpan

Captured = pytest.CaptureFixture[str]
COLOURS = ("red", "green", "blue", "yellow")


def call(capsys: Captured, *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(list(map(str, words)))
    out, err = capsys.readouterr()
    return code, out, err


def printed(capsys: Captured, *words: object) -> dict:
    code, out, err = call(capsys, *words, "--json")
    assert code == exits.OK, err
    return json.loads(out)


@pytest.fixture
def told(no_weights: None, tmp_path: Path, capsys: Captured) -> Path:
    """Films of one colour each and two sounds, indexed, and a line of caption for each."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for colour in COLOURS:
        clips.film(folder / f"{colour}.mp4", [colour], seconds=3)
    clips.tone(folder / "tone.wav", [True], seconds=3)
    clips.tone(folder / "silence.wav", [False], seconds=3)
    said = {
        **{f"{colour}.mp4": f"Something {colour}." for colour in COLOURS},
        "tone.wav": "A tone.",
        "silence.wav": "Silence.",
    }
    lines = [{"media": f"clips/{name}", "caption": caption} for name, caption in said.items()]
    (tmp_path / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["index", str(folder)]) == exits.OK
    return tmp_path


def made(told: Path, capsys: Captured, *words: object) -> dict:
    return printed(
        capsys, "make", "order-set", "--manifest", told / "captions.jsonl", "--out", told / "set", "--pairs", 5, *words
    )


def lines(told: Path) -> list[dict]:
    return [json.loads(line) for line in (told / "set" / "set.jsonl").read_text().splitlines()]


def test_a_set_is_made_of_the_clips(told: Path, capsys: Captured) -> None:
    document = made(told, capsys)
    assert (document["pairs"], document["media"], document["events"]) == (5, 10, 6)
    assert document["kinds"] == {"video": 4, "sound": 1}  # there is but one pair of sounds
    found = lines(told)
    assert [one["id"] for one in found[:2]] == ["0001a", "0001b"]
    for one, other in zip(found[::2], found[1::2], strict=True):
        assert (one["before"], one["after"]) == (other["after"], other["before"])
        assert one["pair"] == other["pair"]
    film = next(one for one in found if one["kind"] == "video")
    assert film["before"].startswith("something ")
    assert film["join_s"] == 3
    with av.open(str(told / "set" / film["media"])) as container:
        (stream,) = container.streams.video
        assert (stream.width, stream.height) == (320, 240)
        frames = [frame.to_ndarray(format="rgb24")[120, 160] for frame in container.decode(stream)]
    assert len(frames) == 72
    assert abs(frames[0].astype(int) - frames[-1]).max() > 100  # another colour
    sound = next(one for one in found if one["kind"] == "sound")
    with av.open(str(told / "set" / sound["media"])) as container:
        assert float(container.duration / 1_000_000) == pytest.approx(6, abs=0.01)


def test_a_seed_says_which_pairs_there_are(told: Path, capsys: Captured) -> None:
    made(told, capsys)
    first = (told / "set" / "set.jsonl").read_text()
    again = [*("make", "order-set", "--manifest", told / "captions.jsonl", "--pairs", 5)]
    printed(capsys, *again, "--out", told / "again")
    assert (told / "again" / "set.jsonl").read_text() == first
    printed(capsys, *again, "--out", told / "other", "--seed", 1)
    assert (told / "other" / "set.jsonl").read_text() != first


def test_a_gap_lies_between_and_captions_of_a_head_are_left_out(told: Path, capsys: Captured) -> None:
    seen = json.dumps({"media": "clips/red.mp4", "caption": "red"}) + "\n"
    (told / "trained.jsonl").write_text(seen)
    document = made(told, capsys, "--gap", 1, "--apart-from", told / "trained.jsonl", "--seconds", 2)
    assert {"why": "trained on", "media": 1} in document["left_out"]
    found = lines(told)
    assert not any("red" in (one["before"] + one["after"]) for one in found)
    film = next(one for one in found if one["kind"] == "video")
    assert (film["spans"], film["join_s"]) == ([[0, 2], [3, 5]], 2.5)


class Speaks:
    """Says how loud it is."""

    digest = fakes.NoSpeech.digest
    rate = 16_000

    def recognize(self, sound: Sound) -> list[Line]:
        words = "it is loud in here" if float(abs(sound.samples).max()) > 0.1 else "it is quiet out there"
        return [Line(TimeSpan(sound.start, sound.start + sound.length), words, Modality.SPEECH, 1.0)]


def test_without_captions_what_is_said_stands_for_a_clip(
    told: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = parts.encoders
    monkeypatch.setattr(
        parts, "encoders", lambda recipe, models: replace(silent(recipe, models), speech={"speaks": Speaks()})
    )
    assert main(["index", str(told / "clips"), "--library", "spoken"]) == exits.OK
    document = printed(capsys, "make", "order-set", "--library", "spoken", "--out", told / "set")
    assert (document["pairs"], document["events"]) == (1, 2)
    assert {one["before"] for one in lines(told)} == {"it is loud in here", "it is quiet out there"}
    (told / "ids.txt").write_text("clips/tone.wav\n")
    code, _, err = call(
        capsys, "make", "order-set", "--library", "spoken", "--out", told / "none", "--apart-from", told / "ids.txt"
    )
    assert code == exits.ERROR
    assert "usable are 0 video, 1 sound" in err


def test_what_cannot_be_made(told: Path, capsys: Captured) -> None:
    made(told, capsys)
    base = ("make", "order-set", "--manifest", told / "captions.jsonl")
    code, out, err = call(capsys, *base, "--out", told / "set")
    assert (code, out) == (exits.ERROR, "")
    assert "holds an order set already" in err
    code, _, err = call(capsys, "make", "order-set", "--out", told / "none")  # nobody speaks in these clips
    assert code == exits.ERROR
    assert "two media of one kind are wanted" in err
    assert "--manifest" in err
    code, _, err = call(capsys, *base, "--out", told / "none", "--pairs", 0)
    assert code == exits.USAGE
    code, _, err = call(capsys, *base, "--out", told / "none", "--apart-from", told / "head")
    assert code == exits.ERROR
    assert "name the caption file" in err
    code, _, err = call(capsys, "make", "order-set", "--manifest", told / "none.jsonl", "--out", told / "none")
    assert code == exits.ERROR
    assert not (told / "none").exists()


def test_the_order_of_colours_is_understood(told: Path, capsys: Captured) -> None:
    made(told, capsys)
    document = printed(capsys, "eval", "order", "--set", told / "set", "--index", "--shuffles", 1)
    assert (document["pairs"], document["media"], document["shuffles"]) == (5, 10, 1)
    kept = document["measures"]["kept_1"]
    found = {one["within"]: one["media_kept"] for one in document["parts_alone"]["found"]}
    assert 0.5 < found[1] <= found[5] <= found[10]
    assert kept["chronology"]["accuracy"]["value"] == 1
    assert kept["chronology"]["joint"]["value"] == 1
    assert kept["test_of_time_capitals"]["accuracy"]["value"] == 1
    every = document["measures"]["all"]
    assert every["text_only"]["joint"]["value"] == 0
    assert every["text_only"]["accuracy"]["value"] <= 0.5
    assert every["one_vector"]["accuracy"]["value"] <= 0.6
    assert every["frames_shuffled"]["accuracy"]["value"] < 0.9
    assert every["frames_shuffled"]["trials"] == 10
    read = {one["phrasing"]: one["share"] for one in document["read_as_steps"]}
    assert read["then"] == read["followed by"] == read["BEFORE"] == read["AFTER"] == 1
    again = ("eval", "order", "--set", told / "set", "--library", told / "set" / "library", "--shuffles", 0)
    code, out, _ = call(capsys, *again)
    assert code == exits.OK
    assert "frames shuffled" not in out
    for shown in ("A then B", "sounds alone", "as one vector", "the words alone"):
        assert shown in out


def test_a_library_without_the_set_is_told_so(told: Path, capsys: Captured) -> None:
    made(told, capsys)
    code, out, err = call(capsys, "eval", "order", "--set", told / "set")
    assert (code, out) == (exits.ERROR, "")
    assert "10 of 10 media of" in err
    assert "--index" in err
    code, _, err = call(capsys, "eval", "order", "--set", told / "clips")
    assert code == exits.ERROR
    assert "holds no set.jsonl" in err
    code, _, err = call(capsys, "eval", "order", "--set", told / "set", "--index", "--library", "lib")
    assert code == exits.USAGE
