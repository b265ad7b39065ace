"""Staying with a folder: what is seen, what waits, and what it costs."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from indexer import plan
from indexer.listing import Listing, Source
from indexer.watching import SETTLED, Looks
from retriever.types import FileStat, Metadata

OLD = 1_000.0  # when files were written that nobody writes to any more


def clip(path: Path, text: str = "x", at: float = OLD) -> Source:
    path.write_text(text)
    os.utime(path, (at, at))
    return Source(path)


def look(looks: Looks, sources: list[Source], now: float, tick: float) -> tuple[list[str], bool]:
    """The names of what changed, and whether something is gone."""
    found = Listing.of(sources)
    return [source.path.name for source in looks.changes(found, now, tick)], looks.forget(found)


def test_what_is_new_or_changed_is_handed_on_once(tmp_path: Path) -> None:
    looks = Looks()
    sources = [clip(tmp_path / "a"), clip(tmp_path / "b")]
    assert look(looks, sources, 2_000, 0) == (["a", "b"], False)
    assert look(looks, sources, 2_010, 10) == ([], False)
    clip(tmp_path / "a", "longer", OLD + 1)
    assert look(looks, [*sources, clip(tmp_path / "c")], 2_020, 20) == (["a", "c"], False)


def test_what_is_gone_is_seen_once(tmp_path: Path) -> None:
    looks = Looks()
    sources = [clip(tmp_path / "a"), clip(tmp_path / "b")]
    look(looks, sources, 2_000, 0)
    assert look(looks, sources[:1], 2_010, 10) == ([], True)
    assert look(looks, sources[:1], 2_020, 20) == ([], False)
    assert look(looks, sources, 2_030, 30) == (["b"], False)


def test_a_renamed_file_is_a_new_one_and_one_that_is_gone(tmp_path: Path) -> None:
    looks = Looks()
    look(looks, [clip(tmp_path / "a")], 2_000, 0)
    (tmp_path / "a").rename(tmp_path / "b")
    assert look(looks, [Source(tmp_path / "b")], 2_010, 10) == (["b"], True)


def test_a_file_that_is_being_written_waits_until_it_is_still(tmp_path: Path) -> None:
    looks, now = Looks(), 2_000.0
    for step in range(5):
        source = clip(tmp_path / "a", "x" * step, now + step)
        assert look(looks, [source], now + step, step) == ([], False)
    assert look(looks, [source], now + 4 + SETTLED, 4 + SETTLED) == (["a"], False)


def test_a_file_from_the_future_is_taken_once_it_looked_the_same_for_a_while(tmp_path: Path) -> None:
    looks, source = Looks(), clip(tmp_path / "a", at=9_000.0)
    assert look(looks, [source], 2_000, 0) == ([], False)
    assert look(looks, [source], 2_000, SETTLED / 2) == ([], False)
    assert look(looks, [source], 2_000, SETTLED) == (["a"], False)


def test_other_metadata_is_a_change_and_a_dead_link_is_handed_on_once(tmp_path: Path) -> None:
    looks, source = Looks(), clip(tmp_path / "a")
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    dead = Source(tmp_path / "dead")
    assert look(looks, [source, dead], 2_000, 0) == (["a", "dead"], False)
    titled = Source(source.path, Metadata("A"))
    assert look(looks, [titled, dead], 2_010, 10) == (["a"], False)


def test_a_look_that_breaks_off_has_seen_nothing(tmp_path: Path) -> None:
    looks, source = Looks(), clip(tmp_path / "a")

    def broken() -> Iterator[Source]:
        yield source
        raise OSError("the disk is away")

    with pytest.raises(OSError, match="away"):
        Listing.of(looks.changes(broken(), 2_000, 0))
    assert look(looks, [source], 2_010, 10) == (["a"], False)


def test_what_others_were_at_is_handed_on_again(tmp_path: Path) -> None:
    looks, source = Looks(), clip(tmp_path / "a")
    look(looks, [source], 2_000, 0)
    looks.again(source.path)
    assert look(looks, [source], 2_010, 10) == (["a"], False)


# ------------------------------------------------------------------------------------------------------ what that costs


def made_up(count: int, written: int = 1) -> Iterator[Source]:
    return (Source(Path(f"/far/{number}.mp4"), seen=FileStat(1, written, number, "")) for number in range(count))


@pytest.fixture
def held() -> Callable[[], int]:
    """How many files somebody remembers, in whatever form, since the test began."""
    gc.collect()
    gc.freeze()  # what is there already need not be counted

    def count() -> int:
        gc.collect()
        return sum(isinstance(one, (Source, FileStat, Path)) for one in gc.get_objects())

    return count


def test_what_staying_remembers_does_not_grow_with_the_files(held: Callable[[], int]) -> None:
    looks, many = Looks(), 5_000
    listing = Listing.of(made_up(many))
    for now in (0.5, 1.0, 9.0):  # some wait, all are taken, all are as they were
        changed = Listing.of(looks.changes(listing, now, now))
        assert len(changed) == (many if now == 9.0 else 0)
    assert held() < 100
    assert len(Listing.of(looks.changes(listing, 10.0, 10.0))) == 0
    assert not looks.forget(listing)
    some = Listing.of(source for source in listing if int(source.path.stem) % 2)
    assert looks.forget(some)
    assert len(Listing.of(looks.changes(listing, 11.0, 11.0))) == many // 2
    assert held() < 100


class Endless:
    """A store of very many media that are made up as they are asked for, and what is done to them."""

    def __init__(self, count: int) -> None:
        self.catalog, self.count = self, count
        self.at_once: list[int] = []

    def paths(self, after: str, most: int) -> dict[str, tuple[str, ...]]:
        first = int(after or "-1") + 1
        page = range(first, min(first + most, self.count))
        own = {number: (f"/far/{number}.mp4", f"/near/{number}.mp4") for number in page}
        return {f"{number:09}": paths[: 1 + number % 2] for number, paths in own.items()}

    def quarantined(self) -> list[Any]:
        return []

    def forget(self, paths: list[str]) -> None:
        self.at_once.append(len(paths))

    def drop_paths(self, paths: dict[str, list[str]]) -> list[str]:
        self.at_once.append(len(paths))
        return [key for key in paths if int(key) % 2 == 0]


def test_what_pruning_holds_does_not_grow_with_the_library(
    held: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_is_bare", lambda folder: False)  # as if others were left in /far
    store, many, went = Endless(20_000), 20_000, 0
    for keys in plan.prune([Path("/far")], store):  # type: ignore[arg-type]
        went += len(keys)
        if went % 2_500 == 0:
            assert held() < 100
    assert went == many // 2
    assert 0 < max(store.at_once) <= plan.PAGE
