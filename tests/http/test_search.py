"""Questions over HTTP: answered as from Python, page by page, and refused clearly."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from serving import Served, problem, strict

from api import Library, wire


@pytest.mark.parametrize("query", ["blue", "red THEN blue", "heard:tone", "green -red", 'said:"nothing"'])
def test_an_answer_is_that_of_python(shared: Served, query: str) -> None:
    document = shared.found(query)
    strict(wire.Answer, document)
    with Library.open("lib") as library:
        answer = library.search(query, min_confidence=0)
    assert [one["ref"] for one in document["moments"]] == [one.ref for one in answer]
    assert document["understood"] == answer.understood
    for one, moment in zip(document["moments"], answer, strict=True):
        assert (one["score"], one["confidence"]) == (round(moment.score, 6), round(moment.confidence, 6))
        assert (one["media"]["there"], one["media"]["kind"]) == (True, str(moment.media.kind))
        for name in ("thumbnail", "stream", "clip", "similar"):
            answered = shared.client.get(one["links"][name]).status_code
            assert answered == (404 if name == "thumbnail" and moment.media.kind == "sound" else 200)


def test_words_that_were_asked_for_are_marked(own: Served) -> None:
    """Subtitles of the fake recognizer say the colour of the frame."""
    found = own.found('"blue"', limit=1)["moments"][0]
    marked = [line["text"][start:end] for line in found["lines"] for start, end in line["marks"]]
    assert marked == ["blue"]


def test_filters_narrow(shared: Served) -> None:
    assert {one["media"]["kind"] for one in shared.found("blue", filters={"kinds": ["sound"]})["moments"]} == {"sound"}
    assert shared.found("blue", filters={"duration": ["<0.1"]})["moments"] == []
    assert shared.found("blue", filters={"tags": ["nobody said so"]})["moments"] == []
    names = {Path(one["media"]["path"]).name for one in shared.found("blue", filters={"path": "second"})["moments"]}
    assert names == {"second.mp4"}


def test_pages_together_are_the_whole_answer(shared: Served) -> None:
    whole = [one["ref"] for one in shared.found("red", copies="show")["moments"]]
    assert len(whole) > 2
    refs, page = [], None
    while True:
        found = shared.found("red", copies="show", limit=1, page=page)
        refs += [one["ref"] for one in found["moments"]]
        if not (page := found["next_page"]):
            break
    assert refs == whole


def test_a_page_is_of_one_question_and_one_library(own: Served) -> None:
    page = own.found("red", limit=1)["next_page"]
    assert problem(own.search("blue", limit=1, page=page), 422)["title"] == "no such page"
    assert problem(own.search("red", page="nonsense"), 422)["title"] == "no such page"
    media = own.found("red", limit=1)["moments"][0]["media"]["id"]
    assert own.client.delete(f"/v1/media/{media}").status_code == 200
    assert "has changed" in problem(own.search("red", limit=1, page=page), 410)["detail"]


def test_a_page_and_its_token_are_of_the_library_that_was_searched(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that has just become another one."""
    first = own.found("red", limit=1)
    search = Library.search

    def later(library: Library, *asked: Any, **more: Any) -> Any:
        for media in library.media()[:1]:
            library.delete(media.key)
        return search(library, *asked, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Library, "search", later)
        assert "has changed" in problem(own.search("red", limit=1, page=first["next_page"]), 410)["detail"]
        found = own.found("red", limit=1)
    now = own.client.get("/readyz").json()["generation"]
    assert found["generation"] == now != first["generation"]
    assert own.search("red", limit=1, page=found["next_page"]).status_code == 200


def test_several_at_once_come_in_their_order(shared: Served) -> None:
    asked = [{"query": query, "min_confidence": 0} for query in ("blue", "red")]
    answered = shared.client.post("/v1/search/batch", json={"searches": asked})
    strict(wire.Answers, answered.json())
    assert [one["query"] for one in answered.json()["answers"]] == ["blue", "red"]
    problem(shared.client.post("/v1/search/batch", json={"searches": asked * 20}), 422)
    for bad, title in (
        ({"query": "red THEN"}, "the query cannot be read"),
        ({"query": "red", "filters": {"after": "never"}}, "a value is wrong"),
        ({"query": "red", "page": "x"}, "no such page"),
    ):
        refused = problem(shared.client.post("/v1/search/batch", json={"searches": [*asked, bad]}), 422)
        assert (refused["title"], refused["search"]) == (title, 2)


def test_more_of_the_same(shared: Served) -> None:
    first = shared.found("green")["moments"][0]
    answered = shared.client.get(first["links"]["similar"], params={"min_confidence": 0})
    strict(wire.Answer, answered.json())
    refs = [one["ref"] for one in answered.json()["moments"]]
    assert refs
    assert first["ref"] not in refs
    problem(shared.client.get("/v1/similar/nobody@0-1"), 422)


# ------------------------------------------------------------------------------------------------------ files that ask


def test_a_picture_asks_alone_and_beside_words(shared: Served) -> None:
    red = Path("red.png").read_bytes()
    sent = shared.client.post(
        "/v1/search", data={"search": '{"query": "", "min_confidence": 0}'}, files={"image": ("red.png", red)}
    )
    assert sent.status_code == 200, sent.text
    strict(wire.Answer, sent.json())
    first = sent.json()["moments"][0]
    assert (Path(first["media"]["path"]).name, first["start_s"]) == ("first.mp4", 0.0)
    held = shared.client.post("/v1/examples", files={"image": ("../../x.png", red)})
    assert held.status_code == 201
    strict(wire.Term, held.json())
    again = shared.found(held.json()["term"])
    assert [one["ref"] for one in again["moments"]] == [one["ref"] for one in sent.json()["moments"]]
    assert shared.found(f"{held.json()['term']} -blue")["moments"]


def test_a_stretch_of_a_clip_asks(shared: Served) -> None:
    film = Path("clips/first.mp4").read_bytes()
    held = shared.client.post("/v1/examples", files={"clip": ("a.mp4", film)}).json()["term"]
    first = shared.found(f"{held}@2-4")["moments"][0]
    assert (Path(first["media"]["path"]).name, first["start_s"]) == ("first.mp4", 2.0)


@pytest.mark.parametrize(
    "term", ["image:/etc/passwd", "image:red.png", "clip:clips/first.mp4@0-1", "image:upload-0000"]
)
def test_no_file_of_the_server_is_shown_to_whoever_asks(shared: Served, term: str) -> None:
    assert Path("red.png").is_file()
    assert "no file that was sent here" in problem(shared.search(term), 422)["detail"]


def test_what_asks_has_to_be_something(shared: Served) -> None:
    problem(shared.client.post("/v1/examples", files={"image": ("a.png", b"")}), 422)
    problem(shared.client.post("/v1/examples", files={"thing": ("a.png", b"x")}), 422)
    problem(shared.client.post("/v1/search", files={"search": ("a.json", b"{}")}), 422)


def test_a_field_that_nobody_knows_is_refused_before_anything_is_asked(shared: Served) -> None:
    red, asked = ("red.png", Path("red.png").read_bytes()), {"search": '{"query": "red"}'}
    told = problem(shared.client.post("/v1/search", files={"picture": red}, data=asked), 422)
    assert told["detail"] == "body.picture: nobody knows this; it takes clip, image, search, sound"
    told = problem(shared.client.post("/v1/search", files={"image": red}, data={"serach": "{}"}), 422)
    assert [one["path"] for one in told["errors"]] == ["body.serach"]
    told = problem(shared.client.post("/v1/search", files={"image": red}, data={"sound": "robin.ogg"}), 422)
    assert told["detail"] == "body.sound: it wants a file"
    assert (
        problem(shared.client.post("/v1/examples", files=[("image", red), ("clip", red)]), 422)["title"] == "one file"
    )


def test_a_file_that_is_something_else_is_told_by_the_name_that_it_was_sent_as(shared: Served) -> None:
    tone = ("robin.wav", Path("clips/tone.wav").read_bytes())
    told = problem(shared.client.post("/v1/search", files={"image": tone}), 422)["detail"]
    found = re.fullmatch(r"image:(upload-\w+) is a sound: write (sound:\1)", told)
    assert found, told
    assert shared.search(found[2]).status_code == 200  # as it says
    told = problem(shared.client.post("/v1/examples", files={"image": tone}), 422)["detail"]
    assert told == "`image` is a sound: write `sound`"
    asked = Path("lib/uploads/asked")
    there = set(asked.iterdir())
    for path in ("/v1/search", "/v1/examples"):
        told = problem(shared.client.post(path, files={"image": ("w.sh", b"echo hello")}), 422)["detail"]
        assert str(Path.cwd()) not in told
        assert "image" in told
    assert len(set(asked.iterdir()) - there) == 1  # that of the question goes within the hour


@pytest.mark.parametrize("ref", ["xyz", "deadbeef@1-2"])
def test_a_wrong_reference_is_for_whoever_asks_to_mend(shared: Served, ref: str) -> None:
    for answer in (shared.client.get(f"/v1/similar/{ref}"), shared.search(f"like:{ref}")):
        assert "whoever runs" not in problem(answer, 422)["detail"]


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "body.query"),
        ({"query": "a", "limit": 0}, "body.limit"),
        ({"query": "a", "limit": 101}, "body.limit"),
        ({"query": "a", "by": "song"}, "body.by"),
        ({"query": "a", "filter": {}}, "body.filter"),
        ({"query": "a", "filters": {"kinds": ["text"]}}, "body.filters.kinds.0"),
        ({"query": "a", "min_confidence": 2}, "body.min_confidence"),
        ({"query": "a\0b"}, "body.query"),
        ({"query": "a" * 20_001}, "body.query"),
        ([], "body"),
    ],
)
def test_a_wrong_request_is_told_by_its_path(shared: Served, body: Any, path: str) -> None:
    found = problem(shared.client.post("/v1/search", json=body), 422)
    assert path in [one["path"] for one in found["errors"]]


def test_half_a_character_and_half_a_document(shared: Served) -> None:
    for body in (b'{"query": "\\ud800"}', b'{"query":', b"\xff", b"", b"[" * 100_000):
        headers = {"content-type": "application/json"}
        problem(shared.client.post("/v1/search", content=body, headers=headers), 422)


def test_a_query_that_cannot_be_read_is_told_by_its_character(shared: Served) -> None:
    found = problem(shared.search("red THEN"), 422)
    assert found["position"] == 4
    problem(shared.search("   "), 422)
    assert "duration is 'soon'" in problem(shared.search("red", filters={"duration": ["soon"]}), 422)["detail"]


def test_another_type_is_refused(shared: Served) -> None:
    answer = shared.client.post("/v1/search", content=b"query=a", headers={"content-type": "text/plain"})
    assert "application/json" in problem(answer, 415)["detail"]


def test_a_library_without_media_answers_with_nothing(folder: Path) -> None:
    from functools import partial

    from serving import serving

    with serving(partial(Library.open, folder / "empty")) as served:
        document = served.found("blue")
        strict(wire.Answer, document)
        assert document["moments"] == document["misses"] == []
        assert served.client.get("/v1/library").json()["media"] == 0
    assert not (folder / "empty" / "uploads" / "asked").exists()
    assert os.listdir(folder / "empty")
