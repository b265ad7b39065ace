"""Wrong keys, by place and by the key that they were meant to be."""

import pytest

from api.guesses import KNOWN_S, MOST, MOST_KEY, REMEMBERED, WITHIN_S, Guesses


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_after_some_nobody_listens_for_a_while(clock: Clock) -> None:
    guesses = Guesses(clock)
    for number in range(MOST):
        assert not guesses.is_over("192.0.2.1", "new")
        guesses.wrong("192.0.2.1", str(number))
    assert guesses.is_over("192.0.2.1", "new")
    assert not guesses.is_over("192.0.2.2", "new")
    clock.now = WITHIN_S
    assert not guesses.is_over("192.0.2.1", "new")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "", True),
        ("no address" * 99, "no address" * 99, True),
    ],
)
def test_a_place_is_what_somebody_has_at_home(clock: Clock, one: str, other: str, same: bool) -> None:
    guesses = Guesses(clock)
    for number in range(MOST):
        guesses.wrong(one, str(number))
    assert guesses.is_over(other, "new") is same


def test_where_a_key_was_right_it_is_listened_to_for_a_day(clock: Clock) -> None:
    guesses = Guesses(clock)
    guesses.right("192.0.2.1", "mine")
    for number in range(MOST_KEY):
        guesses.wrong("192.0.2.1", "mine")
        guesses.wrong(f"198.51.100.{number}", "mine")
    assert not guesses.is_over("192.0.2.1", "mine")
    assert guesses.is_over("192.0.2.1", "other")
    assert guesses.is_over("203.0.113.1", "mine")
    clock.now = KNOWN_S
    guesses.wrong("192.0.2.1", "other")
    for _ in range(MOST):
        guesses.wrong("192.0.2.1", "mine")
    assert guesses.is_over("192.0.2.1", "mine")


def test_memory_has_an_end(clock: Clock) -> None:
    guesses = Guesses(clock)
    for number in range(REMEMBERED + 100):
        guesses.wrong(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", str(number))
        guesses.right(str(number), "mine")
    assert all(len(held) == REMEMBERED for held in (guesses._by_place, guesses._by_key, guesses._right))
