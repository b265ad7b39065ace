"""What one library holds goes into another one: by a folder of open formats, or straight; nothing is encoded again."""

import json
import shutil
from pathlib import Path

import clips
import numpy as np
import pytest
from documents import documented, fits, printed_by, shape
from libraries import entry, more
from numpy.testing import assert_allclose

from api import Library, export, importing
from api.main import main
from indexer import recipe as recipes
from retriever.errors import ManifestError, StoreUnavailable, WrongRecipe
from retriever.stores import local, memory
from retriever.types import EVERYTHING, Filter

OFFLINE = recipes.pack("offline")


def answers(library: str, query: str = "blue") -> list[tuple[str, float, float, float]]:
    with Library.open(library) as opened:
        found = opened.search(query, min_confidence=0, copies="show")
    return [(one.ref, round(one.score, 2), round(one.confidence, 2), len(one.evidence)) for one in found]


def told(library: str) -> dict:
    with Library.open(library) as opened:
        stats = opened.stats()
    return {name: value for name, value in stats.items() if name not in ("library", "generation", "bytes")}


def test_an_export_comes_back_the_same(indexed, capsys):
    assert main(["export", "out"]) == 0
    printed = printed_by("import", "out", "--library", "back", capsys=capsys)
    assert fits(shape(printed), shape(documented()["import"]))
    assert (len(printed["imported"]), printed["unchanged"]) == (3, 0)
    assert told("back") == told("lib")
    for query in ("blue", "red THEN blue", "heard:tone", f"like:{indexed / 'first.mp4'}@0-2"):
        assert answers("back", query) == answers("lib", query)
    assert main(["export", "again", "--library", "back"]) == 0
    for name in ("media", "segments", "lines"):
        assert (Path("again") / f"{name}.jsonl").read_text() == (Path("out") / f"{name}.jsonl").read_text()
    for file in Path("out/tokens").iterdir():
        assert (Path("again/tokens") / file.name).read_bytes() == file.read_bytes()


def test_tables_may_be_parquet_and_hold_the_same(indexed, capsys):
    arrow = pytest.importorskip("pyarrow.parquet", reason="pyarrow: the extra parquet is not installed")
    assert main(["export", "plain"]) == main(["export", "out", "--tables", "parquet"]) == 0
    assert sorted(file.name for file in Path("out").iterdir() if file.is_file()) == [
        "library.json", "lines.parquet", "media.parquet", "segments.parquet"
    ]  # fmt: skip
    for file in [*Path("out").glob("*.parquet"), *Path("out").glob("tokens/*.parquet")]:
        other = Path("plain") / file.relative_to("out").with_suffix(".jsonl")
        lines = [json.loads(line) for line in other.read_text().splitlines()]
        rows = arrow.read_table(file).to_pylist()
        assert [{**row, "missing": dict(row.get("missing", ()))} for row in rows] == [
            {**line, "missing": line.get("missing", {})} for line in lines
        ]
        assert len(rows) == len(lines)
    assert arrow.read_table("out/segments.parquet").num_rows > 3
    assert printed_by("import", "out", "--library", "back", capsys=capsys)["unchanged"] == 0
    assert told("back") == told("lib")
    assert answers("back") == answers("lib")
    assert main(["export", "more", "--tables", "csv"]) == 2
    assert "--tables is 'csv'; it wants jsonl or parquet" in capsys.readouterr().err


def test_a_broken_parquet_is_one_line(indexed, capsys):
    pytest.importorskip("pyarrow.parquet", reason="pyarrow: the extra parquet is not installed")
    for name in ("segments", "media"):
        with Library.open("lib") as library:
            library.export(name, tables="parquet")
        file = Path(f"{name}/{name}.parquet")
        file.write_bytes(file.read_bytes()[:-40])
        assert main(["import", name, "--library", "back"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{file.name} is no Parquet file that can be read" in line


def test_parquet_holds_texts_alone(tmp_path):
    pytest.importorskip("pyarrow.parquet", reason="pyarrow: the extra parquet is not installed")
    store = memory.build()
    store.catalog.set_recipe(OFFLINE.digest, OFFLINE.text_form)
    store.add(entry("a", paths=["/clips/\udcff.mp4"]))
    with pytest.raises(ManifestError, match="which is no text: write JSON lines"):
        export.write(store, tmp_path / "out", "parquet")
    assert not (tmp_path / "out").exists()
    export.write(store, tmp_path / "out")
    store.close()


def test_a_library_goes_straight_into_another_and_once(indexed, capsys):
    assert main(["import", "lib", "--library", "copy"]) == 0
    assert told("copy") == told("lib")
    assert answers("copy") == answers("lib")
    assert main(["import", "lib", "--library", "copy"]) == 0
    assert "0 media imported (0 segments, 0 tokens); 3 were there" in capsys.readouterr().out


def test_two_libraries_become_one(indexed, tmp_path, capsys):
    other = tmp_path / "others"
    other.mkdir()
    clips.film(other / "third.mp4", ["yellow", "green"])
    shutil.copy(indexed / "second.mp4", other / "same.mp4")
    assert main(["index", str(other), "--library", "theirs"]) == 0
    printed = printed_by("import", "theirs", capsys=capsys)
    assert (len(printed["imported"]), printed["unchanged"]) == (1, 1)
    with Library.open("lib") as library:
        paths = {tuple(Path(path).name for path in media.paths) for media in library.media()}
    assert ("second.mp4", "same.mp4") in paths
    assert ("third.mp4",) in paths
    assert any(
        "third" in media.path for media in (one.media for one in Library.open("lib").search("yellow", min_confidence=0))
    )


def test_what_is_there_is_left_alone_and_what_was_begun_goes_on(indexed, monkeypatch):
    """Interrupted after its first media."""
    seen: list[int] = []

    def stop(done: int, of: int) -> None:
        seen.append(of)
        raise KeyboardInterrupt

    whole, part = local.build(Path("lib")), local.build(Path("part"))
    with importing.from_library(whole) as source, pytest.raises(KeyboardInterrupt):
        importing.into(part, source, stop)
    assert seen == [3]
    with importing.from_library(whole) as source:
        done = importing.into(part, source)
    assert (len(done.media), done.unchanged) == (2, 1)
    whole.close(), part.close()


def test_from_any_store_into_any(tmp_path):
    """local → memory → local: the same media, segments, words, times and rows."""
    first = local.build(tmp_path / "first")
    first.catalog.set_recipe(OFFLINE.digest, OFFLINE.text_form)
    for seed, key in enumerate("abc"):
        first.add(more(entry(key, seed)) if key == "b" else entry(key, seed))
    between, last = memory.build(), local.build(tmp_path / "last")
    for source, target in ((first, between), (between, last)):
        with importing.from_library(source) as brought:
            importing.into(target, brought)
    with first.snapshot() as ours, last.snapshot() as theirs:
        assert list(ours.media()) == list(theirs.media())
        assert ours.spaces == theirs.spaces
        for media in ours.media():
            one, other = (each.numbers(Filter(media=frozenset({media.key}))) for each in (ours, theirs))
            assert_allclose(ours.segments(one).spans, theirs.segments(other).spans)
            assert ours.lines(one) == theirs.lines(other)
            for space in ours.spaces:
                mine, yours = ours.tokens(one, space), theirs.tokens(other, space)
                assert_allclose(mine.rows.astype(np.float32), yours.rows.astype(np.float32), atol=1e-3)
                assert_allclose(mine.spans, yours.spans)
                assert [tuple(names) for names in mine.labels] == [tuple(names) for names in yours.labels]
        assert len(ours.numbers(EVERYTHING)) == len(theirs.numbers(EVERYTHING))
    first.close(), last.close()


def test_a_path_stays_with_the_media_that_has_it_here(no_weights, tmp_path, capsys):
    """What lay there when the other library was made has been overwritten since."""
    place = tmp_path / "same"
    place.mkdir()
    clips.film(place / "x.mp4", ["red"])
    clips.film(place / "y.mp4", ["green"])
    assert main(["index", str(place), "--library", "old"]) == 0
    clips.film(place / "x.mp4", ["blue"])
    shutil.copy(place / "y.mp4", place / "z.mp4")
    (place / "y.mp4").unlink()
    clips.film(place / "y.mp4", ["yellow"])
    assert main(["index", str(place), "--library", "new"]) == 0
    with Library.open("new") as library:
        before = {media.key: media.paths for media in library.media()}
    printed = printed_by("import", "old", "--library", "new", capsys=capsys)
    assert (printed["imported"], printed["unchanged"], len(printed["left_out"])) == ([], 1, 1)
    with Library.open("new") as library:
        assert {media.key: media.paths for media in library.media()} == before


# ------------------------------------------------------------------------------------------------------------ refusals


def test_a_library_of_another_recipe_is_refused(indexed, monkeypatch):
    store = memory.build()
    store.catalog.set_recipe("another", OFFLINE.text_form)
    with (
        Library.open("lib") as library,
        importing.from_library(library.store) as source,
        pytest.raises(WrongRecipe, match="made with recipe another"),
    ):
        importing.into(store, source)


@pytest.mark.parametrize("source", ["nowhere", "clips", "lib"])
def test_what_is_no_other_library_is_one_line(indexed, source, capsys):
    assert main(["import", source]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert source in line


def test_an_empty_library_has_nothing_to_bring(indexed):
    local.build(Path("empty")).close()
    with Library.open("lib") as library, pytest.raises(StoreUnavailable, match="nothing was ever indexed"):
        library.import_from("empty")


def _line(file: Path, number: int, text: str) -> None:
    lines = file.read_text().splitlines()
    lines[number - 1] = text
    file.write_text("\n".join(lines) + "\n")


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def _swapped(file: Path) -> None:
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[::-1]) + "\n")


def _pickled(file: Path) -> None:
    np.save(file, np.array([{"a": 1}], object), allow_pickle=True)


def _narrowed(file: Path) -> None:
    file.write_text(file.read_text().replace('"dimension": 16', '"dimension": 8'))


def _twice(file: Path) -> None:
    file.write_text(file.read_text() + file.read_text().splitlines()[0] + "\n")


def _more(file: Path) -> None:
    np.save(file, np.concatenate([np.load(file), np.load(file)[:1]]))


def _not_a_number(file: Path) -> None:
    rows = np.load(file)
    rows[0] = np.nan
    np.save(file, rows)


@pytest.fixture(scope="session")
def exported(_shared, tmp_path_factory) -> Path:
    """What a library of three media holds, for tests that copy it."""
    folder = tmp_path_factory.mktemp("exported") / "out"
    with Library.open(_shared / "lib") as library:
        library.export(str(folder))
    return folder


def _changed(name: str, value: object):
    def harm(file: Path) -> None:
        first, *others = file.read_text().splitlines()
        file.write_text("\n".join([json.dumps({**json.loads(first), name: value}), *others]) + "\n")

    return harm


def _other(name: str, value: object):
    def harm(file: Path) -> None:
        file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))

    return harm


@pytest.mark.parametrize(
    ("pattern", "harm", "told"),
    [
        ("media.jsonl", _twice, "came before"),
        ("media.jsonl", lambda file: file.write_bytes(b"\xff" + file.read_bytes()), "media.jsonl, line 1"),
        ("media.jsonl", Path.unlink, "media.jsonl cannot be read"),
        ("media.jsonl", _changed("paths", []), "media.jsonl, line 1"),
        ("media.jsonl", _changed("paths", "abc"), "media.jsonl, line 1"),
        ("media.jsonl", _changed("duration_s", float("inf")), "media.jsonl, line 1"),
        ("tokens/colours*.npy", _more, "rows, and"),
        ("tokens/colours*.npy", _not_a_number, "contradicts itself"),
        ("tokens/colours*.jsonl", _changed("norm", float("nan")), "line 1"),
        ("segments.jsonl", _changed("end_s", 1e6), "contradicts itself"),
        ("library.json", _other("spaces", {}), "does not tell of the space"),
        ("library.json", _other("recipe", {"digest": "a", "text": "{}"}), "library.json"),
        ("library.json", _other("recipe", {"text": "{}"}), "library.json"),
        ("media.jsonl", lambda file: _line(file, 2, "{"), "media.jsonl, line 2"),
        ("media.jsonl", lambda file: _line(file, 1, '{"id": "x"}'), "media.jsonl, line 1"),
        ("media.jsonl", _swapped, "is not next in the table of media"),
        ("segments.jsonl", lambda file: _line(file, 1, "[]"), "segments.jsonl, line 1"),
        ("lines.jsonl", Path.unlink, "lines.jsonl cannot be read"),
        ("tokens/colours*.npy", _cut, "colours"),
        ("tokens/colours*.npy", _pickled, "colours"),
        ("tokens/colours*.npy", lambda file: np.save(file, np.zeros((3, 4), np.float16)), "half-precision rows"),
        ("tokens/colours*.jsonl", lambda file: _line(file, 1, '{"media": 3}'), "line 1"),
        ("library.json", lambda file: file.write_text("{}"), "library.json"),
        ("library.json", _narrowed, "by what is said"),
    ],
)  # fmt: skip
def test_a_broken_export_is_told_by_file_and_line(exported, no_weights, pattern, harm, told, capsys):
    shutil.copytree(exported, "out")
    (file,) = Path("out").glob(pattern)
    harm(file)
    with Library.open("back") as library, pytest.raises(ManifestError, match=told):
        library.import_from("out")
    assert main(["import", "out", "--library", "back"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_another_format_is_refused(indexed, capsys):
    with Library.open("lib") as library:
        library.export("out")
    header = Path("out/library.json")
    header.write_text(json.dumps({**json.loads(header.read_text()), "format": 9}))
    assert main(["import", "out", "--library", "back"]) == 1
    assert "has format 9, this reelseek reads 1" in capsys.readouterr().err
