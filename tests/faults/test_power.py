"""The current goes at any step: what was committed is there, what the disk kept of the rest does no harm."""

import random
import signal
from pathlib import Path
from typing import Any

import pytest
from faulty import Faulty, held, paths_in

from retriever.stores import local

STEPS = 320
HARMLESS = ("a crash left it", "searches look at every row")
"""What `reelseek doctor` may say: files that belong to nothing, and an index that comes back."""
FEW, MANY = 8, 100


@pytest.mark.parametrize("cuts", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_without_power_again_and_again_it_ends_the_same(
    cuts: int, faulty: Faulty, clips: Path, undisturbed: dict[str, Any], disk: Path
) -> None:
    dice = random.Random(cuts)
    place, told = disk / "0", set()
    place.mkdir()
    done = 0
    while done < cuts:
        into = disk / f"{done + 1}"
        outcome = faulty.index(place / "lib", clips, power=dice.randint(1, STEPS), into=into, seed=dice.random())
        told |= set(outcome.told)
        if outcome.code == -signal.SIGKILL:
            done, place = done + 1, into
            if told:
                assert told <= paths_in(place / "lib"), "it was told that these are committed"
                problems = local.problems(place / "lib")
                assert [line for line in problems if not any(one in line for one in HARMLESS)] == []
            continue
        assert outcome.code == 0, outcome
        assert held(place / "lib") == undisturbed
        place, told = disk / f"{done}-again", set()
        place.mkdir()
    assert faulty.index(place / "lib", clips).code == 0
    assert held(place / "lib") == undisturbed


def test_a_library_in_folders_that_are_new_is_there_when_it_was_told(faulty: Faulty, clips: Path, disk: Path) -> None:
    """Their names in the folders above have to be on the disk, too."""
    for seed in range(8):
        place, into = disk / f"{seed}", disk / f"{seed}-after"
        place.mkdir()
        asked = {"power": 40 + seed * 30, "into": into, "seed": seed, "below": place}
        assert faulty.index(place / "deep" / "deeper" / "lib", clips, **asked).code == -signal.SIGKILL
        assert (into / "deep" / "deeper" / "lib" / "catalog.sqlite").exists()
