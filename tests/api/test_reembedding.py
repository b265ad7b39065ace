"""What people are told of a library that goes over to another model."""

from dataclasses import replace
from pathlib import Path

import pytest

from api import reembedding
from indexer import recipe
from indexer.recipe import Model
from retriever.stores import memory
from retriever.types import Media, MediaKind, Searched, Side

OPENCLIP = recipe.pack("openclip")
CLIP, MINE, EARS = (
    Model("openclip", "ViT-B-32:openai", "", "1"),
    Model("openclip", "ViT-B-32", "/my models/w.pt", "2"),
    Model("clap", "hf-hub:laion/clap", "", "3"),
)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (recipe.pack("offline"), "--pack offline"),
        (recipe.pack("offline").within(0.3), "--pack offline --budget 0.3"),
        (replace(OPENCLIP, models=(CLIP,), sound=("soundevents",)), "--pack openclip --model ViT-B-32:openai"),
        (
            replace(OPENCLIP, models=(MINE, EARS)),
            "--pack openclip --model ViT-B-32 --checkpoint '/my models/w.pt' --sound-model hf-hub:laion/clap",
        ),
        (
            replace(recipe.pack("offline"), clips=("xclip",), models=(Model("xclip", "here", "", "4"),)),
            "--pack offline --video-model xclip:here",
        ),
    ],
)
def test_a_recipe_is_said_in_flags(made, said):
    assert reembedding.flags(made.text_form) == said


def test_a_recipe_of_another_version_is_not_guessed():
    assert reembedding.flags("{}5") == "--pack PACK --model MODEL"


def test_a_library_that_was_never_indexed_into_has_no_recipe():
    store = memory.build()
    found = reembedding.document(Path("my lib"), store)
    assert (found["old"], found["new"], found["media"]) == (None, None, 0)
    assert found["next"].endswith("--library 'my lib'")
    assert [line.split()[0] for line in reembedding.lines(found)] == ["library", "next:"]
    store.close()


def test_few_media_are_named_and_the_others_counted(tmp_path):
    (tmp_path / "there.mp4").touch()
    media = [Media(str(n), (f"/gone/{n}.mp4",), MediaKind.VIDEO, 1.0, "r") for n in range(5)]
    media[0] = replace(media[0], paths=("/gone/0.mp4", str(tmp_path / "there.mp4")))
    assert reembedding.names(media) == "/gone/0.mp4; /gone/1.mp4, gone; /gone/2.mp4, gone; and 2 more"


def test_nothing_stands_in_the_way_of_both():
    store = memory.build()
    store.catalog.set_recipe("r1", "{}")
    store.begin(Side("r1", "{}", frozenset()), Side("r2", "{}", frozenset({"x"})))
    with store.snapshot() as snapshot:
        assert [reembedding.obstacle(snapshot, one) for one in Searched] == ["", "", ""]
    store.close()
