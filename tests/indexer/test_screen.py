"""What is on show at a time, and what never is."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer.media._sparing import Sparing
from indexer.screen import Screen


@dataclass(frozen=True)
class Shown:
    time: float
    end: float
    width: int = 1
    height: int = 1

    def rgb(self, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        raise NotImplementedError

    def gray(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        raise NotImplementedError


starts = st.lists(st.integers(0, 1000), unique=True, max_size=30).map(sorted)


@given(starts, st.lists(st.integers(0, 1100), max_size=30).map(sorted))
def test_it_is_the_last_that_began(begun: list[int], asked: list[int]) -> None:
    frames = [Shown(start / 10, start / 10 + 0.1) for start in begun]
    screen = Screen(iter(frames))
    for time in asked:
        shown = screen.at(time / 10)
        before = [frame for frame in frames if frame.time <= time / 10]
        assert shown == (before[-1] if before else frames[0] if frames else None)
    assert screen.pulled <= len(frames)


@given(starts.filter(bool), st.integers(0, 1100))
def test_it_ends_with_its_last_frame(begun: list[int], time: int) -> None:
    frames = [Shown(start / 10, start / 10 + 0.1) for start in begun]
    screen = Screen(iter(frames))
    assert screen.ends_by(time / 10) == (time >= begun[-1] + 1)
    assert screen.ends_by(1000.0)
    assert (screen.end, screen.pulled) == (frames[-1].end, len(frames))


@given(
    st.lists(st.integers(0, 200), unique=True, min_size=1, max_size=60).flatmap(lambda times: st.permutations(times)),
    st.lists(st.integers(0, 200), max_size=10),
)
def test_a_picture_that_is_looked_at_is_never_spared(decoding_order: list[int], looked_at: list[int]) -> None:
    sparing = Sparing(lambda start, end: any(start <= time / 10 <= end for time in looked_at))
    spared = {time for time in decoding_order if sparing.spares(time / 10)}
    shown = {max((time for time in decoding_order if time <= look), default=min(decoding_order)) for look in looked_at}
    assert max(decoding_order) not in spared
    assert not spared & shown - {min(decoding_order)}


def test_of_pictures_between_two_others_those_that_nobody_looks_at_are_spared() -> None:
    sparing = Sparing(lambda start, end: start <= 0.45 <= end)
    order = [0.0, 0.3, 0.1, 0.2, 0.6, 0.4, 0.5]  # as a codec sends them: each after what it leans on
    assert [time for time in order if sparing.spares(time)] == [0.1, 0.2, 0.5]


def test_without_frames_nothing_is_ever_on_show() -> None:
    screen = Screen(iter([]))
    assert screen.at(1.0) is None
    assert screen.ends_by(0.0)
