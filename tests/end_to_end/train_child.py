"""The command line over encoders that need no weights, in a process of its own, so that a test can kill it.

PYTHONPATH=.:tests python train_child.py train textpool ...
"""

import sys

import fakes

from api import parts
from api.main import main

if __name__ == "__main__":
    parts.sentences = lambda name: fakes.HashingSentences()  # type: ignore[assignment]
    sys.exit(main())
