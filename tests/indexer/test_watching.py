"""Staying with a folder: what is seen, what waits, and what it costs."""

import os
from pathlib import Path

from indexer.sources import Source
from indexer.watching import SETTLED, Looks
from retriever.types import Metadata

OLD = 1_000.0  # when files were written that nobody writes to any more


def clip(path: Path, text: str = "x", at: float = OLD) -> Source:
    path.write_text(text)
    os.utime(path, (at, at))
    return Source(path)


def names(found: tuple[list[Source], bool]) -> tuple[list[str], bool]:
    return [source.path.name for source in found[0]], found[1]


def test_what_is_new_or_changed_is_handed_on_once(tmp_path: Path) -> None:
    looks = Looks()
    sources = [clip(tmp_path / "a"), clip(tmp_path / "b")]
    assert names(looks.changes(sources, 2_000, 0)) == (["a", "b"], False)
    assert names(looks.changes(sources, 2_010, 10)) == ([], False)
    clip(tmp_path / "a", "longer", OLD + 1)
    assert names(looks.changes([*sources, clip(tmp_path / "c")], 2_020, 20)) == (["a", "c"], False)


def test_what_is_gone_is_seen_once(tmp_path: Path) -> None:
    looks = Looks()
    sources = [clip(tmp_path / "a"), clip(tmp_path / "b")]
    looks.changes(sources, 2_000, 0)
    assert names(looks.changes(sources[:1], 2_010, 10)) == ([], True)
    assert names(looks.changes(sources[:1], 2_020, 20)) == ([], False)
    assert names(looks.changes(sources, 2_030, 30)) == (["b"], False)


def test_a_renamed_file_is_a_new_one_and_one_that_is_gone(tmp_path: Path) -> None:
    looks = Looks()
    looks.changes([clip(tmp_path / "a")], 2_000, 0)
    (tmp_path / "a").rename(tmp_path / "b")
    assert names(looks.changes([Source(tmp_path / "b")], 2_010, 10)) == (["b"], True)


def test_a_file_that_is_being_written_waits_until_it_is_still(tmp_path: Path) -> None:
    looks, now = Looks(), 2_000.0
    for step in range(5):
        source = clip(tmp_path / "a", "x" * step, now + step)
        assert names(looks.changes([source], now + step, step)) == ([], False)
    assert names(looks.changes([source], now + 4 + SETTLED, 4 + SETTLED)) == (["a"], False)


def test_a_file_from_the_future_is_taken_once_it_looked_the_same_for_a_while(tmp_path: Path) -> None:
    looks, source = Looks(), clip(tmp_path / "a", at=9_000.0)
    assert names(looks.changes([source], 2_000, 0)) == ([], False)
    assert names(looks.changes([source], 2_000, SETTLED / 2)) == ([], False)
    assert names(looks.changes([source], 2_000, SETTLED)) == (["a"], False)


def test_other_metadata_is_a_change_and_a_dead_link_is_handed_on_once(tmp_path: Path) -> None:
    looks, source = Looks(), clip(tmp_path / "a")
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    dead = Source(tmp_path / "dead")
    assert names(looks.changes([source, dead], 2_000, 0)) == (["a", "dead"], False)
    titled = Source(source.path, Metadata("A"))
    assert names(looks.changes([titled, dead], 2_010, 10)) == (["a"], False)
