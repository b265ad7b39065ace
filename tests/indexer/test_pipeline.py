"""From files to a library, with decoder children, without weights."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import fakes
import pytest
from libraries import contents
from reels import write_reel

from indexer import pipeline, places, plan, sources, watching
from indexer.decoding import Decoder
from indexer.encoding import Encoders
from indexer.events import Committed, Event, Planned, SetAside, Summary, Warned
from indexer.executors import local as executor
from indexer.lanes import Lanes
from indexer.listing import Listing
from indexer.plan import NO_SOUND
from indexer.planning import Plan, Settled
from indexer.policy import Policy
from indexer.recipe import Recipe
from indexer.run import Run
from indexer.segmenters import fixed
from indexer.staging import Staging
from retriever import processes
from retriever.errors import DiskFull, ManifestError, SpaceMismatch, WrongRecipe
from retriever.ports import Store
from retriever.stores import memory
from retriever.types import Media, Metadata, Modality, Pictures, Times, Tokens, Wish

USUAL = Policy()
RECIPE = Recipe("fake", vision=("colours",), sampling="fixed(2)", pages="fixed(1)", chapter=4.0)


class House:
    """A library in memory, a folder of clips, and what the last run said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: Store = memory.build(folder / "lib")
        self.said: list[Event] = []
        self.recipe = RECIPE
        self.encoders = Encoders(
            fakes.HashingSentences(),
            {"colours": fakes.Colours()},
            {"loudness": fakes.Loudness()},
            {"nospeech": fakes.NoSpeech()},
            {"subtitles": fakes.Subtitles()},
        )

    def run(self, owner: str = "", policy: Policy = USUAL) -> Run:
        self.said = []
        return Run(
            self.recipe,
            self.encoders,
            self.store,
            fixed.build(),
            owner or processes.me(),
            self.said.append,
            limit_s=3.0,
            policy=policy,
        )

    def index(
        self,
        *paths: Path,
        prune: bool = False,
        metadata: Metadata | None = None,
        owner: str = "",
        policy: Policy = USUAL,
    ) -> Summary:
        run = self.run(owner, policy)
        named = paths or (self.folder,)
        wanted = sources.found(named, metadata)
        return pipeline.index(wanted, run, executor.build(), named if prune else [])

    def media(self) -> list[Media]:
        with self.store.snapshot() as snapshot:
            return list(snapshot.media())

    def generation(self) -> str:
        with self.store.snapshot() as snapshot:
            return snapshot.generation


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.store.close()


def test_what_is_indexed_is_found_with_all_its_modalities(house: House) -> None:
    clip = write_reel(house.folder / "a.synthetic", "red", "blue", "green")
    summary = house.index()
    assert summary.indexed == [str(clip)]
    (media,) = house.media()
    assert (media.duration, media.width, media.height, media.missing) == (9.0, 64, 48, {})
    with house.store.snapshot() as snapshot:
        view = fakes.HashingSentences().encode(["blue"])
        (space,) = [key for key, space in snapshot.spaces.items() if space.modality is Modality.VISION]
        (ranking,) = snapshot.nearest(view, space, 10)
        tokens = snapshot.tokens(ranking.segments[:1], space)
        best = (tokens.rows.astype("f4") @ view[0]).argmax()
        assert 3.0 <= tokens.spans[best].mean() < 6.0
        assert tokens.labels[best][0] == "blue"
        assert snapshot.counts()["lines"] > 0


def test_a_second_run_does_nothing(house: House) -> None:
    write_reel(house.folder / "a.synthetic", "red")
    house.index()
    before = house.generation()
    again = house.index()
    assert (again.indexed, again.unchanged, again.frames) == ([], 1, 0)
    assert house.generation() == before


def test_two_paths_of_one_content_are_one_media(house: House) -> None:
    write_reel(house.folder / "a.synthetic", "red")
    write_reel(house.folder / "b.synthetic", "red")
    house.index()
    (media,) = house.media()
    assert [Path(path).name for path in media.paths] == ["a.synthetic", "b.synthetic"]


def test_a_renamed_file_is_known_again_and_not_decoded(house: House) -> None:
    clip = write_reel(house.folder / "a.synthetic", "red")
    house.index()
    clip.rename(house.folder / "z.synthetic")
    summary = house.index()
    assert (summary.renamed, summary.frames) == ([str(house.folder / "z.synthetic")], 0)
    assert [media.path for media in house.media()] == [str(house.folder / "z.synthetic")]


def test_a_changed_file_takes_the_place_of_what_it_was(house: House) -> None:
    clip = write_reel(house.folder / "a.synthetic", "red")
    house.index()
    write_reel(clip, "blue", "green")
    assert house.index().indexed == [str(clip)]
    (media,) = house.media()
    assert (media.paths, media.duration) == ((str(clip),), 6.0)


def test_two_files_that_change_places_keep_their_media(house: House) -> None:
    one, two = house.folder / "a.synthetic", house.folder / "b.synthetic"
    write_reel(one, "red"), write_reel(two, "blue", "green")
    house.index()
    before = {media.key: media.path for media in house.media()}
    one.rename(house.folder / "c"), two.rename(one), (house.folder / "c").rename(two)
    summary = house.index()
    assert summary.frames == 0
    after = {media.key: media.paths for media in house.media()}
    assert after == {key: ((str(two),) if path == str(one) else (str(one),)) for key, path in before.items()}


def test_what_is_gone_goes_only_when_that_is_asked_for(house: House) -> None:
    write_reel(house.folder / "a.synthetic", "red")
    gone = write_reel(house.folder / "b.synthetic", "blue")
    house.index()
    gone.unlink()
    house.index()
    assert len(house.media()) == 2
    assert len(house.index(prune=True).pruned) == 1
    assert [Path(media.path).name for media in house.media()] == ["a.synthetic"]


def test_pruning_one_folder_leaves_the_others_alone(house: House) -> None:
    far = write_reel(house.folder / "far" / "a.synthetic", "red")
    write_reel(house.folder / "near" / "b.synthetic", "blue")
    house.index()
    far.unlink()
    assert house.index(house.folder / "near", prune=True).pruned == []
    assert len(house.media()) == 2


def test_who_is_to_stop_prunes_no_further_page(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        write_reel(house.folder / f"{number}.synthetic", "red", seconds=1.0 + number)
    house.index()
    for clip in list(house.folder.iterdir()):
        clip.unlink()
    (house.folder / "empty.mp4").touch()  # with nothing left it might be a disk that is not mounted
    monkeypatch.setattr(plan, "PAGE", 2)
    monkeypatch.setattr(Run, "wish", lambda run: Wish.PAUSE if run.summary.pruned else Wish.NONE)
    assert len(house.index(prune=True).pruned) == len(house.media()) == 2
    monkeypatch.undo()
    assert len(house.index(prune=True).pruned) == 2
    assert house.media() == []


def emptied(folder: Path) -> None:
    folder.mkdir()


def hidden_ones(folder: Path) -> None:
    write_reel(folder / ".trash" / "a.synthetic", "red")
    (folder / "notes.txt").write_text("not mounted")


def dead_links(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.synthetic").symlink_to(folder / "nowhere" / "a.synthetic")


@pytest.mark.parametrize("left", [emptied, hidden_ones, dead_links])
def test_where_nothing_is_left_nothing_is_pruned(house: House, left: Callable[[Path], object]) -> None:
    """A disk that is not mounted is an empty folder, and so is one that was emptied by hand: nobody can tell."""
    disk, away = house.folder / "disk", house.folder / "away"
    for number in range(3):
        write_reel(disk / f"{number}.synthetic", "red", seconds=1.0 + number)
    house.index(disk)
    disk.rename(away)
    left(disk)
    assert house.index(disk, prune=True).pruned == []
    assert len(house.media()) == 3
    (warned,) = [event.message for event in house.said if isinstance(event, Warned)]
    assert warned.startswith(f"nothing is left in {disk}, ")
    assert "reelseek delete" in warned

    rmtree(disk)
    away.rename(disk)  # it is mounted again
    (disk / "0.synthetic").unlink()
    assert len(house.index(disk, prune=True).pruned) == 1
    assert len(house.media()) == 2


def test_a_disk_that_goes_while_it_is_pruned_keeps_what_was_not_looked_at(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = house.folder / "disk"
    clips = [write_reel(disk / f"{number}.synthetic", "red", seconds=1.0 + number) for number in range(3)]
    house.index(disk)
    for clip in clips:
        clip.unlink()
    write_reel(disk / "others.synthetic", "blue")
    monkeypatch.setattr(plan, "PAGE", 1)
    pruning = plan.prune([disk], house.store, house.said.append)
    assert len(next(pruning)) == 1
    disk.rename(house.folder / "away")
    assert list(pruning) == [[], []]
    assert len(house.media()) == 2
    assert sum(isinstance(event, Warned) for event in house.said) == 1


def test_what_another_process_finds_elsewhere_while_files_are_looked_for_is_not_pruned(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = house.folder / "here", house.folder / "there"
    clip = write_reel(here / "a.synthetic", "red", "blue")
    write_reel(here / "b.synthetic", "green")
    house.index(here)
    moved = there / clip.name
    there.mkdir()
    clip.rename(moved)
    among = places.Missing.among

    def slow(missing: places.Missing, paths: Iterable[str]) -> set[str]:
        monkeypatch.undo()
        found = among(missing, paths)
        assert house.index(there, owner="ANOTHER:1:1").renamed == [str(moved)]
        return found

    monkeypatch.setattr(places.Missing, "among", slow)
    assert house.index(here, prune=True).pruned == []
    assert {Path(media.path) for media in house.media()} == {moved, here / "b.synthetic"}


def test_copies_that_two_runs_find_at_once_are_both_kept(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_reel(house.folder / "mine" / "a.synthetic", "red")
    house.index(clip.parent)
    mine = write_reel(house.folder / "mine" / "b.synthetic", "red")
    theirs = write_reel(house.folder / "theirs" / "c.synthetic", "red")
    settle = Plan._settle

    def slow(plan: Plan, settled: Settled) -> None:
        monkeypatch.undo()
        assert house.index(theirs.parent, owner="ANOTHER:1:1").renamed == [str(theirs)]
        settle(plan, settled)

    monkeypatch.setattr(Plan, "_settle", slow)
    assert house.index(mine.parent).renamed == [str(mine)]
    (media,) = house.media()
    assert media.paths == (str(clip), str(mine), str(theirs))


def test_bad_files_are_set_aside_and_the_rest_is_indexed(house: House) -> None:
    good = write_reel(house.folder / "good.synthetic", "red", "blue")
    write_reel(house.folder / "crash.synthetic", "red", crash_at=1)
    write_reel(house.folder / "hang.synthetic", "red", hang_at=1)
    (house.folder / "empty.mp4").write_bytes(b"")
    (house.folder / "letter.mp4").write_text("Dear Sir")
    summary = house.index()
    assert summary.indexed == [str(good)]
    assert not summary.failed_all
    reasons = {Path(path).name: reason for path, reason in summary.quarantined.items()}
    assert set(reasons) == {"crash.synthetic", "hang.synthetic", "empty.mp4", "letter.mp4"}
    assert "died" in reasons["crash.synthetic"]
    assert "no answer in 3 s" in reasons["hang.synthetic"]
    assert "empty" in reasons["empty.mp4"]
    assert {Path(entry.path).name for entry in house.store.catalog.quarantined()} == set(reasons)
    assert sum(isinstance(event, SetAside) for event in house.said) == 4
    assert house.store.catalog.staged() == []
    assert house.store.catalog.leased() == {}


def test_a_quarantined_file_is_tried_again_only_when_it_changed(house: House) -> None:
    clip = write_reel(house.folder / "a.synthetic", "red", crash_at=1)
    assert house.index().failed_all
    assert "died" in house.index().quarantined[str(clip)]
    write_reel(clip, "red")
    assert house.index().indexed == [str(clip)]
    assert house.store.catalog.quarantined() == []


def test_a_missing_modality_is_said_and_made_up_for_later(house: House) -> None:
    write_reel(house.folder / "a.synthetic", "red", tone=False)
    whole = house.encoders
    house.encoders = replace(whole, text={}, missing={Modality.TEXT: "rapidocr needs its weights"})
    house.index()
    assert any(isinstance(event, Warned) and "rapidocr needs its weights" in event.message for event in house.said)
    (media,) = house.media()
    assert media.missing == {"text": "rapidocr needs its weights", "sound": NO_SOUND, "speech": NO_SOUND}
    assert house.index().unchanged == 1
    house.encoders = whole
    assert len(house.index().indexed) == 1
    assert "text" not in house.media()[0].missing


def test_another_recipe_and_other_weights_are_refused_before_anything_is_decoded(house: House) -> None:
    write_reel(house.folder / "a.synthetic", "red")
    house.index()
    house.recipe = replace(RECIPE, representatives=9)
    with pytest.raises(WrongRecipe, match="another --library"):
        house.index()
    house.recipe = RECIPE
    other = fakes.Colours()
    other.space = replace(other.space, media_side="colours:2")
    house.encoders = replace(house.encoders, vision={"colours": other})
    with pytest.raises(SpaceMismatch, match="colours→hashing"):
        house.index()


def test_metadata_is_kept_joined_and_changed_without_decoding(house: House) -> None:
    clip = write_reel(house.folder / "a.synthetic", "red")
    house.index(metadata=Metadata(title="First", tags=("x",)))
    summary = house.index(clip, metadata=Metadata(tags=("y",)))
    assert summary.frames == 0
    assert house.media()[0].metadata == Metadata(title="First", tags=("x", "y"))
    house.index()
    assert house.media()[0].metadata == Metadata(title="First", tags=("x", "y"))


def test_a_file_that_another_process_is_at_is_left_to_it(house: House) -> None:
    write_reel(house.folder / "a.synthetic", "red")
    house.store.catalog.lease(f"{house_key(house)}-{RECIPE.digest[:8]}", "elsewhere:1:1", 60)
    summary = house.index()
    assert (summary.indexed, summary.quarantined) == ([], {})
    assert any(isinstance(event, Warned) and "elsewhere:1:1" in event.message for event in house.said)


def house_key(house: House) -> str:
    from indexer.places import key_of

    return key_of(house.folder / "a.synthetic")


def test_an_encoder_that_chokes_on_one_file_costs_that_file_only(house: House) -> None:
    class Choking(fakes.Colours):
        def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
            if (frames[:, 0, 0] == (0, 255, 0)).all(axis=1).any():
                raise RuntimeError("no green today")
            return super().encode_frames(frames, spans)

    for colour in ("red", "green", "blue", "white"):
        write_reel(house.folder / f"{colour}.synthetic", colour)
    house.encoders = replace(house.encoders, vision={"colours": Choking()})
    summary = house.index()
    assert sorted(Path(path).stem for path in summary.indexed) == ["blue", "red", "white"]
    assert "no green today" in summary.quarantined[str(house.folder / "green.synthetic")]


def test_a_file_that_changes_while_it_is_read_is_not_committed(house: House) -> None:
    clip = write_reel(house.folder / "a.synthetic", "red")

    class Meddling(fakes.Colours):
        def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
            os.utime(clip, ns=(1, 1))
            return super().encode_frames(frames, spans)

    whole, house.encoders = house.encoders, replace(house.encoders, vision={"colours": Meddling()})
    assert "changed while" in house.index().quarantined[str(clip)]
    assert house.media() == []
    house.encoders = whole
    assert house.index().indexed == [str(clip)], "as it is now it was never tried"
    assert house.store.catalog.quarantined() == []


def test_a_media_is_whole_or_not_there_though_a_checkpoint_went_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, plain = write_reel(house.folder / "a.synthetic", "red", "blue", "green"), Staging.keep

    def keep(staging: Staging, number: int, *rest: Any) -> None:
        plain(staging, number, *rest)
        if number == 1:
            (staging.folder / "chapter-00000.npz").unlink()

    with monkeypatch.context() as meddling:
        meddling.setattr(Staging, "keep", keep)
        assert "checkpoints of it went away" in house.index().quarantined[str(clip)]
    assert house.media() == []
    assert house.store.catalog.staged() == []
    clip.touch()
    assert house.index().indexed == [str(clip)]


def test_one_file_after_the_other_and_all_at_once_give_the_same(house: House, tmp_path: Path) -> None:
    clips = [
        write_reel(house.folder / f"{n}.synthetic", *colours)
        for n, colours in enumerate([("red", "blue"), ("green",), ("white", "black", "red"), ("blue", "green")])
    ]
    for clip in clips:
        house.index(clip)
    together = House(tmp_path)
    together.index(*reversed(clips))
    with house.store.snapshot() as one, together.store.snapshot() as other:
        assert one.generation == other.generation
        assert contents(one)["media"] == contents(other)["media"]
    together.store.close()


def test_every_commit_is_told_once(house: House) -> None:
    for colour in ("red", "green", "blue"):
        write_reel(house.folder / f"{colour}.synthetic", colour)
    house.index()
    assert sorted(Path(event.path).stem for event in house.said if isinstance(event, Committed)) == [
        "blue",
        "green",
        "red",
    ]


# ------------------------------------------------------------------------------------------------- what comes between


def once(patch: pytest.MonkeyPatch, owner: type, name: str, does: Callable[[], object]) -> None:
    """Somebody `does` something just before a method is called first."""
    plain, left = getattr(owner, name), [does]

    def called(*args: Any, **named: Any) -> Any:
        if left:
            left.pop()()
        return plain(*args, **named)

    patch.setattr(owner, name, called)


def warned(house: House) -> str:
    return " ".join(event.message for event in house.said if isinstance(event, Warned))


def by_another(house: House, *paths: Path) -> None:
    """Another process indexes these to their end."""
    said, run = house.said, house.run("elsewhere:1:1")
    pipeline.index(sources.found(paths), run, executor.build())
    house.said = said


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_what_becomes_of_one_path_is_no_fault_of_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    first = write_reel(house.folder / "a.synthetic", "red", "blue")
    copy = write_reel(house.folder / "b.synthetic", "red", "blue")
    with monkeypatch.context() as meanwhile:
        once(meanwhile, Lanes, "_decode", (lambda: write_reel(first, "green")) if how == "changed" else first.unlink)
        assert list(house.index().quarantined) == [str(first)]
    assert f"{copy} is the same as {first}, and is left for the next look" in warned(house)
    assert str(copy) in house.index().indexed
    assert [entry.path for entry in house.store.catalog.quarantined()] == ([str(first)] if how == "gone" else [])


def test_a_film_that_ends_before_its_last_chapter_is_told_of(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_reel(house.folder / "a.synthetic", "red", "blue", "green", "white")
    monkeypatch.setattr("indexer._child_process.GROWTH", -1)  # the child is replaced after each chapter

    plain, closed = Decoder.close, list[Decoder]()

    def close(decoder: Decoder) -> None:
        closed.append(decoder)
        if len(closed) == 2:  # of the child that opened the film, and of the one that made the first chapter
            was = clip.stat()
            write_reel(clip, "green")
            with clip.open("a") as file:  # as large, and as old
                file.write(" " * (was.st_size - clip.stat().st_size))
            os.utime(clip, ns=(was.st_atime_ns, was.st_mtime_ns))
        plain(decoder)

    monkeypatch.setattr(Decoder, "close", close)
    assert "ended before its last chapter" in house.index().quarantined[str(clip)]
    assert house.media() == []
    assert house.store.catalog.staged() == []
    assert house.store.catalog.leased() == {}


def test_no_checkpoint_is_kept_of_what_a_file_was_changed_into(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or whoever goes on when the old content is there again would find it."""
    clip = write_reel(house.folder / "a.synthetic", *["red"] * 4)
    content, kept = clip.read_bytes(), list[int]()
    plain = Staging.keep

    def keep(staging: Staging, number: int, *rest: Any) -> None:
        kept.append(number)
        plain(staging, number, *rest)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Staging, "keep", keep)
        once(meanwhile, Staging, "begin", lambda: write_reel(clip, *["blue"] * 4))
        assert "changed while" in house.index().quarantined[str(clip)]
    assert kept == []
    (house.folder / "b.synthetic").write_bytes(content)
    house.index()
    with house.store.snapshot() as snapshot:
        (space,) = [key for key, space in snapshot.spaces.items() if space.modality is Modality.VISION]
        by_key = {media.path: media for media in snapshot.media()}
        assert set(by_key) == {str(clip), str(house.folder / "b.synthetic")}
        table = snapshot.segments(snapshot.numbers())
        (own,) = [
            number for number, media in enumerate(snapshot.media_at(table.media)) if media.path.endswith("b.synthetic")
        ][:1]
        labels = snapshot.tokens(table.segments[own : own + 1], space).labels
        assert {names[0] for names in labels} == {"red"}


def test_a_job_that_was_done_by_another_while_this_one_slept_is_left_to_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_reel(house.folder / "a.synthetic", *["red", "blue"] * 4)
    monkeypatch.setattr(executor, "RENEWAL", -1.0)  # a renewal before each chapter

    def done() -> None:
        (name,) = house.store.catalog.leased()
        house.store.catalog.release(name, house.store.catalog.leased()[name])
        by_another(house, clip)

    once(monkeypatch, Run, "renew", done)
    assert house.index().indexed == []
    assert len(house.media()) == 1
    assert house.store.catalog.staged() == []
    assert f"{clip} was taken over" in warned(house)


@pytest.mark.parametrize("indexed", [True, False], ids=["and indexed", "alone"])
def test_a_copy_that_was_written_over_meanwhile_is_no_path_of_what_it_was(
    house: House, monkeypatch: pytest.MonkeyPatch, indexed: bool
) -> None:
    clip = write_reel(house.folder / "a.synthetic", "red", "blue")
    copy = write_reel(house.folder / "b.synthetic", "red", "blue")

    def meanwhile() -> None:
        write_reel(copy, "green")
        if indexed:
            by_another(house, copy)

    with monkeypatch.context() as before:
        once(before, Run, "whole", meanwhile)
        house.index()
    house.index()
    assert {(media.paths, media.duration) for media in house.media()} == {((str(clip),), 6.0), ((str(copy),), 3.0)}


def test_what_is_known_of_a_job_that_another_has_done_comes_with_the_next_look(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = write_reel(house.folder / "there" / "a.synthetic", "red")
    here = write_reel(house.folder / "here" / "b.synthetic", "red")
    said = Metadata(title="mine")
    with monkeypatch.context() as meanwhile:
        once(meanwhile, executor.LocalExecutor, "carry_out", lambda: by_another(house, there))
        house.index(here, metadata=said)
    assert f"{here} was indexed by another from elsewhere" in warned(house)
    house.index(here, metadata=said)
    (media,) = house.media()
    assert (set(media.paths), media.metadata.title) == ({str(there), str(here)}, "mine")


# ------------------------------------------------------------------------------------------------- limits and tries


class Choking(fakes.Colours):
    """Has no memory left."""

    def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
        raise RuntimeError("out of memory")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time of day."""

    def at(seconds: float) -> None:
        monkeypatch.setattr("indexer.plan.time", lambda: seconds)
        monkeypatch.setattr("indexer.planning.time", lambda: seconds)

    at(0.0)
    return at


def test_a_poison_file_is_tried_again_after_growing_waits_and_then_no_more(
    house: House, at: Callable[[float], None]
) -> None:
    clip = write_reel(house.folder / "a.synthetic", "red", crash_at=1)
    policy = Policy(tries=2)

    def tried() -> tuple[bool, str]:
        reason = house.index(policy=policy).quarantined[str(clip)]
        return any(isinstance(event, Planned) and event.files for event in house.said), reason

    assert tried() == (True, house.store.catalog.quarantined()[0].reason)
    at(59.0)
    went, reason = tried()
    assert (went, "try 1 of 2" in reason) == (False, True)
    at(61.0)
    went, reason = tried()
    assert (went, "given up after 2 tries" in reason) == (True, True)
    at(1e9)
    assert tried() == (False, reason)
    write_reel(clip, "red")
    assert house.index(policy=policy).indexed == [str(clip)]


def test_what_failed_for_want_of_memory_leaves_quarantine_when_it_is_indexed(
    house: House, at: Callable[[float], None]
) -> None:
    clip = write_reel(house.folder / "a.synthetic", "red")
    whole, house.encoders = house.encoders, replace(house.encoders, vision={"colours": Choking()})
    assert "out of memory" in house.index().quarantined[str(clip)]
    house.encoders = whole
    assert house.index().indexed == []
    at(61.0)
    assert house.index().indexed == [str(clip)]
    assert house.store.catalog.quarantined() == []
    assert house.store.catalog.stat(str(clip))


def test_a_file_in_quarantine_whose_content_came_by_another_path_leaves_it(
    house: House, at: Callable[[float], None]
) -> None:
    clip = write_reel(house.folder / "a.synthetic", "red")
    whole, house.encoders = house.encoders, replace(house.encoders, vision={"colours": Choking()})
    house.index()
    house.encoders = whole
    write_reel(house.folder / "b.synthetic", "red")
    assert house.index().indexed == [str(house.folder / "b.synthetic")]
    at(61.0)
    summary = house.index()
    assert (summary.unchanged, summary.quarantined) == (1, {})
    assert house.store.catalog.quarantined() == []
    assert set(house.media()[0].paths) == {str(clip), str(house.folder / "b.synthetic")}


def test_files_over_a_limit_are_set_aside_until_it_is_raised(house: House) -> None:
    long = write_reel(house.folder / "long.synthetic", "red", "blue", "green")
    large = write_reel(house.folder / "large.synthetic", *["red"] * 2, seconds=1.0)
    large.write_text(large.read_text() + " " * 2000)
    good = write_reel(house.folder / "good.synthetic", "white")
    for _ in range(4):
        summary = house.index(policy=Policy(tries=1, most_seconds=5.0, most_bytes=2000))
        assert {Path(path).name: reason.partition(" ")[2][:6] for path, reason in summary.quarantined.items()} == {
            "long.synthetic": "is 9 s",
            "large.synthetic": "has 2,",
        }
    assert [media.path for media in house.media()] == [str(good)]
    assert len(house.store.catalog.quarantined()) == 2
    assert sorted(house.index(policy=Policy(tries=1)).indexed) == [str(large), str(long)]
    assert house.store.catalog.quarantined() == []
    assert house.store.catalog.staged() == []


def test_a_disk_that_is_nearly_full_stops_the_run_and_nothing_is_lost(house: House) -> None:
    write_reel(house.folder / "a.synthetic", "red")
    house.index()
    clip = write_reel(house.folder / "b.synthetic", "blue")
    with pytest.raises(DiskFull, match="--least-free"):
        house.index(policy=Policy(least_free=10**18))
    assert len(house.media()) == 1
    assert house.store.catalog.staged() == []
    assert house.store.catalog.leased() == {}
    assert house.index().indexed == [str(clip)]


# ----------------------------------------------------------------------------------------------------------- staying


def old(path: Path) -> Path:
    """As if nobody had written to it for long."""
    os.utime(path, (1_000_000, 1_000_000))
    return path


def stay(house: House, *steps: Callable[[], object], prune: bool = False, policy: Policy = USUAL) -> Run:
    """Watch the folder; before each look but the first something happens, and then the keyboard interrupts."""
    todo: list[Callable[[], object] | None] = [None, *steps]
    run = house.run(policy=policy)

    def look() -> Listing:
        if not todo:
            raise KeyboardInterrupt
        if step := todo.pop(0):
            step()
        return sources.found([house.folder])

    watching.watch(look, run, executor.build(), [house.folder] if prune else [], 0.01)
    return run


def test_staying_takes_what_is_new_changed_and_renamed(house: House) -> None:
    one = old(write_reel(house.folder / "one.synthetic", "red"))
    two = house.folder / "two.synthetic"
    run = stay(
        house,
        lambda: old(write_reel(two, "blue")),
        lambda: old(write_reel(one, "green", "white")),
        lambda: two.rename(house.folder / "three.synthetic"),
        lambda: None,
    )
    assert [Path(path).name for path in run.summary.indexed] == ["one.synthetic", "two.synthetic", "one.synthetic"]
    assert [(Path(media.path).name, media.duration) for media in house.media()] == [
        ("one.synthetic", 6.0),
        ("three.synthetic", 3.0),
    ]
    assert sum(isinstance(event, Planned) for event in house.said) == 4, "a look that sees nothing plans nothing"


@pytest.mark.parametrize("prune", [False, True])
def test_staying_takes_out_what_is_removed_only_if_that_is_asked_for(house: House, prune: bool) -> None:
    clip = old(write_reel(house.folder / "a.synthetic", "red"))
    old(write_reel(house.folder / "b.synthetic", "blue"))
    stay(house, clip.unlink, prune=prune)
    assert len(house.media()) == (1 if prune else 2)


def test_a_file_that_is_being_written_waits(house: House) -> None:
    clip = house.folder / "a.synthetic"
    assert stay(house, lambda: write_reel(clip, "red"), lambda: write_reel(clip, "blue")).summary.indexed == []
    assert stay(house, lambda: old(clip)).summary.indexed == [str(clip)]


def test_staying_tries_a_file_again_when_its_time_has_come(house: House, at: Callable[[float], None]) -> None:
    clip = old(write_reel(house.folder / "a.synthetic", "red", crash_at=1))
    stay(house, lambda: None)
    (entry,) = house.store.catalog.quarantined()
    assert entry.tries == 1
    house.store.catalog.quarantine(replace(entry, again=0.0))
    stay(house)
    (entry,) = house.store.catalog.quarantined()
    assert (entry.path, entry.tries) == (str(clip), 2)


def test_a_file_whose_time_has_come_waits_while_it_is_being_written(house: House) -> None:
    clip = old(write_reel(house.folder / "a.synthetic", "red", crash_at=1))
    stay(house)
    (entry,) = house.store.catalog.quarantined()
    house.store.catalog.quarantine(replace(entry, again=0.0))
    write_reel(clip, "red", "blue", crash_at=1)
    assert stay(house).summary.quarantined == {}
    assert stay(house, lambda: old(clip)).summary.quarantined.keys() == {str(clip)}


def test_a_file_over_a_limit_is_not_looked_at_again_and_again(house: House) -> None:
    old(write_reel(house.folder / "a.synthetic", "red"))
    run = stay(house, lambda: None, lambda: None, policy=Policy(most_bytes=1))
    assert len(run.summary.quarantined) == 1
    assert sum(isinstance(event, Planned) for event in house.said) == 1


def test_a_file_that_another_was_at_is_taken_up_when_that_one_is_gone(house: House) -> None:
    clip = old(write_reel(house.folder / "a.synthetic", "red"))
    lease = f"{house_key(house)}-{RECIPE.digest[:8]}"
    house.store.catalog.lease(lease, "elsewhere:1:1", 60)
    run = stay(house, lambda: None, lambda: house.store.catalog.release(lease, "elsewhere:1:1"), lambda: None)
    assert run.summary.indexed == [str(clip)]
    assert sum(isinstance(event, Warned) for event in house.said) == 1


def test_a_first_look_that_goes_wrong_is_an_error(house: House) -> None:
    looks = iter([ManifestError("line 2 is not JSON"), KeyboardInterrupt()])

    def look() -> Listing:
        raise next(looks)

    with pytest.raises(ManifestError, match="line 2"):
        watching.watch(look, house.run(), executor.build(), [], 0.01)


@pytest.mark.parametrize("error", [ManifestError("line 2 is not JSON"), OSError(errno.ESTALE, "the disk is away")])
def test_a_look_that_goes_wrong_is_told_of_and_repeated(house: House, error: Exception) -> None:
    clip = old(write_reel(house.folder / "a.synthetic", "red"))

    def wrong() -> None:
        raise error

    run = stay(house, wrong, wrong, lambda: old(write_reel(clip, "blue", "green")))
    assert len(run.summary.indexed) == 2
    assert sum(isinstance(event, Warned) for event in house.said) == 1
