"""Relevance over time as a small picture: what is high is high, where it is, and nothing else."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import strip
from retriever.moments import Curve
from retriever.relevance import Relevance
from retriever.types import Media, MediaKind, Modality, Moment, TimeSpan


def curve(*pieces: tuple[float, float, float]) -> Curve:
    table = np.array(pieces)
    return Curve.of(table[:, :2], table[:, 2].astype(np.float32))


def moment(kind: MediaKind = MediaKind.VIDEO) -> Moment:
    return Moment(Media("cafe", ("/a.mp4",), kind, 20.0, "recipe"), TimeSpan(5, 10), 1.0, 0.9)


def test_a_lane_is_high_where_the_curve_is():
    found = strip.lane(curve((0, 5, -8.0), (5, 10, 4.0), (10, 20, 0.5)), -3.0, 4.0, 20.0)
    assert len(found) == 200
    assert found[:50] == pytest.approx(0)
    assert found[50:100] == pytest.approx(1)
    assert found[100:] == pytest.approx(0.5)


def test_what_nobody_looked_at_is_empty():
    found = strip.lane(curve((2, 3, 1.0), (8, 9, 1.0)), 0.0, 1.0, 10.0)
    assert found.sum() == 20
    assert found[20:30].all()
    assert found[80:90].all()


@given(
    st.lists(st.tuples(st.floats(0, 5000), st.floats(0.01, 300), st.floats(-50, 50)), min_size=1, max_size=20),
    st.floats(-5, 5),
)
def test_a_lane_never_hides_the_highest_point(tokens, chance):
    pieces = curve(*((start, start + length, height) for start, length, height in tokens))
    strips = {"cafe": Relevance("cafe", {Modality.VISION: pieces}, chance)}
    top = strip.top_of(strips)
    found = strip.lane(pieces, chance - strip.BELOW, top, float(pieces.edges[-1]))
    assert 1 <= len(found) <= strip.CELLS
    assert ((found >= 0) & (found <= 1)).all()
    peak = float(pieces.heights.max())
    if peak > chance + strip.ABOVE:
        assert found.max() == pytest.approx(1, abs=1e-5)
        where = float(pieces.edges[int(np.argmax(pieces.heights))])
        assert found[min(len(found) - 1, int(where / pieces.edges[-1] * len(found)))] == pytest.approx(1, abs=1e-5)
    else:
        assert found.max() < 1 or peak == pytest.approx(chance + strip.ABOVE)


def test_the_moment_is_marked_and_each_modality_has_a_lane():
    curves = {Modality.SOUND: curve((0, 20, 1.0)), Modality.VISION: curve((0, 5, 0.0), (5, 10, 6.0))}
    html = strip.drawn(moment(), Relevance("cafe", curves, 0.0), 6.0)
    assert "--from:25.00;--long:25.00" in html
    assert re.findall(r'class="lane (\w+)"', html) == ["vision", "sound"]
    assert 'aria-label="seen: most relevant at 0:05.0"' in html
    assert html.count("<svg") == html.count("</svg>") == 2
    assert "0:20.0" in html


def test_what_is_below_chance_says_so():
    html = strip.drawn(moment(), Relevance("cafe", {Modality.VISION: curve((0, 20, -1.0))}, 0.0), 1.0)
    assert "seen: most relevant at 0:00.0, no more than chance" in html


def test_a_still_and_what_nobody_knows_have_none():
    known = Relevance("cafe", {Modality.VISION: curve((0, 1, 1.0))}, 0.0)
    assert strip.drawn(moment(MediaKind.IMAGE), known, 1.0) == ""
    assert strip.drawn(moment(), Relevance("cafe", {}, 0.0), 1.0) == ""
    assert strip.drawn(moment(), None, 1.0) == ""
    assert strip.top_of({}) == 0.0
