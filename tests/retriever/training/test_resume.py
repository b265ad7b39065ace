"""A run that was stopped anywhere goes on, and ends as one that never was."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from retriever.errors import TrainingError
from retriever.training import checkpoints
from retriever.training.batches import Padded, Pairs
from retriever.training.loop import Advanced, Judged, Options, Trained, train

WIDTH, HEARD, MEDIA = 12, 7, 20
CPU = torch.device("cpu")
OPTIONS = Options("xpool", epochs=4, batch_size=6, lr=3e-2, seed=2, holdout=0.25, patience=9, hard=3)
STEPS = 4 * 5  # an epoch has 30 captions, six at a time
Watch = Callable[[Advanced | Judged], None]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """So little is not worth waking others for, least of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pairs(seed: int = 1) -> Pairs:
    """Two captions of each media, near to one of its tokens but for the signs of half the numbers, so that a head as
    training starts is no good; every third media is silent."""
    draw = np.random.default_rng(seed)

    def tokens(longest: int, width: int, silent: int) -> Padded:
        sets = []
        for media in range(MEDIA):
            count = 0 if silent and media % silent == 0 else int(draw.integers(1, longest + 1))
            rows = draw.standard_normal((count, width))
            sets.append((rows / np.linalg.norm(rows, axis=1, keepdims=True), draw.uniform(1, 10, count)))
        return Padded.of(sets, width)

    frames, audio = tokens(4, WIDTH, 0), tokens(3, HEARD, 3)
    items = np.repeat(np.arange(MEDIA), 2)
    texts = frames.rows[items, 0].astype(np.float32) + 0.2 * draw.standard_normal((len(items), WIDTH))
    texts *= np.where(np.arange(WIDTH) % 2, -1, 1)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    return Pairs(texts.astype(np.float32), np.arange(len(items)), items, frames, audio, np.arange(MEDIA))


class Stopped(Exception):
    """The plug is pulled."""


def at_step(number: int) -> Watch:
    def watch(event: Advanced | Judged) -> None:
        if isinstance(event, Advanced) and event.step == number:
            raise Stopped

    return watch


def at_judgement(number: int) -> Watch:
    """When an epoch is judged, and not yet kept."""

    def watch(event: Advanced | Judged) -> None:
        if isinstance(event, Judged) and event.epoch == number:
            raise Stopped

    return watch


def kept(trained: Trained) -> tuple[bytes, bytes]:
    """Both files of the head."""
    head = trained.model.head("words:1", ("frames", "sounds")[: len(trained.model.blocks)], trained.card)
    with TemporaryDirectory() as folder:
        head.save(Path(folder))
        return Path(folder, "head.safetensors").read_bytes(), Path(folder, "head.json").read_bytes()


@cache
def through(options: Options) -> tuple[bytes, bytes]:
    """The head of a run that is never stopped."""
    return kept(train(pairs(), options, CPU))


@pytest.mark.parametrize("family", ["xpool", "tefal"])
def test_what_is_compared_was_trained_and_its_best_is_not_its_last(family: str) -> None:
    """Else a run that keeps its first head, or its last, would pass for one that goes on."""
    _, card = through(replace(OPTIONS, family=family))
    chosen = json.loads(card)["options"]["chosen"]["epoch"]
    assert 0 < chosen < OPTIONS.epochs


@pytest.mark.parametrize(
    "stop",
    [*map(at_judgement, (0, 1, 3)), *map(at_step, (1, 5, 6, STEPS))],
    ids=["before training", "epoch 1", "epoch 3", "step 1", "step 5", "step 6", "the last step"],
)
def test_stopped_once_it_ends_as_if_it_had_not_been(stop: Watch, tmp_path: Path) -> None:
    options = replace(OPTIONS, family="tefal")
    with pytest.raises(Stopped):
        train(pairs(), options, CPU, folder=tmp_path, watch=stop)
    again = train(pairs(), options, CPU, folder=tmp_path, resume=True)
    assert kept(again) == through(options)


@pytest.mark.parametrize("family", ["xpool", "tefal"])
def test_stopped_in_every_epoch_it_ends_as_if_it_had_not_been(family: str, tmp_path: Path) -> None:
    options = replace(OPTIONS, family=family)
    for step in (3, 8, 14, 17, STEPS):
        with pytest.raises(Stopped):
            train(pairs(), options, CPU, folder=tmp_path, resume=True, watch=at_step(step))
    again = train(pairs(), options, CPU, folder=tmp_path, resume=True)
    assert kept(again) == through(options)


def test_it_goes_on_and_does_not_begin_again(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(pairs(), OPTIONS, CPU, folder=tmp_path, watch=at_step(13))
    events: list[Advanced | Judged] = []
    train(pairs(), OPTIONS, CPU, folder=tmp_path, resume=True, watch=events.append)
    assert [event.step for event in events if isinstance(event, Advanced)] == list(range(11, STEPS + 1))
    assert [event.epoch for event in events if isinstance(event, Judged)] == [3, 4]


def test_a_run_that_was_done_is_not_trained_any_more(tmp_path: Path) -> None:
    first = kept(train(pairs(), OPTIONS, CPU, folder=tmp_path))
    events: list[Advanced | Judged] = []
    again = train(pairs(), OPTIONS, CPU, folder=tmp_path, resume=True, watch=events.append)
    assert kept(again) == first
    assert events == []


def test_a_run_that_lost_patience_stays_where_it_was(tmp_path: Path) -> None:
    options = replace(OPTIONS, family="tefal", patience=1)
    first = train(pairs(), options, CPU, folder=tmp_path)
    assert len(first.card["history"]) - 1 < options.epochs
    again = train(pairs(), options, CPU, folder=tmp_path, resume=True)
    assert again.card == first.card
    assert kept(again) == kept(first)


def test_without_resume_it_begins_again(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(pairs(), OPTIONS, CPU, folder=tmp_path, watch=at_step(13))
    other = replace(OPTIONS, lr=1e-3)
    fresh = train(pairs(), other, CPU, folder=tmp_path)
    assert kept(fresh) == through(other)


def test_killed_while_the_state_is_written_it_goes_on_from_the_one_before(tmp_path: Path) -> None:
    """Half an array file of the next epoch, and half a card beside the whole one."""
    with pytest.raises(Stopped):
        train(pairs(), OPTIONS, CPU, folder=tmp_path, watch=at_step(13))
    (whole,) = tmp_path.glob("state-*.safetensors")
    (tmp_path / "state-0003.safetensors").write_bytes(whole.read_bytes()[:1000])
    (tmp_path / "state.json.part").write_text('{"version": 1, "arr')
    again = train(pairs(), OPTIONS, CPU, folder=tmp_path, resume=True)
    assert kept(again) == through(OPTIONS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["state-0004.safetensors", "state.json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lr": 1e-3}, r"\(lr was 0\.03\)"),
        ({"seed": 3, "hard": 0}, r"\(seed was 2, hard was 3\)"),
        ({"family": "tefal"}, r"\(family was 'xpool'\)"),
        ({"epochs": 9}, r"\(epochs was 4\)"),
    ],
)
def test_a_state_of_other_options_is_refused_by_name(change: dict[str, object], said: str, tmp_path: Path) -> None:
    train(pairs(), replace(OPTIONS, epochs=4), CPU, folder=tmp_path)
    with pytest.raises(TrainingError, match=f"holds the state of another run {said}: .*without --resume"):
        train(pairs(), replace(OPTIONS, **change), CPU, folder=tmp_path, resume=True)  # type: ignore[arg-type]


def test_a_state_of_other_data_is_refused(tmp_path: Path) -> None:
    train(pairs(), OPTIONS, CPU, folder=tmp_path)
    with pytest.raises(TrainingError, match=r"holds the state of another run \(data was '[0-9a-f]{64}'\)"):
        train(pairs(2), OPTIONS, CPU, folder=tmp_path, resume=True)


def test_a_state_that_is_broken_says_where_and_what_to_do(tmp_path: Path) -> None:
    train(pairs(), OPTIONS, CPU, folder=tmp_path)
    card, arrays = tmp_path / "state.json", tmp_path / "state-0004.safetensors"
    whole, facts = arrays.read_bytes(), json.loads(card.read_text())
    for said, file, data in (
        (r"state-0004\.safetensors cannot be read as safetensors .*train without --resume", arrays, whole[:-5]),
        (r"state\.json cannot be read .*train without --resume", card, b"{"),
        (r"version is 2, this reelseek reads 1: train without", card, json.dumps(facts | {"version": 2}).encode()),
        (r"version is None, this reelseek reads 1", card, b"[]"),
    ):
        file.write_bytes(data)
        with pytest.raises(TrainingError, match=said):
            train(pairs(), OPTIONS, CPU, folder=tmp_path, resume=True)
        arrays.write_bytes(whole)
        card.write_text(json.dumps(facts))
    arrays.unlink()
    with pytest.raises(TrainingError, match=r"state-0004\.safetensors cannot be read"):
        train(pairs(), OPTIONS, CPU, folder=tmp_path, resume=True)


def test_a_card_names_no_file_outside_its_folder(tmp_path: Path) -> None:
    train(pairs(), OPTIONS, CPU, folder=tmp_path / "state")
    card = tmp_path / "state" / "state.json"
    (tmp_path / "state" / "state-0004.safetensors").rename(tmp_path / "outside.safetensors")
    card.write_text(json.dumps(json.loads(card.read_text()) | {"arrays": "../outside.safetensors"}))
    with pytest.raises(TrainingError, match=r"outside\.safetensors cannot be read"):
        checkpoints.load(tmp_path / "state")


def test_a_new_run_forgets_the_one_before_it_begins(tmp_path: Path) -> None:
    train(pairs(), OPTIONS, CPU, folder=tmp_path)
    with pytest.raises(Stopped):
        train(pairs(), replace(OPTIONS, seed=3), CPU, folder=tmp_path, watch=at_step(1))
    assert checkpoints.load(tmp_path) is None  # what it wrote over must not be taken for the old one's


def test_a_state_of_another_recipe_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(pairs(), OPTIONS, CPU, folder=tmp_path)
    monkeypatch.setattr("retriever.training.loop.REVISION", 0)
    with pytest.raises(TrainingError, match=r"another run \(revision was"):
        train(pairs(), OPTIONS, CPU, folder=tmp_path, resume=True)
