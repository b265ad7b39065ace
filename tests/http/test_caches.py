"""The same question again: answered from what is known, and only as long as that is true."""

import re
from pathlib import Path

import pytest
from serving import Served

from api import Library, answering
from retriever.stores import _ann


def counted(served: Served, cache: str, found: str) -> int:
    """How often something was, or was not, among what was asked of late."""
    text = served.client.get("/metrics").text
    held = re.search(rf'^reelseek_cache_total{{cache="{cache}",found="{found}"}} (\d+)', text, re.MULTILINE)
    assert held, text
    return int(held[1])


def test_the_same_question_has_the_same_answer_without_work(own: Served) -> None:
    first = own.found("blue")
    before = counted(own, "answers", "yes"), counted(own, "answers", "no"), counted(own, "sentences", "no")
    assert own.found("blue") == first
    assert (counted(own, "answers", "yes"), counted(own, "answers", "no")) == (before[0] + 1, before[1])
    assert counted(own, "sentences", "no") == before[2]


def test_whoever_wants_it_otherwise_gets_it_otherwise(own: Served) -> None:
    every = own.found("blue")
    assert len(own.found("blue", limit=1)["moments"]) == 1 < len(every["moments"])
    assert own.found("blue", filters={"kinds": ["sound"]})["moments"] != every["moments"]
    assert own.found("blue", by="video")["by"] == "video"
    assert own.found("blue") == every


def test_an_answer_is_that_of_the_library_as_it_is(own: Served) -> None:
    first = own.found("blue", limit=1)
    gone = first["moments"][0]["media"]["id"]
    assert own.client.delete(f"/v1/media/{gone}").status_code == 200
    again = own.found("blue")
    assert again["generation"] != first["generation"]
    assert gone not in {one["media"]["id"] for one in again["moments"]}


def test_a_file_that_went_is_told_though_the_answer_is_known(own: Served) -> None:
    media = own.found("blue")["moments"][0]["media"]
    assert media["there"]
    Path(media["path"]).rename("elsewhere")
    known = counted(own, "answers", "yes")
    assert not own.found("blue")["moments"][0]["media"]["there"]
    assert counted(own, "answers", "yes") == known + 1


def test_what_shows_something_is_asked_each_time(own: Served) -> None:
    """A file that was sent may be gone, or be another caller's."""
    ref = own.found("blue")["moments"][0]["ref"]
    first = own.found(f"like:{ref}")
    known = counted(own, "answers", "yes")
    assert own.found(f"like:{ref}") == first
    assert counted(own, "answers", "yes") == known


def test_what_is_large_or_lent_is_not_kept(own: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    own.found("green", limit=1)
    calibrator = own.app.state.serving.library.searcher.calibrator
    for owner, name, value in ((calibrator, "knows", lambda generation: False), (answering, "REMEMBERED", 0)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            before = counted(own, "answers", "yes")
            assert own.found("blue") == own.found("blue")
            assert counted(own, "answers", "yes") == before
    own.found("blue")
    assert own.found("blue")["moments"]
    assert counted(own, "answers", "yes") == before + 1


def test_indexes_are_told_with_what_they_find(own: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "reelseek_index{" not in own.client.get("/metrics").text  # every row is looked at
    monkeypatch.setattr(_ann, "FLAT_UP_TO", 2)
    with Library.open("lib") as library:
        library.compact()
    text = own.client.get("/metrics").text
    told = dict(re.findall(r'^reelseek_index\{space="colours[^"]*",what="(\w+)"\} (\S+)', text, re.MULTILINE))
    assert float(told["rows"]) == float(told["of"]) > 0
    assert float(told["bytes"]) > 0
    assert 0 <= float(told["recall_at_10"]) <= 1
