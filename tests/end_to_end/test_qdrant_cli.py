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


def test_what_is_refused_leaves_nothing_behind(indexed, server, capsys, tmp_path):
    place, held = f"{server.url}/clips", server.client.get_collections().collections
    for words in (
        ["restore", "copies/monday", "--library", place],
        ["restore", place, "--library", "made"],
        ["import", "nowhere", "--library", place],
        ["import", f"{server.url}/nowhere", "--library", "made"],
        ["import", "http://127.0.0.1:9/nowhere", "--library", "made"],
    ):
        capsys.readouterr()
        assert main(words) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("reelseek: ")
    assert server.client.get_collections().collections == held
    assert not (tmp_path / "made").exists()
    assert main(["import", "lib", "--library", place]) == 0
    assert main(["import", f"{place}/", "--library", place]) == 1
    assert "this library itself" in capsys.readouterr().err


def test_the_catalog_lies_where_it_is_said(indexed, server, capsys, tmp_path, monkeypatch):
    place, there = f"{server.url}/clips", str(tmp_path / "catalogs" / "clips")
    assert main(["index", str(indexed), "--library", place, "--store-catalog", there]) == 0
    assert main(["stats", "--library", place]) == 1
    assert "name it with --store-catalog" in capsys.readouterr().err
    monkeypatch.setenv("REELSEEK_STORE_CATALOG", there)
    assert stats(capsys, place)["media"] == 3
    assert (tmp_path / "catalogs" / "clips" / "catalog.sqlite").is_file()
    assert main(["import", place, "--library", "back"]) == 0, "a folder has no other catalog that it could be"
    assert stats(capsys, "back")["media"] == 3


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


def test_a_catalog_in_postgres_serves_several_machines(indexed, server, postgres, capsys, tmp_path, monkeypatch):
    """Each has a data folder of its own, and nothing else in common but the two addresses."""
    place = f"{server.url}/clips"
    monkeypatch.setenv("REELSEEK_STORE_CATALOG", postgres.place)

    def on(machine: str, *words: str) -> str:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / machine))
        return said(capsys, *words, "--library", place)

    def refused(*words: str) -> str:
        capsys.readouterr()
        assert main([*words, "--library", place]) in (1, 2)
        (line,) = capsys.readouterr().err.splitlines()
        return line

    try:
        on("one", "index", str(indexed / "first.mp4"), str(indexed / "second.mp4"))
        on("two", "index", str(indexed))
        assert json.loads(on("one", "stats", "--json"))["media"] == 3
        for asked in (["blue"], ["heard:tone"], ["blue", "--kind", "video"], ["red", "--path", "*first*"]):
            words = ["search", *asked, "--min-confidence", "0", "--json"]
            found = [json.loads(on(machine, *words))["moments"] for machine in ("one", "two")]
            theirs = json.loads(said(capsys, *words, "--library", "lib"))["moments"]
            assert [[one["ref"] for one in each] for each in (*found, theirs)] == [[one["ref"] for one in theirs]] * 3
        assert "second.mp4" in on("one", "delete", str(indexed / "second.mp4"))
        on("two", "compact")
        assert json.loads(on("two", "stats", "--json"))["media"] == 2
        assert [one["state"] for one in json.loads(on("two", "jobs", "list", "--all", "--json"))["jobs"]] == [
            "done"
        ] * 2
        on("one", "keys", "add", "me", "--scope", "search")
        assert "me" in on("two", "keys", "list")
        assert "up to date" in on("two", "upgrade")
        found = {one.name: one for one in checks.library(Settings(library=place, store_catalog=postgres.place))}
        assert [one.problem for one in found.values()] == [""] * len(found)
        assert "pg_dump" in refused("backup", "copy")
        assert not (tmp_path / "one" / "reelseek" / "catalogs" / "catalog.sqlite").exists()
        assert main(["import", place, "--library", "back"]) == 0
        assert stats(capsys, "back")["media"] == 2
        assert main(["import", place, "--library", f"{server.url}/copy"]) == 0  # within one database
        assert stats(capsys, f"{server.url}/copy") == stats(capsys, "back")
        monkeypatch.delenv("REELSEEK_STORE_CATALOG")
        assert "name it with --store-catalog" in refused("stats")
        monkeypatch.setenv("REELSEEK_STORE_CATALOG", "postgresql://me:s3cret@127.0.0.1/reels")
        assert "s3cret" not in refused("stats")
        monkeypatch.setenv("REELSEEK_STORE_CATALOG", "postgresql://me@127.0.0.1:9/reels")
        assert "the catalog at postgresql://me@127.0.0.1:9/reels does not answer" in refused("stats")
    finally:
        postgres.clear()
