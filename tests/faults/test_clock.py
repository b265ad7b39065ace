"""The clock is set, forward or back, and machines sleep: nothing is lost, done twice, or waited for until tomorrow."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty import Faulty, held

from indexer.jobs import LEASE_SECONDS
from indexer.policy import Policy
from retriever.errors import DecoderDied
from retriever.stores import _catalog, memory
from retriever.types import Quarantined

DAY = 86_400.0
NOON = 1_700_000_000.0
STEPS = 320
ELSEWHERE = "another-host:1:2"


@pytest.mark.parametrize("runs", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_clock_that_jumps_within_a_run_changes_nothing(
    runs: int, faulty: Faulty, clips: Path, undisturbed: dict[str, Any], disk: Path
) -> None:
    dice = random.Random(runs)
    for number in range(runs):
        jumps = sorted((dice.randint(1, STEPS), dice.uniform(-DAY, DAY)) for _ in range(3))
        outcome = faulty.index(disk / str(number) / "lib", clips, clock=jumps)
        assert outcome.code == 0, outcome
        assert held(disk / str(number) / "lib") == undisturbed


@pytest.fixture
def another() -> Iterator[Faulty]:
    made = Faulty()
    yield made
    made.close()


@pytest.mark.parametrize("ahead", [DAY, -DAY])
def test_whose_clock_is_another_may_take_a_job_over_and_nothing_is_done_twice(
    ahead: float, faulty: Faulty, another: Faulty, clips: Path, undisturbed: dict[str, Any], disk: Path
) -> None:
    """By the second one's clock all that the first one works on was given up yesterday, or is begun tomorrow."""
    library = disk / "lib"
    assert faulty.index(library, clips / "three.synthetic").code == 0
    faulty.begin(library, clips, slow=0.4)
    while not list((library / "staging").glob("*/chapter-*")):
        time.sleep(0.01)
    second = another.index(library, clips, clock=[[0, ahead]], asked="again")
    first = faulty.end()
    assert (first.code, second.code) == (0, 0), (first, second)
    assert first.left if ahead > 0 else second.left
    assert not set(first.told) & set(second.told)
    assert faulty.index(library, clips).code == 0
    assert held(library) == undisturbed


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    return lambda now: monkeypatch.setattr(_catalog, "time", lambda: now)


def test_a_lease_from_tomorrow_is_waited_for_as_long_as_any_other(at: Callable[[float], None]) -> None:
    catalog = memory.build().catalog
    at(NOON + DAY)
    assert catalog.lease("job", ELSEWHERE, LEASE_SECONDS)
    at(NOON)
    assert not catalog.lease("job", "me:1:1", LEASE_SECONDS), "it may be at work"
    assert catalog.leased() == {"job": ELSEWHERE}
    at(NOON + LEASE_SECONDS - 1)
    assert catalog.leased() == {"job": ELSEWHERE}
    at(NOON + LEASE_SECONDS)
    assert catalog.lease("job", "me:1:1", LEASE_SECONDS), "it did not say that it still is"


def test_what_was_set_aside_tomorrow_is_tried_today() -> None:
    policy, error = Policy(), DecoderDied("it died")
    reason, tries, again = policy.verdict(error, 0, NOON + DAY)
    shut = Quarantined("a.mp4", reason, NOON + DAY, 1, 1, tries, again)
    assert policy.may_try(shut, NOON)
    assert not policy.may_try(shut, NOON + DAY)
    _, tries, again = policy.verdict(error, policy.tries, NOON + DAY)
    assert not policy.may_try(Quarantined("a.mp4", reason, NOON + DAY, 1, 1, tries, again), NOON), "it is given up"
