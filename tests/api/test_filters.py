"""What a person writes to narrow a search."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.filters import duration, parsed
from retriever.errors import BadSettings
from retriever.types import EVERYTHING, MediaKind


@pytest.mark.parametrize(
    ("text", "short", "long"),
    [
        (">=5", 5.0, math.inf),
        ("<=1:30", 0.0, 90.0),
        ("10-60", 10.0, 60.0),
        ("0:10 - 1:00", 10.0, 60.0),
    ],
)
def test_limits_are_inclusive(text, short, long):
    assert duration(text) == (short, long)


@given(st.integers(1, 10**6))
def test_strict_limits_leave_the_number_out(seconds):
    _, longest = duration(f"<{seconds}")
    shortest, _ = duration(f"> {seconds}")
    assert longest < seconds < shortest
    assert shortest - longest < 1e-6


@pytest.mark.parametrize("text", ["", "60", "<", "-5", "<10-60", "60-10", "soon", "<1:2:3:4", "nan", "<-3"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="--duration is"):
        duration(text)


def test_nothing_asked_is_everything():
    assert parsed() == EVERYTHING


def test_several_limits_all_hold():
    found = parsed(durations=["<60", ">=10", "5-30"], tags=["a", "b"], kinds=["sound", "video"])
    assert (found.shortest, found.longest) == (10.0, 30.0)
    assert found.tags == {"a", "b"}
    assert found.kinds == {MediaKind.SOUND, MediaKind.VIDEO}


def test_a_plain_word_may_stand_anywhere_in_a_path():
    assert parsed(path="holiday").path == "*holiday*"
    assert parsed(path="*/2026/*.mp4").path == "*/2026/*.mp4"


def test_all_complaints_come_at_once():
    with pytest.raises(BadSettings) as caught:
        parsed(durations=["x"], after="soon", before="2026-13-01")
    assert len(str(caught.value).splitlines()) == 3
