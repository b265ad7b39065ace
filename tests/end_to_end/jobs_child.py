"""`reelseek` with encoders that need no weights, in a process of its own, so that a test can pause, stop or kill it.

python jobs_child.py COMMAND ...        SLOW=0.2 in the environment: seconds that a batch takes, which is one chapter
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from time import sleep

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import fakes

from api import parts
from api.main import main
from indexer.encoding import Encoders
from indexer.executors import local
from retriever.types import Pictures, Times, Tokens


class Slow(fakes.Colours):
    def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
        sleep(float(os.environ.get("SLOW", "0")))
        return super().encode_frames(frames, spans)


def encoders(*_: object) -> Encoders:
    return Encoders(
        fakes.HashingSentences(),
        {"colours": Slow()},
        {"loudness": fakes.Loudness()},
        {"nospeech": fakes.NoSpeech()},
        {"subtitles": fakes.Subtitles()},
    )


if __name__ == "__main__":
    local.BATCH_FRAMES = 1
    offline = parts.recipe
    parts.recipe = lambda *given: replace(offline(*given), chapter=4.0)
    parts.encoders = encoders
    parts.sentences = lambda name: fakes.HashingSentences()
    sys.exit(main())
