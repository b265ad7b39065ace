"""Two processes index into one library at once: each media comes in once, and both come to their end."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty import Faulty, held

FIRST, SECOND = ("one", "two", "bad"), ("bad", "three", "two")


@pytest.fixture(scope="module")
def another() -> Iterator[Faulty]:
    made = Faulty()
    yield made
    made.close()


def some(clips: Path, names: tuple[str, ...]) -> list[Path]:
    return [clips / f"{name}.synthetic" for name in names]


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("slow", [(0.0, 0.0), (0.1, 0.3)])
def test_each_media_comes_in_once(
    overlap: bool,
    slow: tuple[float, float],
    faulty: Faulty,
    another: Faulty,
    clips: Path,
    undisturbed: dict[str, Any],
    disk: Path,
) -> None:
    library = disk / "lib"
    for process, names, each in ((faulty, FIRST, slow[0]), (another, SECOND, slow[1])):
        process.begin(library, *(some(clips, names) if overlap else [clips]), slow=each, asked=names)
    first, second = faulty.end(), another.end()
    assert (first.code, second.code) == (0, 0), (first, second)
    assert not set(first.told) & set(second.told)
    found = held(library)
    assert [Path(path).stem for path in sorted({*first.told, *second.told})] == ["one", "three", "two"]
    assert found == undisturbed


@pytest.mark.parametrize("rounds", [3, pytest.param(25, marks=pytest.mark.slow)])
def test_one_is_killed_and_the_other_goes_on(
    rounds: int, faulty: Faulty, another: Faulty, clips: Path, undisturbed: dict[str, Any], disk: Path
) -> None:
    dice = random.Random(rounds)
    for number in range(rounds):
        library = disk / str(number) / "lib"
        faulty.begin(library, clips, kill=dice.randint(20, 300), after=dice.uniform(0, 2e-3) or 0.0)
        second = another.index(library, clips, asked="again")
        first = faulty.end()
        assert first.code in (0, -signal.SIGKILL, -signal.SIGALRM), first
        assert second.code == 0, second
        assert faulty.index(library, clips).code == 0
        assert held(library) == undisturbed
