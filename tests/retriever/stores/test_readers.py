"""Readers beside writers, in other processes: what a snapshot shows is one state, whole."""

import os
import signal
from pathlib import Path

import numpy as np
from libraries import SEEN, directions, entry, only
from scribe import Scribe, replaced_by_key, replaced_by_path

from retriever.stores import local

LOOKS = 60


def test_a_replaced_media_is_there_once_always(folder: Path, scribe_process: Scribe) -> None:
    store = local.build(folder)
    store.add(replaced_by_key(0))
    store.add(replaced_by_path(0))
    child = scribe_process.start(folder, "replace")
    seen: set[int] = set()
    try:
        for _ in range(LOOKS):
            with store.snapshot() as snapshot:
                by_path, by_key = sorted(snapshot.media(), key=lambda media: media.key, reverse=True)
                assert (by_key.key, by_path.path) == ("same", "/same")
                version = by_key.size - 1000
                seen.add(version)
                assert by_key == replaced_by_key(version).media
                assert by_path == replaced_by_path(by_path.size - 1000).media
                numbers = snapshot.numbers(only("same"))
                found = snapshot.tokens(numbers, SEEN.id)
                np.testing.assert_array_equal(
                    found.rows, replaced_by_key(version).tokens[SEEN.id].rows.astype(np.float16)
                )
                (ranking,) = snapshot.nearest(directions(1, 5), SEEN.id, 100)
                assert sorted(ranking.segments.tolist()) == snapshot.numbers().tolist()
    finally:
        os.kill(child, signal.SIGKILL)
        assert scribe_process.wait() == -signal.SIGKILL
    assert len(seen) > 5
    store.close()


def columns(folder: Path) -> set[str]:
    return {file.name.split(".")[1] for kind in ("tokens", "segments") for file in (folder / kind).glob("*.f16")}


def test_old_columns_stay_while_somebody_reads_them(folder: Path) -> None:
    store = local.build(folder)
    for key in "abc":
        store.add(entry(key))
    with store.snapshot() as snapshot:
        store.delete(["a"])
        store.compact()
        assert columns(folder) == {"1", "2"}
        assert len(snapshot.tokens(snapshot.numbers(), SEEN.id).rows) > 0  # mapped only now
        assert local.problems(folder) == []
    store.compact()
    assert columns(folder) == {"2"}
    assert [file.name for file in (folder / "readers").iterdir()] == ["2"]
    store.close()


def test_two_stores_of_one_folder_see_each_other(folder: Path) -> None:
    one, two = local.build(folder), local.build(folder)
    one.add(entry("a"))
    two.add(entry("b"))
    two.delete(["a"])
    one.compact()
    for store in (one, two):
        with store.snapshot() as snapshot:
            assert [media.key for media in snapshot.media()] == ["b"]
        store.close()


def test_a_library_that_cannot_be_written_can_be_searched(folder: Path, scribe_process: Scribe) -> None:
    store = local.build(folder)
    store.add(entry("a"))
    store.close()
    for place in (folder.parent, folder, *folder.rglob("*")):
        place.chmod(0o555 if place.is_dir() else 0o444)
    scribe_process.start(folder, "look")
    assert scribe_process.wait() == 0
