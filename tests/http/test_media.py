"""Media over HTTP: listed, described, played, cut, sent, taken out."""

import io
import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import av
import clips
import numpy as np
import pytest
from serving import Served, problem, strict

from api import Library, wire


def ids(served: Served) -> dict[str, str]:
    """By file name."""
    listed = served.client.get("/v1/media").json()["media"]
    return {Path(one["path"]).name: one["id"] for one in listed}


def sent(served: Served, path: Path, name: str = "", **said: Any) -> dict[str, Any]:
    answer = served.client.post("/v1/media", files={"file": (name or path.name, path.read_bytes())}, data=said)
    assert answer.status_code == 202, answer.text
    strict(wire.Accepted, answer.json())
    job: dict[str, Any] = answer.json()["job"]
    return job


def test_media_are_listed_page_by_page(shared: Served) -> None:
    whole = shared.client.get("/v1/media").json()
    strict(wire.MediaList, whole)
    assert (whole["total"], whole["next_page"]) == (3, None)
    first = shared.client.get("/v1/media", params={"limit": 2}).json()
    rest = shared.client.get("/v1/media", params={"limit": 2, "page": first["next_page"]}).json()
    assert first["media"] + rest["media"] == whole["media"]
    assert rest["next_page"] is None
    sounds = shared.client.get("/v1/media", params={"kind": "sound"}).json()
    assert [one["kind"] for one in sounds["media"]] == ["sound"]
    assert shared.client.get("/v1/media", params={"path": "first"}).json()["total"] == 1
    assert shared.client.get("/v1/media", params={"tag": "none"}).json()["total"] == 0
    problem(shared.client.get("/v1/media", params={"limit": 2, "page": "x"}), 422)
    problem(shared.client.get("/v1/media", params={"kind": "song"}), 422)


def test_what_nobody_knows_of_an_address_is_refused(shared: Served) -> None:
    told = problem(shared.client.get("/v1/media", params={"knd": "video", "limit": 1}), 422)
    assert told["detail"] == ("query.knd: nobody knows this; it takes collection, kind, limit, page, path, tag")
    assert [one["path"] for one in told["errors"]] == ["query.knd"]
    told = problem(shared.client.get("/v1/collections", params={"x" * 1_000: 1, "limit": 1}), 422)
    assert told["detail"].endswith("; query.limit: nobody knows this; it takes none")
    assert len(told["detail"]) < 300
    problem(shared.client.put("/v1/quotas/collection/a/b?dry=1", json={}), 422)
    assert shared.client.get("/?utm_source=mail").status_code == 200  # the page is for people


def test_one_media(shared: Served) -> None:
    for id in ids(shared).values():
        found = shared.client.get(f"/v1/media/{id}")
        strict(wire.Media, found.json())
        for name, link in found.json()["links"].items():
            silent = name == "thumbnail" and found.json()["kind"] == "sound"
            answer = shared.client.get(link, params={"query": "blue"} if name == "timeline" else {})
            assert answer.status_code == (404 if silent else 200), (name, answer.text)
    for path in ("", "/stream", "/thumbnail", "/timeline?query=a", "/transcript.vtt", "/clip?start=0&end=1"):
        problem(shared.client.get(f"/v1/media/beef{path}"), 404)


def test_what_is_known_of_it_changes_by_what_is_said(own: Served) -> None:
    id = ids(own)["first.mp4"]
    at = f"/v1/media/{id}"
    said = {"title": "Two colours", "tags": ["red", "blue", "red"], "recorded": "2026-01-31"}
    changed = own.client.patch(at, json=said).json()
    strict(wire.Media, changed)
    assert changed["metadata"]["tags"] == ["red", "blue"]
    assert own.client.patch(at, json={"collection": "films"}).json()["metadata"]["title"] == "Two colours"
    assert own.client.patch(at, json={"tags": []}).json()["metadata"]["tags"] == []
    assert own.client.get("/v1/media", params={"collection": "films"}).json()["total"] == 1
    assert own.found("red", filters={"collection": "films"})["moments"][0]["media"]["title"] == "Two colours"
    assert "wants a date" in problem(own.client.patch(at, json={"recorded": "soon"}), 422)["detail"]
    problem(own.client.patch(at, json={}), 422)
    problem(own.client.patch(at, json={"name": "x"}), 422)
    problem(own.client.patch("/v1/media/beef", json={"title": "x"}), 404)


# -------------------------------------------------------------------------------------------------------------- playing


def test_a_file_is_played_whole_and_in_ranges(shared: Served) -> None:
    at, whole = f"/v1/media/{ids(shared)['first.mp4']}/stream", Path("clips/first.mp4").read_bytes()
    answer = shared.client.get(at)
    assert (answer.content, answer.headers["content-type"]) == (whole, "video/mp4")
    assert answer.headers["accept-ranges"] == "bytes"
    for said, part in (("bytes=0-9", whole[:10]), ("bytes=100-", whole[100:]), ("bytes=-7", whole[-7:])):
        answer = shared.client.get(at, headers={"range": said})
        assert (answer.status_code, answer.content) == (206, part)
        assert answer.headers["content-range"].endswith(f"/{len(whole)}")
    behind = shared.client.get(at, headers={"range": f"bytes={len(whole)}-"})
    assert problem(behind, 416)["detail"] == "the file has no such bytes"
    assert behind.headers["content-range"] == f"bytes */{len(whole)}"
    assert shared.client.head(at, headers={"range": f"bytes={len(whole)}-"}).status_code == 416
    problem(shared.client.get(at, headers={"range": "lines=1-2"}), 400)


def test_a_file_that_went_or_became_another_is_not_played(own: Served) -> None:
    found = ids(own)
    os.unlink("clips/first.mp4")
    clips.film(Path("clips/second.mp4"), ["yellow"])
    for name in ("first.mp4", "second.mp4"):
        at = f"/v1/media/{found[name]}"
        for path in ("/stream", "/thumbnail", "/clip?start=0&end=1"):
            problem(own.client.get(at + path), 410)
    moved = problem(own.client.get(f"/v1/media/{found['first.mp4']}/stream"), 410)
    assert "if it was moved, its path has to follow; whoever runs this server" in moved["detail"]
    assert own.client.get(f"/v1/media/{found['first.mp4']}").json()["there"] is False
    assert {one["media"]["there"] for one in own.found("red", filters={"path": "first"})["moments"]} == {False}


def test_a_small_picture_is_of_its_second(shared: Served) -> None:
    at = f"/v1/media/{ids(shared)['first.mp4']}/thumbnail"
    for second, channel in ((0.5, 0), (3.0, 2)):
        answer = shared.client.get(at, params={"t": second, "w": 160})
        assert answer.headers["content-type"] == "image/jpeg"
        with av.open(io.BytesIO(answer.content)) as picture:
            pixels = next(picture.decode(video=0)).to_ndarray(format="rgb24")
        assert int(np.argmax(pixels.reshape(-1, 3).mean(axis=0))) == channel
        assert max(pixels.shape[:2]) <= 160
        assert shared.client.get(at, params={"t": second, "w": 160}).content == answer.content
    assert shared.client.get(at, params={"t": 1e6}).status_code == 200  # the last one
    for wrong in ({"t": "nan"}, {"t": -1}, {"w": 5}, {"w": 99_999}, {"t": "inf"}):
        problem(shared.client.get(at, params=wrong), 422)
    assert "no picture" in problem(shared.client.get(f"/v1/media/{ids(shared)['tone.wav']}/thumbnail"), 404)["detail"]


@pytest.mark.parametrize(("name", "exact"), [("first.mp4", "0"), ("first.mp4", "1"), ("tone.wav", "0")])
def test_a_stretch_is_cut(shared: Served, name: str, exact: str) -> None:
    at = f"/v1/media/{ids(shared)[name]}/clip"
    answer = shared.client.get(at, params={"start": 1.0, "end": 3.0, "exact": exact})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith("attachment")
    with av.open(io.BytesIO(answer.content)) as cut:
        assert len(cut.streams) == 1
        assert 1.9 <= (cut.duration or 0) / av.time_base <= 3.2
    problem(shared.client.get(at, params={"start": 3.0, "end": 1.0}), 422)
    problem(shared.client.get(at, params={"start": 99, "end": 100}), 422)
    problem(shared.client.get(at, params={"start": 0}), 422)


def test_what_is_written_is_told_with_its_times(shared: Served) -> None:
    answer = shared.client.get(f"/v1/media/{ids(shared)['first.mp4']}/written.vtt")
    assert answer.headers["content-type"] == "text/vtt; charset=utf-8"
    assert answer.text.startswith("WEBVTT\n")
    assert answer.text.split("-->")[0].rstrip().endswith("00:00:00.000")
    assert ["red" in answer.text, "blue" in answer.text] == [True, True]


def test_relevance_over_time_is_that_of_the_library(shared: Served) -> None:
    id = ids(shared)["first.mp4"]
    told = shared.client.get(f"/v1/media/{id}/timeline", params={"query": "blue"}).json()
    strict(wire.Timeline, told)
    with Library.open("lib") as library:
        (strip,) = library.relevance("blue", id)
    assert set(told["curves"]) == {str(modality) for modality in strip.curves}
    curve = told["curves"]["vision"]
    assert len(curve["edges"]) == len(curve["heights"]) + 1
    assert curve["edges"][int(np.argmax(curve["heights"]))] >= 1.9
    problem(shared.client.get(f"/v1/media/{id}/timeline"), 422)


# -------------------------------------------------------------------------------------------------------------- sending


def test_a_film_that_is_sent_is_found(own: Served, tmp_path: Path) -> None:
    film = clips.film(tmp_path / "new.mp4", ["yellow", "green"])
    job = sent(own, film, name="../../Ferien am Meer é.mp4", title="Sea", tags=["a", "b"], collection="sent")
    last = own.over(job["id"])
    assert (last["state"], last["counts"]["indexed"]) == ("done", 1)
    first = own.found("yellow", limit=1)["moments"][0]["media"]
    assert first["title"] == "Sea"
    place = Path(first["path"])
    assert place.name == "Ferien_am_Meer_é.mp4"
    assert place.is_relative_to(Path("lib/uploads/media").absolute())
    assert place.read_bytes() == film.read_bytes()
    listed = own.client.get("/v1/media", params={"tag": "a", "collection": "sent"}).json()
    assert [one["id"] for one in listed["media"]] == [first["id"]]
    gone = own.client.delete(f"/v1/media/{first['id']}")
    strict(wire.Deleted, gone.json())
    assert place.is_file()  # the file stays where it is
    problem(own.client.delete(f"/v1/media/{first['id']}"), 404)


def test_what_is_no_media_is_set_aside_with_the_reason(own: Served, tmp_path: Path) -> None:
    (tmp_path / "<img src=x onerror=alert(1)>.mp4").write_text("no film")
    job = sent(own, tmp_path / "<img src=x onerror=alert(1)>.mp4")
    assert own.over(job["id"])["state"] == "failed"
    (entry,) = own.client.get("/v1/quarantine").json()["quarantined"]
    strict(wire.Quarantine, own.client.get("/v1/quarantine").json())
    assert entry["reason"]
    assert "<" not in entry["path"]


@pytest.mark.parametrize("name", ["list.jsonl", "list.csv", "LIST.CSV", "list.parquet"])
def test_a_list_of_files_is_no_media(own: Served, name: str) -> None:
    """Its lines would name files of the server, and addresses that it would fetch."""
    answer = own.client.post("/v1/media", files={"file": (name, b'{"path": "/etc/passwd"}')})
    assert "a list of files" in problem(answer, 415)["detail"]
    begun = own.client.post(
        "/v1/uploads",
        headers={"upload-length": "9", "upload-metadata": f"filename {b64encode(name.encode()).decode()}"},
    )
    problem(begun, 415)


def test_nothing_that_is_sent_is_half_kept(own: Served) -> None:
    for form in ({"file": ("a.mp4", b"")}, {"films": ("a.mp4", b"x")}):
        problem(own.client.post("/v1/media", files=form), 422)
    for field, said, path in (
        ("file", {"nope": "1"}, "body.nope"),
        ("films", {"title": "a"}, "body.films"),
        ("title", {"tags": "a"}, "body.title"),
        ("tags", {"file": "a.mp4"}, "body.tags"),
    ):
        told = problem(own.client.post("/v1/media", files={field: ("a.mp4", b"x")}, data=said), 422)
        assert path in {one["path"] for one in told["errors"]}
    problem(own.client.post("/v1/media", files={"file": ("a.mp4", b"x")}, data={"recorded": "soon"}), 422)
    problem(own.client.post("/v1/media", content=b"x", headers={"content-type": "video/mp4"}), 422)
    left = [path for path in Path("lib/uploads").rglob("*") if path.is_file()]
    assert left == []
