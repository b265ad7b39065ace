"""One long writer at a time; the second is told who, and since when."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from libraries import contents, entry
from scribe import Scribe

from retriever.errors import StoreLocked
from retriever.stores import _lock, local
from retriever.stores._lock import CommitLock, Leases, Work

IMPATIENT = Work("a test", 0.05)


def test_the_second_long_writer_is_told_who_and_since_when(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["reelseek", "compact", "--library", "lib"])
    monkeypatch.setattr("retriever.stores._compaction.COMPACTION", IMPATIENT)
    store = local.build(folder)
    store.add(entry("a"))
    with CommitLock(folder / "lock").held(Work("an import", 1)), pytest.raises(StoreLocked) as refused:
        store.compact()
    told = str(refused.value)
    year = time.gmtime().tm_year
    for part in (
        str(folder),
        "an import",
        f"process {os.getpid()}",
        "reelseek compact --library lib",
        f"since {year}-",
    ):
        assert part in told
    assert "\n" not in told
    store.compact()  # it was given back
    store.close()


def test_a_lock_dies_with_its_holder(folder: Path, scribe_process: Scribe) -> None:
    local.build(folder).close()
    child = scribe_process.start(folder, "hold")
    lock = CommitLock(folder / "lock")
    while not (folder / "held").exists():
        time.sleep(0.01)
    with pytest.raises(StoreLocked, match=f"process {child}"), lock.held(IMPATIENT):
        pass
    os.kill(child, signal.SIGKILL)
    assert scribe_process.wait() == -signal.SIGKILL
    with lock.held(IMPATIENT):
        pass


def test_searching_needs_no_lock(folder: Path) -> None:
    store = local.build(folder)
    store.add(entry("a"))
    with CommitLock(folder / "lock").held(IMPATIENT), store.snapshot() as snapshot:
        assert len(contents(snapshot)["media"]) == 1
        assert store.catalog.lease("job", "x:1:2", 60)  # leases and stats go on beside long work, too
    store.close()


def test_threads_wait_for_one_another(folder: Path) -> None:
    store = local.build(folder)
    threads = [threading.Thread(target=lambda n=n: store.add(entry(f"m{n}"))) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.snapshot() as snapshot:
        assert len(snapshot.media()) == 6
    assert local.problems(folder) == []
    store.close()


def test_a_lock_file_that_says_nothing_still_locks(tmp_path: Path) -> None:
    lock = CommitLock(tmp_path / "lock")
    with lock.held(IMPATIENT):
        (tmp_path / "lock").write_text("{")
        with pytest.raises(StoreLocked, match="another process"), lock.held(IMPATIENT):
            pass


def test_an_epoch_ends_when_its_last_reader_does(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    readers = [leases.take(3), leases.take(3)]
    assert leases.epochs() == [3]
    for reader in readers:
        with leases.ended(3) as free:
            assert not free
        assert reader is not None
        os.close(reader)
    with leases.ended(3) as free:
        assert free
        assert leases.take(3) is None  # nobody begins meanwhile
    assert leases.epochs() == []


def test_short_work_is_patient_and_long_work_is_not() -> None:
    assert _lock.COMMIT.patience > _lock.COMPACTION.patience
