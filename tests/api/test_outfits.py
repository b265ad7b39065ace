"""What jobs are done with is made once, as long as the same is wanted."""

from dataclasses import replace

import fakes
import pytest

from api import parts
from api.outfits import Outfit
from indexer.encoding import Encoders
from indexer.recipe import Recipe
from retriever.errors import MissingWeights
from retriever.types import Modality

RECIPE, OTHER = Recipe("offline"), Recipe("offline", speech=())
WHOLE = Encoders(fakes.HashingSentences())


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """The recipes that encoders were made for."""
    done: list[Recipe] = []

    def encoders(recipe: Recipe, models: parts.ModelChoice) -> Encoders:
        done.append(recipe)
        return replace(WHOLE)

    monkeypatch.setattr(parts, "encoders", encoders)
    return done


def test_one_recipe_is_made_once_and_another_takes_its_place(made: list[Recipe]) -> None:
    outfit = Outfit()
    first = outfit.encoders(RECIPE, parts.AS_MADE)
    assert outfit.encoders(Recipe("offline"), parts.AS_MADE) is first
    assert outfit.encoders(RECIPE, parts.ModelChoice(precision="f32")) is not first
    outfit.encoders(OTHER, parts.AS_MADE)
    outfit.encoders(RECIPE, parts.AS_MADE)
    assert made == [RECIPE, RECIPE, OTHER, RECIPE]


def test_what_was_put_away_is_made_again(made: list[Recipe]) -> None:
    outfit = Outfit()
    assert not outfit.put_away()
    outfit.encoders(RECIPE, parts.AS_MADE)
    assert outfit.put_away()
    assert not outfit.put_away()
    outfit.encoders(RECIPE, parts.AS_MADE)
    assert len(made) == 2


def test_what_was_missing_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    outfit, lacking = Outfit(), replace(WHOLE, missing={Modality.SPEECH: "whisper is not there"})
    monkeypatch.setattr(parts, "encoders", lambda *_: lacking)
    assert outfit.encoders(RECIPE, parts.AS_MADE) is lacking
    monkeypatch.setattr(parts, "encoders", lambda *_: WHOLE)
    assert outfit.encoders(RECIPE, parts.AS_MADE) is WHOLE


def test_what_cannot_be_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch, made: list[Recipe]) -> None:
    def none(*_: object) -> Encoders:
        raise MissingWeights("hues is not pulled")

    outfit = Outfit()
    outfit.encoders(RECIPE, parts.AS_MADE)
    with monkeypatch.context() as patch:
        patch.setattr(parts, "encoders", none)
        for _ in range(2):
            with pytest.raises(MissingWeights):
                outfit.encoders(OTHER, parts.AS_MADE)
    outfit.encoders(OTHER, parts.AS_MADE)
    assert made == [RECIPE, OTHER]
