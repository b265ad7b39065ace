"""The same bytes, sent again or by two in one moment: kept once, lost never, and seen by whom they belong to."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import clips
import httpx
import pytest
from serving import CLEAR, Served, endless_jobs, problem, serving

from api import Library, keys
from indexer import pipeline


def by(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def sends(served: Served, data: bytes, name: str = "a.mp4", key: str = "", **said: str) -> httpx.Response:
    headers = by(key) if key else {}
    with httpx.Client(base_url=served.url, timeout=60, verify=CLEAR) as client:
        return client.post("/v1/media", files={"file": (name, data)}, data=said, headers=headers)


def kept() -> list[Path]:
    return [file for file in Path("lib/uploads/media").rglob("*") if file.is_file()]


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """All of them in one moment."""
    ready = Barrier(len(calls))

    def call(one: Callable[[], Any]) -> Any:
        ready.wait(20)
        return one()

    with ThreadPoolExecutor(len(calls)) as crew:
        return list(crew.map(call, calls))


@pytest.fixture
def film(tmp_path: Path) -> bytes:
    return clips.film(tmp_path / "film.mp4", ["yellow", "green"]).read_bytes()


def test_what_is_sent_twice_is_kept_once(own: Served, film: bytes) -> None:
    first = sends(own, film, "first.mp4", title="One").json()["job"]["id"]
    assert own.over(first)["state"] == "done"
    again = sends(own, film, "second.mp4", title="Two").json()["job"]
    assert own.over(again["id"])["state"] == "done"
    (file,) = kept()
    assert again["request"]["paths"] == [str(file.absolute())]
    assert file.name == "first.mp4"
    (media,) = own.client.get("/v1/media", params={"path": "uploads"}).json()["media"]
    assert (media["paths"], media["metadata"]["title"]) == ([str(file.absolute())], "Two")
    assert own.client.get(media["links"]["stream"]).content == film


def test_what_the_server_has_elsewhere_is_not_kept_again(own: Served, folder: Path) -> None:
    there = folder / "clips" / "first.mp4"
    job = sends(own, there.read_bytes(), title="As it was").json()["job"]
    assert job["request"]["paths"] == [str(there)]
    assert own.over(job["id"])["state"] == "done"
    assert kept() == []
    assert own.client.get("/v1/media", params={"path": "first"}).json()["media"][0]["metadata"]["title"] == "As it was"


def test_what_went_or_changed_there_is_kept(own: Served, folder: Path) -> None:
    there = folder / "clips" / "first.mp4"
    data = there.read_bytes()
    clips.film(there, ["yellow"])
    job = sends(own, data).json()["job"]["id"]
    assert own.over(job)["state"] == "done"
    (file,) = kept()
    assert file.read_bytes() == data


def test_many_that_send_the_same_in_one_moment(own: Served, film: bytes) -> None:
    answers = at_once(*(partial(sends, own, film, f"{number}.mp4") for number in range(4)))
    assert [answer.status_code for answer in answers] == [202] * 4
    assert [own.over(answer.json()["job"]["id"])["state"] for answer in answers] == ["done"] * 4
    (file,) = kept()
    assert file.read_bytes() == film
    assert own.client.get("/v1/media", params={"path": "uploads"}).json()["total"] == 1


@pytest.fixture
def two(folder: Path) -> Iterator[tuple[Served, dict[str, str]]]:
    with Library.open("lib") as library:
        library.index([folder / "clips"], jobs=1)
        made = {name: keys.make(library.store, name, "write", name)[1] for name in ("ours", "theirs")}
    with serving(partial(Library.open, folder / "lib")) as served:
        yield served, made


def test_two_collections_in_one_moment_are_told_apart(two: tuple[Served, dict[str, str]], film: bytes) -> None:
    """Who comes first has it; the other one learns that, and loses nothing of its own."""
    served, made = two
    names = ["ours", "theirs"]
    answers = dict(zip(names, at_once(*(partial(sends, served, film, key=made[name]) for name in names)), strict=True))
    assert sorted(answer.status_code for answer in answers.values()) == [202, 409]
    winner = next(name for name, answer in answers.items() if answer.status_code == 202)
    loser = next(name for name in names if name != winner)
    job = answers[winner].json()["job"]["id"]
    with served.client.stream("GET", f"/v1/jobs/{job}/events", headers=by(made[winner])) as told:
        assert '"done"' in told.read().decode()
    assert served.client.get("/v1/media", headers=by(made[winner])).json()["total"] == 1
    assert served.client.get("/v1/media", headers=by(made[loser])).json()["total"] == 0
    assert "are here, in another collection" in problem(sends(served, film, key=made[loser]), 409)["detail"]
    (file,) = kept()
    assert file.read_bytes() == film


def test_who_waits_for_its_job_is_first_all_the_same(
    two: tuple[Served, dict[str, str]], film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on another server of the same library."""
    served, made = two
    with monkeypatch.context() as patch, serving(partial(Library.open, Path("lib").absolute())) as second:
        endless_jobs(patch)
        job = sends(served, film, key=made["ours"]).json()["job"]["id"]
        problem(sends(second, film, key=made["theirs"]), 409)
        served.client.post(f"/v1/jobs/{job}/cancel", headers=by(made["ours"]))
        with served.client.stream("GET", f"/v1/jobs/{job}/events", headers=by(made["ours"])) as told:
            told.read()
    assert sends(served, film, key=made["theirs"]).status_code == 202  # nobody wants it any more


def test_what_somebody_else_left_tells_nobody_its_name(two: tuple[Served, dict[str, str]], film: bytes) -> None:
    """Files stay when their media go, and when they could not be indexed."""
    served, made = two
    for data in (film, b"no film"):
        job = sends(served, data, "their secret.mp4", key=made["theirs"]).json()["job"]["id"]
        with served.client.stream("GET", f"/v1/jobs/{job}/events", headers=by(made["theirs"])) as told:
            told.read()
    (media,) = served.client.get("/v1/media", headers=by(made["theirs"])).json()["media"]
    assert served.client.delete(f"/v1/media/{media['id']}", headers=by(made["theirs"])).is_success
    for data in (film, b"no film"):
        answer = sends(served, data, "ours.mp4", key=made["ours"])
        assert answer.status_code == 202
        assert "secret" not in answer.text
        with served.client.stream(
            "GET", f"/v1/jobs/{answer.json()['job']['id']}/events", headers=by(made["ours"])
        ) as told:
            assert "secret" not in told.read().decode()
    for path in ("/v1/media", "/v1/quarantine"):
        answer = served.client.get(path, headers=by(made["ours"]))
        assert "ours.mp4" in answer.text
        assert "secret" not in answer.text
    assert len(kept()) == 4


def test_what_cannot_be_registered_leaves_nothing(own: Served, film: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from retriever.errors import StoreLocked

    def busy(*_: Any, **__: Any) -> Any:
        raise StoreLocked("somebody is at it")

    with monkeypatch.context() as patch:
        patch.setattr(own.app.state.serving.workshop, "register", busy)
        problem(sends(own, film), 503)
    assert kept() == []
    assert not list(Path("lib/uploads/media").iterdir())
    assert own.over(sends(own, film).json()["job"]["id"])["state"] == "done"


def test_a_file_that_was_cut_short_there_stands_in_nobodys_way(own: Served, film: bytes) -> None:
    job = sends(own, film).json()["job"]["id"]
    assert own.over(job)["state"] == "done"
    (file,) = kept()
    file.write_bytes(film[:100])
    again = sends(own, film).json()["job"]["id"]
    assert own.over(again)["state"] == "done"
    (media,) = own.client.get("/v1/media", params={"path": "uploads"}).json()["media"]
    assert own.client.get(media["links"]["stream"]).content == film


def test_metadata_of_an_own_collection_stays(two: tuple[Served, dict[str, str]], film: bytes) -> None:
    served, made = two
    for title in ("One", "Two"):
        answer = sends(served, film, key=made["ours"], title=title)
        assert answer.json()["job"]["request"]["metadata"]["collection"] == "ours"
        with served.client.stream(
            "GET", f"/v1/jobs/{answer.json()['job']['id']}/events", headers=by(made["ours"])
        ) as told:
            told.read()
    (media,) = served.client.get("/v1/media", headers=by(made["ours"])).json()["media"]
    assert (media["metadata"]["title"], media["metadata"]["collection"]) == ("Two", "ours")


@contextmanager
def waiting_jobs() -> Iterator[None]:
    """Meanwhile no job comes to look at its files."""
    go, index = Event(), pipeline.index

    def late(*args: Any) -> Any:
        assert go.wait(60)
        return index(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "index", late)
        try:
            yield
        finally:
            go.set()


@pytest.mark.parametrize("with_all", [False, True], ids=["media", "collection"])
def test_what_a_job_still_wants_stays_when_its_media_goes(
    own: Served, folder: Path, film: bytes, with_all: bool
) -> None:
    """Whoever sent the same bytes had a 202 for them, and theirs lie nowhere else."""
    assert own.over(sends(own, film, collection="ours").json()["job"]["id"])["state"] == "done"
    (media,) = own.client.get("/v1/media", params={"path": "uploads"}).json()["media"]
    with waiting_jobs():
        own.client.post("/v1/jobs", json={"paths": [str(folder / "clips")]})  # it comes first
        again = sends(own, film, title="Mine", collection="others").json()["job"]["id"]
        at = "/v1/collections/ours" if with_all else f"/v1/media/{media['id']}"
        (gone,) = own.client.delete(at, params={"file": 1}).json()["deleted"]
        assert gone["id"] == media["id"]
    assert own.over(again)["state"] == "done"
    (there,) = own.client.get("/v1/media", params={"path": "uploads"}).json()["media"]
    assert (there["metadata"]["title"], own.client.get(there["links"]["stream"]).content) == ("Mine", film)
    assert [one.path for one in own.app.state.serving.library.store.catalog.quotas.deposits()] == there["paths"]
    assert own.client.delete(f"/v1/media/{there['id']}", params={"file": 1}).is_success
    assert kept() == []


def test_what_a_job_is_to_look_at_again_is_not_thrown_away(own: Served, folder: Path) -> None:
    job = sends(own, b"no film").json()["job"]["id"]
    assert own.over(job)["state"] == "failed"
    (entry,) = own.client.get("/v1/quarantine").json()["quarantined"]
    where = {"path": entry["path"]}
    with waiting_jobs():
        assert own.client.post(f"/v1/jobs/{job}/resume").is_success
        told = problem(own.client.delete("/v1/quarantine", params=where), 409)
        assert "a job is to look at it again" in told["detail"]
        assert [str(file.absolute()) for file in kept()] == [entry["path"]]
    assert own.over(job)["state"] == "failed"
    assert own.client.delete("/v1/quarantine", params=where).is_success
    assert kept() == []
    problem(own.client.delete("/v1/quarantine", params=where), 404)
