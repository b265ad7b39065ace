"""What a run takes, and how often it tries."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.policy import LONGEST_WAIT, Policy
from retriever.errors import (
    CannotDecode,
    CannotEncode,
    CannotOpen,
    DecoderDied,
    DecodeTimeout,
    DiskFull,
    FileChanged,
    MediaError,
    NoSuchStream,
    OverLimit,
    Unreachable,
)
from retriever.types import Quarantined


def shut(policy: Policy, error: MediaError, before: int, now: float) -> Quarantined:
    reason, tries, again = policy.verdict(error, before, now)
    return Quarantined("/a", reason, now, 1, 2, tries, again)


@given(
    tries=st.integers(1, 20),
    kind=st.sampled_from([DecoderDied, DecodeTimeout, CannotEncode, Unreachable]),
    began=st.integers(0, 4_000_000_000).map(float),
)
def test_a_poison_file_is_tried_so_often_with_growing_waits_and_no_more(
    tries: int, kind: type[MediaError], began: float
) -> None:
    policy, now, waits = Policy(tries=tries), began, []
    entry = shut(policy, kind("it died"), 0, now)
    while entry.tries < tries:
        assert entry.again is not None
        assert not policy.may_try(entry, now)
        assert policy.may_try(entry, entry.again)
        assert f"try {entry.tries} of {tries}" in entry.reason
        waits.append(entry.again - now)
        now = entry.again
        entry = shut(policy, kind("it died"), entry.tries, now)
    assert entry.tries == tries
    assert f"given up after {tries} tries" in entry.reason
    assert "\n" not in entry.reason
    assert not policy.may_try(entry, now + 1e9)
    assert waits == sorted(waits)
    assert all(0 < wait <= LONGEST_WAIT + 1e-3 for wait in waits)


def test_each_wait_is_ten_times_the_one_before_and_at_most_a_day() -> None:
    waits = [shut(Policy(tries=9), DecoderDied("it died"), before, 0.0).again for before in range(6)]
    assert waits == [60.0, 600.0, 6_000.0, 60_000.0, 86_400.0, 86_400.0]


def test_more_tries_than_before_are_given_to_a_file_that_was_given_up() -> None:
    entry = shut(Policy(tries=1), DecoderDied("it died"), 0, 100.0)
    assert not Policy(tries=1).may_try(entry, 1e9)
    assert Policy(tries=2).may_try(entry, 1e9)


@pytest.mark.parametrize("kind", [CannotOpen, CannotDecode, NoSuchStream])
def test_what_is_plainly_broken_waits_until_it_changes(kind: type[MediaError]) -> None:
    entry = shut(Policy(), kind("no media"), 0, 5.0)
    assert (entry.reason, entry.tries, entry.again) == ("no media", 1, None)
    assert not Policy(tries=100).may_try(entry, 1e12)


def test_what_changed_while_it_was_read_is_taken_up_at_once() -> None:
    assert Policy().may_try(shut(Policy(), FileChanged("it changed"), 0, 5.0), 5.0)


def test_a_file_over_the_limit_costs_no_try() -> None:
    entry = shut(Policy(), OverLimit("too long"), 2, 5.0)
    assert (entry.reason, entry.tries) == ("too long", 0)
    assert Policy(tries=1).may_try(entry, 5.0)


def test_limits_are_inclusive_and_none_by_default() -> None:
    path = Path("/a.mp4")
    Policy().size(path, 10**15)
    Policy().length(path, 1e9)
    Policy(most_bytes=5).size(path, 5)
    Policy(most_seconds=5).length(path, 5.0)
    with pytest.raises(OverLimit, match=r"/a\.mp4 has 6 bytes; --most-bytes takes 5"):
        Policy(most_bytes=5).size(path, 6)
    with pytest.raises(OverLimit, match=r"/a\.mp4 is 6 s long; --most-seconds takes 5"):
        Policy(most_seconds=5).length(path, 6.0)


def test_a_disk_with_less_room_than_is_to_stay_is_full(tmp_path: Path) -> None:
    Policy(least_free=1).room(tmp_path)
    with pytest.raises(DiskFull, match=r"GB free, and --least-free is 1000000000\.0 GB: make room") as told:
        Policy(least_free=10**18).room(tmp_path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("wrong", [{"tries": 0}, {"most_seconds": -1.0}, {"most_bytes": -1}, {"least_free": -1}])
def test_a_policy_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="wants at least one try"):
        Policy(**wrong)  # type: ignore[arg-type]
