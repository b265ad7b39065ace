"""Where somebody speaks, before it is asked what they say.

Silero VAD gives the chance of voice every 32 ms.  It is recurrent, and half a minute of music or digital silence leaves
it deaf to the speech that follows (on concatenated clips it missed whole utterances), so it starts afresh every few
seconds, with a second of lead to settle.
"""

from itertools import pairwise

import numpy as np
from faster_whisper.vad import SileroVADModel

from encoders._weights import VOICE
from retriever.types import Floats

RATE = 16_000
STEP = 512  # samples of one chance: 32 ms, what the network was trained with
FRESH = 5 * RATE // STEP  # steps between two fresh starts
LEAD = RATE // STEP  # steps that are heard before a fresh start counts

PAD = 0.3  # seconds that a stretch is longer than its voice, at both sides

Stretch = tuple[float, float]
"""Start and end in seconds of the samples that were given."""


class Voice:
    """Chances of voice, and the stretches of sound that have it."""

    def __init__(self) -> None:
        self._network = SileroVADModel(str(VOICE.path("assets/silero_vad_v6.onnx")))

    def chances(self, samples: Floats) -> Floats:
        """`(ceil(T / 512),)` chance of voice in each 32 ms of `samples` `(T,)` at 16 kHz."""
        padded = np.pad(samples, (0, -len(samples) % STEP))
        steps = len(padded) // STEP
        runs = [np.zeros(0, np.float32)]
        for first in range(0, steps, FRESH):
            heard = max(0, first - LEAD)
            run = self._network(padded[heard * STEP : (first + FRESH) * STEP])
            runs.append(run.reshape(-1)[first - heard :])
        return np.concatenate(runs)


def stretches(chances: Floats, begin: float = 0.5, keep: float = 0.35) -> list[Stretch]:
    """Runs of voice: begun by a chance of `begin`, kept up by `keep`, and PAD longer at both sides; those that touch
    are one.  In order, inside the sound."""
    second = STEP / RATE
    found: list[Stretch] = []
    for first, last in _runs(chances >= keep):
        if chances[first:last].max() < begin:
            continue
        start, end = max(0.0, first * second - PAD), min(len(chances) * second, last * second + PAD)
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def windows(voiced: list[Stretch], chances: Floats, longest: float, gap: float) -> list[Stretch]:
    """Stretches gathered into windows of at most `longest` seconds, over gaps of at most `gap` seconds.

    A stretch longer than that is cut where voice is least likely in the second half of the window.
    """
    gathered: list[Stretch] = []
    for start, end in voiced:
        while end - start > longest:
            cut = least_voiced(chances, start + longest / 2, start + longest)
            gathered.append((start, cut))
            start = cut
        before = gathered[-1] if gathered else None
        if before and start - before[1] <= gap and end - before[0] <= longest:
            gathered[-1] = (before[0], end)
        else:
            gathered.append((start, end))
    return gathered


def least_voiced(chances: Floats, start: float, end: float) -> float:
    """The second between `start` and `end`, at least two steps apart, where voice is least likely."""
    first, last = int(np.ceil(start * RATE / STEP)), int(end * RATE / STEP)
    return (first + int(np.argmin(chances[first:last])) + 0.5) * STEP / RATE


def _runs(flags: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[tuple[int, int]]:
    """First and one-past-last of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return [(int(a), int(b)) for a, b in list(pairwise(edges))[::2]]
