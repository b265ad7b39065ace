"""Who is told of a server that is waited for, and how often."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers

from indexer import _remote, places, waiting
from indexer.listing import Listing, Source
from retriever.errors import Unreachable

PATIENCE = 60.0  # seconds until a test gives up on what it waits for


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(waiting, "SOON", 0.0)
    monkeypatch.setattr(_remote, "PATIENCE", 1.0)
    yield
    _remote.close()


def test_a_server_that_is_away_is_told_of_once_and_then_it_fails() -> None:
    said = list[str]()
    with servers.web(files={"/a.mp4": b"x"}) as shelf:
        shelf.fails = [503] * 1000
        with waiting.heard(said.append), waiting.heard(lambda text: pytest.fail("another one listens")):
            for name in "ab":
                with pytest.raises(Unreachable):
                    places.stat_of(places.of(f"{shelf.url}/{name}.mp4"))
                _remote._AWAY.clear()
        assert said == [f"waits for {shelf.url}, which has not answered yet: it is asked for 1 s"]


def test_where_nobody_listens_nobody_is_told_and_no_thread_is_begun() -> None:
    before = threading.active_count()
    with waiting.waiting("server", "text"):
        assert threading.active_count() == before
    told = list[str]()
    with waiting.heard(told.append):
        pass
    with waiting.waiting("server", "text"):
        pass
    assert told == []


def test_an_answer_in_time_is_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SOON", PATIENCE)
    said = list[str]()
    with servers.web(files={"/a.mp4": b"x"}) as shelf, waiting.heard(said.append):
        assert places.stat_of(places.of(f"{shelf.url}/a.mp4")).size == 1
    assert said == []


def test_what_is_looked_up_beside_the_work_is_told_of_too(tmp_path: Path) -> None:
    """The thread that reads files for their keys is heard by whoever listens to the one that began it."""
    from indexer import hashing
    from indexer.policy import Policy
    from retriever.stores import memory

    said, store = list[str](), memory.build()
    with servers.web(files={"/a.mp4": b"x"}) as shelf:
        listing = Listing.of([Source(places.of(f"{shelf.url}/a.mp4"))])
        shelf.fails = [503] * 1000
        with waiting.heard(said.append), hashing.hashing(listing, store, Policy()) as thread:
            batch = thread.next(PATIENCE)
    assert batch
    assert isinstance(batch.files[0].error, Unreachable)
    assert [text.partition(",")[0] for text in said] == [f"waits for {shelf.url}"]
    store.close()
