"""Jobs over HTTP: asked for below the roots, watched, paused, cancelled, handed back."""

import os
from functools import partial
from pathlib import Path
from threading import Event, current_thread
from typing import Any

import clips
import httpx
import pytest
from serving import Served, endless_jobs, problem, serving, strict, until

from api import Library, heaps, parts, wire, workshop
from indexer import pipeline
from indexer.encoding import Encoders
from indexer.recipe import Recipe
from retriever.errors import StoreLocked
from retriever.settings import Settings
from retriever.types import RunState


def asked(served: Served, *paths: Path | str, **more: Any) -> httpx.Response:
    return served.client.post("/v1/jobs", json={"paths": [str(path) for path in paths], **more})


def test_files_below_a_root_are_indexed_on_demand(own: Served, folder: Path) -> None:
    clips.film(folder / "clips" / "third.mp4", ["yellow"])
    answer = asked(own, folder / "clips", tags=["asked"])
    assert answer.status_code == 202, answer.text
    strict(wire.Accepted, answer.json())
    job = answer.json()["job"]["id"]
    told = list(own.events(job))
    for one in told:
        strict(wire.Job, one)
    assert (told[-1]["state"], told[-1]["counts"]["indexed"]) == ("done", 1)
    assert own.client.get("/v1/media", params={"tag": "asked"}).json()["total"] == 4
    listed = own.client.get("/v1/jobs").json()
    strict(wire.Jobs, listed)
    assert listed["jobs"][0] == own.client.get(f"/v1/jobs/{job}").json()
    assert own.client.get(f"/v1/jobs/{job[:5]}").json()["id"] == job


def test_nothing_else_of_the_machine_is_indexed(own: Served, folder: Path) -> None:
    secret = clips.film(folder / "secret.mp4", ["red"])
    (folder / "clips" / "way out").symlink_to(folder)
    (folder / "clips" / "link.mp4").symlink_to(secret)
    outside = [
        secret,
        "secret.mp4",
        folder / "clips" / ".." / "secret.mp4",
        folder / "clips" / "way out" / "secret.mp4",
    ]
    for path in [*outside, folder / "clips" / "link.mp4", "/etc/passwd", folder / "nothing.mp4", "s3://b/a"]:
        assert problem(asked(own, path), 403)["title"] == "not below a root"
    missing = folder / "clips" / "nothing.mp4"
    assert problem(asked(own, missing), 422)["detail"] == f"{missing} is not there"
    problem(asked(own, "a\0b"), 422)
    problem(asked(own), 422)
    assert own.client.get("/v1/media").json()["total"] == 3


def test_a_list_of_files_leads_nowhere_else(own: Served, folder: Path) -> None:
    clips.film(folder / "clips" / "third.mp4", ["yellow"])
    listed = folder / "clips" / "list.jsonl"
    for line in ('{"path": "../secret.mp4"}', '{"path": "/etc/passwd"}', '{"path": "https://evil.example/a.mp4"}'):
        listed.write_text(f'{{"path": "third.mp4"}}\n{line}\n')
        assert "which is not below a root" in problem(asked(own, listed), 403)["detail"]
    listed.write_text('{"path": "third.mp4", "title": "Listed"}\n')
    assert own.over(asked(own, listed).json()["job"]["id"])["state"] == "done"
    assert own.found("yellow", limit=1)["moments"][0]["media"]["title"] == "Listed"


def test_a_folder_with_a_way_out_in_it_leads_nowhere(own: Served, folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    clips.film(other / "hidden.mp4", ["yellow", "red"])
    (folder / "clips" / "way").symlink_to(other)
    job = asked(own, folder / "clips").json()["job"]["id"]
    assert own.over(job)["state"] == "done"
    assert own.client.get("/v1/media", params={"path": "hidden"}).json()["total"] == 0


def test_a_server_without_roots_indexes_nothing_on_demand(shared: Served) -> None:
    problem(asked(shared, Path("clips").absolute()), 403)


def test_a_job_that_is_not_there(shared: Served) -> None:
    for method, path in (("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/cancel"), ("GET", "/events")):
        problem(shared.client.request(method, f"/v1/jobs/beefbeef{path}"), 404)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that go on until somebody wishes otherwise."""
    endless_jobs(monkeypatch)


def state(served: Served, job: str, wanted: str) -> dict[str, Any]:
    """Once it is so."""
    for told in served.events(job):
        if told["state"] == wanted:
            return told
    return served.client.get(f"/v1/jobs/{job}").json()


def test_a_job_is_paused_gone_on_with_and_cancelled(own: Served, folder: Path, slow: None) -> None:
    clips.film(folder / "clips" / "third.mp4", ["yellow"])
    job = asked(own, folder / "clips").json()["job"]["id"]
    assert state(own, job, "running")["state"] == "running"
    head = own.client.head(f"/v1/jobs/{job}/events")  # of what has no end yet
    assert (head.headers["content-type"].split(";")[0], head.content) == ("text/event-stream", b"")
    own.client.post(f"/v1/jobs/{job}/pause")
    assert own.over(job)["state"] == "paused"
    assert own.client.post(f"/v1/jobs/{job}/resume").json()["state"] in ("queued", "running")
    assert state(own, job, "running")["state"] == "running"
    own.client.post(f"/v1/jobs/{job}/cancel")
    assert own.over(job)["state"] == "cancelled"
    for what in ("pause", "resume", "cancel"):
        assert f"{job} is cancelled" in problem(own.client.post(f"/v1/jobs/{job}/{what}"), 409)["detail"]
    assert own.client.get("/v1/media").json()["total"] == 3


def test_a_job_that_is_over_is_not_steered(own: Served, folder: Path) -> None:
    clips.film(folder / "clips" / "third.mp4", ["yellow"])
    (folder / "clips" / "broken.mp4").write_bytes(b"no film")
    done = asked(own, folder / "clips" / "third.mp4").json()["job"]["id"]
    failed = asked(own, folder / "clips" / "broken.mp4").json()["job"]["id"]
    assert (own.over(done)["state"], own.over(failed)["state"]) == ("done", "failed")
    for what in ("pause", "resume", "cancel"):
        assert f"{done} is done" in problem(own.client.post(f"/v1/jobs/{done}/{what}"), 409)["detail"]
    assert own.client.get(f"/v1/jobs/{done}").json()["state"] == "done"
    assert f"{failed} is failed" in problem(own.client.post(f"/v1/jobs/{failed}/pause"), 409)["detail"]
    assert own.client.post(f"/v1/jobs/{failed}/resume").json()["state"] in ("queued", "running")
    assert own.over(failed)["state"] == "failed"
    assert own.client.post(f"/v1/jobs/{failed}/cancel").json()["state"] == "cancelled"


@pytest.mark.parametrize("error", [StoreLocked("busy for 30 s"), KeyError("a slip of ours")])
def test_jobs_are_done_though_the_library_could_not_be_opened_at_once(folder: Path, error: Exception) -> None:
    refused = Event()

    def opened() -> Library:
        if current_thread().name == "workshop" and not refused.is_set():
            refused.set()
            raise error
        return Library.open(folder / "lib")

    with serving(opened, Settings(roots=str(folder / "clips"))) as served:
        assert refused.wait(20)
        job = asked(served, folder / "clips" / "first.mp4").json()["job"]["id"]
        until(lambda: served.client.get(f"/v1/jobs/{job}").json()["state"] == "done")


def test_a_job_that_somebody_goes_on_with_at_once_has_not_failed(
    own: Served, folder: Path, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While whoever was at it still tidies up."""
    clips.film(folder / "clips" / "third.mp4", ["yellow"])
    tidy = Event()
    monkeypatch.setattr("api.workshop.quotas.weigh", lambda *_: tidy.wait(20))
    job = asked(own, folder / "clips").json()["job"]["id"]
    assert state(own, job, "running")["state"] == "running"
    own.client.post(f"/v1/jobs/{job}/pause")
    assert own.over(job)["state"] == "paused"
    assert own.client.post(f"/v1/jobs/{job}/resume").json()["state"] == "queued"
    tidy.set()
    assert state(own, job, "running")["state"] == "running"
    own.client.post(f"/v1/jobs/{job}/cancel")
    assert own.over(job)["state"] == "cancelled"


def test_a_job_at_hand_is_handed_back_to_whoever_serves_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    settings, opened = Settings(roots=str(folder / "clips")), partial(Library.open, folder / "lib")
    with monkeypatch.context():
        request.getfixturevalue("slow")
        with serving(opened, settings) as served:
            job = asked(served, folder / "clips").json()["job"]["id"]
            other = asked(served, folder / "clips" / "first.mp4").json()["job"]["id"]
            assert state(served, job, "running")["state"] == "running"
    with Library.open("lib") as library:
        assert [library.job(one).record.state for one in (job, other)] == [RunState.QUEUED] * 2
        assert library.media() == []
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    request.getfixturevalue("folder")
    with serving(opened, settings) as served:
        assert served.over(job)["state"] == "done"
        assert served.over(other)["state"] == "done"
        assert served.client.get("/v1/media").json()["total"] == 3


@pytest.fixture
def made(own: Served, monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """The recipes that models were read for."""
    done, encoders = list[Recipe](), parts.encoders

    def counted(recipe: Recipe, models: parts.ModelChoice) -> Encoders:
        done.append(recipe)
        return encoders(recipe, models)

    monkeypatch.setattr(parts, "encoders", counted)
    return done


def test_models_stay_from_job_to_job_and_are_put_away_when_no_more_come(
    own: Served, folder: Path, made: list[Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_away = Event()

    def indexed(*colours: str) -> str:
        film = clips.film(folder / "clips" / f"{'-'.join(colours)}.mp4", list(colours))
        state: str = own.over(asked(own, film).json()["job"]["id"])["state"]
        return state

    monkeypatch.setattr(heaps, "tidy", put_away.set)
    assert [indexed("yellow"), indexed("red", "green")] == ["done"] * 2
    assert len(made) == 1
    monkeypatch.setattr(workshop, "REST_S", 0.0)
    assert put_away.wait(20)
    assert indexed("blue", "yellow") == "done"
    assert len(made) == 2


def test_models_go_with_a_job_that_broke_them(
    own: Served, folder: Path, made: list[Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("a slip of ours")

    first, second = (clips.film(folder / "clips" / f"{one}.mp4", [one]) for one in ("yellow", "white"))
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "index", broken)
        assert own.over(asked(own, first).json()["job"]["id"])["state"] == "failed"
    assert own.over(asked(own, second).json()["job"]["id"])["state"] == "done"
    assert len(made) == 2


def test_two_servers_on_one_library_do_each_job_once(own: Served, folder: Path) -> None:
    with serving(partial(Library.open, folder / "lib"), Settings(roots=str(folder / "clips"))) as second:
        made = []
        for number, colours in enumerate((["yellow"], ["red", "green"], ["blue", "yellow"])):
            film = clips.film(folder / "clips" / f"more{number}.mp4", colours)
            made.append(asked((own, second)[number % 2], film).json()["job"]["id"])
        assert [(second if number % 2 else own).over(job)["state"] for number, job in enumerate(made)] == ["done"] * 3
        assert own.client.get("/v1/media").json() == second.client.get("/v1/media").json()
        assert own.client.get("/v1/media").json()["total"] == 6
        refs = [[one["ref"] for one in served.found("yellow")["moments"]] for served in (own, second)]
        assert refs[0] == refs[1]
    assert os.listdir(folder / "lib")
