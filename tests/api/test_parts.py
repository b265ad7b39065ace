"""Where the parts meet: what is missing drops its modality, loudly, and nothing else."""

import json
from types import SimpleNamespace
from typing import Any

import fakes
import pytest

from api import parts
from indexer.executors import ray
from indexer.recipe import Recipe
from retriever.errors import AlteredWeights, BadSettings, MissingExtra, MissingWeights, SpaceMismatch
from retriever.registry import Registry
from retriever.settings import Settings
from retriever.stores import memory
from retriever.types import Modality


def _raising(error: Exception) -> Any:
    def build(*given: Any) -> None:
        raise error

    return SimpleNamespace(build=build)


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What each plug-in name loads."""
    held: dict[str, Any] = {
        "minilm": SimpleNamespace(build=fakes.HashingSentences),
        "concepts": SimpleNamespace(build=lambda sentences: fakes.Colours()),
        "soundevents": SimpleNamespace(build=lambda sentences: fakes.Loudness()),
        "whisper": SimpleNamespace(build=fakes.NoSpeech),
        "rapidocr": SimpleNamespace(build=fakes.Subtitles),
    }
    monkeypatch.setattr(Registry, "load", lambda self, name: held[name])
    return held


def test_all_that_a_recipe_names_is_built(shelf):
    made = parts.encoders(Recipe("offline"))
    assert (set(made.vision), set(made.sound), set(made.speech), set(made.text)) == (
        {"concepts"},
        {"soundevents"},
        {"whisper"},
        {"rapidocr"},
    )
    assert made.missing == {}


@pytest.mark.parametrize(
    ("name", "modality", "error"),
    [
        ("concepts", Modality.VISION, AlteredWeights("it has SHA-256 ab…, wanted cd…")),
        (
            "soundevents",
            Modality.SOUND,
            MissingExtra("soundevents needs openvino: pip install 'reelseek[soundevents]'"),
        ),
        ("whisper", Modality.SPEECH, MissingWeights("whisper needs the package x, which is not installed")),
    ],
)
def test_what_cannot_be_had_drops_its_modality_with_the_reason(shelf, name, modality, error):
    shelf[name] = _raising(error)
    made = parts.encoders(Recipe("offline"))
    assert made.missing == {modality: str(error)}
    assert len(made.spaces) == 3


def test_without_sentences_nothing_can_be_searched_so_it_is_an_error(shelf):
    shelf["minilm"] = _raising(MissingWeights("minilm needs x"))
    with pytest.raises(MissingWeights):
        parts.encoders(Recipe("offline"))


def test_a_bug_in_a_plugin_is_not_taken_for_a_missing_one(shelf):
    shelf["whisper"] = _raising(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        parts.encoders(Recipe("offline"))


def test_questions_are_encoded_by_the_weights_that_the_library_was_made_with(shelf):
    side = f"minilm:{fakes.HashingSentences.digest[: parts.DIGEST_LETTERS]}"
    assert parts.query_side(side, Recipe("offline")).dimension == fakes.DIMENSION
    with pytest.raises(SpaceMismatch, match=r"need minilm:000000000000.*index again into another --library"):
        parts.query_side("minilm:000000000000", Recipe("offline"))


def test_the_sentence_encoder_is_loaded_when_the_first_question_comes(shelf):
    shelf["minilm"] = _raising(MissingWeights("minilm needs x"))
    encode = parts.asking(memory.build())
    with pytest.raises(MissingWeights):
        encode(["a parrot"], "")


def test_decoders_leave_room_for_encoders():
    assert parts.decoders(3) == 3
    assert 1 <= parts.decoders(0) <= parts.MOST_DECODERS


def test_workers_elsewhere_are_told_in_plain_text_what_to_build(shelf):
    shelf["ray"] = ray
    recipe, workers = Recipe("offline"), parts.Workers("ray", "auto", 2.0, 0.25)
    told = parts.executor(workers, recipe, parts.AS_MADE, 7)
    assert (told.address, told.cpus, told.gpus, told.most) == ("auto", 2.0, 0.25, 7)
    assert told.making.page == json.loads(json.dumps(told.making.page))
    assert told.making.made().spaces == parts.encoders(recipe).spaces
    assert told.making.page["models"]["device"] == "cuda"
    plain = parts.executor(parts.Workers("ray"), recipe, parts.AS_MADE, 0)
    assert plain.making.page["models"]["device"] == "cpu"


@pytest.mark.parametrize("said", [{"ray_address": "auto"}, {"ray_gpus": 1.0}, {"ray_cpus": 2.0}])
def test_a_cluster_that_is_told_of_is_to_be_used(said):
    flag = f"--{next(iter(said)).replace('_', '-')}"
    with pytest.raises(BadSettings, match=f"{flag} is about a cluster.*add --executor ray"):
        parts.Workers.of(Settings(**said))
    assert parts.Workers.of(Settings(executor="ray", **said)).executor == "ray"
