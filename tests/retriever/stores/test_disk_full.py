"""A full disk: said so in one line, and nothing was changed."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from libraries import NEW, OLD, SEEN_AGAIN, contents, entry, more

from retriever.errors import DiskFull
from retriever.stores import local
from retriever.types import Searched


class FullAfter:
    """Calls go through until so many have been made; then the disk is full."""

    def __init__(self, call: Callable[..., Any], calls: int) -> None:
        self.call = call
        self.left = calls

    def __call__(self, *values: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.call(*values)


@pytest.mark.parametrize(("name", "calls"), [("pwrite", 1), ("pwrite", 5), ("fdatasync", 0)])
@pytest.mark.parametrize("work", ["add", "replace", "compact", "extend", "drop"])
def test_nothing_is_changed(work: str, name: str, calls: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = local.build(folder)
    for key in "abc":
        store.add(entry(key))
    store.delete(["b"])
    store.catalog.set_recipe(OLD.digest, OLD.recipe)
    store.begin(OLD, NEW)
    store.extend(more(entry("c"), SEEN_AGAIN))
    if work == "drop":
        store.extend(more(entry("a"), SEEN_AGAIN))
        store.choose(Searched.NEW)
    with store.snapshot() as snapshot:
        before = contents(snapshot)
    sizes = {file: file.stat().st_size for file in folder.glob("*/*.*")}
    doing = {
        "add": lambda: store.add(entry("d")),
        "replace": lambda: store.add(entry("a", 1)),
        "compact": store.compact,
        "extend": lambda: store.extend(more(entry("a"), SEEN_AGAIN)),
        "drop": lambda: store.drop(Searched.OLD),
    }
    with monkeypatch.context() as full:
        full.setattr(os, name, FullAfter(getattr(os, name), calls))
        with pytest.raises(DiskFull, match="make room") as told:
            doing[work]()
    assert "\n" not in str(told.value)
    with store.snapshot() as snapshot:
        assert contents(snapshot) == before
    assert sum(file.stat().st_size for file in folder.glob("*/*.*")) == sum(sizes.values())  # its room was given back
    doing[work]()
    store.close()
    assert local.problems(folder) == []


def test_a_catalog_that_cannot_grow(folder: Path) -> None:
    store = local.build(folder)
    store.add(entry("a"))
    with store.database.reading() as catalog:
        (pages,) = catalog.execute("PRAGMA page_count").fetchone()
        catalog.execute(f"PRAGMA max_page_count = {pages}")
    before: dict[str, Any] = {}

    def fill() -> None:
        for number in range(200):
            with store.snapshot() as snapshot:
                before.update(contents(snapshot))
            store.add(entry(f"m{number}", segments=10))

    with pytest.raises(DiskFull):
        fill()
    with store.snapshot() as snapshot:
        assert contents(snapshot) == before
    with store.database.reading() as catalog:
        catalog.execute("PRAGMA max_page_count = 1000000")
    store.add(entry("z"))
    store.close()
    assert local.problems(folder) == []
