"""A job that embeds a library again, over HTTP: seen, paused, resumed and watched as those are that index."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import fakes
import pytest
from serving import Served, serving, strict

from api import Library, indexing, parts, wire
from api.indexing import REEMBED, Asked
from indexer import jobs
from indexer.encoding import Encoders
from indexer.recipe import Model, Recipe
from retriever.types import RunRecord, RunState, Wish


class Hues(fakes.Colours):
    """Other weights of the same name."""

    def __init__(self) -> None:
        super().__init__()
        self.space = replace(self.space, media_side="colours:2")


@pytest.fixture
def job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunRecord:
    """One of a library, paused, that brings it over to other weights."""
    with Library.open("lib") as library:
        library.index([folder / "clips"], jobs=1)
        record = jobs.register(library.store, Asked((), kind=REEMBED).text)
        record = replace(record, state=RunState.PAUSED)
        library.store.catalog.write_run(record)
    recipe, encoders = parts.recipe, parts.encoders

    def other(*given: Any) -> Recipe:
        return replace(recipe(*given), models=(Model("concepts", "hues", "", "2"),))

    def made(wanted: Recipe, *given: Any) -> Encoders:
        return replace(encoders(wanted, *given), vision={"concepts": Hues()}, speech={}, text={})

    monkeypatch.setattr(parts, "recipe", other)
    monkeypatch.setattr(parts, "encoders", made)
    return record


@pytest.fixture
def waiting(folder: Path, job: RunRecord) -> Iterator[tuple[Served, str]]:
    """A served library, and the id of that job."""
    with serving(partial(Library.open, folder / "lib")) as served:
        yield served, job.id


def test_it_is_resumed_and_watched_to_its_end_while_searches_stay_as_they_were(waiting: tuple[Served, str]) -> None:
    served, id = waiting
    before = served.found("blue")
    paused = served.client.get(f"/v1/jobs/{id}").json()
    assert (paused["state"], paused["request"]["kind"], paused["request"]["paths"]) == ("paused", "reembed", [])
    resumed = served.client.post(f"/v1/jobs/{id}/resume")
    assert resumed.status_code == 200, resumed.text
    told = list(served.events(id))
    for one in told:
        strict(wire.Job, one)
    assert (told[-1]["state"], told[-1]["counts"]["files"], told[-1]["counts"]["indexed"]) == ("done", 3, 3)
    assert served.found("blue")["moments"] == before["moments"]
    assert served.client.get("/v1/jobs").json()["jobs"][0]["id"] == id


def test_it_is_cancelled(waiting: tuple[Served, str]) -> None:
    served, id = waiting
    assert served.client.post(f"/v1/jobs/{id}/cancel").json()["state"] == "cancelled"
    assert served.client.get(f"/v1/jobs/{id}").json()["state"] == "cancelled"


@pytest.mark.parametrize(("meanwhile", "was"), [("recipe", RunState.QUEUED), ("encoders", RunState.PAUSED)])
def test_who_pauses_it_while_its_models_are_looked_for_and_read_is_heard(
    meanwhile: str, was: RunState, job: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = getattr(parts, meanwhile)
    with Library.open("lib") as library:
        library.store.catalog.write_run(replace(job, state=was))

        def slow(*given: Any) -> Any:
            jobs.pause(library.store, job.id)
            return made(*given)

        monkeypatch.setattr(parts, meanwhile, slow)
        found, summary = indexing.resume(library.store, job.id, lambda event: None)
    assert summary is not None
    assert (found.state, summary.stopped, summary.indexed.total) == ("paused", Wish.PAUSE, 0)
