"""A library goes over to another recipe, with decoder children, without weights."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import pytest
from libraries import contents
from reels import write_reel

from indexer import pipeline, reembedding, sources
from indexer.encoding import Encoders
from indexer.events import Event, SetAside, Summary, Warned
from indexer.executors import local as executor
from indexer.hashing import known_stat
from indexer.plan import NO_SOUND, Given, Job, job_id
from indexer.recipe import Model, Recipe
from indexer.run import Run
from indexer.segmenters import fixed
from indexer.staging import Staging
from retriever import processes
from retriever.errors import SpaceMismatch, WrongRecipe
from retriever.ports import Store
from retriever.stores import memory
from retriever.types import Metadata, Modality, Pictures, Searched, Sound, Times, Tokens

OLD = Recipe("old", vision=("colours",), sampling="fixed(2)", pages="fixed(1)", chapter=4.0)
NEW = replace(OLD, pack="new", models=(Model("colours", "hues", "", "2"),))


class Hues(fakes.Colours):
    """Other weights of the same name."""

    def __init__(self, revision: str = "2") -> None:
        super().__init__()
        self.space = replace(self.space, media_side=f"colours:{revision}")
        self.frames = 0

    def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
        self.frames += len(frames)
        return super().encode_frames(frames[:, :, :, ::-1], spans)


class Fragile(Hues):
    """Breaks over what is green."""

    def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
        if len(frames) and (frames[..., 1] > 200).any() and (frames[..., 0] < 50).any():
            raise RuntimeError("nothing green, please")
        return super().encode_frames(frames, spans)


class Deaf(fakes.Loudness):
    """Must not be asked."""

    def encode_sound(self, sound: Sound) -> Tokens:
        raise AssertionError("this space is there already")


def whole(vision: fakes.Colours) -> Encoders:
    return Encoders(
        fakes.HashingSentences(),
        {"colours": vision},
        {"soundevents": fakes.Loudness()},
        {"whisper": fakes.NoSpeech()},
        {"rapidocr": fakes.Subtitles()},
    )


class House:
    """A library in memory that was made with the old recipe, and its folder of clips."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: Store = memory.build()
        self.said: list[Event] = []
        self.old = whole(fakes.Colours())
        self.hues = Hues()
        self.new = replace(whole(self.hues), sound={"soundevents": Deaf()}, speech={}, text={})

    def index(self, recipe: Recipe = OLD, encoders: Encoders | None = None) -> Summary:
        run = Run(recipe, encoders or self.old, self.store, fixed.build(), processes.me(), self.said.append, limit_s=3)
        return pipeline.index(sources.found([self.folder]), run, executor.build())

    def run(self, recipe: Recipe = NEW, encoders: Encoders | None = None, owner: str = "") -> reembedding.Again:
        self.said = []
        mine = owner or processes.me()
        return reembedding.Again(
            recipe, encoders or self.new, self.store, fixed.build(), mine, self.said.append, limit_s=3
        )

    def reembed(self, *args: Any, **how: Any) -> Summary:
        return reembedding.reembed(self.run(*args, **how), executor.build())

    def held(self) -> dict[str, Any]:
        with self.store.snapshot() as snapshot:
            return contents(snapshot)

    def lacking(self) -> list[str]:
        with self.store.snapshot() as snapshot:
            return [Path(media.path).name for media, _ in snapshot.lacking()]

    def switched(self) -> dict[str, Any]:
        self.store.choose(Searched.NEW)
        return self.held()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    write_reel(tmp_path / "a.synthetic", "red", "blue", "green")
    write_reel(tmp_path / "b.synthetic", "blue", tone=False)
    write_reel(tmp_path / "c.synthetic", "green", "black")
    house.index()
    yield house
    house.store.close()


def test_the_new_recipe_alone_is_as_if_it_had_indexed_everything(house: House) -> None:
    before = house.held()
    summary = house.reembed()
    assert (len(summary.indexed), summary.unchanged, summary.quarantined) == (3, 0, {})
    assert house.held() == before
    switched = house.switched()
    reembedding.drop(house.store, Searched.OLD, processes.me())
    anew = House(house.folder)
    anew.index(NEW, whole(Hues()))
    assert house.held() == switched == anew.held()
    assert house.index(NEW, whole(Hues())).unchanged == 3
    anew.store.close()


def test_a_picture_is_on_show_as_long_as_the_sound_goes_on_which_nobody_hears_again(tmp_path: Path) -> None:
    reel = write_reel(tmp_path / "a.synthetic", "red", seconds=2.0)
    reel.write_text(json.dumps(json.loads(reel.read_text()) | {"tones": [{"start": 0.5, "end": 9.0}]}))
    house, anew = House(tmp_path), House(tmp_path)
    house.index()
    house.reembed()
    house.switched()
    reembedding.drop(house.store, Searched.OLD, processes.me())
    anew.index(NEW, whole(Hues()))
    assert house.held() == anew.held()
    house.store.close()
    anew.store.close()


def test_a_second_run_does_nothing(house: House) -> None:
    house.reembed()
    frames = house.hues.frames
    assert frames == 2 * (9 + 3 + 6)
    again = house.reembed()
    assert (again.indexed, again.unchanged, house.hues.frames) == ([], 3, frames)


def test_files_go_on_being_indexed_with_the_recipe_that_is_searched(house: House) -> None:
    house.reembed()
    write_reel(house.folder / "d.synthetic", "white")
    with pytest.raises(WrongRecipe, match=r"as long as old is searched.*reembed --search"):
        house.index(NEW, whole(Hues()))
    assert len(house.index().indexed) == 1
    assert house.lacking() == ["d.synthetic"]
    assert house.reembed().indexed == [str(house.folder / "d.synthetic")]
    house.store.choose(Searched.BOTH)
    write_reel(house.folder / "e.synthetic", "black", "red")
    with pytest.raises(WrongRecipe, match="as long as both is searched"):
        house.index()
    made = house.index(NEW, whole(Hues()))
    assert (len(made.indexed), made.unchanged) == (1, 4)
    house.store.choose(Searched.OLD)
    with house.store.snapshot() as snapshot:
        assert [Path(media.path).name for media in snapshot.foreign()] == ["e.synthetic"]
    assert len(house.index().indexed) == 1  # it had nothing of the old recipe
    assert house.lacking() == ["e.synthetic"]
    with pytest.raises(SpaceMismatch, match="into another --library"):
        house.index(OLD, whole(Hues("3")))


def test_what_lacks_the_new_recipe_is_left_to_the_next_run(house: House) -> None:
    house.reembed(encoders=replace(house.new, vision={"colours": Fragile()}))
    house.store.choose(Searched.BOTH)
    summary = house.index(NEW, whole(Hues()))
    assert (summary.indexed, summary.unchanged) == ([], 3)
    assert any(isinstance(event, Warned) and "2 media lack" in event.message for event in house.said)
    assert len(house.reembed().indexed) == 2
    house.said.clear()
    assert house.index(NEW, whole(Hues())).unchanged == 3
    assert not any(isinstance(event, Warned) for event in house.said)


def test_weights_that_come_later_are_searched_whoever_is_chosen(tmp_path: Path) -> None:
    house = House(tmp_path)
    write_reel(tmp_path / "a.synthetic", "red", "blue")
    mute = replace(house.old, text={}, missing={Modality.TEXT: "rapidocr needs a package"})
    house.index(encoders=mute)
    house.reembed()
    before = house.held()
    assert house.index().indexed  # now it is there
    assert house.lacking() == ["a.synthetic"]
    house.reembed()
    assert set(house.held()["answers"]) > set(before["answers"])
    assert any(space.startswith("rapidocr") for space in house.switched()["answers"])
    house.store.close()


def test_what_fails_is_listed_and_stops_nothing(house: House) -> None:
    (house.folder / "b.synthetic").unlink()
    write_reel(house.folder / "c.synthetic", "red", "red", "red")  # another content
    before = house.held()
    summary = house.reembed()
    assert summary.indexed == [str(house.folder / "a.synthetic")]
    assert [Path(path).name for path in summary.quarantined] == ["b.synthetic", "c.synthetic"]
    assert "cannot be opened" in summary.quarantined[str(house.folder / "b.synthetic")]
    assert "another content" in summary.quarantined[str(house.folder / "c.synthetic")]
    assert sum(isinstance(event, SetAside) for event in house.said) == 2
    assert house.store.catalog.quarantined() == []
    assert house.held() == before
    assert house.lacking() == ["b.synthetic", "c.synthetic"]
    with pytest.raises(WrongRecipe, match="2 media lack"):
        house.store.choose(Searched.NEW)


def test_another_path_of_the_same_content_will_do(house: House) -> None:
    (house.folder / "z.synthetic").write_bytes((house.folder / "a.synthetic").read_bytes())
    house.index()
    (house.folder / "a.synthetic").unlink()
    assert house.reembed().quarantined == {}


def test_what_breaks_an_encoder_costs_one_file(house: House) -> None:
    summary = house.reembed(encoders=replace(house.new, vision={"colours": Fragile()}))
    assert len(summary.indexed) == 1
    assert all("nothing green, please" in reason for reason in summary.quarantined.values())
    assert len(summary.quarantined) == 2
    assert house.store.catalog.staged() == []
    assert len(house.reembed().indexed) == 2


def test_a_media_that_is_deleted_meanwhile_stays_deleted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    run, keep = house.run(), reembedding.Again.commit

    def delete_first(self: reembedding.Again, job: Job) -> None:
        house.store.delete([job.key])
        keep(self, job)

    monkeypatch.setattr(reembedding.Again, "commit", delete_first)
    assert reembedding.reembed(run, executor.build()).indexed == []
    assert house.held()["counts"]["media"] == 0
    assert house.store.catalog.staged() == []


def test_two_that_run_at_once_share_the_work(house: House) -> None:
    """One has a file under way, and has done another one since the second one planned its work."""
    first, second = house.run(owner="elsewhere:1:1"), house.run(owner="elsewhere:2:2")
    plain = executor.build()
    house.store.catalog.set_recipe(OLD.digest, OLD.text_form)
    jobs = {path.name: job for path in sorted(house.folder.iterdir()) for job in [_job(house, path)]}
    first.store.begin(*reembedding.sides(first))
    assert first.take(jobs["a.synthetic"]) is None
    plain.carry_out(Given([jobs["b.synthetic"]]), replace_encoders(first))
    frames = house.hues.frames
    plain.carry_out(Given(jobs.values()), replace_encoders(second))
    assert [Path(path).name for path in second.summary.indexed] == ["c.synthetic"]
    assert house.hues.frames == frames + 2 * 6
    assert any(isinstance(event, Warned) and "left to it" in event.message for event in house.said)


def replace_encoders(run: reembedding.Again) -> reembedding.Again:
    run.encoders = reembedding.only(run.encoders, frozenset(one.space.id for one in run.encoders.vision.values()))
    return run


def _job(house: House, path: Path) -> Job:
    stat = known_stat(path, house.store)
    return Job(path, stat, Metadata(), (str(path),))


def test_indexing_does_not_do_what_another_has_done_since(house: House) -> None:
    job = _job(house, house.folder / "a.synthetic")
    run = Run(OLD, house.old, house.store, fixed.build(), processes.me(), house.said.append, limit_s=3)
    executor.build().carry_out(Given([job]), run)
    assert (run.summary.indexed, run.summary.frames) == ([], 0)
    assert house.store.catalog.leased() == {}


def test_what_a_machine_cannot_encode_stays_where_both_recipes_agree(house: House) -> None:
    deaf = replace(house.new, sound={}, missing={Modality.SOUND: "soundevents needs a package"})
    summary = house.reembed(encoders=deaf)
    assert len(summary.indexed) == 3
    assert [event.message for event in house.said if isinstance(event, Warned)] == [
        "sound stays as it is: soundevents needs a package"
    ]
    switched = house.switched()
    assert {media["media"].missing.get("sound") for media in switched["media"].values()} == {None, NO_SOUND}
    assert any(space.startswith("loudness") for space in switched["answers"])


def test_what_only_the_new_recipe_wants_and_nobody_has_is_missing(house: House) -> None:
    heard = replace(NEW, sound=("clap",))
    deaf = replace(house.new, sound={}, missing={Modality.SOUND: "clap needs a package"})
    house.reembed(heard, deaf)
    switched = house.switched()
    assert {media["media"].missing["sound"] for media in switched["media"].values()} == {
        "clap needs a package",
        NO_SOUND,
    }
    assert not any(space.startswith("loudness") for space in switched["answers"])
    louder = fakes.Loudness()
    louder.space = replace(louder.space, name="louder")
    later = replace(house.new, sound={"clap": louder})
    frames = house.hues.frames
    assert len(house.reembed(heard, later).indexed) == 3  # now there is one: what is there already is not made again
    assert house.hues.frames == frames
    switched = house.held()
    assert {media["media"].missing.get("sound") for media in switched["media"].values()} == {None, NO_SOUND}
    assert louder.space.id in switched["answers"]


def test_a_recipe_of_fewer_spaces_decodes_nothing(house: House) -> None:
    before = house.held()
    mute = replace(OLD, sound=())
    summary = house.reembed(mute, replace(house.old, sound={}, speech={}, text={}))
    assert (len(summary.indexed), summary.frames, house.lacking()) == (3, 0, [])
    assert house.held() == before
    assert not any(space.startswith("loudness") for space in house.switched()["answers"])
    reembedding.drop(house.store, Searched.OLD, processes.me())
    assert {media.recipe for media in (one["media"] for one in house.held()["media"].values())} == {mute.digest}


def test_calling_it_off_leaves_no_checkpoints(house: House) -> None:
    before = house.held()
    run = house.run()
    run.store.begin(*reembedding.sides(run))
    job = _job(house, house.folder / "a.synthetic")
    assert run.take(job) is None
    run.staging(job)
    assert house.store.catalog.staged() == [job_id(job.key, NEW.digest)]
    house.index()  # whose sweep leaves what belongs to the other recipe
    assert house.store.catalog.staged() != []
    reembedding.drop(house.store, Searched.NEW, processes.me())
    assert house.store.catalog.staged() == []
    assert house.held() == before
    house.store.catalog.staging(job.id(NEW))  # as after a kill between the two
    house.store.catalog.release(job.id(NEW), processes.me())
    house.index()
    assert house.store.catalog.staged() == []


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        (OLD, "of this recipe already|is of recipe"),
        (replace(OLD, speech=("other",)), "lines are not read again"),
        (replace(OLD, sampling="fixed(4)"), "sampled or cut otherwise"),
    ],
    ids=["the same", "other lines", "other sampling"],
)
def test_what_is_no_way_to_another_model_is_refused(house: House, recipe: Recipe, why: str) -> None:
    encoders = house.new if recipe.speech != OLD.speech else replace(house.old, speech={}, text={})
    with pytest.raises(WrongRecipe, match=why):
        house.reembed(recipe, encoders)
    assert house.store.catalog.reembedding() is None


def test_one_way_at_a_time(house: House) -> None:
    house.reembed()
    with pytest.raises(WrongRecipe, match=f"on its way to recipe {NEW.digest}"):
        house.reembed(replace(NEW, sampling="fixed(1)"))
    empty = House(house.folder)
    with pytest.raises(WrongRecipe, match="reelseek index FILES"):
        empty.reembed()
    empty.store.close()


def test_no_part_of_a_media_is_committed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Staging.keep

    def keep(staging: Staging, number: int, *rest: Any) -> None:
        if number != 1:
            plain(staging, number, *rest)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Staging, "keep", keep)
        summary = house.reembed()
    assert {Path(path).name for path in summary.quarantined} == {"a.synthetic", "c.synthetic"}  # those of two chapters
    assert all("checkpoints of it went away" in why for why in summary.quarantined.values())
    assert house.lacking() == ["a.synthetic", "c.synthetic"]
    house.reembed()
    assert house.lacking() == []
