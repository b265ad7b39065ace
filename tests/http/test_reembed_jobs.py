"""A job that embeds a library again, over HTTP: seen, paused, resumed and watched as those are that index."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import fakes
import pytest
from serving import Served, serving, strict

from api import Library, parts, wire
from api.indexing import REEMBED, Asked
from indexer import jobs
from indexer.encoding import Encoders
from indexer.recipe import Model, Recipe
from retriever.types import RunState


class Hues(fakes.Colours):
    """Other weights of the same name."""

    def __init__(self) -> None:
        super().__init__()
        self.space = replace(self.space, media_side="colours:2")


@pytest.fixture
def waiting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Served, str]]:
    """A served library, and the id of a job, paused, that brings it over to other weights."""
    with Library.open("lib") as library:
        library.index([folder / "clips"], jobs=1)
        record = jobs.register(library.store, Asked((), kind=REEMBED).text)
        library.store.catalog.write_run(replace(record, state=RunState.PAUSED))
    recipe, encoders = parts.recipe, parts.encoders

    def other(*given: Any) -> Recipe:
        return replace(recipe(*given), models=(Model("concepts", "hues", "", "2"),))

    def made(wanted: Recipe, *given: Any) -> Encoders:
        return replace(encoders(wanted, *given), vision={"concepts": Hues()}, speech={}, text={})

    monkeypatch.setattr(parts, "recipe", other)
    monkeypatch.setattr(parts, "encoders", made)
    with serving(partial(Library.open, folder / "lib")) as served:
        yield served, record.id


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
