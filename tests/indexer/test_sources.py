"""What a person names becomes a list of files."""

import json
from pathlib import Path

import pytest

from indexer import sources
from retriever.errors import CannotOpen, ManifestError
from retriever.types import Metadata


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_a_folder_gives_its_media_by_name_and_leaves_the_rest(tmp_path: Path) -> None:
    wanted = [touch(tmp_path / name) for name in ("a.mp4", "b.WAV", "deep/er/c.gif")]
    for name in ("notes.txt", ".hidden.mp4", ".git/d.mp4"):
        touch(tmp_path / name)
    assert [source.path for source in sources.found([tmp_path])] == wanted


def test_a_list_that_nobody_wants_any_more_is_not_made_to_its_end(tmp_path: Path) -> None:
    for name in "abc":
        touch(tmp_path / f"{name}.mp4")
    answers = iter([False, False, True])
    assert [source.path.stem for source in sources.found([tmp_path], stopped=lambda: next(answers))] == ["a", "b"]


def test_a_file_that_is_named_is_tried_whatever_it_is_called(tmp_path: Path) -> None:
    odd = touch(tmp_path / "holiday.backup")
    assert [source.path for source in sources.found([odd, odd])] == [odd]


def test_a_missing_path_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match=r"nowhere is not there: name a file, a folder or a manifest \(\.jsonl, "):
        sources.found([tmp_path / "nowhere"])


def test_a_link_back_up_does_not_turn_in_circles(tmp_path: Path) -> None:
    clip = touch(tmp_path / "in" / "a.mp4")
    (tmp_path / "in" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert [source.path for source in sources.found([tmp_path])] == [clip]


def test_a_manifest_brings_metadata_and_its_paths_are_beside_it(tmp_path: Path) -> None:
    clip = touch(tmp_path / "clips" / "a.mp4")
    manifest = tmp_path / "list.jsonl"
    line = {"path": "clips/a.mp4", "title": "A", "tags": ["x"], "recorded": "2026-01-31T12:00:00+01:00"}
    manifest.write_text(json.dumps(line) + "\n\n")
    (source,) = sources.found([manifest], Metadata(tags=("all", "x"), collection="news"))
    assert source.path == clip
    assert source.metadata == Metadata("A", ("all", "x"), "2026-01-31T12:00:00+01:00", "manifest", "news")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2 is not JSON"),
        ("[]", "line 2 has no path"),
        ('{"path": ""}', "line 2 has no path"),
        ('{"path": "a", "colour": 1}', "line 2 has unknown keys colour"),
        ('{"path": "a", "tags": "x"}', "line 2: tags is 'x'"),
        ('{"path": "a", "title": 3}', "line 2: title is 3"),
        ('{"path": "a", "recorded": "yesterday"}', "line 2: recorded is 'yesterday'"),
    ],
)
def test_a_wrong_manifest_line_is_named_with_its_number(tmp_path: Path, line: str, complaint: str) -> None:
    manifest = tmp_path / "list.jsonl"
    manifest.write_text('{"path": "fine.mp4"}\n' + line + "\n")
    with pytest.raises(ManifestError, match=complaint):
        sources.found([manifest])
