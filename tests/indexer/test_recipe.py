"""A recipe's digest is of what media are indexed by, and of nothing else."""

from dataclasses import replace

import pytest

from indexer.recipe import PACKS, Model, Recipe, of, pack
from retriever.errors import WrongRecipe

OWN = Model("openclip", "ViT-B-32", "/here/mine.safetensors", "ab" * 32)


@pytest.mark.parametrize("recipe", [*PACKS, Recipe("", models=(OWN,))], ids=lambda recipe: recipe.pack or "own weights")
def test_a_recipe_comes_back_from_its_text(recipe: Recipe) -> None:
    assert of(recipe.text_form) == replace(recipe, pack="")
    assert of(recipe.text_form).digest == recipe.digest


def test_libraries_that_are_older_than_models_keep_their_recipe() -> None:
    assert pack("offline").digest == "a4033362cbc86e0c"
    assert "models" not in pack("offline").text_form


def test_of_a_model_its_weights_count_and_not_where_they_lie() -> None:
    one = Recipe("", models=(OWN,))
    moved = Recipe("", models=(replace(OWN, name="tower/", checkpoint="/there/mine.safetensors"),))
    other = Recipe("", models=(replace(OWN, digest="cd" * 32),))
    assert moved.digest == one.digest
    assert moved.text_form != one.text_form
    assert other.digest != one.digest


@pytest.mark.parametrize("text", ["", "[]", "{", '{"nonsense": 1}', '{"models": [{"plugin": "x"}]}'])
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(WrongRecipe, match="none that this reelseek reads"):
        of(text)
