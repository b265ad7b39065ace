"""Killed at any step that a run takes on the disk, or within it, and started again until it is done: all is there."""

import random
import signal
from pathlib import Path
from typing import Any

import pytest
from faulty import Faulty, held, paths_in

FEW, MANY = 12, 100
STEPS = 320
"""Of a run that nothing happens to, about: later ones are never taken."""
CURRENT = (-signal.SIGKILL, -signal.SIGALRM)


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_killed_again_and_again_it_ends_the_same(
    kills: int, faulty: Faulty, clips: Path, undisturbed: dict[str, Any], disk: Path
) -> None:
    dice = random.Random(kills)
    done, library, told = 0, disk / "0" / "lib", set()
    while done < kills:
        after = dice.choice([0.0, dice.uniform(1e-5, 5e-3)])  # half of them within what the step begins
        outcome = faulty.index(library, clips, kill=dice.randint(1, STEPS), after=after)
        told |= set(outcome.told)
        if outcome.code in CURRENT:
            done += 1
            if told:
                assert told <= paths_in(library), "it was told that these are committed"
            continue
        assert outcome.code == 0, outcome
        assert held(library) == undisturbed
        library, told = disk / str(done) / "lib", set()
    assert faulty.index(library, clips).code == 0
    assert held(library) == undisturbed


@pytest.mark.parametrize("kills", [FEW // 3, pytest.param(MANY // 4, marks=pytest.mark.slow)])
def test_decoders_that_are_killed_cost_tries_and_nothing_else(
    kills: int, faulty: Faulty, clips: Path, undisturbed: dict[str, Any], disk: Path
) -> None:
    """A day passes between two runs, so that what failed is tried again."""
    dice = random.Random(kills)
    for day in range(kills):
        outcome = faulty.index(
            disk / "lib",
            clips,
            decoder=dice.randint(1, 8),
            after=dice.uniform(0, 0.05),
            clock=[[0, day * 1e5]],
            tries=99,
        )
        assert outcome.code == 0, outcome
        if day % 5 == 4:
            assert faulty.index(disk / "lib", clips, clock=[[0, kills * 1e5]], tries=99).code == 0
            assert held(disk / "lib") == undisturbed
            (disk / "lib").rename(disk / f"lib-{day}")
    assert faulty.index(disk / "lib", clips, clock=[[0, kills * 1e5]], tries=99).code == 0
    assert held(disk / "lib") == undisturbed
