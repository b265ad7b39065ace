"""A library is copied and put back, from the command line."""

from pathlib import Path

import clips
import pytest
from documents import documented, fits, found, printed_by, shape

from api import Library, parts
from api.main import main
from retriever.errors import StoreUnavailable
from retriever.stores import memory


def test_there_and_back(indexed, capsys, tmp_path):
    before = found("blue", capsys, "--library", "lib")
    written = printed_by("backup", "copies/monday", capsys=capsys)
    assert fits(shape(written), shape(documented()["backup"]))
    assert written["folder"] == "copies/monday"
    assert found("blue", capsys, "--library", "copies/monday") == before
    more = tmp_path / "more"
    more.mkdir()
    clips.film(more / "third.mp4", ["blue", "green"])
    assert main(["index", str(more), "--library", "lib"]) == 0
    with Library.open("lib") as served:  # a process that stays
        assert len(served.media()) == written["media"] + 1
        there = printed_by("restore", "copies/monday", capsys=capsys)
        assert fits(shape(there), shape(documented()["restore"]))
        assert all(there[name] == written[name] for name in ("generation", "media", "segments"))
        assert len(served.media()) == written["media"]
        assert served.search("blue", min_confidence=0)
    assert found("blue", capsys, "--library", "lib") == before
    assert main(["index", str(more), "--library", "lib"]) == 0
    assert "1 file indexed" in capsys.readouterr().err


def test_told_in_a_line(indexed, capsys):
    assert main(["backup", "monday"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("monday: 3 media, ")
    assert main(["restore", "monday", "--library", "second"]) == 0
    assert capsys.readouterr().out.startswith("second: 3 media, ")
    assert main(["backup", "monday"]) == 1
    assert capsys.readouterr().err == "reelseek: monday is there already: name a new or empty folder\n"
    assert main(["restore", "nowhere", "--library", "third"]) == 1
    assert "there is no library at" in capsys.readouterr().err
    assert not Path("third").exists()


def test_a_store_without_files_has_other_ways():
    store = memory.build()
    for work in (parts.back_up, parts.restore):
        with pytest.raises(StoreUnavailable, match="reelseek import copies any library"):
            work(store, Path("copy"))
    store.close()
