"""`reelseek` with encoders that need no weights, in a process of its own, so that a test can pause, stop or kill it.

python jobs_child.py COMMAND ...        SLOW=0.2 in the environment: seconds that a batch takes, which is one chapter
python jobs_child.py reembed --model hues ...           goes over to other weights of the same encoder
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import fakes

from api import ModelChoice, parts
from api.main import main
from indexer.encoding import Encoders
from indexer.executors import local
from indexer.recipe import Model, Recipe
from retriever.types import Pictures, Times, Tokens


class Slow(fakes.Colours):
    def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
        sleep(float(os.environ.get("SLOW", "0")))
        return super().encode_frames(frames, spans)


class Hues(Slow):
    """Other weights: red is blue."""

    def __init__(self) -> None:
        super().__init__()
        self.space = replace(self.space, media_side="colours:2")

    def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
        return super().encode_frames(frames[:, :, :, ::-1], spans)


def encoders(recipe: Recipe, *_: object) -> Encoders:
    return Encoders(
        fakes.HashingSentences(),
        {"colours": Hues() if recipe.models else Slow()},
        {"loudness": fakes.Loudness()},
        {"nospeech": fakes.NoSpeech()} if recipe.speech else {},
        {"subtitles": fakes.Subtitles()} if recipe.text else {},
    )


def recipe(pack: str, models: ModelChoice, *given: Any) -> Recipe:
    hues = (Model("concepts", "hues", "", "2"),) if models.model == "hues" else ()
    return replace(offline(pack, replace(models, model=""), *given), chapter=4.0, models=hues)


if __name__ == "__main__":
    local.BATCH_FRAMES = 1
    offline = parts.recipe
    parts.recipe = recipe
    parts.encoders = encoders
    parts.sentences = lambda name: fakes.HashingSentences()
    sys.exit(main())
