"""What a moment head looks at."""

import heights
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.tracks import CHANNELS, MODALITIES, PARTS, REACH, SURROGATES, WIDTH, Track, channels, proposals
from retriever.types import Modality


def spans_of(*seconds: float) -> np.ndarray:
    edges = np.cumsum([0.0, *seconds])
    return np.stack([edges[:-1], edges[1:]], axis=1)


def row(track: Track, modality: Modality) -> list[float]:
    return track.heights[MODALITIES.index(modality)].tolist()


def test_a_cell_has_the_highest_of_what_covers_its_middle_by_modality() -> None:
    heights_ = [
        (Modality.VISION, spans_of(1, 1, 2), np.array([1, 3, 2], np.float32)),
        (Modality.VISION, np.array([[0.5, 1.5]]), np.array([2], np.float32)),
        (Modality.SPEECH, np.array([[2.0, 3.0]]), np.array([5], np.float32)),
    ]
    track = Track.of(0.0, 4.0, heights_, [], np.array([0.0, 1.0, 4.0, 9.0]))
    assert track.step == 0.5
    assert row(track, Modality.VISION) == [1, 2, 3, 3, 2, 2, 2, 2]
    assert row(track, Modality.SPEECH) == [-np.inf] * 4 + [5, 5] + [-np.inf] * 2
    assert row(track, Modality.SOUND) == [-np.inf] * 8
    assert np.flatnonzero(track.ends).tolist() == [2]  # where the track itself begins and ends is no news


def test_change_is_where_another_token_comes_on_by_how_much_it_differs() -> None:
    rows = np.array([[1, 0], [1, 0], [0, 1], [-1, 0]], np.float16)
    tokens = [(Modality.VISION, spans_of(1, 1, 1, 1), rows), (Modality.TEXT, spans_of(4), rows[:1])]
    track = Track.of(0.0, 4.0, [], tokens, np.zeros(0))
    apart = np.array([0, 1, 1])
    wanted = np.zeros(8)
    wanted[[2, 4, 6]] = apart / (apart.mean() + 0.05)
    assert track.change[0] == pytest.approx(wanted, abs=1e-3)
    assert not track.change[1].any()
    only = Track.of(0.0, 4.0, [], [(Modality.SOUND, spans_of(4), rows[:1])], np.zeros(0))
    assert not only.change.any()


def test_what_lies_outside_is_not_looked_at() -> None:
    draw = np.random.default_rng(0)
    spans, values = spans_of(*[0.5] * 80), draw.normal(0, 2, 80).astype(np.float32)
    rows = draw.standard_normal((80, 8)).astype(np.float16)
    far, near = np.arange(80), np.arange(18, 42)
    one, other = (
        Track.of(
            10.0, 20.0, [(Modality.VISION, spans[at], values[at])], [(Modality.VISION, spans[at], rows[at])], spans[0]
        )
        for at in (far, near)
    )
    assert (one.heights == other.heights).all()
    assert (one.ends == other.ends).all()


@given(st.integers(1, 300), st.data())
def test_a_view_has_its_peak_in_the_middle_and_times_come_back(count: int, data: st.DataObject) -> None:
    track = heights.track(np.random.default_rng(count), 300)
    track = Track(7.0, 0.5, track.heights[:, :count], track.change[:, :count], track.ends[:count])
    peak = data.draw(st.integers(0, count - 1))
    view = track.view(peak, 0.0, heights.SHARES)
    assert view.heights[:, REACH].tolist() == track.heights[:, peak].tolist()
    first, last = REACH - min(peak, REACH), REACH + min(count - peak, REACH + 1)
    assert np.flatnonzero(view.known).tolist() == list(range(first, last))
    assert track.times(peak, (REACH, REACH + 1)) == (7 + peak / 2, 7.5 + peak / 2)
    start, end = track.times(peak, (0, WIDTH))
    assert 7 <= start < end <= 7 + count / 2
    assert track.cell(7 + peak / 2 + 0.1) == peak
    seen = channels(view)
    assert seen.shape == (len(CHANNELS), WIDTH)
    assert np.isfinite(seen).all()
    assert not seen[:, ~view.known].any()


@given(st.integers(0, 10_000))
def test_proposals_hold_the_peak_and_do_not_stand_for_each_other(seed: int) -> None:
    draw = np.random.default_rng(seed)
    track = heights.track(draw, int(draw.integers(60, 200)))
    peak = int(draw.integers(len(track)))
    held = proposals(track.view(peak, 0.0, heights.SHARES))
    assert 1 <= len(held.windows) <= SURROGATES
    assert ((held.windows[:, 0] <= REACH) & (held.windows[:, 1] > REACH)).all()
    assert held.parts.shape == (len(held.windows), 4, len(PARTS))
    assert np.isfinite(held.parts).all()
    assert not held.parts[:, 2:].any()  # nothing was said, nothing was written


def test_a_part_is_how_high_and_how_far_above_what_is_around() -> None:
    values = np.zeros(40, np.float32)
    values[8:20] = 4  # twelve cells: the pyramid has a window of that length
    made = Track.of(0.0, 20.0, [(Modality.VISION, spans_of(*[0.5] * 40), values)], [], np.zeros(0))
    held = proposals(made.view(15, -1.0, heights.SHARES))
    (first, last), part = held.windows[0].tolist(), held.parts[0, 0]
    assert (first - REACH + 15, last - REACH + 15) == (8, 20)
    # (4 + 1) / 4 above the rest of the library, 4 / 2 above the rest of this, and by a gain of 4 √(6 · 15 / 21), as
    # the second that stands beside is as low as -1
    above = 4 - (14 * 0.0 + 1 * -1.0) / 15
    assert part.tolist() == pytest.approx([1.25, 2.0, 1.0, above * np.sqrt(6 * 15 / 21) / 8])
