"""Which pictures of a media are looked at."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer.sampling import THUMB, Adaptive, Fixed, Keyframes, Salient, Sampler, Uniform, difference, parse
from retriever.types import Times, TimeSpan

rates = st.floats(0.05, 30, allow_nan=False)
lengths = st.floats(0.5, 500)
chapters = st.floats(1, 120)
samplers: st.SearchStrategy[Sampler] = st.one_of(
    st.builds(Uniform, st.integers(1, 200)),
    st.builds(Fixed, rates),
    st.builds(Keyframes, rates),
    st.builds(Adaptive, rates, st.floats(0, 1), st.floats(0.1, 60)),
    st.builds(Salient, st.floats(0.5, 30), st.floats(0.5, 1), st.floats(4, 60)),
)


@dataclass
class Shade:
    """A frame of one shade of grey."""

    shade: int
    time: float = 0.0
    end: float = 1.0
    width: int = 32
    height: int = 32

    def rgb(self, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        raise NotImplementedError

    def gray(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        return np.full((size[1], size[0]), self.shade, np.uint8)


@given(samplers)
def test_a_sampler_can_be_written_down_and_read_again(sampler: Sampler) -> None:
    assert parse(str(sampler)) == sampler


@pytest.mark.parametrize(
    ("text", "sampler"),
    [
        ("uniform(8)", Uniform(8)),
        ("fixed(2)", Fixed(2)),
        ("fixed", Fixed()),
        ("adaptive(2)", Adaptive(2)),
        (" adaptive ( 4 , floor = 8 ) ", Adaptive(4, floor=8)),
        ("adaptive(fps=1.5, threshold=0, floor=2)", Adaptive(1.5, 0, 2)),
        ("keyframes", Keyframes()),
        ("keyframes(0.5)", Keyframes(0.5)),
    ],
)
def test_texts_that_people_write(text: str, sampler: Sampler) -> None:
    assert parse(text) == sampler


@pytest.mark.parametrize(
    "text",
    [
        "", "all", "fixed(", "fixed(x)", "fixed(0)", "fixed(-1)", "fixed(nan)", "fixed(inf)", "fixed(1, 2)",
        "fixed(rate=2)", "fixed(1, fps=1)", "uniform(0)", "uniform(1.5)", "adaptive(2, 2)", "adaptive(2, 0.1, 0)",
        "keyframes(0)", "keyframes(1, 2)",
    ],
)  # fmt: skip
def test_texts_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no sampler|fits none|no number|it wants"):
        parse(text)


def in_chapters(sampler: Sampler, duration: float, chapter: float) -> Times:
    parts = [TimeSpan(k * chapter, (k + 1) * chapter) for k in range(math.ceil(duration / chapter))]
    return np.concatenate([sampler.bins(part, duration) for part in parts])


@given(samplers, lengths, chapters)
def test_chapters_share_out_the_bins_of_the_whole(sampler: Sampler, duration: float, chapter: float) -> None:
    last = math.ceil(duration / chapter) * chapter
    whole = sampler.bins(TimeSpan(0, last), duration)
    assert np.array_equal(in_chapters(sampler, duration, chapter), whole)


@given(rates, lengths)
def test_fixed_takes_the_middle_of_each_bin(fps: float, duration: float) -> None:
    bins = Fixed(fps).bins(TimeSpan(0, duration), duration)
    numbers = np.arange(len(bins))
    assert np.allclose(bins, np.stack([numbers, numbers + 1], axis=1) / fps)
    assert len(bins) == pytest.approx(duration * fps, abs=0.51)


@given(st.integers(1, 100), lengths)
def test_uniform_covers_all_in_equal_parts(number: int, duration: float) -> None:
    bins = Uniform(number).bins(TimeSpan(0, duration * 2), duration)
    assert len(bins) == number
    assert np.allclose(bins[1:, 0], bins[:-1, 1])
    assert np.allclose(np.diff(bins, axis=1), duration / number)
    assert (bins[0, 0], bins[-1, 1]) == (0, pytest.approx(duration))


def plainly_taken(shades: list[int], sampler: Adaptive) -> list[int]:
    """The rule, written as it is said."""
    taken: list[int] = []
    for number, shade in enumerate(shades):
        differs = not taken or abs(shade - shades[taken[-1]]) / 255 > sampler.threshold
        due = not taken or (number + 1 - taken[-1]) / sampler.fps > sampler.floor + 1e-6
        if differs or due:
            taken.append(number)
    return taken


@given(
    st.lists(st.sampled_from([0, 1, 5, 6, 10, 100, 255]), min_size=1, max_size=60),
    st.sampled_from([Adaptive(2, 0.02, 4), Adaptive(1, 0, 2), Adaptive(4, 0.1, 0.1), Adaptive(2, 1, 3)]),
)
def test_adaptive_takes_what_the_plain_rule_takes(shades: list[int], sampler: Adaptive) -> None:
    sift = sampler.sift()
    taken = [n for n, shade in enumerate(shades) if sift(Shade(shade), (n + 0.5) / sampler.fps)]
    assert taken == plainly_taken(shades, sampler)
    gaps = np.diff([*taken, len(shades)]) / sampler.fps
    assert gaps.max() <= max(sampler.floor, 1 / sampler.fps) + 1e-6


def test_a_slow_change_is_followed() -> None:
    sift = Adaptive(2, 0.05, 1000).sift()
    taken = [shade for shade in range(256) if sift(Shade(shade), shade / 2)]
    assert len(taken) == 256 // 13 + 1  # 13 shades are more than 5 % of 255


def test_a_keyframe_is_taken_once_however_long_it_is_on_show() -> None:
    sift = Keyframes(2).sift()
    shown = [0.0, 0.0, 0.0, 1.4, 1.4, 2.5]
    taken = [sift(Shade(7, time), (place + 0.5) / 2) for place, time in enumerate(shown)]
    assert taken == [True, False, False, True, False, True]
    assert Keyframes(2).sift()(Shade(7, 2.5), 3.25)  # in the next chapter it is news again


def test_difference_is_a_share_of_the_full_range() -> None:
    black, white = (np.full(THUMB, shade, np.int16) for shade in (0, 255))
    assert difference(black, white) == 1
    assert difference(white, white) == 0
