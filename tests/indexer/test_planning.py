"""A plan that is made beside the work: what it finds, in however many batches, and how little it holds."""

import gc
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import fakes
import pytest
from libraries import contents, entry
from reels import write_reel
from statements import counting

from indexer import hashing, pipeline, planning, sources
from indexer.encoding import Encoders
from indexer.events import Committed, Event, Opened, Planned, Summary
from indexer.executors import local as executor
from indexer.listing import Listing, Source
from indexer.places import Address
from indexer.plan import Job
from indexer.recipe import Recipe
from indexer.run import Run
from indexer.segmenters import fixed
from retriever import processes
from retriever.errors import CannotOpen, DiskFull
from retriever.ports import Store
from retriever.stores import _writer, memory
from retriever.types import FileStat, Media, Metadata, Modality, Pictures, Times, Tokens

RECIPE = Recipe("fake", vision=("colours",), sampling="fixed(2)", pages="fixed(1)", chapter=4.0)
PATIENCE = 60.0  # seconds until a test gives up on what it waits for


class House:
    """A library in memory, a folder of clips, and what the last run said and read for keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: Store = memory.build()
        self.said: list[Event] = []
        self.vision = fakes.Colours()
        self.hear: Callable[[Event], object] = lambda event: None

    def run(self) -> Run:
        self.said.clear()
        encoders = Encoders(fakes.HashingSentences(), {"colours": self.vision}, {"loudness": fakes.Loudness()}, {}, {})
        return Run(RECIPE, encoders, self.store, fixed.build(), processes.me(), self._heard, limit_s=30.0)

    def _heard(self, event: Event) -> None:
        self.said.append(event)
        self.hear(event)

    def index(self, *paths: Path, run: Run | None = None) -> Summary:
        return pipeline.index(sources.found(paths or [self.folder]), run or self.run(), executor.build())

    def media(self) -> list[Media]:
        with self.store.snapshot() as snapshot:
            return list(snapshot.media())

    def held(self) -> dict[str, Any]:
        with self.store.snapshot() as snapshot:
            return contents(snapshot)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "clips")
    house.folder.mkdir()
    yield house
    house.store.close()


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many files are looked at together."""

    def of(files: int) -> None:
        monkeypatch.setattr(hashing, "BATCH", files)
        monkeypatch.setattr(planning, "BATCH", files)

    return of


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read for their keys."""
    names, key_of = list[str](), hashing.key_of

    def counted(place: Any) -> str:
        names.append(place.name)
        return key_of(place)

    monkeypatch.setattr(hashing, "key_of", counted)
    return names


def test_the_first_file_is_committed_before_the_last_was_looked_at(
    house: House, batches: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches(1)
    for name, colour in (("a", "red"), ("b", "blue"), ("c", "green")):
        write_reel(house.folder / f"{name}.synthetic", colour)
    committed, key_of = threading.Event(), hashing.key_of

    def key(place: Any) -> str:
        assert place.name != "c.synthetic" or committed.wait(PATIENCE), "nothing was done before all was looked at"
        return key_of(place)

    monkeypatch.setattr(hashing, "key_of", key)
    house.hear = lambda event: committed.set() if isinstance(event, Committed) else None
    assert len(house.index().indexed) == 3
    planned = [event for event in house.said if isinstance(event, Planned)]
    assert [event.more for event in planned] == [True, True, False]
    assert [(event.looked, event.total) for event in planned] == [(1, 3), (2, 3), (3, 3)]
    assert planned[-1].files == 3


@pytest.mark.parametrize("files", [1, 2, 3, 256])
def test_what_becomes_of_files_does_not_depend_on_batches(
    house: House, batches: Callable[[int], None], read: list[str], files: int
) -> None:
    """Copies, renamed and edited files, two that change places, and one that took the place of another."""
    batches(files)
    clips = {name: house.folder / f"{name}.synthetic" for name in ("a", "b", "c", "d", "e", "f", "g", "x", "y", "z")}
    colours = ("red", "green", "blue", "white", "black")
    for name, colour in zip("abcde", colours, strict=True):
        write_reel(clips[name], colour)
    write_reel(clips["f"], "red", "white")
    house.index()
    keys = {Path(media.path).stem: media.key for media in house.media()}
    assert sorted(read) == [f"{name}.synthetic" for name in "abcdef"]
    read.clear()
    clips["a"].rename(house.folder / "t"), clips["f"].rename(clips["a"]), (house.folder / "t").rename(clips["f"])
    clips["b"].rename(clips["z"])  # and another one comes to where it was
    write_reel(clips["b"], "white", "white")
    shutil.copy(clips["c"], clips["y"])
    clips["d"].rename(clips["x"])
    shutil.copy(clips["b"], clips["g"])
    summary = house.index()
    found = {media.key: [Path(path).stem for path in media.paths] for media in house.media()}
    new = next(iter(found.keys() - set(keys.values())))
    assert found == {
        keys["a"]: ["f"],
        keys["f"]: ["a"],
        keys["b"]: ["z"],
        keys["c"]: ["c", "y"],
        keys["d"]: ["x"],
        keys["e"]: ["e"],
        new: ["b", "g"],
    }
    assert len(summary.indexed) == 1, "the others were there"
    assert (summary.files, summary.unchanged) == (1, 6)
    assert sorted(Path(path).stem for path in summary.renamed) == ["a", "f", "x", "y", "z"]
    assert sorted(read) == [f"{name}.synthetic" for name in "abfgxyz"], "each that is new, once"
    read.clear()
    assert (house.index().unchanged, read) == (7, [])


def test_libraries_of_few_and_of_many_batches_are_equal(
    house: House, batches: Callable[[int], None], tmp_path: Path
) -> None:
    reels = [("red", "blue"), ("green",), ("white", "black", "red"), ("green",), ("red", "blue")]
    for number, colours in enumerate(reels):
        write_reel(house.folder / f"{number}.synthetic", *colours)
    house.index()
    batches(1)
    other = House(house.folder)
    other.index()
    assert house.held() == other.held()
    other.store.close()


def test_what_came_with_a_plan_was_not_renamed_by_it(house: House, batches: Callable[[int], None]) -> None:
    """However soon it was committed."""
    batches(1)
    for name in "abc":
        write_reel(house.folder / f"{name}.synthetic", "red")
    write_reel(house.folder / "d.synthetic", "blue")
    for times in range(2):
        summary = house.index()
        assert (summary.files, summary.unchanged, summary.renamed) == ((2, 0, []), (0, 2, []))[times]
    assert [len(media.paths) for media in house.media()] == [3, 1]
    shutil.copy(house.folder / "a.synthetic", house.folder / "e.synthetic")
    assert [Path(path).stem for path in house.index().renamed] == ["e"]


def test_a_copy_of_what_is_under_way_is_another_path_of_it(house: House, batches: Callable[[int], None]) -> None:
    batches(1)
    write_reel(house.folder / "a.synthetic", "red")
    shutil.copy(house.folder / "a.synthetic", house.folder / "b.synthetic")
    run = house.run()

    class Waiting(fakes.Colours):
        def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
            pause = threading.Event()
            for _ in range(600):
                if all(len(job.paths) == 2 for job in list(run.under_way.values())):
                    return super().encode_frames(frames, spans)
                pause.wait(0.1)
            raise AssertionError("it was never heard of")

    run.encoders = replace(run.encoders, vision={"colours": Waiting()})
    listing = Listing.of([Source(house.folder / "a.synthetic"), Source(house.folder / "b.synthetic", Metadata("B"))])
    summary = pipeline.index(listing, run, executor.build())
    (media,) = house.media()
    assert [Path(path).name for path in media.paths] == ["a.synthetic", "b.synthetic"]
    assert (media.metadata.title, summary.files, len(summary.indexed)) == ("B", 1, 1)
    assert run.under_way == {}


def test_a_copy_of_what_was_given_up_is_not_tried(house: House, batches: Callable[[int], None]) -> None:
    batches(1)
    write_reel(house.folder / "a.synthetic", "red", crash_at=1)
    for name in ("b", "c"):
        shutil.copy(house.folder / "a.synthetic", house.folder / f"{name}.synthetic")
    summary = house.index()
    assert [Path(event.path).stem for event in house.said if isinstance(event, Opened)] == ["a"]
    assert [Path(path).stem for path in sorted(summary.quarantined)] == ["a", "b", "c"]
    for path, reason in summary.quarantined.items():
        assert Path(path).name in reason
        assert "died" in reason
    assert summary.files == 1


@pytest.mark.parametrize("files", [1, 256])
def test_what_is_said_of_copies_is_joined(house: House, batches: Callable[[int], None], files: int) -> None:
    batches(files)
    for number in range(3):
        write_reel(house.folder / f"{number}.synthetic", "red")
    manifest = house.folder / "list.jsonl"
    lines = [{"path": f"{number}.synthetic", "title": f"T{number}", "tags": [f"t{number}"]} for number in range(3)]
    manifest.write_text("\n".join(json.dumps(line) for line in lines))
    house.index(manifest)
    (media,) = house.media()
    assert (media.metadata.title, media.metadata.tags) == ("T2", ("t0", "t1", "t2"))


def test_what_a_list_says_of_many_media_is_one_commit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "SOON", PATIENCE)
    commits: list[str] = []
    monkeypatch.setattr(_writer, "reached", commits.append)
    colours, manifest = ("red", "blue", "green"), house.folder / "list.jsonl"
    for title in ("first", "second"):
        lines = [{"path": str(write_reel(house.folder / f"{one}.synthetic", one)), "title": title} for one in colours]
        manifest.write_text("\n".join(json.dumps(line) for line in lines))
        commits.clear()
        house.index(manifest)
        assert {media.metadata.title for media in house.media()} == {title}
    assert [name for name in commits if name.endswith("-committed")] == ["store-amend-committed"]


def test_a_file_that_changed_leaves_quarantine_and_is_read_once(house: House, read: list[str]) -> None:
    clip = write_reel(house.folder / "a.synthetic", "red", crash_at=1)
    house.index()
    write_reel(clip, "red", "blue", crash_at=1)
    house.index()
    house.index()
    assert read == ["a.synthetic"] * 2


def test_a_plan_that_is_stopped_goes_on_behind_what_it_has_read(
    house: House, batches: Callable[[int], None], read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches(2)
    for number in range(8):
        write_reel(house.folder / f"{number}.synthetic", "red", seconds=1.0 + number)
    key_of = hashing.key_of

    def breaks(place: Any) -> str:
        if place.name == "5.synthetic":
            raise OSError("the disk is away")
        return key_of(place)

    with monkeypatch.context() as patch:
        patch.setattr(hashing, "key_of", breaks)
        with pytest.raises(OSError, match="the disk is away"):
            house.index()
    assert sorted(read) == [f"{number}.synthetic" for number in range(5)]
    house.index()
    assert sorted(read) == sorted([*(f"{number}.synthetic" for number in range(8)), "4.synthetic"]), "a batch at most"
    assert len(house.media()) == 8


def test_a_file_that_cannot_be_opened_stops_nothing(house: House, batches: Callable[[int], None]) -> None:
    batches(1)
    write_reel(house.folder / "a.synthetic", "red")
    (house.folder / "b.synthetic").symlink_to(house.folder / "nowhere")
    write_reel(house.folder / "c.synthetic", "blue")
    summary = house.index()
    assert (len(summary.indexed), list(summary.quarantined)) == (2, [str(house.folder / "b.synthetic")])


def test_what_is_held_does_not_grow_with_the_files(
    house: House, batches: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight thousand in batches of 32, a tenth of them copies; each job is over as soon as somebody has taken it."""
    batches(32)
    many = 8_000
    monkeypatch.setattr(hashing, "key_of", lambda place: f"{int(place.stem) % (many * 9 // 10):016x}")
    listed = (Source(Path(f"/far/{number}.mp4"), seen=FileStat(1, number + 1, 1, "")) for number in range(many))
    listing, run, taken, most = Listing.of(listed), house.run(), 0, 0
    house.hear = lambda event: house.said.clear()
    with planning.planning(listing, run, frozenset(Modality)) as plan:
        while not plan.complete or plan.known:
            if job := plan.take(PATIENCE):
                run.under_way.pop(job.key)
                taken += 1
                if taken % 500 == 0:
                    gc.collect()
                    held = sum(type(one) in (Source, Job, FileStat) for one in gc.get_objects())
                    most = max(most, held, plan.known)
    assert taken == many, "of a copy nobody knows here that it was indexed"
    assert 0 < most < 4 * (hashing.AHEAD + 3) * hashing.BATCH, "of few batches, a source, two stats and a job a file"
    assert run.summary.files == many


def test_what_is_unchanged_is_asked_for_together(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a network each statement costs as much as a look at a file."""
    monkeypatch.setattr(hashing, "key_of", lambda place: place.stem)
    asked, before = [], 0
    for count in (2, 40):
        for number in range(before, count):
            made = entry(f"k{number}", number, paths=[f"/far/k{number}.mp4"])
            house.store.add(replace(made, media=replace(made.media, recipe=RECIPE.digest)))
        before = count
        listed = (Source(Path(f"/far/k{number}.mp4"), seen=FileStat(1, 1, 1, "")) for number in range(count))
        listing = Listing.of(listed)
        for _ in range(2):  # the keys are known the second time
            run = house.run()
            with counting() as statements, planning.planning(listing, run, frozenset()) as plan:
                while not plan.complete:
                    assert plan.take(PATIENCE) is None
            assert run.summary.unchanged == count
        asked.append(len(statements))
    assert asked[0] == asked[1]


def test_copies_that_are_looked_at_apart_are_asked_for_together(
    house: House, batches: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "key_of", lambda place: place.stem)
    asked, known = [], list[str]()
    for count in (2, 20):
        batches(count)  # the first of each, then the second of each
        places = [[house.folder / f"{copy}-{number}" / f"k{number}.mp4" for number in range(count)] for copy in "ab"]
        for number, pair in enumerate(zip(*places, strict=True)):
            for path in pair:
                path.parent.mkdir(exist_ok=True)
                path.write_text("x")
            if f"k{number}" not in known:
                known.append(f"k{number}")
                made = entry(f"k{number}", number, paths=[str(path) for path in pair])
                house.store.add(replace(made, media=replace(made.media, recipe=RECIPE.digest)))
        before = house.media()
        for _ in range(2):  # the keys are known the second time
            run, listing = house.run(), Listing.of(Source(path) for several in places for path in several)
            with counting() as statements, planning.planning(listing, run, frozenset()) as plan:
                while not plan.complete:
                    assert plan.take(PATIENCE) is None
            assert (run.summary.unchanged, run.summary.renamed, house.media()) == (count, [], before)
        asked.append(len(statements))
    assert asked[0] == asked[1]


# ---------------------------------------------------------------------------------------------------------- the listing


def test_a_listing_has_each_path_once_where_it_was_first_and_as_it_was_last() -> None:
    a, b = Path("/clips/a.mp4"), Address("s3", "films/b?#.mp4")
    seen = FileStat(1, 2, 2**63 + 1, "")
    listing = Listing.of([Source(a), Source(b, seen=seen), Source(a, Metadata("A", ("x", "y")))])
    assert list(listing) == [Source(a, Metadata("A", ("x", "y"))), Source(b, seen=seen)]
    assert len(listing) == 2
    assert str(a) in listing
    assert str(b) in listing
    assert "/clips/c.mp4" not in listing


def test_a_listing_takes_any_name_and_as_many_as_there_are() -> None:
    odd = Path("/clips/\udcff\n'.mp4")
    listing = Listing.of([Source(odd), *(Source(Path(f"/clips/{number}.mp4")) for number in range(1_234))])
    assert [source.path for source in islice(listing, 2)] == [odd, Path("/clips/0.mp4")]
    assert len(list(listing)) == len(listing) == 1_235


def test_a_listing_that_breaks_off_is_none() -> None:
    def broken() -> Iterator[Source]:
        yield Source(Path("/clips/a.mp4"))
        raise CannotOpen("/clips/b cannot be listed")

    with pytest.raises(CannotOpen, match="cannot be listed"):
        Listing.of(broken())


def test_a_temporary_folder_without_room_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from indexer import listing

    made = listing.scratch

    def small(*tables: str) -> Any:
        rows = made(*tables)
        rows.execute("PRAGMA max_page_count = 8")
        return rows

    monkeypatch.setattr(listing, "scratch", small)
    with pytest.raises(DiskFull, match=r"temporary folder has no room.*TMPDIR"):
        Listing.of(Source(Path(f"/clips/{number}.mp4")) for number in range(10_000))
