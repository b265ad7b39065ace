"""Runs over media on servers: what becomes of a job when its server is away, refuses, or has another object by now."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fakes
import pytest
import servers
from libraries import contents
from reels import write_reel

from indexer import _remote, pipeline, places, sources
from indexer.encoding import Encoders
from indexer.events import Committed, Event
from indexer.executors import local as executor
from indexer.hashing import known_stat
from indexer.listing import Listing, Source
from indexer.plan import Given, Job
from indexer.planning import planning
from indexer.ports import Probe
from indexer.recipe import Recipe
from indexer.run import Run
from indexer.segmenters import fixed
from indexer.watching import Looks
from retriever import processes
from retriever.errors import CannotDecode, Unreachable
from retriever.ports import Store
from retriever.stores import memory
from retriever.types import FileStat, MediaKind, Metadata

RECIPE = Recipe("fake", vision=("colours",), sampling="fixed(2)", pages="fixed(1)", chapter=4.0)


class House:
    """A library in memory, and what the last run said."""

    def __init__(self, folder: Path) -> None:
        self.store: Store = memory.build(folder / "lib")
        self.said: list[Event] = []

    def run(self) -> Run:
        encoders = Encoders(
            fakes.HashingSentences(),
            {"colours": fakes.Colours()},
            {"loudness": fakes.Loudness()},
            {"nospeech": fakes.NoSpeech()},
            {"subtitles": fakes.Subtitles()},
        )
        return Run(RECIPE, encoders, self.store, fixed.build(), processes.me(), self._heard)

    def _heard(self, event: Event) -> None:
        self.said.append(event)

    def index(self, *names: str | Path, prune: bool = False) -> Run:
        run, named = self.run(), [places.of(name) for name in names]
        pipeline.index(sources.found(named), run, executor.build(), named if prune else [])
        return run

    def paths(self) -> list[str]:
        with self.store.snapshot() as snapshot:
            return sorted(path for media in snapshot.media() for path in media.paths)


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_remote, "PATIENCE", 1.0)
    yield
    _remote.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.store.close()


def reel(tmp_path: Path, *colours: str) -> bytes:
    return write_reel(tmp_path / "made.synthetic", *colours).read_bytes()


def planned(run: Run, url: str) -> list[Job]:
    """What there is to do with one address."""
    with planning(sources.found([places.of(url)]), run, frozenset()) as plan:
        plan.begin()
        return [job for _ in range(plan.known) if (job := plan.take())]


def test_a_media_on_a_server_is_indexed_as_it_is_here(house: House, tmp_path: Path) -> None:
    here = write_reel(tmp_path / "a.synthetic", "red", "blue", "green")
    with servers.web(files={"/a.synthetic": here.read_bytes()}) as shelf:
        run = house.index(f"{shelf.url}/a.synthetic")
        assert run.summary.indexed == house.paths() == [f"{shelf.url}/a.synthetic"]
    with house.store.snapshot() as snapshot:
        far = contents(snapshot)
    other = House(tmp_path / "other")
    other.index(here)
    with other.store.snapshot() as snapshot:
        near = contents(snapshot)
    other.store.close()
    assert far.keys() == near.keys()
    assert all(far[key]["segments"] == near[key]["segments"] for key in far if "segments" in far[key])


def test_a_server_that_is_away_prunes_nothing_and_is_tried_again(house: House, tmp_path: Path) -> None:
    with servers.web(files={"/a.synthetic": reel(tmp_path, "red")}) as shelf:
        url = f"{shelf.url}/a.synthetic"
        house.index(url)
        shelf.fails = [503] * 1000
        away = house.index(url, prune=True)
        assert "busy (503), and is asked again in" in away.summary.quarantined[url]
        assert (away.summary.pruned, house.paths()) == ([], [url])
        (shut,) = house.store.catalog.quarantined()
        assert shut.again is not None
        shelf.fails.clear()
        _remote.close()
        assert house.index(url).summary.quarantined == {url: shut.reason}  # it waits
        house.store.catalog.quarantine(replace(shut, again=0.0))
        again = house.index(url)
        assert (again.summary.unchanged, again.summary.quarantined) == (1, {})


def test_a_try_that_its_server_cut_short_counts_and_keeps_its_checkpoints(house: House, tmp_path: Path) -> None:
    with servers.web(files={"/a.synthetic": reel(tmp_path, "red")}) as shelf:
        place = places.of(f"{shelf.url}/a.synthetic")
        job = Job(place, known_stat(place, house.store), Metadata(), (str(place),))
        shelf.fails = [503] * 1000
        run = house.run()
        for tries, (error, kept) in enumerate([(Unreachable("away"), True), (CannotDecode("broken"), False)], 1):
            assert run.take(job) is None
            run.staging(job).begin(Probe(MediaKind.VIDEO, 3.0), run.encoders.spaces)
            run.give_up(job, error)
            assert (job.id(RECIPE) in house.store.catalog.staged()) == kept
            assert house.store.catalog.leased() == {}
            (shut,) = house.store.catalog.quarantined()
            assert (shut.tries, shut.again is None) == (1, tries == 2)
            assert (shut.size, shut.mtime_ns) == (job.stat.size, job.stat.mtime_ns)  # as far as anybody knows


def test_before_a_commit_the_server_is_asked_whether_it_is_the_same_object(house: House, tmp_path: Path) -> None:
    with servers.web(files={"/a.synthetic": reel(tmp_path, "red")}) as shelf:
        url = f"{shelf.url}/a.synthetic"
        run = house.run()
        (job,) = planned(run, url)
        shelf.files["/a.synthetic"] = shelf.files["/a.synthetic"].replace(b"255", b"254")
        assert run.take(job) is None
        run.commit(job)
        assert "changed while it was being indexed" in run.summary.quarantined[url]
        (shut,) = house.store.catalog.quarantined()
        assert shut.again is not None
        assert house.index(url).summary.indexed == [url]


def test_a_server_that_is_away_before_a_commit_takes_nothing_back(house: House, tmp_path: Path) -> None:
    with servers.web(files={"/a.synthetic": reel(tmp_path, "red")}) as shelf:
        place = places.of(f"{shelf.url}/a.synthetic")
        run, job = house.run(), Job(place, known_stat(place, house.store), Metadata(), (str(place),))
        assert run.take(job) is None
        run.staging(job).begin(Probe(MediaKind.VIDEO, 3.0), run.encoders.spaces)
        shelf.fails = [503] * 1000
        run.commit(job)
        assert job.id(RECIPE) in house.store.catalog.staged()
        assert "busy (503)" in run.summary.quarantined[str(place)]


def test_looks_at_a_server_see_what_changed_and_what_tells_no_version_once(tmp_path: Path) -> None:
    now = time.time()
    for told in ({}, {"etags": False, "dates": False}):
        with servers.web(files={"/a.mp4": b"x"}, **told) as shelf:
            looks, source = Looks(), Source(places.of(f"{shelf.url}/a.mp4"))
            assert list(looks.changes([source], now, 0.0)) == [source]
            assert list(looks.changes([source], now, 10.0)) == []
            shelf.files["/a.mp4"] = b"yy"
            assert list(looks.changes([source], now, 20.0)) == [source]
            assert looks.forget(Listing.of(()))


def test_what_a_listing_said_is_not_asked_again(monkeypatch: pytest.MonkeyPatch, house: House, tmp_path: Path) -> None:
    place = places.of("s3://films/a.synthetic")
    seen = FileStat(10, 17, 3, "")
    house.store.catalog.remember(str(place), replace(seen, key="k"))
    monkeypatch.setattr(places, "_ground", lambda place: pytest.fail("it was asked"))
    source = Source(place, seen=seen)
    assert known_stat(place, house.store, source.seen).key == "k"
    assert list(Looks().changes([source], time.time(), 0.0)) == [source]


def test_what_was_not_looked_at_is_not_committed(house: House, tmp_path: Path) -> None:
    with servers.web(files={"/a.synthetic": reel(tmp_path, "red")}) as shelf:
        url = f"{shelf.url}/a.synthetic"
        run = house.run()
        made = planned(run, url)
        shelf.files["/a.synthetic"] = reel(tmp_path, "blue", "green")
        executor.build().carry_out(Given(made), run)
        assert "changed" in run.summary.quarantined[url]
        assert not any(isinstance(event, Committed) for event in house.said)
