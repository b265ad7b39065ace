"""Lists of files: JSON lines, CSV and Parquet say the same."""

import csv
import json
import os
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer import manifests
from retriever.errors import ManifestError, MissingExtra
from retriever.types import Metadata

COLUMNS = ("path", "title", "tags", "recorded", "collection")
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
TAGS = st.text(st.characters(exclude_characters=";", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).map(
    str.strip
)
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            "path": WORDS.filter(lambda text: bool(text.strip("."))),
            "title": WORDS,
            "tags": st.lists(TAGS.filter(bool), max_size=3),
            "recorded": st.sampled_from(["", "2026-01-31", "2026-01-31T12:00:00+01:00"]),
            "collection": WORDS,
        }
    ),
    max_size=5,
)


def write_json(file: Path, entries: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return file


def write_csv(file: Path, entries: list[dict[str, Any]]) -> Path:
    with file.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(COLUMNS)
        rows.writerows([[{**entry, "tags": ";".join(entry["tags"])}[name] for name in COLUMNS] for entry in entries])
    return file


def write_parquet(file: Path, columns: dict[str, list[Any]]) -> Path:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow: the extra parquet is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table(columns), file)
    return file


@settings(max_examples=40)
@given(entries=ENTRIES)
def test_json_and_csv_say_the_same(entries: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("lists")
    read = list(manifests.read(write_json(folder / "a.jsonl", entries)))
    assert read == list(manifests.read(write_csv(folder / "a.csv", entries)))
    assert [path for path, _ in read] == [(folder / entry["path"]).absolute() for entry in entries]
    assert [said.tags for _, said in read] == [tuple(entry["tags"]) for entry in entries]


def test_parquet_says_the_same_and_its_times_are_times(tmp_path: Path) -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    file = write_parquet(
        tmp_path / "a.PARQUET",
        {
            "path": ["a.mp4", "/b.mp4"],
            "tags": [["sea", "sun"], None],
            "recorded": [noon, None],
            "title": ["A", None],
        },
    )
    assert list(manifests.read(file)) == [
        (tmp_path / "a.mp4", Metadata("A", ("sea", "sun"), "2026-01-31T12:00:00+00:00", "manifest")),
        (Path("/b.mp4"), Metadata()),
    ]


def test_tags_of_parquet_may_be_one_text(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"path": ["a.mp4"], "tags": ["sea; sun"]})
    assert [said.tags for _, said in manifests.read(file)] == [("sea", "sun")]


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"name": ["a"]}, "names name: it wants .* path among them"),
        ({"path": ["a"], "colour": ["red"]}, "has unknown keys colour"),
        ({"path": ["a", None]}, "row 2 has no path"),
        ({"path": ["a"], "title": [3]}, "row 1: title is 3"),
    ],
)
def test_a_wrong_parquet_is_one_line(tmp_path: Path, columns: dict[str, list[Any]], complaint: str) -> None:
    file = write_parquet(tmp_path / "a.parquet", columns)
    with pytest.raises(ManifestError, match=complaint) as told:
        list(manifests.read(file))
    assert "\n" not in str(told.value)


def test_a_file_that_only_says_it_is_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow: the extra parquet is not installed")
    file = tmp_path / "a.parquet"
    file.write_bytes(b"PAR1 no")
    with pytest.raises(ManifestError, match=r"a\.parquet is no Parquet file"):
        list(manifests.read(file))


def test_a_broken_parquet_is_one_line(tmp_path: Path) -> None:
    whole = write_parquet(tmp_path / "whole.parquet", {"path": ["a.mp4", "b.mp4"] * 500}).read_bytes()
    file, told, lot = tmp_path / "a.parquet", list[str](), random.Random(5)
    for _ in range(200):
        broken = bytearray(whole)
        for _ in range(lot.randint(1, 8)):
            broken[lot.randrange(len(broken))] = lot.randrange(256)
        file.write_bytes(bytes(broken[: lot.choice([len(broken), lot.randrange(len(broken))])]))
        try:
            list(manifests.read(file))
        except ManifestError as error:
            told.append(str(error))
    assert len(told) > 100
    assert all(str(file) in line and "\n" not in line for line in told)


def test_a_parquet_that_is_not_there_is_no_broken_one(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow: the extra parquet is not installed")
    with pytest.raises(FileNotFoundError):
        list(manifests.read(tmp_path / "a.parquet"))


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"path": "\ud800.mp4"}, "path is '.*'; it wants the name of a file"),
        ({"path": "a\0.mp4"}, "path is '.*'; it wants the name of a file"),
        ({"path": "a.mp4", "title": "\ud83d!"}, "title has .* no halves"),
        ({"path": "a.mp4", "collection": "\udc80"}, "collection has .* no halves"),
        ({"path": "a.mp4", "tags": ["sea", "\udfff"]}, "tags has .* no halves"),
    ],
)
def test_half_a_character_is_one_line(tmp_path: Path, said: dict[str, Any], complaint: str) -> None:
    file = write_json(tmp_path / "a.jsonl", [{"path": "\N{PARROT}.mp4", "title": "\N{PARROT}"}, said])
    with pytest.raises(ManifestError, match=f"line 2: {complaint}"):
        list(manifests.read(file))


def test_a_name_need_not_be_text(tmp_path: Path) -> None:
    ((path, _),) = manifests.read(write_json(tmp_path / "a.jsonl", [{"path": "\udcff.mp4"}]))
    assert os.fsencode(path.name) == b"\xff.mp4"


@pytest.mark.parametrize("text", ["[" * 200_000, '{"path": ' + "1" * 5_000 + "}"])
def test_json_that_no_machine_reads_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"path": "a.mp4"}}\n{text}\n')
    with pytest.raises(ManifestError, match="line 2 is no JSON that can be read"):
        list(manifests.read(tmp_path / "a.jsonl"))


def test_without_pyarrow_a_parquet_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").touch()
    with pytest.raises(MissingExtra, match=r"pip install 'reelseek\[parquet\]'"):
        list(manifests.read(tmp_path / "a.parquet"))


def test_a_table_may_have_fewer_columns_empty_lines_and_a_mark_in_front(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b'\xef\xbb\xbftags,path\r\n\r\nsea; ;sun,a.mp4\r\n,"b, or not.mp4"\r\n')
    assert list(manifests.read(file)) == [
        (tmp_path / "a.mp4", Metadata(tags=("sea", "sun"))),
        (tmp_path / "b, or not.mp4", Metadata()),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name\na.mp4\n", "line 1 names name: it wants .* path among them"),
        ("path,path\na,b\n", "line 1 names path, path"),
        ("path,colour\na,red\n", "line 1 has unknown keys colour"),
        ("path,title\na.mp4\n", "line 2 has 1 fields, and the first line names 2"),
        ("path,title\na.mp4,A,B\n", "line 2 has 3 fields"),
        ('path,title\n"a\nb.mp4",A\n,B\n', "line 4 has no path"),
        ('path,title\n"a.mp4"x,A\n', "line 2 is no line of CSV"),
        ("path,recorded\na.mp4,yesterday\n", "line 2: recorded is 'yesterday'"),
    ],
)
def test_a_wrong_line_of_csv_is_named_with_its_number(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text)
    with pytest.raises(ManifestError, match=complaint):
        list(manifests.read(file))


def test_a_name_that_no_file_can_have_is_a_wrong_line(tmp_path: Path) -> None:
    file = write_json(tmp_path / "list.jsonl", [{"path": "a.mp4"}, {"path": "b\0.mp4"}])
    with pytest.raises(ManifestError, match=r"line 2: path is .* it wants the name of a file"):
        list(manifests.read(file))


def test_a_table_with_nothing_in_it_lists_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    assert list(manifests.read(tmp_path / "a.csv")) == []
