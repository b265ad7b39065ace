"""A copy of a library while it is written, and the way back."""

import errno
import os
import shutil
import signal
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import scribe
from libraries import NEW, OLD, SEEN, SEEN_AGAIN, contents, directions, entry, found, held, more
from scribe import Scribe

from retriever.crashpoints import POINTS
from retriever.errors import DiskFull, StoreLocked, StoreUnavailable
from retriever.stores import _backup, local
from retriever.stores._lock import COMPACTION, Work
from retriever.stores.local import LocalStore
from retriever.types import ApiKey, FileStat, Quarantined


def beside(folder: Path) -> Path:
    return folder.with_name("backup")


@pytest.fixture
def store(folder: Path) -> Any:
    made = local.build(folder)
    scribe.carry_out(made)
    yield made
    made.close()


def test_a_backup_is_a_library_that_holds_and_answers_the_same(store: LocalStore, folder: Path) -> None:
    store.catalog.remember("/a.mp4", FileStat(1, 2, 3, "a"))
    store.catalog.quarantine(Quarantined("/b.mp4", "it is text", 1.0, 2, 3))
    store.back_up(beside(folder))
    assert found(beside(folder)) == held(store)
    assert local.problems(beside(folder)) == []
    copy = local.build(beside(folder))
    assert copy.catalog.quarantined() == store.catalog.quarantined()
    assert copy.catalog.stat("/a.mp4") == store.catalog.stat("/a.mp4")
    copy.add(entry("new"))
    store.add(entry("other"))
    assert ("new" in held(copy)["media"], "new" in held(store)["media"]) == (True, False)
    assert local.problems(folder) == local.problems(beside(folder)) == []
    copy.close()


def test_an_index_comes_along_and_one_that_went_is_not_missed(
    store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retriever.stores._ann.FLAT_UP_TO", 8)
    store.refresh()
    with store.snapshot() as snapshot:
        indexes = snapshot.view.indexes
    assert indexes
    store.back_up(beside(folder))
    for name, _ in indexes.values():
        assert (beside(folder) / name).read_bytes() == (folder / name).read_bytes()
        (folder / name).unlink()
    store.back_up(folder.with_name("later"))
    assert local.problems(folder.with_name("later")) == []
    assert found(folder.with_name("later")) == held(store)


def test_while_somebody_writes_it_is_one_moment_of_the_library(folder: Path) -> None:
    store, over = local.build(folder), Event()
    store.add(entry("same", 0))
    states: dict[str, dict[str, Any]] = {}

    def write() -> None:
        writer, version = local.build(folder), 0
        while not over.is_set():
            version += 1
            writer.add(scribe.replaced_by_key(version))
            if version % 5 == 0:
                writer.compact()
            now = held(writer)
            states[now["generation"]] = now
        writer.close()

    first = held(store)
    states[first["generation"]] = first
    thread = Thread(target=write)
    thread.start()
    try:
        for number in range(8):
            store.back_up(folder.with_name(f"backup{number}"))
    finally:
        over.set()
        thread.join()
    for number in range(8):
        copy = found(folder.with_name(f"backup{number}"))
        assert copy == states[copy["generation"]]
    store.close()


def test_leases_stay_where_the_work_is(store: LocalStore, folder: Path) -> None:
    assert store.catalog.lease("job", "elsewhere:1:1", 60)
    store.back_up(beside(folder))
    copy = local.build(beside(folder))
    assert (copy.catalog.leased(), list(store.catalog.leased())) == ({}, ["job"])
    copy.close()


@pytest.mark.parametrize("there", ["file", "folder"])
def test_nothing_is_written_over(store: LocalStore, folder: Path, there: str) -> None:
    if there == "file":
        beside(folder).write_text("mine")
    else:
        beside(folder).mkdir()
        (beside(folder) / "mine").touch()
    with pytest.raises(StoreUnavailable, match="is there already: name a new or empty folder"):
        store.back_up(beside(folder))
    assert sorted(file.name for file in folder.parent.iterdir()) == ["backup", "library"]


def test_a_damaged_library_makes_no_backup(store: LocalStore, folder: Path) -> None:
    (rows,) = folder.glob(f"tokens/{SEEN.id}.*.f16")
    with rows.open("r+b") as file:
        file.write(bytes(512))
    with pytest.raises(StoreUnavailable, match=r"is damaged, nothing was written: .*rows are not what was committed"):
        store.back_up(beside(folder))
    rows.write_bytes(b"")
    with pytest.raises(StoreUnavailable, match=r"lacks .* bytes that were committed"):
        store.back_up(beside(folder))
    assert [file.name for file in folder.parent.iterdir()] == ["library"]


# --------------------------------------------------------------------------------------------------------- the way back


def test_a_restored_library_is_what_it_was(store: LocalStore, folder: Path) -> None:
    before = held(store)
    store.back_up(beside(folder))
    store.add(entry("z", lines=[]))
    store.delete(["a"])
    store.catalog.set_recipe("another", "{}")
    store.compact()
    with store.snapshot() as looking:
        later = contents(looking)
        store.restore(beside(folder))
        with store.snapshot() as now:  # a change like any other: epochs and commits rise
            assert all(new > old for new, old in zip(now.view.at, looking.view.at, strict=True))
        assert contents(looking) == later  # who looks keeps what they look at
        assert held(store) == before
    assert store.catalog.recipe() == ("r1", "{}")
    assert local.problems(folder) == [] or all("a crash left it" in line for line in local.problems(folder))
    store.compact()
    assert local.problems(folder) == []
    store.add(entry("z"))
    assert "z" in held(store)["media"]
    assert found(beside(folder)) == before


def test_keys_stay_those_of_the_library_and_answers_are_forgotten(store: LocalStore, folder: Path) -> None:
    """A backup brings no key back that was revoked since, and no job is told of that is gone."""
    old, new = (ApiKey(name, name, b"", frozenset({"search"})) for name in ("old", "new"))
    store.catalog.write_key(old)
    store.back_up(beside(folder))
    store.catalog.forget_key("old")
    store.catalog.write_key(new)
    store.catalog.claim("", "token", "asked")
    store.catalog.settle("", "token", "{}")
    store.restore(beside(folder))
    assert store.catalog.api_keys() == [new]
    assert store.catalog.claim("", "token", "asked") is None
    copy = local.build(beside(folder))
    assert copy.catalog.api_keys() == []
    copy.close()


def test_another_process_that_has_it_open_sees_the_backup(store: LocalStore, folder: Path) -> None:
    store.back_up(beside(folder))
    before, other = held(store), local.build(folder)
    other.delete(["a", "d"])
    assert held(other) == held(store) != before
    other.restore(beside(folder))
    assert held(other) == held(store) == before
    other.close()


def test_a_library_with_two_recipes_comes_back_with_both(folder: Path) -> None:
    store = local.build(folder)
    store.catalog.set_recipe(OLD.digest, OLD.recipe)
    for key in "ab":
        store.add(entry(key))
    store.begin(OLD, NEW)
    store.extend(more(entry("b"), SEEN_AGAIN))
    store.back_up(beside(folder))
    with store.snapshot() as snapshot:
        lacking, spaces = snapshot.lacking(), snapshot.held()
    store.extend(more(entry("a"), SEEN_AGAIN))
    store.restore(beside(folder))
    with store.snapshot() as snapshot:
        assert (snapshot.lacking(), snapshot.held()) == (lacking, spaces)
    store.close()


def test_into_a_new_library(store: LocalStore, folder: Path) -> None:
    new = local.build(folder.with_name("new"))
    new.restore(folder)  # a library is its own backup
    assert held(new) == held(store)
    assert local.problems(folder.with_name("new")) == []
    new.close()


def test_not_while_somebody_indexes(store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.back_up(beside(folder))
    store.add(entry("z"))
    before = held(store)
    store.catalog.lease("job", "elsewhere:1:1", 60)
    with pytest.raises(StoreLocked, match=r"is being indexed into by elsewhere:1:1 .*jobs pause"):
        store.restore(beside(folder))
    store.catalog.release("job", "elsewhere:1:1")
    copy = _backup._copy

    def begun_meanwhile(source: Path, to: Path, size: int) -> None:
        store.catalog.lease("late", "elsewhere:1:1", 60)
        copy(source, to, size)

    with monkeypatch.context() as patch:
        patch.setattr(_backup, "_copy", begun_meanwhile)
        with pytest.raises(StoreLocked, match="late"):
            store.restore(beside(folder))
    store.catalog.release("late", "elsewhere:1:1")
    monkeypatch.setattr(_backup, "RESTORE", Work("putting a backup back", 0.1))
    with store.lock.held(COMPACTION), pytest.raises(StoreLocked, match="compaction"):
        store.restore(beside(folder))
    assert held(store) == before
    assert local.problems(folder) == []


@pytest.mark.parametrize("wrong", ["itself", "nothing", "cut off", "altered"])
def test_what_is_no_backup_changes_nothing(store: LocalStore, folder: Path, wrong: str) -> None:
    before, source = held(store), beside(folder)
    store.back_up(source)
    (rows,) = source.glob(f"segments/{SEEN.id}.*.f16")
    match wrong:
        case "itself":
            source = folder
        case "nothing":
            shutil.rmtree(source)
        case "cut off":
            os.truncate(rows, rows.stat().st_size - 1)
        case "altered":
            rows.write_bytes(bytes(rows.stat().st_size))
    with pytest.raises(StoreUnavailable, match=r"this library itself|there is no library|is damaged, and not put back"):
        store.restore(source)
    assert held(store) == before
    assert local.problems(folder) == []


@pytest.mark.parametrize("full", [0, 1, 7])
@pytest.mark.parametrize("way", ["back up", "restore"])
def test_a_full_disk_changes_nothing(
    store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch, way: str, full: int
) -> None:
    store.back_up(beside(folder))
    store.add(entry("z"))
    before, left, copy = held(store), [full], _backup._copy

    def filled(source: Path, to: Path, size: int) -> None:
        copy(source, to, size)
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_backup, "_copy", filled)
    with pytest.raises(DiskFull, match="make room"):
        store.back_up(folder.with_name("more")) if way == "back up" else store.restore(beside(folder))
    assert held(store) == before
    assert local.problems(folder) == []
    assert sorted(file.name for file in folder.parent.iterdir()) == ["backup", "library"]


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("restore-")])
def test_killed_while_it_is_put_back(point: str, store: LocalStore, folder: Path, scribe_process: Scribe) -> None:
    before = held(store)
    store.back_up(beside(folder))
    store.delete(["a"])
    store.add(entry("z"))
    after = held(store)
    scribe_process.start(folder, "restore", crash_at=point)
    assert scribe_process.wait() == -signal.SIGKILL
    assert held(store) == (before if point == "restore-committed" else after)
    assert all("a crash left it" in line for line in local.problems(folder))
    store.restore(beside(folder))
    assert held(store) == before
    assert local.problems(folder) == []


def test_vectors_are_found_again(store: LocalStore, folder: Path) -> None:
    store.back_up(beside(folder))
    copy = local.build(beside(folder), create=False)
    asked = directions(3, 5)
    with store.snapshot() as ours, copy.snapshot() as theirs:
        for mine, yours in zip(ours.nearest(asked, SEEN.id, 5), theirs.nearest(asked, SEEN.id, 5), strict=True):
            assert mine.scores.tolist() == yours.scores.tolist()
    copy.close()
