"""What somebody at a terminal gets, from `index` to `delete`."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from api import exits, parts
from api.main import main
from retriever.types import Modality

Captured = pytest.CaptureFixture[str]


def call(capsys: Captured, *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def asked(capsys: Captured, *words: str) -> tuple[int, dict]:
    code, out, _ = call(capsys, *words, "--json")
    return code, json.loads(out)


def test_indexing_again_is_cheap_and_says_so(no_weights, media, capsys):
    code, first = asked(capsys, "index", str(media))
    assert code == exits.OK
    assert sorted(Path(path).name for path in first["indexed"]) == ["first.mp4", "second.mp4", "tone.wav"]
    assert first["media_s"] == pytest.approx(10.0, abs=0.2)
    code, again = asked(capsys, "index", str(media))
    assert (code, again["indexed"], again["unchanged"]) == (exits.OK, [], 3)


def test_a_search_finds_the_moment_and_says_why(kept, capsys):
    code, found = asked(capsys, "search", "blue", "--min-confidence", "0")
    assert code == exits.OK
    best = found["moments"][0]
    assert Path(best["media"]["path"]).name == "first.mp4"
    assert best["ref"].startswith(best["media"]["id"] + "@")
    assert 1.5 <= best["start_s"] < best["end_s"] <= 4.1
    assert sum(piece["share"] for piece in best["evidence"]) == pytest.approx(1, abs=1e-4)


def test_by_video_a_media_answers_once(kept, capsys):
    code, found = asked(capsys, "search", "blue", "--by", "video", "--min-confidence", "0")
    keys = [moment["media"]["id"] for moment in found["moments"]]
    assert code == exits.OK
    assert len(keys) == len(set(keys))


def test_filters_narrow_and_nothing_found_is_three(kept, capsys):
    code, found = asked(capsys, "search", "blue", "--min-confidence", "0", "--kind", "sound")
    assert {Path(moment["media"]["path"]).name for moment in found["moments"]} <= {"tone.wav"}
    code, found = asked(capsys, "search", "blue", "--min-confidence", "0", "--duration", ">60")
    assert (code, found["moments"]) == (exits.NOTHING, [])


def test_the_answer_is_on_stdout_and_talk_on_stderr(kept, capsys):
    code, out, err = call(capsys, "search", "blue", "--min-confidence", "0")
    assert code == exits.OK
    assert out.startswith(" 1  clips/first.mp4  0:0")
    assert "sure" in out
    assert "\x1b" not in out + err


@pytest.mark.parametrize("query", ["", "   ", "x" * 10_001])
def test_a_query_that_is_none_is_wrong_usage(kept, capsys, query):
    code, out, err = call(capsys, "search", query)
    assert (code, out) == (exits.USAGE, "")
    assert len(err.splitlines()) == 1


def test_without_a_library_every_command_says_how_to_make_one(no_weights, capsys):
    for words in (["search", "x"], ["media"], ["stats"], ["export", "out"], ["delete", "x"], ["compact"], ["upgrade"]):
        code, out, err = call(capsys, *words)
        assert (code, out) == (exits.ERROR, "")
        assert len(err.splitlines()) == 1
        assert "lib" in err
    assert not Path("lib").exists()


def test_a_missing_path_is_one_line(no_weights, capsys):
    code, _, err = call(capsys, "index", "nowhere")
    assert code == exits.ERROR
    assert "nowhere" in err
    assert len(err.splitlines()) == 1


def test_bad_files_are_set_aside_and_stop_nothing(no_weights, media, capsys):
    (media / "empty.mp4").touch()
    (media / "text.mp4").write_text("this is no film\n" * 100)
    (media / "cut.mp4").write_bytes((media / "first.mp4").read_bytes()[:700])
    code, told = asked(capsys, "index", str(media))
    assert code == exits.OK
    assert len(told["indexed"]) == 3
    assert sorted(Path(entry["path"]).name for entry in told["quarantined"]) == ["cut.mp4", "empty.mp4", "text.mp4"]
    assert all(entry["reason"] for entry in told["quarantined"])
    code, listed = asked(capsys, "media", "--quarantined")
    assert (code, len(listed["quarantined"]), listed["media"]) == (exits.OK, 3, [])


def test_only_bad_files_are_an_error(no_weights, tmp_path, capsys):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "empty.mp4").touch()
    code, _, err = call(capsys, "index", str(bad))
    assert code == exits.ERROR
    assert "empty.mp4" in err


def test_a_manifest_brings_metadata_that_filters_name(no_weights, media, capsys):
    manifest = media.parent / "corpus.jsonl"
    lines = [
        {"path": "clips/first.mp4", "title": "The first", "tags": ["a", "b"], "recorded": "2026-01-31"},
        {"path": "clips/second.mp4", "collection": "other"},
    ]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert asked(capsys, "index", str(manifest), "--tag", "c")[0] == exits.OK
    _, listed = asked(capsys, "media", "--tag", "a", "--after", "2026-01-01")
    assert [Path(item["path"]).name for item in listed["media"]] == ["first.mp4"]
    assert listed["media"][0]["metadata"]["title"] == "The first"
    assert sorted(listed["media"][0]["metadata"]["tags"]) == ["a", "b", "c"]
    assert len(asked(capsys, "media", "--collection", "other")[1]["media"]) == 1


def test_what_is_gone_goes_only_with_prune(indexed, capsys):
    (indexed / "second.mp4").unlink()
    assert asked(capsys, "index", str(indexed))[1]["pruned"] == []
    assert len(asked(capsys, "media")[1]["media"]) == 3
    assert len(asked(capsys, "index", str(indexed), "--prune")[1]["pruned"]) == 1
    assert len(asked(capsys, "media")[1]["media"]) == 2


def test_a_media_is_deleted_by_id_path_or_reference(indexed, capsys):
    _, listed = asked(capsys, "media")
    ids = {Path(item["path"]).name: item["id"] for item in listed["media"]}
    assert call(capsys, "delete", ids["tone.wav"], "nothing-like-this")[0] == exits.ERROR
    assert len(asked(capsys, "media")[1]["media"]) == 3, "one wrong name, and nothing is deleted"
    names = (ids["tone.wav"][:6], "clips/second.mp4", f"{ids['first.mp4']}@1.00-2.00")
    code, gone = asked(capsys, "delete", *names)
    assert (code, len(gone["deleted"])) == (exits.OK, 3)
    assert call(capsys, "media")[0] == exits.NOTHING
    assert (indexed / "first.mp4").exists()


def test_stats_count_and_compact_gives_room_back(indexed, capsys):
    _, stats = asked(capsys, "stats")
    assert (stats["media"], stats["kinds"]) == (3, {"sound": 1, "video": 2})
    assert stats["tokens"] == sum(space["tokens"] for space in stats["spaces"])
    asked(capsys, "delete", "clips/first.mp4")
    code, sizes = asked(capsys, "compact")
    assert code == exits.OK
    assert sizes["bytes_after"] <= sizes["bytes_before"]


def test_an_export_can_be_read_with_nothing_of_ours(kept, tmp_path, capsys):
    out = tmp_path / "out"
    code, written = asked(capsys, "export", str(out))
    assert code == exits.OK
    media = [json.loads(line) for line in (out / "media.jsonl").read_text().splitlines()]
    assert {Path(item["path"]).name for item in media} == {"first.mp4", "second.mp4", "tone.wav"}
    tokens = 0
    for file in (out / "tokens").glob("*.npy"):
        rows = np.load(file, allow_pickle=False)
        facts = [json.loads(line) for line in file.with_suffix(".jsonl").read_text().splitlines()]
        assert len(rows) == len(facts)
        assert np.allclose(np.linalg.norm(rows.astype(np.float32), axis=1), 1, atol=1e-2)
        tokens += len(rows)
    assert tokens == written["tokens"] > 0
    subtitles = list((out / "subtitles").glob("*.text.vtt"))
    assert subtitles
    assert all(file.read_text().startswith("WEBVTT\n\n00:00:00.000 --> ") for file in subtitles)
    assert call(capsys, "export", str(out))[0] == exits.ERROR
    assert not [file for file in tmp_path.iterdir() if file.name.endswith(".part")]


def test_a_report_has_a_picture_of_each_moment(kept, tmp_path, capsys):
    code, _, err = call(capsys, "search", "blue", "--min-confidence", "0", "--report", str(tmp_path / "page.html"))
    assert code == exits.OK
    page = (tmp_path / "page.html").read_text()
    assert "page.html" in err
    assert 'src="data:image/jpeg;base64,' in page
    assert "<svg" in page
    assert "no picture" not in page
    code, told = asked(capsys, "report", str(tmp_path / "many.html"), "blue", "tone", "--min-confidence", "0")
    assert (code, len(told["answers"])) == (exits.OK, 2)


def test_a_report_says_where_a_file_is_gone(indexed, capsys):
    (indexed / "first.mp4").unlink()
    call(capsys, "search", "blue", "--min-confidence", "0", "--report", "page.html")
    assert "no picture: " in Path("page.html").read_text()


def test_a_report_that_cannot_be_written_is_one_line(kept, tmp_path, capsys):
    page = tmp_path / "no-folder" / "page.html"
    code, _, err = call(capsys, "search", "blue", "--min-confidence", "0", "--report", str(page))
    assert code == exits.ERROR
    assert err.splitlines()[-1] == f"reelseek: {page}: the report cannot be written: No such file or directory"


def test_what_a_machine_lacks_is_told_and_shown_with_each_media(no_weights, media, capsys, monkeypatch):
    whole = parts.encoders
    reason = "whisper needs faster_whisper: pip install 'reelseek[whisper]'"
    monkeypatch.setattr(
        parts, "encoders", lambda *given: replace(whole(*given), speech={}, missing={Modality.SPEECH: reason})
    )
    code, _, err = call(capsys, "index", str(media))
    assert code == exits.OK
    assert f"note: speech is not indexed: {reason}" in err.splitlines()
    _, out, _ = call(capsys, "media")
    assert f"    no speech: {reason}" in out.splitlines()
    assert {item["missing"]["speech"] for item in asked(capsys, "media")[1]["media"] if item["kind"] == "sound"} == {
        reason
    }
    monkeypatch.setattr(parts, "encoders", whole)
    _, again = asked(capsys, "index", str(media))
    assert "tone.wav" in {Path(path).name for path in again["indexed"]}, "what can be made up for is indexed again"


def test_the_library_is_python_too(no_weights, media):
    from api import Library

    with Library.open("lib") as library:
        assert len(library.index([media]).indexed) == 3
        found = library.search("blue", by="moment", limit=10, min_confidence=0)
        assert found[0].media.path.endswith("first.mp4")
        assert found[0].start_s < found[0].end_s
        assert found[0].score >= found[-1].score
        assert 0 <= found[0].confidence <= 1
        assert found[0].evidence
        assert len(library.media()) == library.stats()["media"] == 3
        assert [item.path for item in library.delete("clips/tone.wav")] == [str(media / "tone.wav")]


def test_an_unknown_plugin_lists_the_known_ones(no_weights, media, capsys):
    code, _, err = call(capsys, "index", str(media), "--store", "lokal")
    assert code == exits.ERROR
    assert "did you mean 'local'?" in err
    code, _, err = call(capsys, "index", str(media), "--pack", "onlin")
    assert code == exits.USAGE
    assert "offline" in err


def test_searching_imports_neither_torch_nor_transformers(tmp_path):
    """With the real sentence encoder, in a process that has done nothing else."""
    code = (
        "import sys\nfrom api import Library\n"
        "with Library.open(sys.argv[1]) as library: print(len(library.search('a parrot')))\n"
        "assert 'encoders.minilm' in sys.modules\n"
        "print(sorted({'torch', 'transformers', 'torchvision', 'timm'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lib")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.stdout == "0\n[]\n", done.stderr
