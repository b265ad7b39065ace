"""Several processes that answer: as one would, and when one of them dies."""

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import clips
import psutil
import pytest
import qdrants
from postgres import Postgres
from serving import Served, problem, serving, until

from api import Library, crew, guesses, keys
from retriever.errors import StoreUnavailable
from retriever.settings import Settings

CHILD = """
import sys
from pathlib import Path
import pytest
from end_to_end.conftest import _in
_in(Path(sys.argv[1]), pytest.MonkeyPatch())
from api import _crew_child
if sys.argv[2] == "dies":
    import os
    from api import answering
    told = answering.told
    answering.told = lambda library, query, *rest: told(library, query, *rest) if query != "red" else os.abort()
if sys.argv[2] == "lends":
    from retriever.calibrating import Calibrator
    Calibrator.knows = lambda self, generation: False
_crew_child.main()
"""
"""One of a crew over encoders that need no weights; if wanted, it dies of red, or is lent what chance does."""


def command(folder: Path, how: str = "lives") -> tuple[str, ...]:
    return (sys.executable, "-c", CHILD, str(folder), how)


@pytest.fixture
def indexed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with Library.open("lib") as library:
        library.index([folder / "clips"], jobs=1)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setattr(crew, "COMMAND", command(folder))
    return folder


def test_wrong_keys_are_counted_once_for_all_of_them(indexed: Path) -> None:
    """Whoever answers, it is the server that looks at keys."""
    with Library.open("lib") as library:
        keys.make(library.store, "a", "search")
    with serving(partial(Library.open, indexed / "lib"), Settings(library="lib", processes=2)) as served:
        for number in range(guesses.MOST):
            headers = {"authorization": f"Bearer rs_{number:08x}_guess"}
            problem(served.client.post("/v1/search", json={"query": "red"}, headers=headers), 401)
        problem(served.client.post("/v1/search", json={"query": "red"}, headers=headers), 429)


@pytest.fixture
def several(indexed: Path) -> Iterator[Served]:
    settings = Settings(library="lib", processes=2)
    with serving(partial(Library.open, indexed / "lib"), settings) as served:
        yield served


def hands() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "_crew_child" in " ".join(one.cmdline())]


def rounded(document: Any) -> Any:
    """Sums are taken in another order on several threads."""
    if isinstance(document, dict):
        return {name: rounded(value) for name, value in document.items()}
    if isinstance(document, list):
        return [rounded(value) for value in document]
    return round(document, 4) if isinstance(document, float) else document


def test_they_answer_as_the_server_itself(several: Served, indexed: Path) -> None:
    assert len(hands()) == 2
    with serving(partial(Library.open, indexed / "lib"), Settings(library="lib")) as alone:
        for query, more in (
            ("blue", {}),
            ("red THEN blue", {}),
            ("green -red", {"by": "video"}),
            ("red", {"limit": 1, "copies": "show"}),
            ("blue", {"filters": {"kinds": ["sound"], "duration": ["<60"], "path": "tone"}}),
        ):
            assert rounded(several.found(query, **more)) == rounded(alone.found(query, **more))
        page = several.found("red", limit=1)["next_page"]
        assert rounded(several.found("red", limit=1, page=page)) == rounded(alone.found("red", limit=1, page=page))


def test_what_is_wrong_is_told_as_ever(several: Served) -> None:
    assert problem(several.search("red THEN"), 422)["position"] == 4
    assert problem(several.search(""), 422)["title"]


def test_what_shows_something_is_answered_by_the_server(several: Served) -> None:
    ref = several.found("blue")["moments"][0]["ref"]
    for hand in hands():
        hand.suspend()
    assert several.client.get(f"/v1/similar/{ref}", params={"min_confidence": 0}).status_code == 200
    for hand in hands():
        hand.resume()


def test_they_are_asked_at_the_same_time_and_their_stages_are_counted(several: Served) -> None:
    colours = ["red", "green", "blue", "black", "white", "yellow"]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(several.found, colours))
    assert [one["query"] for one in found] == colours
    text = several.client.get("/metrics").text
    for stage in ("encode", "first", "rerank", "moments"):
        held = re.search(rf'^reelseek_stage_seconds_count{{stage="{stage}"}} (\S+)', text, re.MULTILINE)
        assert held
        assert float(held[1]) >= 6


def test_one_that_is_killed_is_replaced(several: Served, caplog: pytest.LogCaptureFixture) -> None:
    first = several.found("blue")
    lost = hands()
    for hand in lost:
        hand.kill()
    assert several.found("green")["moments"]
    assert 'reelseek_stage_seconds_count{stage="start"}' in several.client.get("/metrics").text
    for hand in lost:  # both were asked
        told = f"'state': 'replaced', 'process': {hand.pid}, 'reason': 'it was ended by signal 9'"
        assert told in caplog.text
    several.found("white")  # the other one, too
    assert several.found("blue") == first
    until(lambda: len(hands()) == 2)


def test_a_question_that_kills_is_given_up(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "COMMAND", command(indexed, "dies"))
    with serving(partial(Library.open, indexed / "lib"), Settings(library="lib", processes=2)) as served:
        assert problem(served.search("red"), 503)["title"] == "no answer"
        assert served.found("blue")["moments"]


def test_one_that_says_nothing_is_stopped(several: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "ANSWER_S", 0.5)
    stopped = hands()
    for hand in stopped:
        hand.suspend()
    for _ in stopped:
        assert problem(several.search("blue"), 503)["title"] == "no answer"
    monkeypatch.setattr(crew, "ANSWER_S", 60.0)
    assert several.found("blue")["moments"]
    assert not any(hand.is_running() and hand.status() != psutil.STATUS_ZOMBIE for hand in stopped)


def test_one_that_does_not_read_is_stopped(several: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "ANSWER_S", 0.5)
    stopped = hands()
    for hand in stopped:
        hand.suspend()
    long = {"tags": [f"{number}" + "\u00e4" * 900 for number in range(100)]}  # more than a pipe holds
    for _ in stopped:
        assert problem(several.search("blue", filters=long), 503)["title"] == "no answer"
    monkeypatch.setattr(crew, "ANSWER_S", 60.0)
    assert several.found("blue", filters=long)["moments"] == []
    assert several.found("blue")["moments"]


def test_where_there_is_no_room_for_another_it_is_begun_later(several: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = crew._Hand

    def full(*_: object) -> crew._Hand:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(crew, "_Hand", full)
    for hand in hands():
        hand.kill()
    for _ in range(3):
        assert problem(several.search("blue"), 503)["title"] == "no answer"
    monkeypatch.setattr(crew, "_Hand", begin)
    assert several.found("blue")["moments"]
    for query in ("red", "green"):
        several.found(query)
    assert len(hands()) == 2


def test_who_ends_all_processes_of_a_group_ends_them_through_the_server(several: Served) -> None:
    there = hands()
    for hand in there:
        hand.send_signal(signal.SIGINT)
        hand.send_signal(signal.SIGTERM)
    assert several.found("blue")["moments"]
    assert several.found("green")["moments"]
    assert {one.pid for one in hands()} == {one.pid for one in there}


def test_an_answer_is_of_the_library_as_it_is(several: Served) -> None:
    gone = several.found("blue", limit=1)["moments"][0]["media"]["id"]
    assert several.client.delete(f"/v1/media/{gone}").status_code == 200
    assert gone not in {one["media"]["id"] for one in several.found("blue")["moments"]}


def test_what_one_of_them_was_lent_is_not_kept(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "COMMAND", command(indexed, "lends"))
    with serving(partial(Library.open, indexed / "lib"), Settings(library="lib", processes=2)) as served:
        assert served.found("blue") == served.found("blue")
        assert served.app.state.serving.answers.hits == 0


def test_none_of_them_outlives_the_server(indexed: Path) -> None:
    with serving(partial(Library.open, indexed / "lib"), Settings(library="lib", processes=2)) as served:
        assert served.found("blue")["moments"]
        there = hands()
        assert len(there) == 2
    assert not any(hand.is_running() for hand in there)
    started = crew.Crew(Settings(library="lib"), 1)
    started.start()
    (hand,) = hands()
    next(iter(started._hands)).leave()  # as when the server is killed: nobody writes any more
    until(lambda: hand.status() == psutil.STATUS_ZOMBIE or not hand.is_running())
    started.close()


def test_what_lies_in_the_working_folder_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not ours')")
    done = subprocess.run(crew.COMMAND, cwd=tmp_path, input=b"", capture_output=True)
    assert b"not ours" not in done.stderr


def test_it_says_why_they_cannot_start(indexed: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"no library at .*nowhere"):
        crew.Crew(Settings(library="nowhere"), 2).start()
    assert not hands()


# ------------------------------------------------------------------------------------- over Qdrant and PostgreSQL


@pytest.fixture
def far(folder: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A library whose vectors are in Qdrant and whose catalog is in PostgreSQL, to be served by two processes."""
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "here"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setattr(crew, "COMMAND", command(folder))
    with qdrants.serving() as vectors:
        settings = Settings(library=f"{vectors.url}/clips", store_catalog=postgres.place, processes=2)
        with opened(settings, create=True) as library:
            library.index([folder / "clips"], jobs=1)
        yield settings
    postgres.clear()


def opened(settings: Settings, create: bool = False) -> Library:
    return Library.open(settings.library, store_catalog=settings.store_catalog, create=create)


@pytest.mark.slow
def test_a_library_that_several_machines_write_is_answered_by_several_processes(
    far: Settings, folder: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(partial(opened, far), replace(far, processes=1)) as alone:
        wanted = [rounded(alone.found(query)) for query in ("blue", "red THEN blue", "heard:tone")]
    with serving(partial(opened, far), far) as served:
        assert len(hands()) == 2
        assert [rounded(served.found(query)) for query in ("blue", "red THEN blue", "heard:tone")] == wanted
        clips.film(folder / "new.mp4", ["white", "yellow"])
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("XDG_DATA_HOME", str(folder / "there"))
            with opened(far) as library:
                library.index([folder / "new.mp4"])
        for _ in hands():
            assert "new.mp4" in served.found("yellow white", limit=1)["moments"][0]["media"]["path"]
        with (folder / "clips" / "first.mp4").open("rb") as file, (folder / "new.mp4").open("rb") as other:
            sent = [served.client.post("/v1/media", files={"file": each}) for each in (file, other)]
        assert [served.over(one.json()["job"]["id"])["state"] for one in sent] == ["done", "done"]
        postgres.disconnect()  # all sessions at once, as an administrator may
        for hand in hands()[:1]:
            hand.kill()
        until(lambda: served.search("blue").status_code == 200)
        gone = served.found("yellow white", limit=1)["moments"][0]["media"]["id"]
        assert served.client.delete(f"/v1/media/{gone}").status_code == 200
        for _ in range(3):
            assert gone not in {one["media"]["id"] for one in served.found("yellow white")["moments"]}
        until(lambda: len(hands()) == 2)
    assert not hands()
