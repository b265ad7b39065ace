"""Formats: made, recognised, refused by name, and brought up to date."""

import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
import scribe
from libraries import OLD, SEEN_AGAIN, contents, directions, entry, facts

from retriever.errors import StoreUnavailable, WrongFormat
from retriever.stores import _format, local
from retriever.types import ApiKey, RunRecord, RunState, Searched, Wish

EARLIER = sorted(Path(__file__).parent.glob("format[0-9]*"))


def tables(folder: Path) -> set[str]:
    """The statements that make the tables of a library."""
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog:
        return {sql for (sql,) in catalog.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}


READER = ApiKey("k1", "reader", bytes(range(32)), frozenset({"search"}), "home", 2.5, 6.0)


def _new(folder: Path) -> Path:
    made = folder.with_name("new")
    local.build(made).close()
    return made


@pytest.fixture
def another_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The formats go on by one for a while."""
    monkeypatch.setattr(_format, "migrations", _format.migrations)  # put back after the test
    scribe.with_another_migration()


@pytest.mark.parametrize("stored", EARLIER, ids=lambda folder: folder.name)
def test_a_library_of_every_format_can_be_used(stored: Path, folder: Path) -> None:
    with tarfile.open(stored / "library.tar.gz") as archive:
        archive.extractall(folder.parent, filter="data")
    held = int(stored.name.removeprefix("format"))
    if held < _format.current():
        with pytest.raises(WrongFormat, match="reelseek upgrade"):
            local.build(folder)
    assert local.upgrade(folder) == held
    assert tables(folder) == tables(_new(folder))  # a table that changes wants a migration
    store = local.build(folder, create=False)
    with store.snapshot() as snapshot:
        found = facts(snapshot, directions(3, 11))
    assert json.loads(json.dumps(found)) == json.loads((stored / "expected.json").read_text())
    assert store.catalog.recipe() == ("r1", '{"pack": "offline"}')
    assert store.catalog.stat("/clips/a.mp4")
    bad, *heavy = store.catalog.quarantined()
    assert (bad.path, bad.tries, bad.again) == ("/clips/bad.mp4", 1, None)
    assert [(each.tries, each.again) for each in heavy] == ([(2, 605.0)] if held >= 3 else [])
    assert [(run.id, run.state, run.wish) for run in store.catalog.runs()] == (
        [("9f2c41aa", RunState.PAUSED, Wish.CANCEL)] if held >= 3 else []
    )
    assert store.catalog.api_keys() == ([READER] if held >= 4 else [])
    assert [hook.secret for hook in store.catalog.notices.hooks()] == (["whsec_AAAA"] if held >= 5 else [])
    assert [one.id for one in store.catalog.notices.deliveries("h1", 9)] == (["msg_1"] if held >= 5 else [])
    assert [(one.name, use.bytes) for one, use in store.catalog.quotas.all()] == ([("k1", 600)] if held >= 5 else [])
    store.catalog.write_run(RunRecord("0", "{}", 1.0))
    assert store.catalog.runs()[-1].id == "0"
    assert local.problems(folder) == []
    if held >= 2:
        store.choose(Searched.BOTH)
        with store.snapshot() as snapshot:
            assert set(snapshot.spaces) == {*OLD.spaces, SEEN_AGAIN.id}
            assert len(snapshot.nearest(directions(1, 1, SEEN_AGAIN.dimension), SEEN_AGAIN.id, 9)[0]) == 6
        store.choose(Searched.NEW)
        store.drop(Searched.OLD)
    else:
        store.add(entry("c"))
    store.compact()
    store.close()
    assert local.problems(folder) == []


def test_there_is_a_stored_library_of_this_format() -> None:
    assert [folder.name for folder in EARLIER] == [f"format{number}" for number, _ in _format.migrations()]


@pytest.mark.usefixtures("another_migration")
def test_an_older_format_is_refused_and_upgraded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = _format.migrations()
    monkeypatch.setattr(_format, "migrations", lambda: newest[:-1])
    store = local.build(folder)
    store.add(entry("a"))
    with store.snapshot() as snapshot:
        before = contents(snapshot)
    store.close()
    monkeypatch.setattr(_format, "migrations", lambda: newest)
    with pytest.raises(WrongFormat, match=f"format {len(newest) - 1}.*reads format {len(newest)}.*reelseek upgrade"):
        local.build(folder)
    assert local.upgrade(folder) == len(newest) - 1
    assert local.upgrade(folder) == len(newest)  # nothing to do
    store = local.build(folder)
    with store.snapshot() as snapshot:
        assert contents(snapshot) == before
    store.close()
    with closing(sqlite3.connect(folder / f"catalog.sqlite.format{len(newest) - 1}")) as saved:
        assert saved.execute("PRAGMA user_version").fetchone() == (len(newest) - 1,)
        assert saved.execute("SELECT count(*) FROM media").fetchone() == (1,)


def test_a_newer_format_is_refused_with_the_version_that_made_it(folder: Path) -> None:
    local.build(folder).close()
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog, catalog:
        catalog.execute("UPDATE library SET made_by = '9.7'")
        catalog.execute(f"PRAGMA user_version = {_format.current() + 1}")
    for refused in (local.build, local.upgrade):
        with pytest.raises(WrongFormat, match=r"install reelseek 9\.7") as told:
            refused(folder)
        assert "\n" not in str(told.value)
    assert "install reelseek 9.7" in local.problems(folder)[0]


def test_nothing_is_made_where_something_else_is(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    for create in (True, False):
        with pytest.raises(StoreUnavailable, match="not empty"):
            local.build(tmp_path, create=create)
    assert [file.name for file in tmp_path.iterdir()] == ["holiday.jpg"]


def test_nothing_is_made_unless_asked(tmp_path: Path) -> None:
    for refused in (lambda: local.build(tmp_path / "typo", create=False), lambda: local.upgrade(tmp_path / "typo")):
        with pytest.raises(StoreUnavailable, match="no library at"):
            refused()
    assert list(tmp_path.iterdir()) == []
    assert local.problems(tmp_path) == [f"there is no library at {tmp_path}"]


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "library").write_bytes(b"x")
    for create in (True, False):
        for below in ("", "x", "x/y"):
            with pytest.raises(StoreUnavailable, match="library is a file: a library is a folder"):
                local.build(tmp_path / "library" / below, create=create)


@pytest.mark.parametrize("content", [b"not a catalog" * 1000, b""])
def test_a_catalog_that_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(content)
    (tmp_path / "other").write_bytes(b"x")
    with pytest.raises(StoreUnavailable):
        local.build(tmp_path, create=False)


@pytest.mark.parametrize("number", [_format.current(), 77])
def test_a_catalog_of_somebody_else(number: int, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as catalog:
        catalog.execute("CREATE TABLE notes (text)")
        catalog.execute(f"PRAGMA user_version = {number}")
    with pytest.raises(StoreUnavailable, match="no catalog of reelseek"):
        local.build(tmp_path)


def test_two_make_one_library_at_once(folder: Path) -> None:
    _format.create(folder)
    _format.create(folder)
    local.build(folder).close()
