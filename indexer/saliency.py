"""Which pictures of a chapter are worth a heavy encoder, from what small pictures and plain sound say.

After AVGN (Nugroho et al., Audio-Visual Glance Network for Efficient Video Recognition, ICCV 2023): a glance at all of
it, a long look at little.  There a network learns what is salient for classes; nobody knows here what will be asked, so
the pictures that are taken shall stand for all others: farthest-point traversal (Gonzalez, Clustering to minimize the
maximum intercluster distance, 1985) over sight, sound and time, and one at least in every stretch of time.
Chosen by measurement, see docs/experiments.md.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from retriever.types import Pictures, Sound, Times

SMALL = 16
"""Pixels: height and width of a small picture."""
RATE = 16_000
"""Samples a second of the sound that is listened to, whatever the encoders want."""
BANDS = 12
"""Bands of sound, equally wide on a scale of octaves from `LOWEST` to `HIGHEST` hertz."""
LOWEST, HIGHEST = 60.0, 7800.0
WINDOW = 512
"""Samples of a Fourier transform; each begins half of them after the one before."""
QUIET = 1e-3
"""Energy of a band that is silence."""
LEAST_SIGHT = 0.01
"""Share of the full range: pictures that differ less than this from their mean differ by noise, and stay near."""
LEAST_SOUND = 0.1
"""Powers of ten of energy, the same for sounds."""
PACE = 2.5
"""Seconds that set two bins as far apart as a picture is from the mean picture."""
REACH = 10.0
"""Seconds beyond which more of them set nothing farther apart, or late ones would be taken for being late."""

Places = NDArray[np.int64]
"""`(N,)` numbers of bins."""
Features = NDArray[np.float64]
"""`(N, D)`: of each bin how it looks or sounds, such that distances tell how much two of them differ."""


@dataclass(frozen=True, slots=True)
class Glance:
    """A chapter at a glance: the middles of its bins in seconds `(N,)`, rising, the picture of each made small
    `(N, SMALL, SMALL, 3)` with shades from 0 to 255, and the sound around them, if there is any."""

    times: NDArray[np.float64]
    pictures: NDArray[np.float64]
    sound: Sound | None


def small(picture: Pictures) -> NDArray[np.float64]:
    """A picture `(H, W, 3)` as `(SMALL, SMALL, 3)`: means over a grid, so what is small in it counts little."""
    rows, columns = (np.arange(SMALL) * side // SMALL for side in picture.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(picture, rows, axis=0, dtype=np.int64), columns, axis=1)
    heights, widths = (
        np.maximum(1, np.diff(edges, append=side)) for edges, side in zip((rows, columns), picture.shape, strict=False)
    )
    means: NDArray[np.float64] = sums / (heights[:, None] * widths)[:, :, None]
    return means


@dataclass(frozen=True, slots=True)
class Bins:
    """What can be said of the bins of a chapter: features, and their times `(N,)` in seconds."""

    features: Features
    times: NDArray[np.float64]

    @classmethod
    def of(cls, glance: Glance) -> Self:
        """Sight and sound are each scaled to a mean square distance of one from their mean, which makes them equals;
        but where there is next to no difference it is left as it is, for it is noise."""
        parts = [_scaled(glance.pictures.reshape(len(glance.times), -1) / 255, LEAST_SIGHT)]
        if glance.sound is not None:
            parts.append(_scaled(bands(glance.sound, glance.times), LEAST_SOUND))
        return cls(np.concatenate(parts, axis=1), glance.times)

    def __len__(self) -> int:
        return len(self.times)

    def away(self, one: int, first: int = 0, end: int | None = None) -> NDArray[np.float64]:
        """How far bins from `first` to before `end` are from `one`, in sight, sound and time."""
        differ = np.linalg.norm(self.features[first:end] - self.features[one], axis=1)
        apart = np.minimum(np.abs(self.times[first:end] - self.times[one]), REACH) / PACE
        distance: NDArray[np.float64] = np.hypot(differ, apart)
        return distance


def _scaled(values: Features, least: float) -> Features:
    away: Features = values - values.mean(axis=0)
    spread = np.sqrt((away**2).sum(axis=1).mean())
    scaled: Features = away / max(spread, least * np.sqrt(values.shape[1]))
    return scaled


def bands(sound: Sound, times: Times) -> Features:
    """Energy of each band around each of `times`, half of the way to the next one, in powers of ten `(N, BANDS)`.
    Where there is no sound it is silence."""
    length = max(WINDOW, round(float(np.diff(times).min(initial=np.inf if len(times) > 1 else 1.0)) * RATE))
    hertz = np.fft.rfftfreq(WINDOW, 1 / RATE)
    edges = np.searchsorted(hertz, np.geomspace(LOWEST, HIGHEST, BANDS + 1))
    found = np.zeros((len(times), BANDS))
    for row, time in zip(found, times, strict=True):
        first = round((time - sound.start) * RATE) - length // 2
        heard = sound.samples[max(0, first) : max(0, first + length)]
        heard = np.nan_to_num(np.pad(heard, (0, length - len(heard))), posinf=0, neginf=0)  # a broken file may say so
        pieces = sliding_window_view(heard, WINDOW)[:: WINDOW // 2] * np.hanning(WINDOW)
        energy = (np.abs(np.fft.rfft(pieces)) ** 2).mean(axis=0) / WINDOW
        row[:] = np.add.reduceat(energy, edges)[:BANDS]  # the last sum is of what lies above all bands
    return np.log10(found + QUIET)


def chosen(bins: Bins, most: int, stretches: Places) -> Places:
    """At most `most` of the bins, by number, rising: the first, then again and again the one that is farthest
    from all that were taken; equally far: the earlier.  `stretches` `(N,)` are numbers that rise from bin to bin: each
    of them gets one, so when only as many are left as still wait, they are theirs.

    Raises:
        ValueError: there are more stretches than `most`.
    """
    waiting = set(stretches.tolist())
    if most < len(waiting):
        raise ValueError(f"{most} of {len(bins)} bins cannot be one in each of {len(waiting)} stretches")
    if most >= len(bins):
        return np.arange(len(bins))
    taken: list[int] = []
    far = np.full(len(bins), np.inf)
    while len(taken) < most:
        owed = most - len(taken) == len(waiting)
        pick = int(np.argmax(np.where(np.isin(stretches, list(waiting)), far, -1) if owed else far))
        taken.append(pick)
        waiting.discard(int(stretches[pick]))
        far = np.minimum(far, bins.away(pick))
        far[pick] = -1
    return np.sort(np.array(taken, np.int64))


def owners(bins: Bins, taken: Places) -> Places:
    """For each bin the taken one that stands for it `(N,)`, rising: between two that were taken lies one border, where
    the sum of distances to whoever stands for it is least.  What comes before the first is the first one's."""
    owner = np.full(len(bins), taken[0])
    for one, other in pairwise(taken.tolist()):
        nearer = bins.away(one, one, other) - bins.away(other, one, other)  # to the one before than to the other
        owner[one + 1 + int(np.argmin(np.cumsum(nearer))) :] = other
    return owner
