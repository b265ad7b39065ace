"""Files of a few kilobytes that came to harm, and headers that claim what nobody has: each is indexed or set aside in
one line, and no decoder takes memory for what is only claimed."""

from collections.abc import Iterable
from pathlib import Path

import damage
import pytest
from faulty import Faulty, paths_in

MOST_BYTES = 1 << 30
"""That a decoder child may have in memory: about ten times what it takes for any of these."""
LONGEST_LINE = 400


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return damage.whole(tmp_path_factory.mktemp("whole"))


def survived(faulty: Faulty, disk: Path, files: Iterable[tuple[str, bytes]], sampling: str) -> None:
    clips = disk / "clips"
    clips.mkdir()
    written = {str(clips / name) for name, content in files if (clips / name).write_bytes(content)}
    outcome = faulty.index(
        disk / "lib", clips, recipe={"chapter": 60.0, "sampling": sampling}, limit_s=30, patience=600
    )
    assert outcome.code == 0, outcome
    assert outcome.told
    assert outcome.quarantined
    assert paths_in(disk / "lib") | outcome.quarantined.keys() == written
    for path, reason in outcome.quarantined.items():
        assert path in reason
        assert "\n" not in reason
        assert len(reason) < len(path) + LONGEST_LINE
        assert "died" not in reason
        assert "no answer" not in reason
    assert outcome.most_bytes < MOST_BYTES


def test_what_headers_claim_is_not_believed(faulty: Faulty, kinds: dict[str, bytes], disk: Path) -> None:
    survived(faulty, disk, damage.claiming(kinds), "fixed(2)")


@pytest.mark.parametrize(
    ("count", "sampling", "seed"),
    [
        (120, "fixed(2)", 1),
        pytest.param(500, "fixed(2)", 2, marks=pytest.mark.slow),
        pytest.param(500, "keyframes(1)", 3, marks=pytest.mark.slow),
        pytest.param(500, "adaptive(8, 0.02, 1)", 4, marks=pytest.mark.slow),
    ],
)
def test_files_that_came_to_harm_cost_themselves_alone(
    count: int, sampling: str, seed: int, faulty: Faulty, kinds: dict[str, bytes], disk: Path
) -> None:
    survived(faulty, disk, damage.harmed(kinds, count, seed), sampling)
