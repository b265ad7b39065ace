"""Where a long sound may be cut without cutting a word."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from retriever.types import Sound

HOP = 0.01  # seconds between two instants that are looked at
LULL = 0.25  # seconds that have to be quiet: longer than the closure of a consonant, shorter than a breath


def quiet_cut(sound: Sound, around: float, reach: float) -> float:
    """The instant within `reach` seconds of `around` that lies in the quietest quarter of a second; equally quiet ones:
    the nearest, then the earlier.  `around` itself where `sound` has too little there.

    It depends on the samples within `reach` of `around` and on nothing else, so two pieces of one recording that both
    hold those find the same instant.
    """
    hop = round(HOP * sound.rate)
    middle = round((around - sound.start) * sound.rate)
    before = min(round(reach * sound.rate), middle) // hop
    after = min(round(reach * sound.rate), len(sound.samples) - middle) // hop
    lull = round(LULL / HOP)
    if before + after < lull or before < 0 or after < 0:
        return around
    near = sound.samples[middle - before * hop : middle + after * hop].astype(np.float64)
    energy = np.square(near).reshape(-1, hop).sum(axis=1)  # (before + after,)
    lulls = sliding_window_view(energy, lull).sum(axis=1)  # lull i lies around hop i + lull / 2
    offsets = (np.arange(len(lulls)) + lull / 2 - before) * hop / sound.rate  # seconds from `around`
    best = np.lexsort((offsets, np.abs(offsets), lulls))[0]
    return around + float(offsets[best])
