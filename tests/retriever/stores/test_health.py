"""What `doctor` finds."""

import os
from pathlib import Path

import pytest
from libraries import NEW, OLD, SEEN, SEEN_AGAIN, entry, more

from retriever.errors import StoreUnavailable
from retriever.stores import _health, local
from retriever.types import Searched

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 22 0:28 / /mnt/team rw,relatime shared:2 - nfs4 server:/team rw,vers=4.2
32 31 8:2 / /mnt/team/disk rw,relatime - xfs /dev/sdb1 rw
33 22 0:40 / /home/me/my\\040clips rw,nosuid - fuse.sshfs me@host:/clips rw
34 22 0:41 / /over rw - ext4 /dev/sdc1 rw
35 34 0:42 / /over rw - cifs //host/share rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/library", "ext4"),
        ("/mnt/team/library", "nfs4"),
        ("/mnt/team", "nfs4"),
        ("/mnt/teamwork", "ext4"),
        ("/mnt/team/disk/library", "xfs"),
        ("/home/me/my clips/library", "fuse.sshfs"),
        ("/over/library", "cifs"),
    ],
)
def test_the_mount_on_top_decides(path: str, kind: str) -> None:
    assert _health.file_system(Path(path), MOUNTS) == kind


def test_a_network_mount_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_health, "file_system", lambda path, mounts: "nfs4")
    with pytest.raises(StoreUnavailable, match=r"network mount \(nfs4\)"):
        local.build(tmp_path / "library")
    assert not (tmp_path / "library").exists()
    assert "network mount" in local.problems(tmp_path / "library")[0]


@pytest.fixture
def library(folder: Path) -> Path:
    """Three media and some dead rows."""
    store = local.build(folder)
    for key in "abc":
        store.add(entry(key))
    store.add(entry("b", 1))
    store.close()
    assert local.problems(folder) == []
    return folder


def column(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_a_file_that_was_cut_off(library: Path) -> None:
    file = column(library, "tokens/seen-*.f16")
    os.truncate(file, file.stat().st_size - 32)
    (told,) = local.problems(library)
    assert str(file) in told
    assert "were committed" in told
    store = local.build(library)
    with store.snapshot() as snapshot, pytest.raises(StoreUnavailable, match="reelseek doctor"):
        snapshot.tokens(snapshot.numbers(), next(space for space in snapshot.spaces if space.startswith("seen")))
    store.close()


@pytest.mark.parametrize(
    "pattern", ["tokens/seen-*.f16", "tokens/heard-*.facts", "segments/seen-*.f16", "segments/heard-*.map"]
)
def test_a_byte_that_was_changed(library: Path, pattern: str) -> None:
    file = column(library, pattern)
    with file.open("r+b") as changed:
        changed.seek(17)
        old = changed.read(1)
        changed.seek(17)
        changed.write(bytes([old[0] ^ 4]))
    assert any("not what was committed" in line for line in local.problems(library))


@pytest.mark.parametrize("name", [SEEN.id, SEEN_AGAIN.id])
def test_a_byte_that_was_changed_where_two_recipes_are_held(library: Path, name: str) -> None:
    store = local.build(library)
    store.catalog.set_recipe(OLD.digest, OLD.recipe)
    store.begin(OLD, NEW)
    for each in (entry("c"), entry("b", 1), entry("a")):
        store.extend(more(each, SEEN_AGAIN))
    for searched in Searched:
        store.choose(searched)
        assert local.problems(library) == []
    store.close()
    file = column(library, f"tokens/{name}.*.f16")
    with file.open("r+b") as changed:
        changed.seek(17)
        old = changed.read(1)
        changed.seek(17)
        changed.write(bytes([old[0] ^ 4]))
    assert any("not what was committed" in line for line in local.problems(library))


def test_files_that_belong_to_nothing(library: Path) -> None:
    (library / "tokens" / "old-12345678.7.f16").write_bytes(b"x")
    (told,) = local.problems(library)
    assert "old-12345678.7.f16" in told
    store = local.build(library)
    store.compact()
    store.close()
    assert local.problems(library) == []


def test_a_catalog_that_was_damaged(library: Path) -> None:
    with (library / "catalog.sqlite").open("r+b") as catalog:
        catalog.seek(4096 * 3)
        catalog.write(os.urandom(4096 * 4))
    assert local.problems(library)


def test_a_sum_that_does_not_add_up(library: Path) -> None:
    store = local.build(library)
    with store.database.writing() as catalog:
        catalog.execute("UPDATE library SET content = ?", (b"\1" * 32,))
    store.close()
    assert any("sum" in line for line in local.problems(library))


def test_a_sum_of_the_new_recipe_that_does_not_add_up(library: Path) -> None:
    store = local.build(library)
    store.catalog.set_recipe(OLD.digest, OLD.recipe)
    store.begin(OLD, NEW)
    store.extend(more(entry("a"), SEEN_AGAIN))
    assert local.problems(library) == []
    with store.database.writing() as catalog:
        catalog.execute("UPDATE reembedding SET content = ?", (b"\1" * 32,))
    store.close()
    assert any("sum" in line for line in local.problems(library))
