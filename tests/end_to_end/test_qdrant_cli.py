"""A library with an address is reached by every command, and answers as one in a folder does."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrants import Server, serving

from api import Library, checks
from api.main import main
from retriever.settings import Settings
from retriever.stores._address import API_KEY


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv(API_KEY, raising=False)
    with serving() as made:
        yield made


def said(capsys, *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 0
    return str(capsys.readouterr().out)


def stats(capsys, library: str) -> dict:
    found = json.loads(said(capsys, "stats", "--json", "--library", library))
    return {name: value for name, value in found.items() if name not in ("library", "bytes")}


def test_every_command_reaches_a_library_with_an_address(indexed, server, capsys, tmp_path):
    place = f"{server.url}/clips"
    assert main(["index", str(indexed), "--library", place]) == 0
    assert stats(capsys, place) == stats(capsys, "lib")
    assert json.loads(said(capsys, "stats", "--json", "--library", place))["library"] == place
    for asked in (["blue"], ["red THEN blue"], ["heard:tone"], ["blue", "--kind", "video"]):
        words = ["search", *asked, "--min-confidence", "0", "--json", "--library"]
        ours, theirs = (json.loads(said(capsys, *words, library)) for library in (place, "lib"))
        assert [one["ref"] for one in ours["moments"]] == [one["ref"] for one in theirs["moments"]]
        pairs = zip(ours["moments"], theirs["moments"], strict=True)
        assert all(abs(one["score"] - other["score"]) < 1e-3 for one, other in pairs)
    assert said(capsys, "media", "--library", place) == said(capsys, "media", "--library", "lib")
    assert main(["index", str(indexed), "--library", place]) == 0
    assert "3 unchanged" in capsys.readouterr().err
    assert "second.mp4" in said(capsys, "delete", str(indexed / "second.mp4"), "--library", place)
    assert main(["compact", "--library", place]) == 0
    assert stats(capsys, place)["media"] == 2
    assert "up to date" in said(capsys, "upgrade", "--library", place)
    (catalog,) = (tmp_path / "data" / "reelseek" / "catalogs").iterdir()
    assert (catalog / "derived").is_dir()
    with Library.open(place, create=False) as library:
        assert (library.place, library.path) == (place, catalog)


def test_a_library_goes_to_a_server_and_comes_back_the_same(indexed, server, capsys):
    place = f"{server.url}/copy"
    assert main(["import", "lib", "--library", place]) == 0
    assert main(["import", place, "--library", "back"]) == 0
    assert stats(capsys, place) == stats(capsys, "back")
    found = []
    for name in ("lib", place, "back"):
        with Library.open(name, create=False) as library:
            answers = [library.search(query, min_confidence=0) for query in ("blue", "green", "heard:tone")]
        found.append([(one.ref, round(one.score, 3)) for answer in answers for one in answer])
    assert found[0] == found[1] == found[2] != []


def test_the_catalog_lies_where_it_is_said(indexed, server, capsys, tmp_path, monkeypatch):
    place, there = f"{server.url}/clips", str(tmp_path / "catalogs" / "clips")
    assert main(["index", str(indexed), "--library", place, "--store-catalog", there]) == 0
    assert main(["stats", "--library", place]) == 1
    assert "name its folder with --store-catalog" in capsys.readouterr().err
    monkeypatch.setenv("REELSEEK_STORE_CATALOG", there)
    assert stats(capsys, place)["media"] == 3
    assert (tmp_path / "catalogs" / "clips" / "catalog.sqlite").is_file()


def test_the_doctor_looks_at_the_server_too(indexed, server, tmp_path):
    place = f"{server.url}/clips"
    assert [(one.name, one.problem) for one in checks.library(Settings(library=place))][2:] == [
        ("library", f"there is no library at {place}")
    ]
    assert main(["index", str(indexed), "--library", place]) == 0
    found = {one.name: one for one in checks.library(Settings(library=place))}
    assert found["library"].found == place
    assert [one.problem for one in found.values()] == [""] * len(found)
    assert str(tmp_path / "data") in found["place"].found
    collections = [each.name for each in server.client.get_collections().collections if "colours" in each.name]
    server.client.delete_collection(collections[0])
    (problem,) = (one.problem for one in checks.library(Settings(library=place)) if one.problem)
    assert "no collection of colours" in problem


def test_a_server_that_is_not_there_is_one_line(no_weights, server, capsys):
    del server
    for words in (["search", "blue"], ["stats"], ["index", "."]):
        capsys.readouterr()
        assert main([*words, "--library", "http://127.0.0.1:9/clips"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("reelseek: http://127.0.0.1:9/clips cannot be reached")


def test_a_key_is_no_setting_and_not_shown(no_weights, monkeypatch, capsys):
    monkeypatch.setenv(API_KEY, "s3cret")
    assert "s3cret" not in said(capsys, "--print-config")
    assert main(["stats", "--library", "http://vectors.example/clips"]) == 1
    shown = capsys.readouterr().err
    assert "in the clear" in shown
    assert "s3cret" not in shown
