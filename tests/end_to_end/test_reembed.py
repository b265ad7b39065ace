"""Going over to another model through the command line: towers that are trained on the spot, a real search."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import clips
import colours
import fakes
import pytest
import towers
from documents import documented, fits, printed_by, shape

from api import Library, ModelChoice, parts
from api.main import main
from retriever.types import Searched

ASKED = ("something blue", "all of it is yellow", "a red picture", "green")
SWAPPED = {"red": "blue", "blue": "red", "green": "yellow", "yellow": "green"}


@pytest.fixture(scope="session")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tower that knows four colours."""
    return colours.trained(tmp_path_factory.mktemp("towers") / "right")


@pytest.fixture(scope="session")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other weights of the same encoder, who take red for blue and green for yellow: it shows who answers."""
    return colours.trained(tmp_path_factory.mktemp("towers") / "wrong", SWAPPED)


@pytest.fixture
def films(coloured: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Films of two colours each, whose names stand on them, and a tone."""
    read = SimpleNamespace(digest="0" * 64, side=64, recognize=fakes.Subtitles().recognize)
    recognizers = {"whisper": fakes.NoSpeech, "rapidocr": lambda: read}
    shelf = SimpleNamespace(load=lambda name: SimpleNamespace(build=recognizers[name]))
    monkeypatch.setattr(parts, "RECOGNIZERS", shelf)
    return coloured


Ran = Callable[..., Any]


@pytest.fixture
def ran(capsys: pytest.CaptureFixture[str]) -> Ran:
    """A command and what it prints as JSON."""

    def run(*words: str | Path) -> Any:
        return printed_by(*map(str, words), capsys=capsys)

    return run


@pytest.fixture
def indexed(films: Path, right: Path, ran: Ran) -> Path:
    index(ran, films, right)
    return films


def index(ran: Ran, films: Path, tower: Path) -> Any:
    return ran("index", films, "--pack", "openclip", "--model", tower)


def reembed(ran: Ran, tower: Path) -> Any:
    return ran("reembed", "--pack", "openclip", "--model", tower)


def answers() -> list[Any]:
    """What is answered now, evidence and all."""
    with Library.open("lib") as library:
        return [library.search(asked, min_confidence=0) for asked in ASKED]


def rows() -> int:
    """Bytes of what was embedded; the catalog beside it grows by pages with every run."""
    return sum(file.stat().st_size for name in ("segments", "tokens") for file in Path("lib", name).iterdir())


def best(ran: Ran, asked: str) -> tuple[str, float]:
    found = ran("search", asked, "--min-confidence", "0")["moments"][0]
    return Path(found["media"]["path"]).name, found["start_s"]


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 1) -> str:
    """The one line that says why not."""
    capsys.readouterr()
    assert main([*map(str, words)]) == code
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_all_the_way_to_another_model(indexed, right, wrong, ran, capsys):
    before, stats = answers(), ran("stats")
    assert best(ran, "something blue") == ("first.mp4", pytest.approx(2, abs=0.6))

    built = reembed(ran, wrong)
    assert (len(built["run"]["embedded"]), built["run"]["failed"], built["lacking"]) == (4, [], [])
    assert built["searched"] == "old"
    assert "--search new" in built["next"]
    assert answers() == before
    assert ran("stats")["generation"] == stats["generation"]
    assert index(ran, indexed, right)["unchanged"] == 4
    assert "as long as old is searched" in refused(capsys, "index", indexed, "--pack", "openclip", "--model", wrong)

    chosen, both = ran("reembed", "--search", "new"), rows()
    assert chosen["searched"] == "new"
    assert best(ran, "something blue") == ("first.mp4", pytest.approx(0, abs=0.6))
    assert best(ran, "all of it is yellow")[0] in ("second.mp4", "third.mp4")
    assert index(ran, indexed, wrong)["unchanged"] == 4

    ran("reembed", "--search", "both")
    spaces = {space["id"] for space in ran("stats")["spaces"]}
    assert len(spaces) == len(stats["spaces"]) + 1
    blue = ran("search", "something blue", "--min-confidence", "0")["moments"]
    seen = {piece["space"] for moment in blue for piece in moment["evidence"] if piece["modality"] == "vision"}
    assert len(seen) == 2

    ran("reembed", "--search", "old")
    assert answers() == before
    assert index(ran, indexed, right)["unchanged"] == 4

    ran("reembed", "--search", "new")
    switched = answers()
    assert "cannot be dropped" in refused(capsys, "reembed", "--drop", "new")
    dropped = ran("reembed", "--drop", "old")
    assert (dropped["searched"], dropped["new"], rows() < both) == (None, None, True)
    assert answers() == switched
    after = ran("stats")
    assert after["reembedding"] is None
    assert {space["name"] for space in after["spaces"]} == {space["name"] for space in stats["spaces"]}
    assert {space["id"] for space in after["spaces"]} != {space["id"] for space in stats["spaces"]}
    assert index(ran, indexed, wrong)["unchanged"] == 4
    assert [
        check
        for check in ran("doctor")["checks"]
        if check["name"] in ("library", "model openclip") and check["problem"]
    ] == []


def test_calling_it_off_is_as_if_it_had_never_begun(indexed, wrong, ran):
    before, stats = answers(), ran("stats")
    reembed(ran, wrong)
    ran("reembed", "--search", "both")
    ran("reembed", "--search", "old")
    ran("reembed", "--drop", "new")
    assert answers() == before
    after = ran("stats")
    assert {**after, "bytes": 0} == {**stats, "bytes": 0}


def test_media_that_cannot_be_embedded_are_named_and_kept(indexed, wrong, ran, capsys):
    (indexed / "second.mp4").unlink()
    built = reembed(ran, wrong)
    assert [Path(one["path"]).name for one in built["run"]["failed"]] == ["second.mp4"]
    assert [Path(one["path"]).name for one in built["lacking"]] == ["second.mp4"]
    assert ran("stats")["quarantined"] == 0
    assert built["next"] == f"reelseek reembed --pack openclip --model {wrong} --library lib"
    line = refused(capsys, "reembed", "--search", "new")
    assert "1 media lack what the new recipe makes" in line
    assert "second.mp4, gone" in line
    assert "--search both" in line
    assert ran("reembed", "--search", "both")["searched"] == "both"
    assert best(ran, "green")[0] in ("second.mp4", "third.mp4")
    ran("delete", "films/second.mp4")
    assert ran("reembed", "--search", "new")["lacking"] == []


def test_what_was_indexed_meanwhile_is_embedded_by_the_next_run(indexed, right, wrong, ran, capsys):
    reembed(ran, wrong)
    clips.film(indexed / "fourth.mp4", ["blue"])
    assert len(index(ran, indexed, right)["indexed"]) == 1
    assert reembed(ran, wrong)["run"]["embedded"] == [str(indexed / "fourth.mp4")]
    ran("reembed", "--search", "new")
    clips.film(indexed / "fifth.mp4", ["white"])
    index(ran, indexed, wrong)
    capsys.readouterr()
    assert main(["reembed", "--search", "old"]) == 0
    told = capsys.readouterr()
    assert "note: 1 media were indexed with the new recipe alone" in told.err
    assert "fifth.mp4" in told.out
    assert "would" not in told.err
    assert "with the old recipe" in refused(capsys, "reembed", "--drop", "new")
    assert len(index(ran, indexed, right)["indexed"]) == 1
    assert ran("reembed", "--drop", "new")["new"] is None


def test_a_bad_wish_is_one_line_with_the_way_out(films, right, wrong, ran, capsys):
    words = ("--pack", "openclip", "--model")
    assert "there is no library" in refused(capsys, "reembed", *words, wrong)
    index(ran, films, right)
    assert "holds one recipe" in refused(capsys, "reembed", "--search", "new")
    assert "holds one recipe" in refused(capsys, "reembed", "--drop", "old")
    assert "of recipe" in refused(capsys, "reembed", *words, right)
    assert "leave out --pack" in refused(capsys, "reembed", "--search", "new", *words, wrong, code=2)
    towers.openclip_folder(films / "untrained", towers.CLIP)
    reembed(ran, wrong)
    assert "is on its way to recipe" in refused(capsys, "reembed", *words, films / "untrained")
    assert "cannot be dropped while old is searched" in refused(capsys, "reembed", "--drop", "old")


def test_a_page_for_people(indexed, right, wrong, capsys):
    assert main(["reembed"]) == 0
    told = capsys.readouterr().out
    assert "recipe" in told
    assert "next: reelseek reembed --pack PACK --model MODEL --library lib" in told
    assert main(["reembed", "--pack", "openclip", "--model", str(wrong)]) == 0
    told = capsys.readouterr()
    assert "4 files to embed, 0 unchanged" in told.err
    assert "[4/4] embedded" in told.err
    assert "4 files embedded" in told.err
    assert "not searched" in told.out
    assert "next: reelseek reembed --search new --library lib" in told.out
    assert main(["reembed", "--status"]) == 0
    assert capsys.readouterr().out == told.out
    assert main(["stats"]) == 0
    assert "searched: old" in capsys.readouterr().out
    assert main(["reembed", "--search", "new"]) == 0
    assert "next: reelseek reembed --drop old" in capsys.readouterr().out
    assert main(["reembed", "--drop", "old"]) == 0
    assert " before, " in capsys.readouterr().err


def test_the_page_tells_what_it_prints(indexed, wrong, ran):
    told = shape(documented()["reembed"])
    built = reembed(ran, wrong)
    assert fits(shape(built), told)
    assert fits(shape(ran("reembed", "--status")), shape({**documented()["reembed"], "run": None}))
    two = ran("stats")["reembedding"]
    assert set(two) == {"searched", "old", "new", "hidden"}
    assert len(two["hidden"]) == 1


def test_what_is_searched_is_exported_and_the_rest_is_named(indexed, wrong, ran, tmp_path):
    reembed(ran, wrong)
    (hidden,) = ran("stats")["reembedding"]["hidden"]
    ran("export", tmp_path / "out")
    page = json.loads((tmp_path / "out" / "library.json").read_text())
    assert page["left_out"] == [hidden]
    assert not (tmp_path / "out" / "tokens" / f"{hidden}.npy").exists()


def test_doctor_looks_at_both_recipes(indexed, wrong, ran, monkeypatch):
    reembed(ran, wrong)
    checks = {check["name"]: check for check in ran("doctor")["checks"]}
    assert "of 4 of 4 media; searched: old" in checks["recipes"]["found"]
    monkeypatch.setenv("REELSEEK_MODEL", str(wrong))  # a setting that names one of the two
    models = [check for check in ran("doctor")["checks"] if check["name"] == "model openclip"]
    assert [check["problem"] for check in models] == ["", ""]
    assert best(ran, "something blue") == ("first.mp4", pytest.approx(2, abs=0.6))


def test_a_library_that_is_open_follows_the_switch(indexed, wrong):
    with Library.open("lib", models=ModelChoice(model=str(wrong))) as library:
        assert len(library.reembed(pack="openclip").indexed) == 4
        with Library.open("lib") as other:
            before = other.search("something blue", min_confidence=0)[0]
            assert library.choose(Searched.NEW) == []
            after = other.search("something blue", min_confidence=0)[0]
        assert (before.start_s > 1, after.start_s < 1) == (True, True)
        library.drop(Searched.OLD)
        assert library.search("something blue", min_confidence=0)[0].start_s < 1
